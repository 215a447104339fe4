/* SPDX-License-Identifier: ISC */
/* Media types of bodies and of answers. */
#ifndef KHTTP_MEDIA_H
#define KHTTP_MEDIA_H

#include "base/buf.h"

#include <stdbool.h>

enum media {
	MEDIA_NONE,
	MEDIA_V2, /* application/vnd.kafka.v2+json */
	MEDIA_JSON, /* application/vnd.kafka.json.v2+json */
	MEDIA_BINARY,
	MEDIA_TEXT,
	MEDIA_PLAIN, /* application/json */
	MEDIA_LINES, /* application/x-ndjson */
	MEDIA_EVENTS, /* text/event-stream */
	MEDIA_OTHER,
};
/* As they are written; NULL for MEDIA_NONE and MEDIA_OTHER. */
const char *media_name(enum media m);
/* What a Content-Type says. @exact: letter by letter, without parameters. NULL is MEDIA_NONE. */
enum media media_of(const char *content_type, bool exact);
/* Which of @offered (ended by MEDIA_NONE, the best first) the header Accept likes best, by its q
 * values and wildcards; the first when there is no header; MEDIA_NONE: none of them. @exact: only a
 * header that is the name of one, letter by letter. */
enum media media_choose(const char *accept, const enum media *offered, bool exact);

#endif
