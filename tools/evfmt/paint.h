/* SPDX-License-Identifier: ISC */
/* Colours, and JSON printed for people. */
#ifndef EVPIPE_EVFMT_PAINT_H
#define EVPIPE_EVFMT_PAINT_H

#include "base/buf.h"

#include <stdbool.h>

enum paint {
	PAINT_NONE,
	PAINT_TIME,
	PAINT_TOPIC,
	PAINT_CHANNEL,
	PAINT_STREAM,
	PAINT_KEY,
	PAINT_TOMBSTONE,
	PAINT_NAME, /* of a member of an object */
	PAINT_STRING,
	PAINT_NUMBER,
	PAINT_WORD, /* true, false, null */
};

struct paint_style {
	bool coloured;
	bool safe; /* what a terminal would obey is escaped */
	bool pretty; /* a JSON payload takes a line for each member */
};

/* Appends @text in a colour. */
void paint_text(struct buf *out, const struct paint_style *style, enum paint p, struct span text);
/* Whether @text is a JSON object or array. It needs BUF_SLACK readable bytes behind it. */
bool paint_is_json(struct span text);
/* Appends @json, for which paint_is_json is true. Each string, number and word stands as it is;
 * only white space between them is ours: a line for each member and element with style->pretty,
 * none in JSON that has line ends. */
void paint_json(struct buf *out, const struct paint_style *style, struct span json);

#endif
