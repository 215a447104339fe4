/* SPDX-License-Identifier: ISC */
/* The layout without a format: a line a record with time, place, key and payload. */
#ifndef EVPIPE_EVFMT_LAYOUT_H
#define EVPIPE_EVFMT_LAYOUT_H

#include "evfmt/paint.h"
#include "evfmt/view.h"

struct layout {
	struct paint_style style;
	bool aligned; /* in columns, with spaces; else a TAB stands between the fields */
	bool headers; /* behind the key */
	/* internal */
	size_t widths[4]; /* widest so far, up to a limit */
	struct buf text, cell;
};

/* Appends the record and a line end. */
void layout_print(struct layout *l, struct view *v, struct buf *out);

#endif
