/* SPDX-License-Identifier: ISC */
/* Records that come again. After a crash a source sends again what was not acknowledged: with the
 * place it was read from, topic, partition and offset or stream and id, and all it carries the
 * same, and another seq. Such a record is in the log already. Places of the last entries are kept
 * by their hash; whether the record is the same, the log says. */
#ifndef EVPIPE_EVCHAIN_REPEATS_H
#define EVPIPE_EVCHAIN_REPEATS_H

#include "evchain/files.h"
#include "record/record.h"

struct repeats {
	uint64_t window; /* so many of the last entries; a power of 2; 0: off */
	uint64_t count; /* records that were found in the log */
	/* internal */
	uint64_t size; /* entries that were noted */
	uint64_t *places; /* [n & (window - 1)]: the hash of entry n's place; 0: it has none */
	struct repeats_slot {
		uint64_t hash, n; /* hash 0: free */
	} * table; /* a hash table of 2 * window slots */
	struct buf line;
};

/* Notes the last entries of a log of @size. @window 0: does nothing, and nothing is ever found. */
void repeats_open(struct repeats *r, uint64_t window, const struct files *f, uint64_t size);
/* Whether the record may be in the log: the entry, which must be durable when repeats_is asks for
 * it; UINT64_MAX: it is not there. */
uint64_t repeats_find(const struct repeats *r, const struct record *record);
/* Whether that entry is the same record. */
bool repeats_is(struct repeats *r, const struct files *f, uint64_t n, const struct record *record);
/* The next entry's record; NULL: it is none. */
void repeats_add(struct repeats *r, const struct record *record);
void repeats_close(struct repeats *r);

#endif
