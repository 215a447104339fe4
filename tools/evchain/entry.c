/* SPDX-License-Identifier: ISC */
#include "evchain/entry.h"

#include "json/json.h"

#include <stdio.h>

/* Takes @text off the front. */
static bool take(const char **p, const char *end, const char *text, size_t n)
{
	if ((size_t)(end - *p) < n || memcmp(*p, text, n))
		return false;
	*p += n;
	return true;
}
#define TAKE(p, end, lit) take(p, end, lit, sizeof(lit) - 1)

/* Takes a number without a sign and without leading zeros. */
static bool take_number(const char **p, const char *end, uint64_t *n)
{
	const char *from = *p;

	for (*n = 0; *p < end && **p >= '0' && **p <= '9' && *p - from < 19; ++*p)
		*n = *n * 10 + (uint64_t)(**p - '0');
	return *p > from && (*from != '0' || *p == from + 1);
}

static bool take_begin(const char **p, const char *end, struct entry *e)
{
	uint64_t at;

	if (!TAKE(p, end, "{\"n\":") || !take_number(p, end, &e->n) || !TAKE(p, end, ",\"at\":") ||
		!take_number(p, end, &at) || *p == end || **p != ',')
		return false;
	e->at = (int64_t)at;
	return true;
}

int entry_begin(struct span line, uint64_t *n, int64_t *at)
{
	struct entry e;
	const char *p = line.p;

	if (!line.len || !take_begin(&p, line.p + line.len, &e))
		return -1;
	*n = e.n;
	*at = e.at;
	return 0;
}

/* The members between prev and record. */
static bool take_members(const char **p, const char *end, struct entry *e)
{
	struct json_value name, value;
	struct json j;

	if (TAKE(p, end, "\"s\":1,"))
		e->is_first = true;
	/* For the scanner the rest is an object of its own. */
	json_init(&j, (struct span){*p, (size_t)(end - *p)});
	while (!TAKE(&j.p, end, "\"record\":")) {
		if (json_name(&j, &name) < 0 || json_value(&j, &value))
			return false;
		if (json_is(&name, "source") && value.type == JSON_STRING)
			e->source = value.text;
		if (!TAKE(&j.p, end, ","))
			return false;
	}
	*p = j.p;
	return true;
}

int entry_parse(struct span line, struct entry *e)
{
	const char *p = line.p, *end = line.p + line.len;

	*e = (struct entry){0};
	if (!line.len || !take_begin(&p, end, e) || !TAKE(&p, end, ",\"prev\":\"") ||
		end - p < HASH_TEXT + 2)
		return -1;
	e->prev = (struct span){p, HASH_TEXT};
	p += HASH_TEXT;
	if (!TAKE(&p, end, "\",") || !take_members(&p, end, e) || end - p < 2 || end[-1] != '}')
		return -1;
	e->record = (struct span){p, (size_t)(end - 1 - p)};
	return 0;
}

static void put_number(struct buf *out, uint64_t n)
{
	char digits[20], *p = digits + sizeof(digits);

	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	buf_put(out, p, (size_t)(digits + sizeof(digits) - p));
}

#define PUT(out, lit) buf_put(out, lit, sizeof(lit) - 1)

void entry_print(const struct entry *e, struct buf *out)
{
	buf_room(out, e->record.len + e->source.len + 160);
	PUT(out, "{\"n\":");
	put_number(out, e->n);
	PUT(out, ",\"at\":");
	put_number(out, (uint64_t)e->at);
	PUT(out, ",\"prev\":\"");
	buf_span(out, e->prev);
	PUT(out, "\",");
	if (e->is_first)
		PUT(out, "\"s\":1,");
	if (e->source.p) {
		PUT(out, "\"source\":\"");
		buf_span(out, e->source);
		PUT(out, "\",");
	}
	PUT(out, "\"record\":");
	buf_span(out, e->record);
	buf_putc(out, '}');
}

#define KEY_BEGIN "{\"evchain\":\"key\",\"vkey\":\""
#define KEY_END "\"}"

void entry_print_key(const struct vkey *key, struct buf *out)
{
	struct buf text = {0};

	vkey_print(key, &text);
	PUT(out, KEY_BEGIN);
	json_escape(out, buf_as_span(&text));
	PUT(out, KEY_END);
	buf_free(&text);
}

bool entry_is_key(struct span record, struct vkey *key)
{
	size_t begin = sizeof(KEY_BEGIN) - 1, end = sizeof(KEY_END) - 1;
	struct json_value v;
	struct buf text = {0};
	struct json why;
	bool is;

	if (!span_starts(record, KEY_BEGIN) || record.len < begin + end ||
		memcmp(record.p + record.len - end, KEY_END, end) != 0)
		return false;
	/* From quote to quote. */
	record.p += begin - 1;
	record.len -= begin + end - 2;
	is = json_parse(record, &v, &why) == 0 && v.type == JSON_STRING &&
		json_unescape(&text, v.text) == 0 && vkey_parse(buf_as_span(&text), key) == 0;
	buf_free(&text);
	return is;
}
