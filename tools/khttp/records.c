/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "khttp/records.h"

#include "khttp/body.h"

#include "base/mem.h"
#include "record/record.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { OVERHEAD_BYTES = 100 }; /* of a record in memory */

static int refuse(struct records_reader *in, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static int refuse(struct records_reader *in, const char *fmt, ...)
{
	va_list ap;

	if (in->refused)
		return -1;
	in->refused = true;
	va_start(ap, fmt);
	vsnprintf(in->why, sizeof(in->why), fmt, ap);
	va_end(ap);
	return -1;
}

static struct message *add(struct records_reader *in)
{
	struct records *rs = in->rs;

	if (rs->count == rs->room) {
		rs->room = rs->room ? 2 * rs->room : 8;
		rs->list = mem_realloc(rs->list, rs->room * sizeof(*rs->list));
	}
	rs->list[rs->count] = (struct message){.partition = in->how.partition};
	return &rs->list[rs->count++];
}

static void clear(struct records *rs)
{
	for (size_t i = 0; i < rs->count; i++)
		if (rs->list[i].headers)
			rd_kafka_headers_destroy(rs->list[i].headers);
	rs->count = rs->bytes = 0;
	buf_clear(&rs->scratch);
}

/* Whether this window has room for a record; the first always has. What is decoded is shorter than
 * what stands there, so the scratch, to which there are spans, never moves. */
static bool has_room(struct records_reader *in, struct span text)
{
	if (in->taken && in->taken + text.len > in->window)
		return false;
	if (!in->taken && in->decodes)
		buf_room(
			&in->rs->scratch, 2 * (text.len > in->window ? text.len : in->window) + 64);
	in->taken += text.len;
	return true;
}

/* ---- values ---- */

/* A string's bytes: of the body, or decoded into the scratch. */
static int text_bytes(struct records_reader *in, const struct json_value *v, struct span *to)
{
	struct buf *scratch = &in->rs->scratch;
	size_t from = scratch->len;

	if (!v->escaped) {
		*to = v->text;
		return 0;
	}
	if (json_unescape(scratch, v->text))
		return refuse(in, "A string with half of a surrogate pair is no text");
	*to = (struct span){scratch->p + from, scratch->len - from};
	return 0;
}

static int base64_bytes(struct records_reader *in, const struct json_value *v, struct span *to)
{
	struct buf *scratch = &in->rs->scratch;
	struct span text;
	char why[80];
	size_t from;

	if (text_bytes(in, v, &text))
		return -1;
	from = scratch->len;
	if (body_base64(scratch, text, why, sizeof(why)))
		return refuse(in, "%s", why);
	*to = (struct span){scratch->p + from, scratch->len - from};
	return 0;
}

/* What the reference makes of null. */
static int null_bytes(struct records_reader *in, const char *what, struct span *to)
{
	if (!in->how.compat)
		return 0;
	if (in->how.type == MEDIA_TEXT)
		return refuse(
			in, "Because the embedded format is 'text', the %s must be a string", what);
	*to = in->how.type == MEDIA_BINARY ? SPAN("\x9e\xe9\x65") : SPAN("null");
	return 0;
}

static int value_bytes(
	struct records_reader *in, const char *what, const struct json_value *v, struct span *to)
{
	bool is_text = in->how.type == MEDIA_TEXT, is_binary = in->how.type == MEDIA_BINARY;

	if (v->type == JSON_ABSENT)
		return 0;
	if (v->type == JSON_NULL)
		return null_bytes(in, what, to);
	if ((is_text || is_binary) && v->type != JSON_STRING)
		return refuse(in, "Because the embedded format is '%s', the %s must be a string",
			is_text ? "text" : "binary", what);
	if (is_text)
		return text_bytes(in, v, to);
	if (is_binary)
		return base64_bytes(in, v, to);
	/* JSON goes as it stands, a string with its quotes. */
	*to = v->text;
	if (v->type == JSON_STRING)
		*to = (struct span){v->text.p - 1, v->text.len + 2};
	return 0;
}

/* ---- headers ---- */

static void read_header(
	struct records_reader *in, size_t i, const struct json_value *v, struct message *m)
{
	struct body_field f[] = {
		{"key", BODY_STRING, true, {0}},
		{"value", BODY_STRING, true, {0}},
	};
	struct span name = SPAN_NONE, value = SPAN_NONE;
	char where[80];

	snprintf(where, sizeof(where), "%s/headers/%zu", in->where, i);
	if (!body_object(v, where, f, 2, &in->errors))
		return;
	if (!f[1].v.text.len) {
		body_wrong(&in->errors, "%s/value: string is too short", where);
		return;
	}
	if (text_bytes(in, &f[0].v, &name) || base64_bytes(in, &f[1].v, &value))
		return;
	if (!m->headers)
		m->headers = rd_kafka_headers_new(4);
	rd_kafka_header_add(m->headers, name.p, (ssize_t)name.len, value.p, (ssize_t)value.len);
	in->rs->bytes += name.len + value.len;
}

static void read_headers(
	struct records_reader *in, const struct json_value *list, struct message *m)
{
	struct json_value v;
	struct json j;
	size_t i = 0;

	json_init(&j, list->text);
	json_enter(&j, '[');
	while (json_element(&j, &v) == 1)
		read_header(in, i++, &v, m);
}

/* ---- a record ---- */

static int read_partition(struct records_reader *in, const struct json_value *v, struct message *m)
{
	int64_t n;

	if (v->type == JSON_ABSENT)
		return 0;
	if (body_int(v, &n) || n > INT32_MAX || n < INT32_MIN)
		return refuse(in, "Specified partition is not a valid number");
	if (n < 0)
		return refuse(in,
			"Invalid partition: %" PRId64
			". Partition number should always be non-negative or null.",
			n);
	m->partition = (int32_t)n;
	return 0;
}

/* librdkafka takes 0 for now. */
static void set_timestamp(struct message *m, int64_t ms)
{
	m->timestamp = ms ? ms : 1;
}

static int read_timestamp(struct records_reader *in, const struct json_value *v, struct message *m)
{
	int64_t n;

	if (v->type == JSON_ABSENT)
		return 0;
	if (body_int(v, &n))
		return refuse(in, "Specified timestamp is not a valid number");
	if (n < 0)
		return refuse(in,
			"Invalid timestamp: %" PRId64
			". Timestamp should always be non-negative or null.",
			n);
	set_timestamp(m, n);
	return 0;
}

static void read_record(struct records_reader *in, size_t i, const struct json_value *v)
{
	struct body_field f[] = {
		{"value", BODY_STRING | BODY_OBJECT | BODY_ARRAY | BODY_NULL, true, {0}},
		{"key", BODY_STRING | BODY_OBJECT | BODY_ARRAY, false, {0}},
		{"headers", BODY_ARRAY, false, {0}},
		{"partition", BODY_INTEGER, false, {0}},
		{"timestamp", BODY_INTEGER, false, {0}},
	};
	bool is_placed = in->how.partition != RD_KAFKA_PARTITION_UA;
	struct message *m;

	snprintf(in->where, sizeof(in->where), "#/records/%zu", i);
	if (!body_object(v, in->where, f, is_placed ? 3 : 5, &in->errors))
		return;
	m = add(in);
	if (f[2].v.type)
		read_headers(in, &f[2].v, m);
	if (value_bytes(in, "key", &f[1].v, &m->key) ||
		value_bytes(in, "value", &f[0].v, &m->value) || read_partition(in, &f[3].v, m) ||
		read_timestamp(in, &f[4].v, m))
		return;
	in->rs->bytes += m->key.len + m->value.len + OVERHEAD_BYTES;
}

/* ---- a list of records ---- */

/* The next element. Returns false at the end. */
static bool next_element(struct records_reader *in, struct json_value *v)
{
	if (!in->ahead.type)
		return json_element(&in->j, v) == 1;
	*v = in->ahead;
	in->ahead = (struct json_value){0};
	return true;
}

static void read_elements(struct records_reader *in)
{
	struct json_value v;

	while (next_element(in, &v)) {
		if (!has_room(in, v.text)) {
			in->ahead = v;
			break;
		}
		read_record(in, in->number++, &v);
	}
}

/* ---- lines ---- */

static int read_line_headers(struct records_reader *in, const struct record *r, struct message *m)
{
	struct span name, value;
	struct record_error e;
	struct json j = {0};
	int got;

	while ((got = record_header(r, &j, &in->rs->scratch, &name, &value, &e)) == 1) {
		if (!m->headers)
			m->headers = rd_kafka_headers_new(4);
		rd_kafka_header_add(m->headers, name.p, (ssize_t)name.len, value.p,
			value.p ? (ssize_t)value.len : 0);
		in->rs->bytes += name.len + value.len;
	}
	return got ? refuse(in, "%s", e.message) : 0;
}

static int read_line(struct records_reader *in, size_t number, struct span line)
{
	struct record_error e;
	struct message *m;
	struct record r;

	if (record_parse(&r, line, &e)) {
		body_wrong(&in->errors, "line %zu: %s", number, e.message);
		return 0;
	}
	m = add(in);
	if (r.ts.type == JSON_NUMBER)
		set_timestamp(m, record_int(&r.ts, 0));
	if (record_key(&r, &in->rs->scratch, &m->key, &e) == RECORD_BAD ||
		record_payload(&r, &in->rs->scratch, &m->value, &e) == RECORD_BAD)
		return refuse(in, "line %zu: %s", number, e.message);
	in->rs->bytes += m->key.len + m->value.len + OVERHEAD_BYTES;
	return read_line_headers(in, &r, m);
}

static void read_lines(struct records_reader *in)
{
	struct span *text = &in->lines;

	while (text->len && !in->refused) {
		const char *end = memchr(text->p, '\n', text->len);
		struct span line = {text->p, end ? (size_t)(end - text->p) : text->len};

		if (!has_room(in, line))
			break;
		text->p += line.len + (end != NULL);
		text->len -= line.len + (end != NULL);
		in->number++;
		if (line.len && line.p[line.len - 1] == '\r')
			line.len--;
		if (line.len)
			read_line(in, in->number, line);
	}
}

/* ---- all of it ---- */

static bool has_text(struct span s, struct span wanted)
{
	return memmem(s.p, s.len, wanted.p, wanted.len) != NULL;
}

bool records_begin(struct records_reader *in, const struct json_value *body, struct span text)
{
	struct body_field f[] = {{"records", BODY_ARRAY, true, {0}}};
	struct span list = text;

	if (in->how.type == MEDIA_LINES) {
		in->lines = text;
	} else if (body_root(body, in->file, f, 1, &in->errors)) {
		list = f[0].v.text;
		json_init(&in->j, list);
		json_enter(&in->j, '[');
	} else {
		in->status = 400;
		return false;
	}
	in->decodes = in->how.type == MEDIA_TEXT || in->how.type == MEDIA_BINARY ||
		in->how.type == MEDIA_LINES || http_body_is_large(in->file) ||
		has_text(list, SPAN("\\")) || has_text(list, SPAN("\"headers\""));
	if (!in->window)
		in->window = list.len;
	return true;
}

bool records_next(struct records_reader *in, struct records *rs)
{
	size_t before = in->number;

	clear(rs);
	http_body_pass(in->file,
		in->how.type == MEDIA_LINES ? in->lines.p
			: in->ahead.type    ? in->ahead.text.p - 1
					    : in->j.p);
	in->rs = rs;
	in->taken = 0;
	if (in->how.type == MEDIA_LINES)
		read_lines(in);
	else
		read_elements(in);
	in->status = in->errors.len ? 400 : in->refused ? 422 : 0;
	return in->number > before;
}

void records_free(struct records *rs)
{
	clear(rs);
	free(rs->list);
	buf_free(&rs->scratch);
	*rs = (struct records){0};
}
