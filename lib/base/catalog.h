/* SPDX-License-Identifier: ISC */
/* Names that a server tells, to be printed one a line: in their order, each once. */
#ifndef EVPIPE_CATALOG_H
#define EVPIPE_CATALOG_H

#include "base/buf.h"

#include <stddef.h>

struct catalog {
	struct buf text; /* names, each behind its length */
	size_t count;
};

/* Copies @name; any bytes. */
void catalog_add(struct catalog *c, struct span name);
/* Appends the names to @b, each with @end behind it. A name that has an @end in it is left out.
 * Returns how many were left out. */
size_t catalog_put(const struct catalog *c, char end, struct buf *b);
void catalog_free(struct catalog *c);

#endif
