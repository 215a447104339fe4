/* SPDX-License-Identifier: ISC */
/* Messages between their line and librdkafka: those of one read, or a part of them, sorted by partition. */
#ifndef KWRITE_BATCH_H
#define KWRITE_BATCH_H

#include "kwrite/delivery.h"
#include "kwrite/first.h"
#include "kwrite/message.h"

#include <stdbool.h>
#include <stdint.h>

enum { BATCH = 512, BATCH_LISTS = 64 };

struct batch {
	struct batch_entry {
		struct message m;
		struct delivery *delivery;
		int32_t partition; /* that it will go to; -1: not known, or not by its key */
		uint16_t next; /* of its list */
	} entries[BATCH];
	struct batch_list {
		uint16_t first, last, count;
	} lists[BATCH_LISTS];
	size_t count, left; /* added, and not sent of these */
	struct firsts firsts;
};

static inline bool batch_is_full(const struct batch *b)
{
	return b->count == BATCH;
}
/* The message of a record that was taken; its headers are the batch's. */
void batch_add(struct batch *b, const struct message *m, struct delivery *d);
/* Hands over all that was added. false: librdkafka has no room for all of it, or a partition waits for the answer
 * to its first record; try again after events, and add nothing before. */
bool batch_send(struct batch *b, struct deliveries *ds);

#endif
