/* SPDX-License-Identifier: ISC */
/* Positions of the source's group, sent to a transaction without waiting for the answer: a thread
 * makes librdkafka's one call, wakes the client's loop and ends. While it is out no other call for
 * transactions may be made. */
#ifndef KWRITE_POSITIONS_H
#define KWRITE_POSITIONS_H

#include "base/buf.h"
#include "kafka/kafka.h"

#include <pthread.h>
#include <stdbool.h>

struct positions {
	rd_kafka_error_t *error; /* the answer; owned by whoever takes it. NULL: done */
	/* internal */
	struct kafka *kafka;
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_consumer_group_metadata_t *group;
	pthread_t thread;
	bool is_out, has_thread;
	_Atomic bool answered;
};

void positions_open(struct positions *p, struct kafka *k);
/* @reply: "BASE64 TOPIC P O TOPIC P O …", a NUL behind it; a comma and the cluster's id may stand
 * behind BASE64. Returns false when there is no metadata of a group in it; what librdkafka says to
 * that is the answer. */
bool positions_send(struct positions *p, struct span reply);
/* The id of the group's cluster in such a reply; empty: it is not told. */
struct span positions_cluster(struct span reply);
bool positions_are_out(const struct positions *p);
/* Takes the answer. false: it has not come yet. */
bool positions_take(struct positions *p);
/* Waits for the answer, some seconds at most, and drops it. */
void positions_drop(struct positions *p);

#endif
