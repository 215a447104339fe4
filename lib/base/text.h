/* SPDX-License-Identifier: ISC */
/* Text for people: made safe for a terminal, and measured in the columns that it takes there.
 * Nothing here asks the locale: text is UTF-8, and bytes that are not are shown as such. */
#ifndef EVPIPE_TEXT_H
#define EVPIPE_TEXT_H

#include "base/buf.h"

/* Appends @s so that a terminal shows it and obeys nothing in it: control characters become \n, \t
 * or \x1b, bytes that are not UTF-8 \xff, characters that turn the direction of text or end a line
 * \u202e. All else is copied. */
void text_safe(struct buf *out, struct span s);
/* The first place in @s that text_safe would change, or its end. */
const char *text_unsafe(struct span s);
/* The length of the UTF-8 character at @p, which is before @end, and the character in @c; 0: it is
 * none. */
size_t text_char(const char *p, const char *end, uint32_t *c);
/* Columns: 2 for wide characters, 0 for marks that stand on another character, 1 for a byte that is
 * not UTF-8. */
size_t text_columns(struct span s);
/* Appends @s for a URL: letters, digits and the characters of @also stay, all other bytes become
 * %XX (RFC 3986, 2.1). */
void text_put_url(struct buf *out, struct span s, const char *also);
/* How many bytes of @s take @columns columns at most. A character is never cut in two. */
size_t text_cut(struct span s, size_t columns);

/* The length of @text up to one of @ends, or of all of it. What stands in quotes, as in HTTP's
 * headers, is none of them. */
size_t text_until(const char *text, const char *ends);

#endif
