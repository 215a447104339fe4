/* SPDX-License-Identifier: ISC */
/* Where evstamp(1) puts a record's origin. */
#ifndef EVPIPE_EVCHAIN_ORIGIN_H
#define EVPIPE_EVCHAIN_ORIGIN_H

#include "json/path.h"
#include "record/record.h"

struct origin {
	const char *header; /* its name; or NULL, and: */
	struct path *path; /* of the payload's member */
	struct span name; /* the path's last step */
	/* internal */
	struct path *parent;
	struct buf payload, text, escaped;
};

/* @at: .PATH, or header:NAME. Dies with 100 when it is neither. */
void origin_open(struct origin *o, const char *at);
/* The record's origin as JSON has it between the quotes, valid until the next call; SPAN_NONE when
 * there is none. */
struct span origin_of(struct origin *o, const struct record *r);
void origin_close(struct origin *o);

#endif
