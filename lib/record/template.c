/* SPDX-License-Identifier: ISC */
#include "record/template.h"

#include "base/mem.h"
#include "json/path.h"

#include <stdio.h>
#include <stdlib.h>

enum field { LITERAL, TOPIC, CHANNEL, STREAM, KEY, PARTITION, OFFSET, TS, HEADER, PAYLOAD };

struct part {
	enum field field;
	char *text; /* the literal, or the field as it was written: for messages */
	char *name; /* of a header */
	struct path *path;
	char *strip; /* a prefix ('#') or suffix ('%'), or NULL */
	char strip_at;
};

struct template
{
	size_t count;
	struct part part[];
};

static const struct {
	const char *name;
	enum field field;
} fields[] = {
	{"topic", TOPIC},
	{"channel", CHANNEL},
	{"stream", STREAM},
	{"key", KEY},
	{"partition", PARTITION},
	{"offset", OFFSET},
	{"ts", TS},
};

static char *copy(const char *p, size_t n)
{
	char *s = mem_alloc(n + 1);

	memcpy(s, p, n);
	s[n] = 0;
	return s;
}

/* ---- parsing ---- */

/* The end of the field's name: at # or % or the closing brace, but not inside a path's quotes. */
static const char *name_end(const char *s)
{
	bool quoted = false;

	for (; *s; s++) {
		if (quoted && *s == '\\' && s[1])
			s++;
		else if (*s == '"')
			quoted = !quoted;
		else if (!quoted && strchr("#%}", *s))
			return s;
	}
	return s;
}

static bool parse_field(struct part *part, const char *name)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcmp(name, fields[i].name) == 0) {
			part->field = fields[i].field;
			return true;
		}
	}
	if (strncmp(name, "header:", 7) == 0 && name[7]) {
		part->field = HEADER;
		part->name = copy(name + 7, strlen(name + 7));
		return true;
	}
	if (strncmp(name, "payload", 7) == 0 && (name[7] == '.' || name[7] == '[')) {
		part->field = PAYLOAD;
		part->path = path_parse(name + 7);
		return part->path != NULL;
	}
	return false;
}

/* `name}` with the opening brace taken. Returns the place behind it. */
static const char *parse_braces(struct part *part, const char *s, char *why, size_t why_size)
{
	const char *end = name_end(s), *close = strchr(end, '}');

	if (!close) {
		snprintf(why, why_size, "'{%s' has no closing brace (a literal brace is '{{')", s);
		return NULL;
	}
	part->text = copy(s, (size_t)(end - s));
	if (*end != '}') {
		part->strip_at = *end;
		part->strip = copy(end + 1, (size_t)(close - end - 1));
	}
	if (parse_field(part, part->text))
		return close + 1;
	snprintf(why, why_size,
		"'{%s}' is not a field: it is one of topic, channel, stream, key, partition, offset, ts, "
		"header:NAME, payload.PATH (as in payload.a.b[0], payload.\"odd name\")",
		part->text);
	return NULL;
}

/* Text up to a single brace; `{{` and `}}` stand for one. */
static const char *parse_literal(struct part *part, const char *s, char *why, size_t why_size)
{
	char *to = part->text = mem_alloc(strlen(s) + 1);

	for (; *s && (*s != '{' || s[1] == '{'); s++) {
		if (*s == '}' && s[1] != '}') {
			snprintf(why, why_size,
				"'%s' has no opening brace (a literal brace is '}}')", s);
			return NULL;
		}
		if (*s == '{' || *s == '}')
			s++;
		*to++ = *s;
	}
	*to = 0;
	return s;
}

struct template *template_parse(const char *s, char *why, size_t why_size)
{
	/* Each part takes a character at least. */
	size_t size = sizeof(struct template) + strlen(s) * sizeof(struct part);
	struct template *t = mem_alloc(size);

	memset(t, 0, size);
	while (*s) {
		struct part *part = &t->part[t->count++];

		if (*s == '{' && s[1] != '{')
			s = parse_braces(part, s + 1, why, why_size);
		else
			s = parse_literal(part, s, why, why_size);
		if (!s) {
			template_free(t);
			return NULL;
		}
	}
	return t;
}

void template_free(struct template *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++) {
		free(t->part[i].text);
		free(t->part[i].name);
		free(t->part[i].strip);
		path_free(t->part[i].path);
	}
	free(t);
}

const char *template_constant(const struct template *t)
{
	if (!t->count)
		return "";
	return t->count == 1 && t->part[0].field == LITERAL ? t->part[0].text : NULL;
}

/* ---- expanding ---- */

static int missing(const struct part *part, struct record_error *e)
{
	return record_refuse(
		e, CLASS_MISSING_FIELD, "the record has no '%s' to fill in", part->text);
}

static int put_value(const struct part *part, const struct json_value *v, struct buf *out,
	struct record_error *e)
{
	switch (v->type) {
	case JSON_STRING:
		if (!v->escaped)
			buf_span(out, v->text);
		else if (json_unescape(out, v->text) < 0)
			return record_refuse(e, CLASS_MISSING_FIELD,
				"'%s' holds half of a surrogate pair: it stands for no text",
				part->text);
		return 0;
	case JSON_NUMBER:
	case JSON_TRUE:
	case JSON_FALSE:
		buf_span(out, v->text);
		return 0;
	default:
		return missing(part, e);
	}
}

/* Returns 0 when a record's bytes were found, else refuses the record. */
static int want_bytes(const struct part *part, enum record_bytes found, struct record_error *e)
{
	if (found == RECORD_NULL)
		return missing(part, e);
	return found == RECORD_BAD ? -1 : 0;
}

static int put_payload_value(const struct part *part, const struct record *r, struct buf *scratch,
	struct buf *out, struct record_error *e)
{
	struct json_value v;
	struct span payload;
	struct json why;

	if (want_bytes(part, record_payload(r, scratch, &payload, e), e) < 0)
		return -1;
	switch (path_find(part->path, payload, &v, &why)) {
	case 1:
		return put_value(part, &v, out, e);
	case 0:
		return missing(part, e);
	}
	return record_refuse(e, CLASS_JSON_DECODE, "the payload is not JSON: %s at byte %zu",
		why.why, (size_t)(why.p - why.start) + 1);
}

static int put_header_value(const struct part *part, const struct record *r, struct buf *scratch,
	struct buf *out, struct record_error *e)
{
	struct span value;
	int ret = record_header_find(r, part->name, scratch, &value, e);

	if (ret < 0)
		return -1;
	if (ret == 0 || !value.p)
		return missing(part, e);
	buf_span(out, value);
	return 0;
}

static int put_key(const struct part *part, const struct record *r, struct buf *scratch,
	struct buf *out, struct record_error *e)
{
	struct span key;

	if (want_bytes(part, record_key(r, scratch, &key, e), e) < 0)
		return -1;
	buf_span(out, key);
	return 0;
}

static int put_name(const struct part *part, const struct json_value *text,
	const struct json_value *base64, struct buf *scratch, struct buf *out,
	struct record_error *e)
{
	struct span name;

	if (base64->type != JSON_STRING)
		return put_value(part, text, out, e);
	if (want_bytes(part, record_name(text, base64, scratch, &name, e), e) < 0)
		return -1;
	buf_span(out, name);
	return 0;
}

static int put_field(const struct part *part, const struct record *r, struct buf *scratch,
	struct buf *out, struct record_error *e)
{
	buf_clear(scratch);
	switch (part->field) {
	case LITERAL:
		buf_puts(out, part->text);
		return 0;
	case TOPIC:
		return put_value(part, &r->topic, out, e);
	case CHANNEL:
		return put_name(part, &r->channel, &r->channel_b64, scratch, out, e);
	case STREAM:
		return put_name(part, &r->stream, &r->stream_b64, scratch, out, e);
	case PARTITION:
		return put_value(part, &r->partition, out, e);
	case OFFSET:
		return put_value(part, &r->offset, out, e);
	case TS:
		return put_value(part, &r->ts, out, e);
	case KEY:
		return put_key(part, r, scratch, out, e);
	case HEADER:
		return put_header_value(part, r, scratch, out, e);
	case PAYLOAD:
		return put_payload_value(part, r, scratch, out, e);
	}
	return 0;
}

/* Removes the prefix or suffix from the text in @out that begins at @at. */
static int strip(const struct part *part, struct buf *out, size_t at, struct record_error *e)
{
	size_t n = strlen(part->strip), len = out->len - at;
	bool prefix = part->strip_at == '#';

	if (len < n || (n && memcmp(out->p + (prefix ? at : out->len - n), part->strip, n) != 0)) {
		int shown = len < 100 ? (int)len : 100;

		return record_refuse(e, CLASS_PREFIX_MISMATCH, "%s '%.*s' does not %s '%s'",
			part->text, shown, len ? out->p + at : "", prefix ? "begin with" : "end in",
			part->strip);
	}
	out->len -= n;
	if (prefix && n)
		memmove(out->p + at, out->p + at + n, len - n);
	return 0;
}

int template_expand(const struct template *t, const struct record *r, struct buf *scratch,
	struct buf *out, struct record_error *e)
{
	size_t start = out->len;

	for (size_t i = 0; i < t->count; i++) {
		const struct part *part = &t->part[i];
		size_t at = out->len;

		if (put_field(part, r, scratch, out, e) < 0 ||
			(part->strip && strip(part, out, at, e) < 0)) {
			out->len = start;
			return -1;
		}
	}
	return 0;
}
