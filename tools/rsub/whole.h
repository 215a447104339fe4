/* SPDX-License-Identifier: ISC */
/* What the connections of an rsub have in common. There are several in a cluster: one for the names
 * of each slot. */
#ifndef EVPIPE_RSUB_WHOLE_H
#define EVPIPE_RSUB_WHOLE_H

#include "flow/dead.h"
#include "flow/source.h"
#include "rsub/exact.h"
#include "rsub/names.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct whole {
	struct source *source;
	struct dead dead; /* of streams */
	struct ledger_part *account; /* of channels; NULL: records have no numbers */
	uint64_t gaps, lost, put_back; /* counters */
	uint64_t refused; /* messages */
	int count; /* connections */
	int ready, over; /* … that are; that have read all */
	int stalled; /* … whose server refuses to write */
	size_t asked; /* records that all of them have asked for */
	struct exact exact; /* with a group that follows acknowledgements */
};

/* Changes what one connection is, *@mine, in the number of all. */
static inline void whole_count(int *count, bool *mine, bool is)
{
	*count += is - *mine;
	*mine = is;
}
/* … whether it is ready: rsub is when all are. */
void whole_ready(struct whole *w, bool *mine, bool is);
/* The lists of names that are read by one connection each: all of them, or in a cluster those of
 * each slot. Returns how many lists *@parts has. */
int whole_part(const struct names *names, bool by_slot, struct names **parts);

#endif
