/* SPDX-License-Identifier: ISC */
/* What the parts of opt.c share. */
#ifndef EVPIPE_OPT_PARTS_H
#define EVPIPE_OPT_PARTS_H

#include "base/opt.h"

/* "prog", or "prog command": how the user calls it. Valid until the next call. */
const char *opt_call_name(const char *prog);

/* -h is redis-cli's if a host follows: dies with the page's hint, where it has one. */
void opt_refuse_host(int argc, char **argv, const struct opt_page *page);
/* What argtable2 takes for something else, or tells in words that nobody understands: a value for
 * an option that takes none, an empty one, another option in the place of a value. Dies with
 * opt_bad, or returns. */
void opt_refuse_words(int argc, char **argv, void **table, const struct opt_page *page);
/* Dies with opt_bad for the first error that argtable2 found; @end is the end of @table. */
_Noreturn void opt_refuse(
	int argc, char **argv, void **table, struct arg_end *end, const struct opt_page *page);

#endif
