/* SPDX-License-Identifier: ISC */
/* A stream's entry as a record. */
#ifndef EVPIPE_RSUB_ENTRY_H
#define EVPIPE_RSUB_ENTRY_H

#include "base/buf.h"
#include "flow/source.h"
#include "redis/resp.h"
#include "redis/id.h"

#include <stdbool.h>
#include <stddef.h>

/* An entry of a reply, [id, [name, value, …]]. */
struct entry {
	struct id id;
	struct resp fields; /* a walk over names and values */
	/* of them: twice the fields; -1: the entry is gone, its id is all that is left */
	int64_t count;
};
/* Takes the next entry of a list. Returns 0, or -1 when what comes is none; nil has the id 0-0 and
 * count -1. */
int entry_take(struct resp *list, struct entry *e);

struct entry_form {
	const char *field, *key_field; /* the payload's, and the key's or NULL */
	bool raw;
	char end; /* of a line */
	/* internal */
	struct buf headers;
};
/* Appends the entry's record or, raw, its payload, and the line's end. @head is
 * {"stream":"…","id":" . @numbered: with the seq of the source's next record. Returns the bytes of
 * key and payload. */
size_t entry_put(struct entry_form *f, struct source *s, struct span head, bool numbered,
	const struct entry *e, struct buf *out);

#endif
