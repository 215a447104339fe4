/* SPDX-License-Identifier: ISC */
/* The loop of a pure filter: lines in, records looked at one by one, lines out. */
#ifndef EVPIPE_FILTER_H
#define EVPIPE_FILTER_H

#include "buf.h"
#include "opt.h"
#include "record.h"

enum filter_verdict {
	FILTER_PASS, /* hand the line on as it came */
	FILTER_EDITED, /* hand on what was appended to @out */
	FILTER_DROP, /* by declared choice: counted */
	FILTER_REFUSE, /* @e says why */
};

/* Looks at one record. May append one line, without its LF, to @out when it says FILTER_EDITED. */
typedef enum filter_verdict filter_fn(
	void *self, const struct record *r, struct buf *out, struct record_error *e);

struct filter {
	filter_fn *each;
	void *self;
	const struct opt_input *input;
};

/* Runs from standard input to standard output until EOF and returns the exit status. The first
 * SIGTERM or SIGINT is ignored while input is open (a filter ends on EOF, so that nothing in the
 * pipe is lost); the second ends it at once. Ends as soon as the reader has gone, with input or
 * without. */
int filter_run(const struct filter *f);

#endif
