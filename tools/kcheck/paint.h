/* SPDX-License-Identifier: ISC */
/* What show.c and show-views.c share: words in colour, and members of JSON objects. */
#ifndef EVPIPE_KCHECK_PAINT_H
#define EVPIPE_KCHECK_PAINT_H

#include "kcheck/show.h"

void paint(const struct show *s, struct buf *b, bool ok, const char *text);
/* Appends text of others, fit for a terminal and a line (msg_clean). */
void paint_text(struct buf *b, const char *text);
/* The same for "host:port", "[address]:port". */
void paint_at(struct buf *b, const char *host, const char *port);
/* Appends a comma and "name":"text"; bytes that are not UTF-8 become '?'. */
void paint_member(struct buf *b, const char *name, const char *text);
/* … the members that all objects have: ok, verdict, remedy, note. */
void paint_verdict(struct buf *b, const struct check_verdict *v);
/* Appends " 1 2 3", or "1,2,3" when that is the separator. */
void paint_ids(struct buf *b, const int32_t *ids, int32_t n, const char *separator);

#endif
