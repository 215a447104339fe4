/* SPDX-License-Identifier: ISC */
#include "evsse/position.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- of a record ---- */

/* Digits alone. Returns how many there are; 0: none, or the number is too big. */
static size_t take_number(struct span s, uint64_t *n)
{
	size_t i = 0;

	for (*n = 0; i < s.len && s.p[i] >= '0' && s.p[i] <= '9'; i++)
		if (__builtin_mul_overflow(*n, 10U, n) ||
			__builtin_add_overflow(*n, (unsigned)(s.p[i] - '0'), n))
			return 0;
	return i;
}

/* "MS-SEQ" */
static bool read_entry_id(struct span s, struct place *place)
{
	size_t n = take_number(s, &place->hi), m;

	if (!n || n >= s.len || s.p[n] != '-')
		return false;
	m = take_number((struct span){s.p + n + 1, s.len - n - 1}, &place->lo);
	return m && n + 1 + m == s.len;
}

static bool is_named(const struct json_value *v, struct span topic)
{
	return v->type == JSON_STRING && json_equals(v, topic);
}

bool position_of(
	const struct record *r, struct span topic, struct part_name *name, struct place *place)
{
	int64_t partition = record_int(&r->partition, -1), offset = record_int(&r->offset, -1);

	if (is_named(&r->topic, topic) && partition >= 0 && partition <= INT32_MAX && offset >= 0) {
		*name = (struct part_name){PART_KAFKA, (uint32_t)partition};
		*place = (struct place){0, (uint64_t)offset};
		return true;
	}
	*name = (struct part_name){PART_STREAM, 0};
	return is_named(&r->stream, topic) && r->id.type == JSON_STRING &&
		read_entry_id(r->id.text, place);
}

/* ---- writing ---- */

void position_put_name(struct buf *b, struct part_name name)
{
	switch (name.kind) {
	case PART_KAFKA:
		buf_int(b, name.number);
		break;
	case PART_STREAM:
		buf_puts(b, "id");
		break;
	case PART_COUNT:
		buf_printf(b, "r%08" PRIx32, name.number);
	}
}

void position_put_place(struct buf *b, enum part_kind kind, struct place place)
{
	if (kind == PART_STREAM)
		buf_printf(b, "%" PRIu64 "-%" PRIu64, place.hi, place.lo);
	else
		buf_int(b, (int64_t)place.lo);
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '.' || c == '_' || c == '-';
}

void position_put_topic(struct buf *b, struct span topic)
{
	text_put_url(b, topic, "._-");
}

/* ---- reading ---- */

static int hex(char c)
{
	return c >= '0' && c <= '9'    ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : -1;
}

static int read_topic(struct span s, struct buf *topic)
{
	buf_clear(topic);
	for (size_t i = 0; i < s.len; i++) {
		int high, low;

		if (is_plain(s.p[i])) {
			buf_putc(topic, s.p[i]);
			continue;
		}
		high = s.p[i] == '%' && i + 2 < s.len ? hex(s.p[i + 1]) : -1;
		low = high < 0 ? -1 : hex(s.p[i + 2]);
		if (low < 0)
			return -1;
		buf_putc(topic, (char)(high << 4 | low));
		i += 2;
	}
	return topic->len ? 0 : -1;
}

static int read_name(struct span s, struct part_name *name)
{
	uint64_t n;

	if (span_is(s, "id")) {
		*name = (struct part_name){PART_STREAM, 0};
		return 0;
	}
	if (s.len == 9 && s.p[0] == 'r') {
		*name = (struct part_name){PART_COUNT, 0};
		for (size_t i = 1; i < s.len; i++) {
			if (hex(s.p[i]) < 0)
				return -1;
			name->number = name->number << 4 | (uint32_t)hex(s.p[i]);
		}
		return 0;
	}
	if (!s.len || take_number(s, &n) != s.len || n > INT32_MAX)
		return -1;
	*name = (struct part_name){PART_KAFKA, (uint32_t)n};
	return 0;
}

static int read_place(struct span s, enum part_kind kind, struct place *place)
{
	if (kind == PART_STREAM)
		return read_entry_id(s, place) ? 0 : -1;
	place->hi = 0;
	return s.len && take_number(s, &place->lo) == s.len && place->lo < INT64_MAX ? 0 : -1;
}

/* Takes what stands before @c off *@s; false: there is no @c. */
static bool cut(struct span *s, char c, struct span *before)
{
	const char *at = s->len ? memchr(s->p, c, s->len) : NULL;

	if (!at)
		return false;
	*before = (struct span){s->p, (size_t)(at - s->p)};
	s->len -= before->len + 1;
	s->p = at + 1;
	return true;
}

int position_next(struct span *rest, struct buf *topic, struct part_name *name, struct place *place)
{
	struct span part, text;

	if (span_is(*rest, "-"))
		rest->len = 0;
	if (!rest->len)
		return 0;
	if (!cut(rest, ',', &part)) {
		part = *rest;
		rest->len = 0;
	} else if (!rest->len) {
		return -1;
	}
	if (cut(&part, '/', &text) && read_topic(text, topic))
		return -1;
	if (!topic->len || !cut(&part, '=', &text))
		return -1;
	return read_name(text, name) || read_place(part, name->kind, place) ? -1 : 1;
}
