/* SPDX-License-Identifier: ISC */
/* Which positions are committed, by the fate of the records: --commit, --window. */
#ifndef EVPIPE_KREAD_ACKS_H
#define EVPIPE_KREAD_ACKS_H

#include "base/opt.h"
#include "kread/group.h"

#include <stdbool.h>
#include <stdint.h>

struct acks_opts {
	struct arg_str *commit, *window;
};
void acks_opts(struct acks_opts *o);
#define ACKS_ENTRIES(o) (o).commit, (o).window

struct acks {
	struct group *group; /* set by the program */
	bool follows; /* positions follow acknowledgements */
	/* internal */
	int64_t window;
};

/* Reads the options, after those of the source; decides what the group commits. @raw: records will
 * have no numbers. Dies with 100. */
void acks_take(struct acks *a, const struct acks_opts *o, bool raw);
/* Opens the group's source. Dies with 100. */
void acks_open(struct acks *a);
/* Commits when it is time to, lest the window fill with records that are only not committed. Call
 * each turn, after the answers to commits were taken. */
void acks_commit(struct acks *a);

#endif
