/* SPDX-License-Identifier: ISC */
/* Functions that the files of lib/record/record* share. */
#ifndef EVPIPE_RECORD_PARTS_H
#define EVPIPE_RECORD_PARTS_H

#include "record/record.h"

/* ---- record.c ---- */
/* {"b64":"…"} and nothing else, canonical: 0 and the string in it; else not 0. */
int record_header_b64(struct span object, struct json_value *v);

/* ---- record-read.c ---- */
/* A base64 string that record_parse has passed, decoded at @scratch's end. Returns 0 or -1. */
int record_read_base64(const struct json_value *v, struct buf *scratch, struct span *bytes);
/* The next header as it stands in the line; start with *@j all zero. 1, 0 at the end, -1. */
int record_next_header(
	const struct record *r, struct json *j, struct json_value *name, struct json_value *value);
/* Whether a header's name, as it stands in the line, stands for these bytes. */
bool record_header_is(const struct json_value *v, struct span name);

#endif
