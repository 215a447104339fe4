/* SPDX-License-Identifier: ISC */
/* DESIGN
 * Edits never print a record anew: they copy the line up to a place, put something there, and copy
 * the rest. */
#include "record/record-parts.h"

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

	for (; record_next_header(r, &j, &n, &v) == 1; count++)
		if (record_header_is(&n, name))
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
	if (record_read_base64(&r->payload_b64, &bytes, &old) < 0)
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

	while (i < count && !json_is(name, members[i].name) &&
		!(members[i].instead && json_is(name, members[i].instead)))
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
