/* SPDX-License-Identifier: ISC */
/* Positions of the source's group, sent to a transaction without waiting for the answer
 * (kwrite/call.h). */
#ifndef KWRITE_POSITIONS_H
#define KWRITE_POSITIONS_H

#include "base/buf.h"
#include "kafka/kafka.h"
#include "kwrite/call.h"

#include <stdbool.h>

struct positions {
	struct call call; /* the answer, once it is taken */
	/* internal */
	struct kafka *kafka;
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_consumer_group_metadata_t *group;
};

void positions_open(struct positions *p, struct kafka *k);
/* @reply: "BASE64 TOPIC P O TOPIC P O …", a NUL behind it; a comma and the cluster's id may stand
 * behind BASE64. Returns false when there is no metadata of a group in it; what librdkafka says to
 * that is the answer. */
bool positions_send(struct positions *p, struct span reply);
/* The id of the group's cluster in such a reply; empty: it is not told. */
struct span positions_cluster(struct span reply);
/* Takes the answer. false: it has not come yet. */
bool positions_take(struct positions *p);
/* Waits for the answer, some seconds at most, and drops it. */
void positions_drop(struct positions *p);

#endif
