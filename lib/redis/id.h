/* SPDX-License-Identifier: ISC */
/* The id of a stream's entry: "MS-SEQ", two unsigned numbers of 64 bits. */
#ifndef EVPIPE_REDIS_ID_H
#define EVPIPE_REDIS_ID_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct id {
	uint64_t ms, seq;
};

/* "MS-SEQ" or "MS", which is "MS-0". Returns 0, or -1 when it is neither. */
int id_parse(struct span text, struct id *id);
enum { ID_TEXT = 48 };
/* Its digits, NUL-ended, in @text, which has room for ID_TEXT bytes. */
struct span id_text(struct id id, char *text);
static inline void id_put(struct buf *b, struct id id)
{
	char text[ID_TEXT];

	buf_span(b, id_text(id, text));
}

static inline int id_compare(struct id a, struct id b)
{
	if (a.ms != b.ms)
		return a.ms < b.ms ? -1 : 1;
	return a.seq < b.seq ? -1 : a.seq > b.seq;
}
static inline struct id id_least(struct id a, struct id b)
{
	return id_compare(a, b) < 0 ? a : b;
}
/* The id before; 0-0 stays. */
struct id id_before(struct id id);

/* Some ids of one stream, in ascending order. */
struct id_set {
	struct id *ids;
	size_t count, cap;
};
/* In any order, before id_set_sort. */
void id_set_add(struct id_set *s, struct id id);
void id_set_sort(struct id_set *s);
bool id_set_has(const struct id_set *s, struct id id);

#endif
