/* SPDX-License-Identifier: ISC */
/* More of protocol.h: places in partitions, consumer groups, configurations. */
#ifndef EVPIPE_KAFKA_QUERY_H
#define EVPIPE_KAFKA_QUERY_H

#include "base/catalog.h"
#include "kafka/protocol.h"

/* A place in a partition. */
struct query_place {
	char *topic;
	int32_t partition;
	int16_t error;
	int64_t offset; /* -1: none */
	int64_t time_ms; /* that is asked about; QUERY_BEGINNING, QUERY_END */
};
struct query_places {
	struct query_place *list;
	size_t count;
};
enum { QUERY_END = -1, QUERY_BEGINNING = -2 };

/* Appends one; @topic is copied. */
struct query_place *query_add_place(struct query_places *all, struct span topic, int32_t partition);
void query_places_free(struct query_places *all);

/* ListOffsets: for each of @all the first offset at or after its time. Neighbours of one topic are
 * asked together. */
enum { QUERY_LIST_OFFSETS_MIN = 1, QUERY_LIST_OFFSETS_MAX = 5 };
void query_put_list_offsets(struct buf *b, int16_t version, const struct query_places *all);
/* This and the next: 0, or -1. What was read is appended to @all in both cases. */
int query_read_list_offsets(struct span body, int16_t version, struct query_places *all);

/* OffsetFetch: all that a group has committed. */
enum { QUERY_OFFSET_FETCH_MIN = 2, QUERY_OFFSET_FETCH_MAX = 5 };
void query_put_offset_fetch(struct buf *b, const char *group);
int query_read_offset_fetch(
	struct span body, int16_t version, int16_t *error, struct query_places *all);

/* FindCoordinator, of a consumer group. */
enum { QUERY_FIND_COORDINATOR_MIN = 0, QUERY_FIND_COORDINATOR_MAX = 2 };
struct query_coordinator {
	int16_t error;
	struct proto_broker broker; /* host is NULL after an error */
};
void query_put_find_coordinator(struct buf *b, int16_t version, const char *group);
/* Returns 0, or -1. The host is freed by the caller. */
int query_read_find_coordinator(struct span body, int16_t version, struct query_coordinator *c);

/* DescribeGroups, of one group. */
enum { QUERY_DESCRIBE_GROUPS_MIN = 0, QUERY_DESCRIBE_GROUPS_MAX = 4 };
struct query_group {
	int16_t error;
	char *state, *protocol; /* "Stable", "range" */
	int32_t member_count;
	struct query_member {
		char *id, *client, *host;
		struct query_places places; /* that it reads */
	} * members;
};
void query_put_describe_groups(struct buf *b, int16_t version, const char *group);
/* Returns 0, or -1. Free with query_group_free, in both cases. */
int query_read_describe_groups(struct span body, int16_t version, struct query_group *g);
void query_group_free(struct query_group *g);

/* ConsumerGroupDescribe, of one group whose members speak the protocol of KIP-848: the broker says
 * of it in DescribeGroups that it is "Dead". */
enum { QUERY_CONSUMER_GROUP_DESCRIBE = 0 };
void query_put_consumer_group(struct buf *b, const char *group);
/* As query_read_describe_groups. */
int query_read_consumer_group(struct span body, struct query_group *g);

/* ListGroups, of all that the broker coordinates; the request's body is empty. */
enum { QUERY_LIST_GROUPS_MIN = 0, QUERY_LIST_GROUPS_MAX = 2 };
/* Returns 0, or -1. What was read is added to @names in both cases. */
int query_read_list_groups(
	struct span body, int16_t version, int16_t *error, struct catalog *names);

/* DescribeConfigs, of one value of one resource. */
enum { QUERY_DESCRIBE_CONFIGS_MIN = 1, QUERY_DESCRIBE_CONFIGS_MAX = 2 };
enum query_resource { QUERY_RESOURCE_TOPIC = 2, QUERY_RESOURCE_BROKER = 4 };
void query_put_describe_configs(
	struct buf *b, enum query_resource type, const char *name, const char *property);
/* Returns 0, or -1. The spans are in @body; SPAN_NONE: not told. */
int query_read_describe_configs(
	struct span body, int16_t *error, struct span *text, struct span *value);

#endif
