/* SPDX-License-Identifier: ISC */
/* Messages between their line and librdkafka, sorted by partition: those of one read, or a part of
 * them, and those that wait for the answer to the first record of their partition (first.h). */
#ifndef KWRITE_BATCH_H
#define KWRITE_BATCH_H

#include "kwrite/delivery.h"
#include "kwrite/first.h"
#include "kwrite/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	BATCH = 512, /* messages that are added between two batch_send */
	BATCH_ENTRIES = 32768, /* the sink has no more slots */
	BATCH_LISTS = 64,
};

struct batch {
	struct firsts firsts;
	bool is_stuck; /* librdkafka has no room: add nothing before batch_send has returned true */
	/* internal */
	struct shape shape; /* of messages that are made again, with buffers of its own */
	struct message messages[BATCH];
	size_t count; /* of messages */
	struct batch_entry {
		struct delivery *delivery;
		int32_t partition; /* that it will go to; -1: not known, or not by its key */
		uint16_t message; /* BATCH: it is made again when it is sent */
		uint16_t next; /* of its list */
		bool is_keyless; /* it goes to no partition of its own */
		bool is_stray; /* counted in partition_state */
	} entries[BATCH_ENTRIES];
	size_t used; /* entries; of these some may be free */
	uint16_t free[BATCH_ENTRIES];
	size_t free_count;
	struct batch_list {
		uint16_t first, last, count;
		/* So many of its first entries wait, the last of them is `behind`, as of `seen`. */
		uint16_t waiting, behind;
		uint32_t seen; /* firsts.answers */
	} lists[BATCH_LISTS];
};

void batch_open(struct batch *b, const struct shape *shape);
static inline bool batch_is_full(const struct batch *b)
{
	return b->count == BATCH;
}
/* The message of a record that was taken; its headers are the batch's. */
void batch_add(struct batch *b, const struct message *m, struct delivery *d);
/* Hands over all that was added but what waits for an answer. false: librdkafka has no room for all
 * of it; try again after events. true: what the messages' spans point to is not needed any more. */
bool batch_send(struct batch *b, struct deliveries *ds);

#endif
