/* SPDX-License-Identifier: ISC */
/* A sink that keeps positions, such as rapply, decides where each partition is read from
 * (evpipe-ack(7)). Partitions that the group gives are told to librdkafka once the sink has
 * answered for all of them. */
#ifndef EVPIPE_KREAD_KEEPER_H
#define EVPIPE_KREAD_KEEPER_H

#include "flow/source.h"
#include "kafka/kafka.h"
#include "kafka/listing.h"
#include "kread/parts.h"

#include <stdbool.h>
#include <stdint.h>

struct keeper {
	/* set by the program */
	struct kafka *kafka;
	struct parts *parts;
	struct source *source;
	/* internal */
	struct listing listing;
	rd_kafka_topic_partition_list_t *arriving; /* NULL: nothing is asked */
	rd_kafka_topic_partition_list_t *low, *high;
	bool told; /* the sink has been asked */
	int64_t ask_ms; /* when a question that failed is asked again */
};

/* Call once the source is open and the client started. */
void keeper_open(struct keeper *k);
/* Whether the sink decides. It has come when the group is joined. */
static inline bool keeper_decides(const struct keeper *k)
{
	return k->source->server.keeps_positions;
}
/* Begins to ask for these partitions, whose offsets are what the group has committed. @list is
 * copied; an earlier question is forgotten. */
void keeper_ask(struct keeper *k, const rd_kafka_topic_partition_list_t *list);
/* Whether an answer is awaited. */
static inline bool keeper_asks(const struct keeper *k)
{
	return k->arriving;
}
/* Goes on. The list, with the offsets to begin at, once all are known: it is the caller's then.
 * Call each turn. */
rd_kafka_topic_partition_list_t *keeper_step(struct keeper *k);
/* The partitions come to nothing. */
void keeper_cancel(struct keeper *k);
/* Whether the list names the partitions of @asked: an answer may be to a question before. */
bool keeper_is_answer(
	const rd_kafka_topic_partition_list_t *list, const rd_kafka_topic_partition_list_t *asked);
/* Returns false while a thread waits, as listing_close. */
bool keeper_close(struct keeper *k);

#endif
