/* SPDX-License-Identifier: ISC */
/* DESIGN
 * record_parse walks the line once and keeps, for each field of ours, where its value stands; types
 * are judged afterwards, when it is known which of two equal names counts. Whatever could fail later
 * (a lone surrogate, base64) is judged there too, so that a record which was accepted can be read
 * and edited without failing.
 *
 * Edits never print a record anew: they copy the line up to a place, put something there, and copy
 * the rest. */
#include "record.h"

#include <stdarg.h>
#include <stdio.h>

/* Messages go to terminals and into dead letters: what is cut or no text becomes '?'. */
static void make_printable(char *p)
{
	const char *end = p + strlen(p);
	size_t n;

	for (; p < end; p += n) {
		n = 1;
		while (*p & 0x80 && n < 4 && p + n < end && !json_utf8((struct span){p, n}))
			n++;
		if ((unsigned char)*p < 0x20 || *p == 0x7f || !json_utf8((struct span){p, n})) {
			*p = '?';
			n = 1;
		}
	}
}

int record_refuse(struct record_error *e, enum error_class class, const char *fmt, ...)
{
	va_list ap;

	e->class = class;
	e->is_payload = false;
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	make_printable(e->message);
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
	record_refuse(e, CLASS_JSON_DECODE, "not JSON: %s at byte %zu", j->why, at);
	return may_be_payload(e);
}

/* ---- the fields ---- */

/* Where the value of the member at @p belongs, when it is ours and written as programs write it:
 * `"name":`, no space, no escapes. Else NULL. A constant length, chosen by a branch that is foreseen
 * from line to line, lets the processor go on at the value at once; a length that is found does not.
 * Up to 14 bytes are read. */
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
		break;
	case 's':
		FIELD(seq);
		FIELD(stream);
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
		FIELD(pattern),
		FIELD(stream),
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

/* 6 bits and, at 0x40, that it is one. */
static unsigned base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return 0x40 | (unsigned)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return 0x40 | (unsigned)(c - 'a' + 26);
	if (c >= '0' && c <= '9')
		return 0x40 | (unsigned)(c - '0' + 52);
	return c == '+' ? 0x40 | 62 : c == '/' ? 0x40 | 63 : 0;
}

/* Padded, and no bit set that stands for nothing: just what buf_unbase64 takes. */
static bool base64_canonical(struct span s)
{
	size_t pad = 0;

	if (s.len % 4)
		return false;
	if (s.len && s.p[s.len - 1] == '=')
		pad = s.p[s.len - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < s.len - pad; i++)
		if (!base64_digit(s.p[i]))
			return false;
	return !pad || !(base64_digit(s.p[s.len - pad - 1]) & (pad == 2 ? 0x0f : 0x03));
}

static bool base64_value(const struct json_value *v)
{
	struct buf b = {0};
	struct span s;
	bool ok = v->type == JSON_STRING && !v->lone;

	if (ok && !v->escaped)
		return base64_canonical(v->text);
	/* Some encoders write "\/": rare enough to decode it into memory of its own. */
	ok = ok && json_string(v, &b, &s) == 0 && base64_canonical(s);
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

/* {"b64":"…"} and nothing else: the string in it. */
static int header_b64(struct span object, struct json_value *v)
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
		return record_refuse(e, CLASS_INVALID_RECORD, "field 'headers' is not an array");
	json_init(&j, headers->text);
	json_enter(&j, '[');
	for (; json_element(&j, &v) == 1; n++) {
		if (v.lone)
			return record_refuse(e, CLASS_INVALID_RECORD,
				"field 'headers' holds half of a surrogate pair in header %zu",
				n / 2 + 1);
		if (v.type == JSON_STRING || (v.type == JSON_NULL && n % 2 == 1) ||
			(v.type == JSON_OBJECT && header_b64(v.text, &text) == 0))
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
		want_text(&r->channel, "channel", e) < 0 ||
		want_text(&r->pattern, "pattern", e) < 0 ||
		want_text(&r->stream, "stream", e) < 0 || want_text(&r->id, "id", e) < 0 ||
		want_text(&r->seq, "seq", e) < 0)
		return -1;
	return 0;
}

/* ---- reading ---- */

/* A base64 string that record_parse has passed, decoded at @scratch's end. */
static int read_base64(const struct json_value *v, struct buf *scratch, struct span *bytes)
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
		ret = read_base64(base64, scratch, bytes);
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

/* The next header as it stands in the line. 1, 0 at the end, -1. */
static int next_header(
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
		return header_b64(v->text, &text) < 0 ? -1 : read_base64(&text, scratch, value);
	default:
		*value = SPAN_NONE;
		return 0;
	}
}

int record_header(const struct record *r, struct json *j, struct buf *scratch, struct span *name,
	struct span *value, struct record_error *e)
{
	struct json_value n, v;
	int ret = next_header(r, j, &n, &v);

	if (ret == 1 && read_header(&n, scratch, name) == 0 && read_header(&v, scratch, value) == 0)
		return 1;
	if (ret)
		record_refuse(e, CLASS_INVALID_RECORD, "field 'headers' cannot be decoded");
	return ret ? -1 : 0;
}

static bool header_is(const struct json_value *v, struct span name)
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

	while ((ret = next_header(r, &j, &n, &v)) == 1)
		if (header_is(&n, (struct span){name, strlen(name)}))
			last = v;
	if (ret == 0 && last.type == JSON_ABSENT)
		return 0;
	if (ret == 0 && read_header(&last, scratch, value) == 0)
		return 1;
	return record_refuse(e, CLASS_INVALID_RECORD, "field 'headers' cannot be decoded");
}

int64_t record_int(const struct json_value *v, int64_t absent)
{
	int64_t n;

	return v->type == JSON_NUMBER && integer(v->text, &n) ? n : absent;
}

/* ---- printing ---- */

/* Appends the text in quotes, or leaves @out as it was and returns -1 when it is not UTF-8. */
static int put_text(struct buf *out, struct span s)
{
	size_t at = out->len;

	buf_putc(out, '"');
	if (!json_escape(out, s) && !json_utf8(s)) {
		out->len = at;
		return -1;
	}
	buf_putc(out, '"');
	return 0;
}

void record_put_bytes(struct buf *out, const char *name, struct span bytes)
{
	size_t len = strlen(name), at = out->len;
	char *p = buf_room(out, len + 16);

	*p++ = '"';
	memcpy(p, name, len);
	memcpy(p + len, "\":", 2);
	out->len += len + 3;
	if (!bytes.p) {
		buf_put(out, "null", 4);
		return;
	}
	if (put_text(out, bytes) == 0)
		return;
	out->len = at + 1 + len;
	buf_puts(out, "_b64\":\"");
	buf_base64(out, bytes.p, bytes.len);
	buf_putc(out, '"');
}

/* A header's name or value. */
static void put_header(struct buf *out, struct span value)
{
	if (!value.p) {
		buf_put(out, "null", 4);
	} else if (put_text(out, value) < 0) {
		buf_puts(out, "{\"b64\":\"");
		buf_base64(out, value.p, value.len);
		buf_puts(out, "\"}");
	}
}

void record_put_header(struct buf *out, struct span name, struct span value)
{
	put_header(out, name);
	buf_putc(out, ',');
	put_header(out, value);
}

/* ---- editing ---- */

/* A value as it stands in the line, quotes included. */
static struct span whole(const struct json_value *v)
{
	if (v->type == JSON_STRING)
		return (struct span){v->text.p - 1, v->text.len + 2};
	return v->text;
}

static void put_range(struct buf *out, const char *from, const char *to)
{
	buf_put(out, from, (size_t)(to - from));
}

static const char *line_end(const struct record *r)
{
	return r->line.p + r->line.len;
}

/* Each member called @old becomes the one in @with, name and value. */
static void replace_members(
	const struct record *r, const char *old, struct span with, struct buf *out)
{
	struct json_value name, value;
	const char *from = r->line.p;
	struct json j;

	json_init(&j, r->line);
	json_enter(&j, '{');
	while (json_member(&j, &name, &value) == 1) {
		struct span all = whole(&value);

		if (!json_is(&name, old))
			continue;
		put_range(out, from, name.text.p - 1);
		buf_span(out, with);
		from = all.p + all.len;
	}
	put_range(out, from, line_end(r));
}

void record_set_key(const struct record *r, struct span key, bool null, struct buf *out)
{
	bool plain = null || json_utf8(key);
	const struct json_value *old = r->key.type ? &r->key : r->key_b64.type ? &r->key_b64 : NULL;
	struct buf member = {0};

	if (null)
		key = SPAN_NONE;
	record_put_bytes(&member, "key", key);
	if (!old) {
		put_range(out, r->line.p, r->payload_name);
		buf_span(out, buf_as_span(&member));
		buf_putc(out, ',');
		put_range(out, r->payload_name, line_end(r));
	} else if ((old == &r->key) == plain) {
		size_t name = plain ? sizeof("\"key\":") - 1 : sizeof("\"key_b64\":") - 1;

		put_range(out, r->line.p, whole(old).p);
		buf_put(out, member.p + name, member.len - name);
		put_range(out, whole(old).p + whole(old).len, line_end(r));
	} else {
		/* Under another name: none may be left under the old one beside it. */
		replace_members(r, plain ? "key_b64" : "key", buf_as_span(&member), out);
	}
	buf_free(&member);
}

void record_set_seq(const struct record *r, struct span seq, struct buf *out)
{
	struct span old = {r->payload_name, 0};
	bool there = r->seq.text.p;

	if (there)
		old = whole(&r->seq);
	put_range(out, r->line.p, old.p);
	if (seq.p) {
		buf_puts(out, there ? "\"" : "\"seq\":\"");
		buf_span(out, seq);
		buf_puts(out, there ? "\"" : "\",");
	} else if (there) {
		buf_puts(out, "null");
	}
	put_range(out, old.p + old.len, line_end(r));
}

void record_set_header(const struct record *r, struct span name, struct span value, struct buf *out)
{
	struct json_value n, v, last = {0};
	struct json j = {0};
	struct span old;
	size_t count = 0;

	for (; next_header(r, &j, &n, &v) == 1; count++)
		if (header_is(&n, name))
			last = v;
	if (last.type != JSON_ABSENT) {
		old = whole(&last);
		put_range(out, r->line.p, old.p);
		put_header(out, value);
		put_range(out, old.p + old.len, line_end(r));
		return;
	}
	if (r->headers.type == JSON_ARRAY) {
		/* In front of the closing bracket. */
		old = (struct span){r->headers.text.p + r->headers.text.len - 1, 0};
		put_range(out, r->line.p, old.p);
		if (count)
			buf_putc(out, ',');
		record_put_header(out, name, value);
		put_range(out, old.p, line_end(r));
		return;
	}
	old = r->headers.type == JSON_NULL ? r->headers.text : (struct span){r->payload_name, 0};
	put_range(out, r->line.p, old.p);
	buf_puts(out, old.len ? "[" : "\"headers\":[");
	record_put_header(out, name, value);
	buf_puts(out, old.len ? "]" : "],");
	put_range(out, old.p + old.len, line_end(r));
}

void record_splice_payload(
	const struct record *r, size_t from, size_t to, struct span with, struct buf *out)
{
	const struct json_value *v = &r->payload;
	struct buf bytes = {0};
	struct span old;

	if (v->type == JSON_STRING) {
		const char *end = v->text.p + v->text.len;
		const char *a = json_seek(v->text, from);
		const char *b = json_seek((struct span){a, (size_t)(end - a)}, to - from);

		put_range(out, r->line.p, a);
		json_escape(out, with);
		put_range(out, b, line_end(r));
		return;
	}
	if (v->type != JSON_ABSENT) {
		put_range(out, r->line.p, v->text.p + from);
		buf_span(out, with);
		put_range(out, v->text.p + to, line_end(r));
		return;
	}
	if (read_base64(&r->payload_b64, &bytes, &old) < 0)
		old = SPAN("");
	put_range(out, r->line.p, r->payload_b64.text.p);
	/* The edited bytes behind the old ones. */
	from = from < old.len ? from : old.len;
	to = to < old.len ? to : old.len;
	buf_room(&bytes, old.len + with.len);
	buf_put(&bytes, bytes.p, from);
	buf_span(&bytes, with);
	buf_put(&bytes, bytes.p + to, old.len - to);
	buf_base64(out, bytes.p + old.len, bytes.len - old.len);
	put_range(out, r->payload_b64.text.p + r->payload_b64.text.len, line_end(r));
	buf_free(&bytes);
}

static void put_member(struct buf *out, const struct record_member *m)
{
	buf_putc(out, '"');
	buf_puts(out, m->name);
	buf_puts(out, "\":");
	buf_span(out, m->value);
}

static size_t member_named(
	const struct record_member *members, size_t count, const struct json_value *name)
{
	size_t i = 0;

	while (i < count && !json_is(name, members[i].name))
		i++;
	return i;
}

void record_set_members(
	const struct record *r, const struct record_member *members, size_t count, struct buf *out)
{
	struct json_value name, value;
	const char *from;
	unsigned there = 0;
	struct json j;
	size_t i;

	json_init(&j, r->line);
	for (json_enter(&j, '{'); json_member(&j, &name, &value) == 1;)
		there |= 1u << member_named(members, count, &name);
	json_init(&j, r->line);
	json_enter(&j, '{');
	put_range(out, r->line.p, j.p);
	for (i = 0; i < count; i++) {
		if (there & 1u << i)
			continue;
		put_member(out, &members[i]);
		buf_putc(out, ',');
	}
	for (from = j.p; json_member(&j, &name, &value) == 1;) {
		struct span all = whole(&value);

		i = member_named(members, count, &name);
		if (i == count)
			continue;
		put_range(out, from, name.text.p - 1);
		put_member(out, &members[i]);
		from = all.p + all.len;
	}
	put_range(out, from, line_end(r));
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
	} else if (r->stream.type == JSON_STRING) {
		place_text(out, "stream ", &r->stream);
		place_text(out, ", id ", &r->id);
	} else {
		place_text(out, "channel ", &r->channel);
	}
}
