/* SPDX-License-Identifier: ISC */
#include "evtop/table.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

void table_begin(struct table *t, size_t columns)
{
	t->columns = columns;
	t->count = 0;
	buf_clear(&t->text);
}

struct buf *table_open(struct table *t)
{
	if (t->count == t->room) {
		t->room = t->room ? t->room * 2 : 64;
		t->cells = mem_realloc(t->cells, t->room * sizeof(*t->cells));
	}
	t->cells[t->count].at = t->text.len;
	return &t->text;
}

void table_close(struct table *t)
{
	t->cells[t->count].len = t->text.len - t->cells[t->count].at;
	t->count++;
}

void table_cell(struct table *t, struct span text)
{
	text_safe(table_open(t), text);
	table_close(t);
}

void table_text(struct table *t, const char *text)
{
	table_cell(t, (struct span){text, strlen(text)});
}

void table_int(struct table *t, uint64_t n)
{
	table_print(t, "%llu", (unsigned long long)n);
}

void table_print(struct table *t, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	table_text(t, text);
}

static struct span text_of(const struct table *t, size_t i)
{
	return (struct span){buf_as_span(&t->text).p + t->cells[i].at, t->cells[i].len};
}

static void put_spaces(struct buf *out, size_t n)
{
	while (n--)
		buf_putc(out, ' ');
}

void table_put(const struct table *t, struct buf *out)
{
	size_t widths[TABLE_COLUMNS] = {0};

	for (size_t i = 0; i < t->count; i++) {
		size_t n = text_columns(text_of(t, i)), *width = &widths[i % t->columns];

		if (n > *width)
			*width = n;
	}
	for (size_t i = 0; i < t->count; i++) {
		size_t column = i % t->columns, n = text_columns(text_of(t, i));
		bool last = column == t->columns - 1;

		if (column) {
			buf_puts(out, "  ");
			put_spaces(out, widths[column] - n);
		}
		buf_span(out, text_of(t, i));
		if (!column)
			put_spaces(out, widths[column] - n);
		if (last)
			buf_putc(out, '\n');
	}
}
