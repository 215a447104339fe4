/* SPDX-License-Identifier: ISC */
/* Questions to the brokers for metadata and offsets, without waiting for the answer.
 *
 * librdkafka answers these only to a caller that waits (2.0.2; later versions for some of them). So
 * a thread of this module makes that one call, hands the answer over, wakes the client's loop and
 * ends. One question at a time:
 *
 * 	if (!listing_is_out(l))
 * 		listing_ask_topic(l, "orders");
 * 	if (!listing_take(l))
 * 		return; // and again when the client's wake_fd was readable
 * 	if (l->err) …
 *
 * All functions belong to the thread that runs the loop. */
#ifndef EVPIPE_LISTING_H
#define EVPIPE_LISTING_H

#include "kafka/kafka.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { LISTING_MS = 500 }; /* a question without an answer fails then */

struct listing {
	/* The last answer, until the next question. A topic that does not exist has its own error
	 * in `metadata`. RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE: no thread could be started. */
	rd_kafka_resp_err_t err;
	const struct rd_kafka_metadata *metadata;
	rd_kafka_topic_partition_list_t *offsets;
	int pause_ms; /* before a question that comes after one that failed; set by the user */
	/* internal */
	struct kafka *kafka;
	pthread_t thread;
	bool is_out, has_thread, has_failed;
	_Atomic bool answered;
	enum {
		LISTING_TOPIC,
		LISTING_TOPICS,
		LISTING_BROKERS,
		LISTING_OFFSETS,
		LISTING_COMMITTED
	} kind;
	rd_kafka_topic_t *topic;
};

void listing_open(struct listing *l, struct kafka *k);
/* Asks for a topic's partitions. The answer is __INVALID_ARG when that cannot be a topic's name.
 * Makes a handle of the topic: one with a configuration must have been made before. */
void listing_ask_topic(struct listing *l, const char *name);
/* … for all topics; for the brokers alone. */
void listing_ask_topics(struct listing *l);
void listing_ask_brokers(struct listing *l);
/* … for the first offset of each partition at or after the time in its `offset`, in milliseconds;
 * there -1 stands for the end and -2 for the beginning, as in the protocol. Takes @list over. The
 * answer is an error when one partition has one; a time after the last record has the offset -1. */
void listing_ask_offsets(struct listing *l, rd_kafka_topic_partition_list_t *list);
/* … for the positions that the client's group has committed, with their metadata;
 * RD_KAFKA_OFFSET_INVALID: none. Takes @list over. Each partition has its own error. */
void listing_ask_committed(struct listing *l, rd_kafka_topic_partition_list_t *list);
/* A question was asked, and its answer has not been taken. */
bool listing_is_out(const struct listing *l);
/* Takes the answer. false: it has not come yet. */
bool listing_take(struct listing *l);
/* The topic of the last answer whose name @name may be a slip of (base/near.h), valid as long as
 * that answer. NULL: none. */
const char *listing_near(const struct listing *l, const char *name);
/* Returns false while the thread still waits, LISTING_MS at most: then the client must not be
 * stopped; call again, or leave the process. */
bool listing_close(struct listing *l);

#endif
