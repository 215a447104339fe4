/* SPDX-License-Identifier: ISC */
/* What a format string is made of: between format-parse.c and format.c, which prints. */
#ifndef EVPIPE_EVFMT_ITEMS_H
#define EVPIPE_EVFMT_ITEMS_H

#include "evfmt/clock.h"
#include "evfmt/format.h"
#include "json/path.h"

enum item_kind {
	ITEM_TEXT, /* of the format itself */
	ITEM_FIELD,
	ITEM_HEADERS,
	ITEM_HEADER,
	ITEM_PATH, /* of the line, or of a field's JSON */
	ITEM_PLACE,
	ITEM_RECORD, /* the whole line */
};

enum item_form {
	FORM_PLAIN,
	FORM_SIZE, /* in bytes; -1 for null */
	FORM_SIZE_BE32, /* the same as four bytes */
	FORM_HEX,
	FORM_BASE64,
	FORM_JSON, /* as it stands in JSON */
	FORM_INTEGER, /* its bytes are an integer's */
	FORM_TIME,
};

struct item {
	enum item_kind kind;
	enum item_form form;
	enum view_field field; /* ITEM_FIELD; ITEM_PATH: that of the JSON, VIEW_FIELDS: the line */
	struct span text;
	const char *name; /* of a header; of strftime's format */
	struct path *path;
	enum clock_form clock;
	const char *strftime;
	unsigned bytes; /* FORM_INTEGER: 1, 2, 4 or 8 */
	bool is_signed, is_little;
	bool left;
	bool has_limit;
	size_t width, limit; /* in columns */
};

struct format {
	struct buf text;
	struct item *items;
	size_t count;
	bool wants_now;
};

#endif
