/* SPDX-License-Identifier: ISC */
#include "evfmt/layout.h"

#include "base/text.h"
#include "evfmt/clock.h"
#include "evfmt/format.h"
#include "record/record.h"

enum column { TIME, PLACE, KEY, HEADERS };

/* A long key pushes its own line's payload aside, not that of all lines that come. */
enum { WIDEST = 40 };

static void put_cell(
	struct layout *l, struct buf *out, enum column column, enum paint paint, struct span text)
{
	struct paint_style plain = {.safe = l->style.safe};
	size_t columns, *width = &l->widths[column];

	buf_clear(&l->cell);
	paint_text(&l->cell, &plain, PAINT_NONE, text);
	paint_text(out, &(struct paint_style){.coloured = l->style.coloured}, paint,
		buf_as_span(&l->cell));
	if (!l->aligned) {
		buf_putc(out, '\t');
		return;
	}
	columns = text_columns(buf_as_span(&l->cell));
	if (columns > *width)
		*width = columns < WIDEST ? columns : WIDEST;
	do
		buf_putc(out, ' ');
	while (columns++ < *width + 1);
}

static struct span time_of(struct layout *l, struct view *v)
{
	int64_t ms = record_time_ms(v->r);

	if (ms == -1)
		return SPAN("-");
	buf_clear(&l->text);
	clock_put(&l->text, CLOCK_LOCAL, NULL, ms, 0);
	return buf_as_span(&l->text);
}

static struct span place_of(struct layout *l, struct view *v)
{
	buf_clear(&l->text);
	format_put_place(v, &l->text);
	return l->text.len ? buf_as_span(&l->text) : SPAN("-");
}

static enum paint kind_of(struct view *v)
{
	if (view_field(v, VIEW_TOPIC).p)
		return PAINT_TOPIC;
	return view_field(v, VIEW_STREAM).p ? PAINT_STREAM : PAINT_CHANNEL;
}

static void put_payload(struct layout *l, struct view *v, struct buf *out)
{
	struct span s = view_field(v, VIEW_PAYLOAD);
	bool looks = l->style.coloured || l->style.pretty || (s.p && memchr(s.p, '\n', s.len));

	if (!s.p) {
		paint_text(out, &l->style, PAINT_TOMBSTONE, SPAN("(tombstone)"));
	} else if (looks && paint_is_json(s)) {
		if (l->style.pretty)
			buf_putc(out, '\n');
		paint_json(out, &l->style, s);
	} else {
		paint_text(out, &l->style, PAINT_NONE, s);
	}
}

void layout_print(struct layout *l, struct view *v, struct buf *out)
{
	struct span key = view_field(v, VIEW_KEY);

	put_cell(l, out, TIME, PAINT_TIME, time_of(l, v));
	put_cell(l, out, PLACE, kind_of(v), place_of(l, v));
	put_cell(l, out, KEY, PAINT_KEY, key.p ? key : SPAN("-"));
	if (l->headers) {
		buf_clear(&l->text);
		format_put_headers(v, &l->text);
		put_cell(l, out, HEADERS, PAINT_NONE,
			l->text.len ? buf_as_span(&l->text) : SPAN("-"));
	}
	put_payload(l, v, out);
	buf_putc(out, '\n');
}
