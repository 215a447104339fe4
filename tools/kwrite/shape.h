/* SPDX-License-Identifier: ISC */
/* The options that say how lines become messages. */
#ifndef EVPIPE_KWRITE_SHAPE_H
#define EVPIPE_KWRITE_SHAPE_H

#include "base/opt.h"
#include "kwrite/message.h"

/* -t, --key, --key-type, -H, -p, --now, --raw, -0, --framing, --skip-empty. */
struct shape_opts {
	struct arg_str *topic, *key, *key_type, *headers, *partition, *framing;
	struct arg_lit *now, *raw, *nul, *skip_empty;
};
void shape_opts(struct shape_opts *o);
#define SHAPE_ENTRIES(o)                                                                           \
	(o).topic, (o).key, (o).key_type, (o).headers, (o).partition, (o).now, (o).raw, (o).nul,   \
		(o).framing, (o).skip_empty

/* Reads them into @shape. Dies with 100. */
void shape_take(struct shape *shape, const struct shape_opts *o);

#endif
