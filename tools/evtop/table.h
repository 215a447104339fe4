/* SPDX-License-Identifier: ISC */
/* Rows of cells, printed in columns as wide as their widest cell. */
#ifndef EVPIPE_EVTOP_TABLE_H
#define EVPIPE_EVTOP_TABLE_H

#include "base/buf.h"

enum { TABLE_COLUMNS = 12 };

/* All zero is empty. */
struct table {
	struct buf text;
	struct cell {
		size_t at, len;
	} * cells;
	size_t count, room, columns, row_cells;
};

/* Empties it. @columns: how many a row has. The first column stands on the left, the others on the
 * right. */
void table_begin(struct table *t, size_t columns);
/* The next cell of the row; its text is made safe for a terminal. A row that is full is followed by
 * another. */
void table_cell(struct table *t, struct span text);
void table_text(struct table *t, const char *text);
void table_int(struct table *t, uint64_t n);
void table_print(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Cells that are made up in a buffer: the text since table_open is one. */
struct buf *table_open(struct table *t);
void table_close(struct table *t);
/* Appends all rows, a line each. */
void table_put(const struct table *t, struct buf *out);

#endif
