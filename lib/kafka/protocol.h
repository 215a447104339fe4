/* SPDX-License-Identifier: ISC */
/* Requests and answers of Kafka's protocol (kafka.apache.org/protocol), as bytes: just those by
 * which a cluster is looked at, all but one of versions without tagged fields. What a peer says is
 * not trusted: each count and length is held against what is there. Nothing here does input or
 * output. */
#ifndef EVPIPE_KAFKA_PROTOCOL_H
#define EVPIPE_KAFKA_PROTOCOL_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum proto_api {
	PROTO_LIST_OFFSETS = 2,
	PROTO_METADATA = 3,
	PROTO_OFFSET_FETCH = 9,
	PROTO_FIND_COORDINATOR = 10,
	PROTO_DESCRIBE_GROUPS = 15,
	PROTO_LIST_GROUPS = 16,
	PROTO_SASL_HANDSHAKE = 17,
	PROTO_API_VERSIONS = 18,
	PROTO_DESCRIBE_CONFIGS = 32,
	PROTO_SASL_AUTHENTICATE = 36,
	PROTO_CONSUMER_GROUP_DESCRIBE = 69,
	PROTO_APIS = 128, /* what has a higher number is not noted */
};

/* Error codes that mean something here. */
enum proto_error {
	PROTO_UNKNOWN_TOPIC = 3,
	PROTO_LEADER_NOT_AVAILABLE = 5,
	PROTO_COORDINATOR_LOADING = 14,
	PROTO_COORDINATOR_NOT_AVAILABLE = 15,
	PROTO_NOT_COORDINATOR = 16,
	PROTO_INVALID_TOPIC = 17,
	PROTO_TOPIC_DENIED = 29,
	PROTO_GROUP_DENIED = 30,
	PROTO_CLUSTER_DENIED = 31,
	PROTO_UNKNOWN_MECHANISM = 33,
	PROTO_ILLEGAL_SASL_STATE = 34,
	PROTO_UNSUPPORTED_VERSION = 35,
	PROTO_INVALID_REQUEST = 42,
	PROTO_LOGIN_FAILED = 58,
	PROTO_GROUP_NOT_FOUND = 69,
};

enum { PROTO_ANSWER_MAX = 64 << 20 }; /* bytes of an answer */

/* ---- requests ---- */

/* Begins a request; returns where it stands in @b, for proto_end. */
size_t proto_begin(
	struct buf *b, enum proto_api api, int16_t version, int32_t number, const char *client);
/* Fills in its length. */
void proto_end(struct buf *b, size_t start);
void proto_put_i8(struct buf *b, int8_t n);
void proto_put_i16(struct buf *b, int16_t n);
void proto_put_i32(struct buf *b, int32_t n);
void proto_put_i64(struct buf *b, int64_t n);
void proto_put_string(struct buf *b, const char *s); /* NULL: null */
void proto_put_bytes(struct buf *b, struct span s);

/* ---- answers ---- */

/* A reader of an answer's body. Once something does not fit `bad` is set, and all that is read then
 * is 0 or empty. */
struct proto_in {
	const char *p, *end;
	bool bad;
};
int8_t proto_i8(struct proto_in *in);
int16_t proto_i16(struct proto_in *in);
int32_t proto_i32(struct proto_in *in);
int64_t proto_i64(struct proto_in *in);
struct span proto_string(struct proto_in *in); /* SPAN_NONE: null */
struct span proto_bytes(struct proto_in *in);
/* The number of an array's elements, each of @least bytes at least; 0 for null. */
int32_t proto_count(struct proto_in *in, size_t least);

/* The whole answer in @b: 1, its number and its body; 0: not all of it is there, but the number if
 * there are eight bytes; -1: no answer of Kafka begins so. */
int proto_answer(struct span b, int32_t *number, struct span *body);

struct proto_versions {
	int16_t error;
	int16_t min[PROTO_APIS], max[PROTO_APIS]; /* -1: it has not this request */
};
/* Version 0. Returns 0, or -1 when that is no such answer. */
int proto_read_versions(struct span body, struct proto_versions *v);
bool proto_has(const struct proto_versions *v, enum proto_api api);
/* The highest version between @low and @high that the broker understands too; -1: none. */
int16_t proto_version(
	const struct proto_versions *v, enum proto_api api, int16_t low, int16_t high);

/* What a broker knows of its cluster. Texts end with NUL. */
struct proto_metadata {
	char *cluster; /* NULL: not told */
	int32_t controller;
	int32_t broker_count, topic_count;
	struct proto_broker {
		int32_t id, port;
		char *host, *rack; /* rack: NULL */
	} * brokers;
	struct proto_topic {
		char *name;
		int16_t error;
		bool is_internal;
		int32_t partition_count;
		struct proto_partition {
			int16_t error;
			int32_t id, leader, replica_count, isr_count;
			int32_t *replicas, *isr; /* of brokers */
		} * partitions;
	} * topics;
};
/* Versions that are understood, of the request too. */
enum { PROTO_METADATA_MIN = 1, PROTO_METADATA_MAX = 7 };
/* @topics ends with NULL; NULL: all. No topic is made by being asked for, in version 4 and
 * above. */
void proto_put_metadata(struct buf *b, int16_t version, const char *const *topics);
/* Returns 0, or -1. Free with proto_metadata_free, in both cases. */
int proto_read_metadata(struct span body, int16_t version, struct proto_metadata *m);
void proto_metadata_free(struct proto_metadata *m);

/* The answer to SaslHandshake, any version: the error, and the mechanisms that the broker offers as
 * "A, B". */
int proto_read_mechanisms(struct span body, int16_t *error, struct buf *names);
/* The answer to SaslAuthenticate, versions 0 and 1; the spans are in @body. */
int proto_read_login(struct span body, int16_t *error, struct span *text, struct span *token);

#endif
