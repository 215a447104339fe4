/* SPDX-License-Identifier: ISC */
/* Format strings: kcat's tokens, escapes, and %{FIELD:FORM}, each with a width and a limit as in
 * printf. */
#ifndef EVPIPE_EVFMT_FORMAT_H
#define EVPIPE_EVFMT_FORMAT_H

#include "evfmt/paint.h"
#include "evfmt/view.h"

struct format;

/* NULL with a sentence in @why when it is no format. It lives on to the program's end. */
struct format *format_parse(const char *s, char *why, size_t why_size);
/* Whether it asks for the time now. */
bool format_wants_now(const struct format *f);
/* Appends the record; what is null or not there is @null. */
void format_print(const struct format *f, struct view *v, const struct paint_style *style,
	struct span null, int64_t now_ms, struct buf *out);
/* Appends headers as kcat does: name=value,name=value, with NULL for null. */
void format_put_headers(struct view *v, struct buf *out);
/* Where the record was read: orders/2@24, a channel, stream@id; empty when it does not say. */
void format_put_place(struct view *v, struct buf *out);

#endif
