/* SPDX-License-Identifier: ISC */
/* A record that is looked at: its fields as bytes, decoded once each. */
#ifndef EVPIPE_EVFMT_VIEW_H
#define EVPIPE_EVFMT_VIEW_H

#include "record/record.h"

enum view_field {
	VIEW_TOPIC,
	VIEW_PARTITION,
	VIEW_OFFSET,
	VIEW_TS,
	VIEW_TSTYPE,
	VIEW_KEY,
	VIEW_PAYLOAD,
	VIEW_CHANNEL,
	VIEW_PATTERN,
	VIEW_STREAM,
	VIEW_ID,
	VIEW_SEQ,
	VIEW_FIELDS
};

struct view {
	const struct record *r;
	/* internal */
	unsigned known; /* fields that were decoded, a bit each */
	struct span field[VIEW_FIELDS];
	struct buf scratch[VIEW_FIELDS];
	struct buf header;
};

/* Looks at the next record. What was returned for the one before is void. */
void view_record(struct view *v, const struct record *r);
/* A field's bytes, valid until the next record; p NULL: it is not there, or null. The time is that
 * of record_time_ms. */
struct span view_field(struct view *v, enum view_field f);
/* The last header of that name, valid until the next call. */
struct span view_header(struct view *v, const char *name);
/* Calls @each for the headers in their order; the spans are valid in the call. A value whose p is
 * NULL is null. */
void view_headers(struct view *v,
	void (*each)(void *ctx, size_t i, struct span name, struct span value), void *ctx);

#endif
