/* SPDX-License-Identifier: ISC */
/* Templates for destinations and keys: "sse:{topic}", "{channel#sse:}", "{payload.a.b}",
 * "{header:NAME}"; {{ and }} are braces. */
#ifndef EVPIPE_TEMPLATE_H
#define EVPIPE_TEMPLATE_H

#include "record/record.h"

struct template;

/* NULL with a sentence in @why when it is no template. Free with template_free. */
struct template *template_parse(const char *s, char *why, size_t why_size);
void template_free(struct template *t);
/* The text, when the template has no fields; else NULL. */
const char *template_constant(const struct template *t);
/* Appends the expansion to @out. Returns 0, or -1 with @e (missing-field, prefix-mismatch,
 * json-decode for {payload.x}) and @out as it was. @scratch is cleared and used. */
int template_expand(const struct template *t, const struct record *r, struct buf *scratch,
	struct buf *out, struct record_error *e);

#endif
