/* SPDX-License-Identifier: ISC */
/* DESIGN
 * record_parse walks the line once and keeps, for each field of ours, where its value stands; types
 * are judged afterwards, when it is known which of two equal names counts. Whatever could fail
 * later (a lone surrogate, base64) is judged there too, so that a record which was accepted can be
 * read and edited without failing. */
#include "record/record-parts.h"

#include "base/msg.h"

#include <stdarg.h>
#include <stdio.h>

int record_refuse(struct record_error *e, enum errclass class, const char *fmt, ...)
{
	va_list ap;

	e->class = class;
	e->is_payload = false;
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	msg_clean(e->message);
	return -1;
}

void record_hint_raw(struct record_error *e)
{
	size_t n = strlen(e->message);

	if (e->is_payload)
		snprintf(e->message + n, sizeof(e->message) - n,
			" (payloads without a record: use --raw)");
}

static int may_be_payload(struct record_error *e)
{
	e->is_payload = true;
	return -1;
}

static int refuse_json(struct record_error *e, const struct json *j)
{
	size_t at = (size_t)(j->p - j->start) + 1;

	if (j->deep)
		return record_refuse(e, CLASS_TOO_LARGE, "nested deeper than %d levels at byte %zu",
			JSON_DEPTH_MAX, at);
	if (at == 1 && j->end - j->start >= 3 && memcmp(j->start, "\xef\xbb\xbf", 3) == 0)
		return record_refuse(e, CLASS_JSON_DECODE,
			"not JSON: a byte order mark at byte 1 (sed '1s/^\\xEF\\xBB\\xBF//' takes it away)");
	if (j->start == j->end)
		record_refuse(e, CLASS_JSON_DECODE, "not JSON: the line is empty");
	else
		record_refuse(e, CLASS_JSON_DECODE, "not JSON: %s at byte %zu", j->why, at);
	return may_be_payload(e);
}

/* ---- the fields ---- */

/* Where the value of the member at @p belongs, when it is ours and written as programs write it:
 * `"name":`, no space, no escapes. Else NULL. A constant length, chosen by a branch that is
 * foreseen from line to line, lets the processor go on at the value at once; a length that is found
 * does not. Up to 14 bytes are read. */
static inline struct json_value *field_at(struct record *r, const char *p, size_t *len)
{
#define FIELD(name)                                                                                \
	do {                                                                                       \
		if (memcmp(p, "\"" #name "\":", sizeof("\"" #name "\":") - 1) == 0) {              \
			*len = sizeof("\"" #name "\":") - 1;                                       \
			return &r->name;                                                           \
		}                                                                                  \
	} while (0)

	switch (p[1]) {
	case 'c':
		FIELD(channel);
		FIELD(channel_b64);
		break;
	case 'h':
		FIELD(headers);
		break;
	case 'i':
		FIELD(id);
		break;
	case 'k':
		FIELD(key);
		FIELD(key_b64);
		break;
	case 'o':
		FIELD(offset);
		break;
	case 'p':
		FIELD(payload);
		FIELD(partition);
		FIELD(payload_b64);
		FIELD(pattern);
		FIELD(pattern_b64);
		break;
	case 's':
		FIELD(seq);
		FIELD(stream);
		FIELD(stream_b64);
		break;
	case 't':
		FIELD(topic);
		FIELD(ts);
		FIELD(tstype);
		break;
	}
	return NULL;
#undef FIELD
}

/* The same for a name in any other spelling. */
static struct json_value *field_named(struct record *r, const struct json_value *name)
{
	static const struct {
		struct span name;
		size_t at;
	} fields[] = {
#define FIELD(name) {SPAN(#name), offsetof(struct record, name)}
		FIELD(topic),
		FIELD(partition),
		FIELD(offset),
		FIELD(tstype),
		FIELD(ts),
		FIELD(headers),
		FIELD(key),
		FIELD(key_b64),
		FIELD(payload),
		FIELD(payload_b64),
		FIELD(channel),
		FIELD(channel_b64),
		FIELD(pattern),
		FIELD(pattern_b64),
		FIELD(stream),
		FIELD(stream_b64),
		FIELD(id),
		FIELD(seq),
#undef FIELD
	};

	const char *first = name->text.p;

	if (!name->escaped && (!name->text.len || !strchr("chikopst", *first)))
		return NULL;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if ((name->escaped || name->text.len == fields[i].name.len) &&
			json_equals(name, fields[i].name))
			return (struct json_value *)((char *)r + fields[i].at);
	return NULL;
}

/* ---- judging them ---- */

static int refuse_text(struct json_value *v, const char *name, struct record_error *e)
{
	if (v->type == JSON_NULL) {
		v->type = JSON_ABSENT;
		return 0;
	}
	if (v->type != JSON_STRING)
		return record_refuse(e, CLASS_INVALID_RECORD, "field '%s' is not a string", name);
	return record_refuse(e, CLASS_INVALID_RECORD,
		"field '%s' holds half of a surrogate pair: it stands for no text", name);
}

static inline int want_text(struct json_value *v, const char *name, struct record_error *e)
{
	if (v->type == JSON_ABSENT || (v->type == JSON_STRING && !v->lone))
		return 0;
	return refuse_text(v, name, e);
}

/* Plain digits that fit into 64 bits. */
static bool integer(struct span s, int64_t *n)
{
	bool negative = s.p[0] == '-';
	uint64_t u = 0, limit = (uint64_t)INT64_MAX + negative;

	for (size_t i = negative; i < s.len; i++) {
		unsigned digit = (unsigned char)s.p[i] - '0';

		if (digit > 9 || u > (limit - digit) / 10)
			return false;
		u = u * 10 + digit;
	}
	*n = (int64_t)(negative ? 0 - u : u);
	return true;
}

static int refuse_integer(struct json_value *v, const char *name, int bits, struct record_error *e)
{
	int64_t n;

	if (v->type == JSON_NULL) {
		v->type = JSON_ABSENT;
		return 0;
	}
	if (v->type == JSON_NUMBER && integer(v->text, &n) && (bits == 64 || n == (int32_t)n))
		return 0;
	return record_refuse(
		e, CLASS_INVALID_RECORD, "field '%s' is not a %d-bit integer", name, bits);
}

static inline int want_integer(
	struct json_value *v, const char *name, int bits, struct record_error *e)
{
	if (v->type == JSON_ABSENT ||
		(v->type == JSON_NUMBER && v->integer && v->text.len <= (bits == 32 ? 9 : 18)))
		return 0;
	return refuse_integer(v, name, bits, e);
}

static bool base64_value(const struct json_value *v)
{
	struct buf b = {0};
	struct span s;
	bool ok = v->type == JSON_STRING && !v->lone;

	if (ok && !v->escaped)
		return buf_is_base64(v->text);
	/* Some encoders write "\/": rare enough to decode it into memory of its own. */
	ok = ok && json_string(v, &b, &s) == 0 && buf_is_base64(s);
	buf_free(&b);
	return ok;
}

static int want_base64(const struct json_value *v, const char *name, struct record_error *e)
{
	if (v->type == JSON_ABSENT || base64_value(v))
		return 0;
	return record_refuse(
		e, CLASS_INVALID_RECORD, "field '%s' is not a string of padded base64", name);
}

int record_header_b64(struct span object, struct json_value *v)
{
	struct json_value name, more;
	struct json j;

	json_init(&j, object);
	if (json_enter(&j, '{') < 0 || json_member(&j, &name, v) != 1 || !json_is(&name, "b64") ||
		!base64_value(v))
		return -1;
	return json_member(&j, &name, &more);
}

static int want_headers(const struct json_value *headers, struct record_error *e)
{
	struct json_value v, text;
	struct json j;
	size_t n = 0;

	if (headers->type <= JSON_NULL)
		return 0;
	if (headers->type != JSON_ARRAY)
		return record_refuse(e, CLASS_INVALID_RECORD,
			"field 'headers' is not an array: it is [\"name\",\"value\",…]");
	json_init(&j, headers->text);
	json_enter(&j, '[');
	for (; json_element(&j, &v) == 1; n++) {
		if (v.lone)
			return record_refuse(e, CLASS_INVALID_RECORD,
				"field 'headers' holds half of a surrogate pair in header %zu",
				n / 2 + 1);
		if (v.type == JSON_STRING || (v.type == JSON_NULL && n % 2 == 1) ||
			(v.type == JSON_OBJECT && record_header_b64(v.text, &text) == 0))
			continue;
		return record_refuse(e, CLASS_INVALID_RECORD,
			n % 2 ? "field 'headers': the value of header %zu is neither a string, null "
				"nor {\"b64\":\"…\"}"
			      : "field 'headers': the name of header %zu is not a string",
			n / 2 + 1);
	}
	if (n % 2)
		return record_refuse(e, CLASS_INVALID_RECORD,
			"field 'headers' is not an array of names and values in turn");
	return 0;
}

static int want_key(struct record *r, struct record_error *e)
{
	if (want_base64(&r->key_b64, "key_b64", e) < 0)
		return -1;
	if (r->key.type == JSON_ABSENT)
		return 0;
	if (r->key_b64.type != JSON_ABSENT)
		return record_refuse(
			e, CLASS_INVALID_RECORD, "both 'key' and 'key_b64' are there: keep one");
	if (r->key.type != JSON_NULL)
		return want_text(&r->key, "key", e);
	return 0;
}

/* A name in Redis, whose bytes need not be text. */
static int refuse_name(struct json_value *text, const struct json_value *base64, const char *name,
	struct record_error *e)
{
	char other[32];

	if (want_text(text, name, e) < 0)
		return -1;
	snprintf(other, sizeof(other), "%s_b64", name);
	if (want_base64(base64, other, e) < 0)
		return -1;
	if (text->type == JSON_ABSENT || base64->type == JSON_ABSENT)
		return 0;
	return record_refuse(
		e, CLASS_INVALID_RECORD, "both '%s' and '%s' are there: keep one", name, other);
}

static inline int want_name(struct json_value *text, const struct json_value *base64,
	const char *name, struct record_error *e)
{
	if (base64->type == JSON_ABSENT)
		return want_text(text, name, e);
	return refuse_name(text, base64, name, e);
}

static int want_payload(struct record *r, struct record_error *e)
{
	struct json_value *v = &r->payload;

	if (want_base64(&r->payload_b64, "payload_b64", e) < 0)
		return -1;
	switch (v->type) {
	case JSON_ABSENT:
		if (r->payload_b64.type != JSON_ABSENT)
			return 0;
		record_refuse(e, CLASS_INVALID_RECORD, "field 'payload' is missing");
		return may_be_payload(e);
	case JSON_FALSE:
	case JSON_TRUE:
	case JSON_NUMBER:
		return record_refuse(e, CLASS_INVALID_RECORD,
			"field 'payload' is neither a string, null, an object nor an array");
	default:
		break;
	}
	if (r->payload_b64.type != JSON_ABSENT)
		return record_refuse(e, CLASS_INVALID_RECORD,
			"both 'payload' and 'payload_b64' are there: keep one");
	if (v->lone)
		return want_text(v, "payload", e);
	return 0;
}

int record_parse(struct record *r, struct span line, struct record_error *e)
{
	struct json_value name, *v, other;
	struct json j;
	const char *at;
	size_t len;
	int more;

	*r = (struct record){.line = line};
	json_init(&j, line);
	if (json_peek(&j) != '{') {
		if (json_value(&j, &other) < 0 || json_done(&j) < 0)
			return refuse_json(e, &j);
		record_refuse(e, CLASS_INVALID_RECORD, "JSON, but not an object");
		return may_be_payload(e);
	}
	json_enter(&j, '{');
	while ((more = json_next(&j, '}')) == 1) {
		at = j.p;
		v = field_at(r, at, &len);
		if (v)
			j.p += len;
		else if (json_name(&j, &name) < 0)
			return refuse_json(e, &j);
		else if (!(v = field_named(r, &name)))
			v = &other;
		if (v == &r->payload || v == &r->payload_b64)
			r->payload_name = at;
		if (json_value(&j, v) < 0)
			return refuse_json(e, &j);
	}
	if (more < 0 || json_done(&j) < 0)
		return refuse_json(e, &j);
	if (want_payload(r, e) < 0 || want_key(r, e) < 0 || want_headers(&r->headers, e) < 0 ||
		want_text(&r->topic, "topic", e) < 0 ||
		want_integer(&r->partition, "partition", 32, e) < 0 ||
		want_integer(&r->offset, "offset", 64, e) < 0 ||
		want_text(&r->tstype, "tstype", e) < 0 || want_integer(&r->ts, "ts", 64, e) < 0 ||
		want_name(&r->channel, &r->channel_b64, "channel", e) < 0 ||
		want_name(&r->pattern, &r->pattern_b64, "pattern", e) < 0 ||
		want_name(&r->stream, &r->stream_b64, "stream", e) < 0 ||
		want_text(&r->id, "id", e) < 0 || want_text(&r->seq, "seq", e) < 0)
		return -1;
	return 0;
}

int64_t record_int(const struct json_value *v, int64_t absent)
{
	int64_t n;

	return v->type == JSON_NUMBER && integer(v->text, &n) ? n : absent;
}

int64_t record_time_ms(const struct record *r)
{
	int64_t ms = record_int(&r->ts, -1);
	struct span id = r->id.text;
	const char *dash = ms == -1 && id.p ? memchr(id.p, '-', id.len) : NULL;

	if (dash && dash > id.p && integer((struct span){id.p, (size_t)(dash - id.p)}, &ms))
		return ms;
	return ms;
}
