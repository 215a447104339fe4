/* SPDX-License-Identifier: ISC */
/* The first record to a partition goes alone: what comes behind it waits for its answer.
 *
 * A broker refuses a batch behind one that it has refused, because the batch's sequence number
 * leaves a gap: so the order is kept (resend.h). But a broker that has nothing of this producer
 * takes any number. Without this, a second batch would be written while the first, which was
 * refused, is still to be sent again.
 *
 * Where librdkafka does not know the topic's partitions yet, the first record waits in librdkafka
 * for these, and all of the topic wait for it until its partition is chosen.
 *
 * Any topic may refuse a batch, if only because its limit was lowered after it was read.
 *
 * A broker forgets a producer after a time without records (producer.id.expiration.ms, a day). So a
 * partition that had no answer for an hour or two begins anew. */
#ifndef KWRITE_FIRST_H
#define KWRITE_FIRST_H

#include "kwrite/delivery.h"
#include "kwrite/partition.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct firsts {
	bool off; /* records go as they come */
	/* internal */
	uint32_t hour; /* the present one, from 2 on */
	uint32_t
		answers; /* to first records; also raised when the partition of one becomes known */
	size_t unplaced; /* first records whose partition is not known */
	struct firsts_topic {
		uint32_t *hours; /* of each partition's last answer, -1 the first; 0: none */
		size_t count;
		struct partition_state
			*unplaced; /* the topic's, if it has such a record; else NULL */
	} * topics; /* by the number in partition_state */
	size_t count;
};

/* In `hours`: the partition's first record is on its way. */
#define FIRSTS_OUT UINT32_MAX

/* Call before the first record, and each turn. */
void firsts_tick(struct firsts *f, int64_t now_ms);

/* Learns which partition was chosen for first records that went to an unknown one. Call before
 * firsts_may_go. */
void firsts_place(struct firsts *f);

/* internal */
bool firsts_begin(struct firsts *f, struct delivery *d, int32_t partition);
void firsts_note(struct firsts *f, struct delivery *d, int32_t partition, bool is_written);
static inline uint32_t firsts_hour(
	const struct firsts *f, const struct partition_state *s, int32_t partition)
{
	size_t i = (size_t)(partition + 1);

	return s->number < f->count && i < f->topics[s->number].count
		? f->topics[s->number].hours[i]
		: 0;
}

/* Whether a record to @partition has to wait for an answer; if it does not now, it may
 * nevertheless. */
static inline bool firsts_is_out(
	const struct firsts *f, const struct delivery *d, int32_t partition)
{
	return !d->is_first && firsts_hour(f, d->topic->own, partition) == FIRSTS_OUT;
}
/* Whether the record may be handed over now. It will go to @partition; -1: that is not known. */
static inline bool firsts_may_go(struct firsts *f, struct delivery *d, int32_t partition)
{
	return f->off ||
		(partition >= 0 && firsts_hour(f, d->topic->own, partition) + 1 - f->hour <= 1) ||
		firsts_begin(f, d, partition);
}
/* A record that was handed over has gone to another partition than was told. */
void firsts_moved(struct firsts *f, struct delivery *d, int32_t partition);
/* Kafka has answered for the record, or it was never sent. */
static inline void firsts_answered(
	struct firsts *f, struct delivery *d, int32_t partition, bool is_written)
{
	if (!f->off &&
		(d->is_first ||
			(is_written && firsts_hour(f, d->topic->own, partition) != f->hour)))
		firsts_note(f, d, partition, is_written);
}

#endif
