/* SPDX-License-Identifier: ISC */
/* The options that say what is read, and from where to where. */
#ifndef EVPIPE_KREAD_RANGE_H
#define EVPIPE_KREAD_RANGE_H

#include "base/opt.h"
#include "kread/parts.h"

#include <stdbool.h>

/* -p, -o, --until, -e, --offsets, --print-offsets, --follow-new; `topics` are the operands, which
 * stand last. */
struct range_opts {
	struct arg_str *partitions, *from, *until, *topics;
	struct arg_lit *to_end, *follow_new, *print_offsets;
	struct arg_file *offsets;
};
void range_opts(struct range_opts *o);
#define RANGE_ENTRIES(o)                                                                           \
	(o).partitions, (o).from, (o).until, (o).to_end, (o).offsets, (o).print_offsets,           \
		(o).follow_new

/* Reads them into @s. @group: its name, or NULL. @counted: whether there is a -c. Dies with 100. */
void range_take(struct parts *s, const struct range_opts *o, const char *group, bool counted);

#endif
