/* SPDX-License-Identifier: ISC */
/* From a record that was accepted to its bytes: payload, key and headers decoded. */
#include "record/record-parts.h"

int record_read_base64(const struct json_value *v, struct buf *scratch, struct span *bytes)
{
	struct buf text = {0};
	struct span s;
	size_t at = scratch->len;
	int ret;

	ret = json_string(v, &text, &s) < 0 ? -1 : buf_unbase64(scratch, s);
	buf_free(&text);
	if (ret < 0)
		return -1;
	*bytes = (struct span){buf_as_span(scratch).p + at, scratch->len - at};
	return 0;
}

static enum record_bytes read_bytes(const struct json_value *text, const struct json_value *base64,
	const char *name, struct buf *scratch, struct span *bytes, struct record_error *e)
{
	int ret = 0;

	*bytes = SPAN_NONE;
	if (base64->type == JSON_STRING)
		ret = record_read_base64(base64, scratch, bytes);
	else if (text->type == JSON_STRING)
		ret = json_string(text, scratch, bytes);
	else if (text->type == JSON_OBJECT || text->type == JSON_ARRAY)
		*bytes = text->text;
	else
		return RECORD_NULL;
	if (ret == 0)
		return RECORD_BYTES;
	record_refuse(e, CLASS_INVALID_RECORD, "field '%s' cannot be decoded", name);
	return RECORD_BAD;
}

enum record_bytes record_payload(
	const struct record *r, struct buf *scratch, struct span *bytes, struct record_error *e)
{
	return read_bytes(&r->payload, &r->payload_b64, "payload", scratch, bytes, e);
}

enum record_bytes record_key(
	const struct record *r, struct buf *scratch, struct span *bytes, struct record_error *e)
{
	return read_bytes(&r->key, &r->key_b64, "key", scratch, bytes, e);
}

enum record_bytes record_name(const struct json_value *text, const struct json_value *base64,
	struct buf *scratch, struct span *bytes, struct record_error *e)
{
	return read_bytes(text, base64, "name", scratch, bytes, e);
}

int record_next_header(
	const struct record *r, struct json *j, struct json_value *name, struct json_value *value)
{
	int ret;

	if (r->headers.type != JSON_ARRAY)
		return 0;
	if (!j->start) {
		json_init(j, r->headers.text);
		json_enter(j, '[');
	}
	ret = json_element(j, name);
	return ret == 1 ? json_element(j, value) : ret;
}

/* A header's name or value. */
static int read_header(const struct json_value *v, struct buf *scratch, struct span *value)
{
	struct json_value text;

	switch (v->type) {
	case JSON_STRING:
		return json_string(v, scratch, value);
	case JSON_OBJECT:
		return record_header_b64(v->text, &text) < 0
			? -1
			: record_read_base64(&text, scratch, value);
	default:
		*value = SPAN_NONE;
		return 0;
	}
}

int record_header(const struct record *r, struct json *j, struct buf *scratch, struct span *name,
	struct span *value, struct record_error *e)
{
	struct json_value n, v;
	int ret = record_next_header(r, j, &n, &v);

	if (ret == 1 && read_header(&n, scratch, name) == 0 && read_header(&v, scratch, value) == 0)
		return 1;
	if (ret)
		record_refuse(e, CLASS_INVALID_RECORD, "field 'headers' cannot be decoded");
	return ret ? -1 : 0;
}

bool record_header_is(const struct json_value *v, struct span name)
{
	struct buf b = {0};
	struct span s;
	bool same;

	if (v->type == JSON_STRING)
		return json_equals(v, name);
	same = read_header(v, &b, &s) == 0 && s.len == name.len && memcmp(s.p, name.p, s.len) == 0;
	buf_free(&b);
	return same;
}

int record_header_find(const struct record *r, const char *name, struct buf *scratch,
	struct span *value, struct record_error *e)
{
	struct json_value n, v, last = {0};
	struct json j = {0};
	int ret;

	while ((ret = record_next_header(r, &j, &n, &v)) == 1)
		if (record_header_is(&n, (struct span){name, strlen(name)}))
			last = v;
	if (ret == 0 && last.type == JSON_ABSENT)
		return 0;
	if (ret == 0 && read_header(&last, scratch, value) == 0)
		return 1;
	return record_refuse(e, CLASS_INVALID_RECORD, "field 'headers' cannot be decoded");
}

/* ---- naming it in messages ---- */

static void place_text(struct buf *out, const char *what, const struct json_value *v)
{
	if (v->type != JSON_STRING)
		return;
	buf_puts(out, what);
	buf_span(out, v->text);
}

static void place_int(struct buf *out, const char *what, const struct json_value *v)
{
	if (v->type != JSON_NUMBER)
		return;
	buf_puts(out, what);
	buf_span(out, v->text);
}

void record_place(const struct record *r, struct buf *out)
{
	if (r->topic.type == JSON_STRING) {
		place_text(out, "topic ", &r->topic);
		place_int(out, ", partition ", &r->partition);
		place_int(out, ", offset ", &r->offset);
	} else if (r->stream.type == JSON_STRING || r->stream_b64.type == JSON_STRING) {
		place_text(out, "stream ", &r->stream);
		place_text(out, "stream in base64 ", &r->stream_b64);
		place_text(out, ", id ", &r->id);
	} else {
		place_text(out, "channel ", &r->channel);
		place_text(out, "channel in base64 ", &r->channel_b64);
	}
}
