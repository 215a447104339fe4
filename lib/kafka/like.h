/* SPDX-License-Identifier: ISC */
/* What a topic is like: partitions, replicas, and the configuration that was set on it by name. For
 * making it again in another cluster. Asked without waiting, one topic at a time. */
#ifndef EVPIPE_LIKE_H
#define EVPIPE_LIKE_H

#include "kafka/kafka.h"
#include "kafka/listing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum like_state {
	LIKE_WAIT,
	LIKE_KNOWN,
	LIKE_NONE, /* there is no such topic */
};

struct like {
	/* Of the topic that is LIKE_KNOWN, until another one is asked about. */
	int32_t partitions;
	int16_t replicas;
	char **names, **values;
	size_t count;
	/* internal */
	struct kafka *kafka;
	struct listing listing;
	rd_kafka_queue_t *answers;
	char *topic;
	enum { LIKE_ASK, LIKE_ASKED, LIKE_ASKED_CONFIG, LIKE_DONE } step;
	enum like_state found;
	int64_t again_ms; /* when a question that failed is asked again */
};

/* @k: the cluster that is asked; its wake_fd tells of answers. */
void like_open(struct like *l, struct kafka *k);
/* Asks about the topic, or goes on with that; call each turn until it is not LIKE_WAIT. Questions
 * that fail are asked again; what is the configuration's fault stands in the client's `trouble`. */
enum like_state like_look(struct like *l, const char *topic);
/* Whether the same values, by the other's names, are to be left out of a copy: those that say which
 * brokers do what, or would change the time of records. */
bool like_is_copied(const char *name);
/* Returns false while a question is out: see listing_close. */
bool like_close(struct like *l);

#endif
