/* SPDX-License-Identifier: ISC */
/* What the metrics of one or more pipelines say, and how it changes. */
#ifndef EVPIPE_EVTOP_UNIT_H
#define EVPIPE_EVTOP_UNIT_H

#include "evtop/figures.h"
#include "evtop/table.h"

struct unit {
	struct series *series;
	size_t count, room;
	uint64_t round; /* of unit_take */
};

/* Takes an exposition, @seconds after the last one. Series that are not in it are forgotten.
 * Returns how many of evpipe's it has. */
size_t unit_take(struct unit *u, struct span text, double seconds);
/* Appends the tables, with up to @rows partitions. */
void unit_print(const struct unit *u, struct table *table, size_t rows, bool utf8, struct buf *out);

/* Appends the texts of all DIR/metrics/ *.prom, or those of DIR/current. Returns how many there
 * are, or -1 with errno. */
int unit_read_directory(const char *path, struct buf *text);

#endif
