/* SPDX-License-Identifier: ISC */
/* librdkafka's handles of the topics that requests write to, kept for the next request: a new one
 * would have to learn of its partitions again. Of many topics all are let go. */
#ifndef KHTTP_HANDLES_H
#define KHTTP_HANDLES_H

#include "kafka/kafka.h"

#include <stddef.h>

struct handles {
	/* internal */
	struct kafka *kafka;
	struct handle *list; /* in the order of their names */
	size_t count;
};

void handles_open(struct handles *hs, struct kafka *k);
/* NULL: that cannot be a topic's name. Valid until the next call. */
rd_kafka_topic_t *handles_get(struct handles *hs, const char *name);
/* Kafka does not know the topic, or not as it was: the next request gets a new one. */
void handles_forget(struct handles *hs, const char *name);
void handles_close(struct handles *hs);

#endif
