/* SPDX-License-Identifier: ISC */
/* The state of khttp, and what its parts share. */
#ifndef KHTTP_H
#define KHTTP_H

#include "http/http.h"
#include "kafka/kafka.h"
#include "kafka/listing.h"
#include "kafka/silence.h"
#include "khttp/access.h"
#include "khttp/stats.h"

#include <stdbool.h>
#include <stdint.h>

struct consumers;
struct produces;
struct asks;
struct requests;
struct peers;

struct khttp {
	struct http *api, *management; /* management: NULL when there is none */
	struct http_conf conf;
	/* The configuration that -b, -X, -F and --resolve make, for clients of parts: see
	 * khttp_conf. */
	struct kafka_conf base;
	struct kafka kafka; /* asked for topics, and whether Kafka answers */
	struct produces *produces;
	struct asks *asks;
	struct requests *requests;
	struct peers *peers; /* NULL: none */
	rd_kafka_queue_t *answers; /* of Kafka's to what topics.c has asked */
	struct consumers *consumers;
	struct access access;
	struct stats stats;
	struct silence silence; /* of all consumers */
	const char *id; /* --id: names of instances begin with it; NULL */
	const char *
		/* --advertise: "http://host:port", where clients reach this bridge; NULL */
		advertise;
	bool compat; /* as the reference, also where it is wrong */
	bool no_consumer, no_producer;
	bool stopping;
	bool is_up; /* Kafka answers: see khttp_kafka_answers */
	int64_t up_ms; /* when it did last; 0: never */
	int64_t now_ms; /* wake_now_ms of this turn */
	uint64_t max_instances, max_waits; /* requests that wait for records */
	/* an instance that nobody asks for so long is deleted; 0: never */
	int64_t consumer_timeout_ms;
};

/* A configuration for another client: the caller may set more in its `rd` before kafka_start takes
 * it. */
struct kafka_conf khttp_conf(const struct khttp *k);
struct kafka_conf khttp_consumer_conf(const struct khttp *k);
/* Whether Kafka answers; else it has answered the request with 503. */
bool khttp_kafka_answers(struct khttp *k, struct http_request *r);

/* Appends all of /metrics. */
void khttp_metrics(struct khttp *k, struct buf *out);

#endif
