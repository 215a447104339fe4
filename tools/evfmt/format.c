/* SPDX-License-Identifier: ISC */
#include "evfmt/items.h"

#include "base/text.h"

#include <stdio.h>

struct printer {
	struct view *v;
	const struct paint_style *style;
	struct span null;
	int64_t now_ms;
	struct buf *out;
};

bool format_wants_now(const struct format *f)
{
	return f->wants_now;
}

/* ---- values that several fields make ---- */

static void put_header(void *ctx, size_t i, struct span name, struct span value)
{
	struct buf *out = ctx;

	if (i)
		buf_putc(out, ',');
	buf_span(out, name);
	buf_putc(out, '=');
	buf_span(out, value.p ? value : SPAN("NULL"));
}

void format_put_headers(struct view *v, struct buf *out)
{
	view_headers(v, put_header, out);
}

static void put_behind(struct view *v, enum view_field f, char mark, struct buf *out)
{
	struct span s = view_field(v, f);

	if (!s.p)
		return;
	buf_putc(out, mark);
	buf_span(out, s);
}

void format_put_place(struct view *v, struct buf *out)
{
	struct span topic = view_field(v, VIEW_TOPIC), stream = view_field(v, VIEW_STREAM);

	if (topic.p) {
		buf_span(out, topic);
		put_behind(v, VIEW_PARTITION, '/', out);
		put_behind(v, VIEW_OFFSET, '@', out);
	} else if (stream.p) {
		buf_span(out, stream);
		put_behind(v, VIEW_ID, '@', out);
	} else {
		buf_span(out, view_field(v, VIEW_CHANNEL));
	}
}

/* ---- one item ---- */

static struct span made(void (*put)(struct view *, struct buf *), struct view *v, struct buf *text)
{
	put(v, text);
	return text->len ? buf_as_span(text) : SPAN_NONE;
}

/* A value of the line's JSON, or of a field's. @json is the value as it stands. */
static struct span by_path(
	const struct item *item, struct view *v, struct buf *text, struct span *json)
{
	struct span in = item->field == VIEW_FIELDS ? v->r->line : view_field(v, item->field);
	struct json_value value;
	struct json why;
	struct span s = SPAN_NONE;

	*json = SPAN_NONE;
	if (!in.p || path_find(item->path, in, &value, &why) != 1)
		return s;
	*json = value.text;
	if (value.type == JSON_STRING) {
		json->p--;
		json->len += 2;
		json_string(&value, text, &s);
		return s;
	}
	return value.type == JSON_NULL ? s : value.text;
}

/* @text may be used for it. @json: where the value is to be had as it stands in JSON. */
static struct span value_of(
	const struct item *item, struct view *v, struct buf *text, struct span *json)
{
	*json = SPAN_NONE;
	switch (item->kind) {
	case ITEM_TEXT:
		return item->text;
	case ITEM_FIELD:
		return view_field(v, item->field);
	case ITEM_HEADERS:
		return made(format_put_headers, v, text);
	case ITEM_HEADER:
		return view_header(v, item->name);
	case ITEM_PATH:
		return by_path(item, v, text, json);
	case ITEM_PLACE:
		return made(format_put_place, v, text);
	case ITEM_RECORD:
		return v->r->line;
	}
	return SPAN_NONE;
}

static void put_hex(struct buf *out, struct span s)
{
	static const char digits[] = "0123456789abcdef";
	char *to = buf_room(out, s.len * 2);

	for (size_t i = 0; i < s.len; i++) {
		*to++ = digits[(unsigned char)s.p[i] >> 4];
		*to++ = digits[s.p[i] & 15];
	}
	out->len += s.len * 2;
}

static void put_be32(struct buf *out, struct span s)
{
	uint32_t n = s.p ? (uint32_t)s.len : UINT32_MAX;

	for (int shift = 24; shift >= 0; shift -= 8)
		buf_putc(out, (char)(n >> shift));
}

/* Bytes of another length are no such integer: they are shown as text. */
static void put_integer(struct buf *out, const struct item *item, struct span s)
{
	unsigned bits = item->bytes * 8;
	uint64_t n = 0;

	if (s.len != item->bytes) {
		buf_span(out, s);
		return;
	}
	for (size_t i = 0; i < s.len; i++)
		n = n << 8 | (unsigned char)s.p[item->is_little ? s.len - 1 - i : i];
	if (item->is_signed && bits < 64 && n >> (bits - 1))
		n |= ~UINT64_C(0) << bits;
	if (item->is_signed)
		buf_int(out, (int64_t)n);
	else
		buf_printf(out, "%llu", (unsigned long long)n);
}

static void put_time(
	struct buf *out, const struct printer *p, const struct item *item, struct span s)
{
	struct json_value number = {.type = JSON_NUMBER, .text = s};
	int64_t ms = s.len ? record_int(&number, INT64_MIN) : INT64_MIN;

	if (ms == INT64_MIN)
		buf_span(out, s);
	else if (ms == -1 && item->kind == ITEM_FIELD && item->field == VIEW_TS)
		buf_span(out, p->null); /* Kafka's way to say that there is none */
	else
		clock_put(out, item->clock, item->strftime, ms, p->now_ms);
}

static void put_json(struct buf *out, struct span json, struct span s)
{
	if (json.p)
		buf_span(out, json);
	else if (json_utf8(s))
		json_put_text(out, s);
	else
		buf_puts(out, "null");
}

/* Appends the value in the item's form; @s is not null, but for the forms of a size. */
static void put_form(struct buf *out, const struct printer *p, const struct item *item,
	struct span json, struct span s)
{
	switch (item->form) {
	case FORM_PLAIN:
		buf_span(out, s);
		break;
	case FORM_SIZE:
		buf_int(out, s.p ? (int64_t)s.len : -1);
		break;
	case FORM_SIZE_BE32:
		put_be32(out, s);
		break;
	case FORM_HEX:
		put_hex(out, s);
		break;
	case FORM_BASE64:
		buf_base64(out, s.p, s.len);
		break;
	case FORM_JSON:
		put_json(out, json, s);
		break;
	case FORM_INTEGER:
		put_integer(out, item, s);
		break;
	case FORM_TIME:
		put_time(out, p, item, s);
		break;
	}
}

static void put_spaces(struct buf *out, size_t n)
{
	memset(buf_room(out, n), ' ', n);
	out->len += n;
}

/* Cut to the limit and filled up to the width. */
static void put_fitted(
	struct buf *out, const struct item *item, const struct paint_style *style, struct span s)
{
	struct buf shown = {0};
	size_t columns;

	paint_text(&shown, style, PAINT_NONE, s);
	s = buf_as_span(&shown);
	if (item->has_limit)
		s.len = text_cut(s, item->limit);
	columns = text_columns(s);
	if (!item->left && columns < item->width)
		put_spaces(out, item->width - columns);
	buf_span(out, s);
	if (item->left && columns < item->width)
		put_spaces(out, item->width - columns);
	buf_free(&shown);
}

static void print_item(struct printer *p, const struct item *item)
{
	const struct paint_style *style = p->style;
	struct paint_style plain = {.safe = style->safe && item->form != FORM_SIZE_BE32};
	struct buf text = {0}, formed = {0};
	struct span json, s = value_of(item, p->v, &text, &json);
	bool sized = item->form == FORM_SIZE || item->form == FORM_SIZE_BE32;
	bool fitted = item->has_limit || item->width;

	if (!s.p && !sized) {
		s = item->form == FORM_JSON ? SPAN("null") : p->null;
	} else if (item->form != FORM_PLAIN) {
		put_form(&formed, p, item, json, s);
		s = buf_as_span(&formed);
	} else if (style->pretty && !fitted && item->kind != ITEM_RECORD && paint_is_json(s)) {
		paint_json(p->out, style, s);
		s.len = 0;
	}
	if (fitted)
		put_fitted(p->out, item, &plain, s);
	else
		paint_text(p->out, &plain, PAINT_NONE, s);
	buf_free(&text);
	buf_free(&formed);
}

void format_print(const struct format *f, struct view *v, const struct paint_style *style,
	struct span null, int64_t now_ms, struct buf *out)
{
	struct printer p = {v, style, null, now_ms, out};

	for (size_t i = 0; i < f->count; i++) {
		const struct item *item = &f->items[i];

		if (item->kind == ITEM_TEXT)
			buf_span(out, item->text);
		else
			print_item(&p, item);
	}
}
