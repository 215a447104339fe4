/* SPDX-License-Identifier: ISC */
/* evpipe's command line: members between bars, which of them are ours, and what the others mean. */
#ifndef EVPIPE_CMDLINE_H
#define EVPIPE_CMDLINE_H

#include "evpipe/evpipe.h"

#include "base/buf.h"

/* Splits the operands at their '|' into e->members. Dies with 100. */
void cmdline_parse(struct evpipe *e, int argc, const char *const *argv);
/* Whether the first member is a source of ours. */
bool cmdline_has_source(const struct evpipe *e);
/* The last member's name when it is a sink of ours, which can acknowledge records; "" when it is
 * not, or is a filter by --pass. */
const char *cmdline_sink(const struct evpipe *e);
/* Appends the names of the foreign programs between the first and the last that may drop records,
 * separated by spaces, and a NUL. */
void cmdline_foreign(const struct evpipe *e, struct buf *names);

/* The program of ours that may have been meant by @name; NULL: none. */
const char *cmdline_near(const char *name);

#endif
