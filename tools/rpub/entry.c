/* SPDX-License-Identifier: ISC */
/* A record as an entry: the payload's field first, then the key's, then the headers in order. rsub
 * -s makes the same record of it: there the first field of a name counts. */
#include "rpub/rpub.h"

#include "redis/request.h"

#include <time.h>

static int refuse(struct record_error *e, const char *why, const char *name)
{
	return record_refuse(e, CLASS_INVALID_RECORD, why, name);
}

static int put_payload(struct rpub *s, const struct record *r, struct span line, bool *is_null,
	struct record_error *e)
{
	enum record_bytes got;
	struct span bytes;

	buf_clear(&s->scratch);
	got = command_payload(s, r, line, &s->scratch, &bytes, e);
	*is_null = got == RECORD_NULL;
	if (got == RECORD_BYTES) {
		request_text(&s->stream.body, s->stream.field);
		request_word(&s->stream.body, bytes);
	}
	return got == RECORD_BAD ? -1 : 0;
}

static int put_key(struct rpub *s, const struct record *r, bool *is_null, struct record_error *e)
{
	enum record_bytes got = RECORD_NULL;
	struct span bytes;

	buf_clear(&s->scratch);
	if (s->stream.key_field && !s->raw)
		got = record_key(r, &s->scratch, &bytes, e);
	*is_null = got == RECORD_NULL;
	if (got == RECORD_BYTES) {
		request_text(&s->stream.body, s->stream.key_field);
		request_word(&s->stream.body, bytes);
	}
	return got == RECORD_BAD ? -1 : 0;
}

/* Returns how many, or -1. A header that would be read as the payload or key that is null is
 * refused. */
static int64_t put_headers(struct rpub *s, const struct record *r, bool no_payload, bool no_key,
	struct record_error *e)
{
	const char *field = s->stream.field, *key_field = s->stream.key_field;
	struct span name, value;
	struct json j = {0};
	int64_t count = 0;
	int got;

	buf_clear(&s->scratch);
	buf_room(&s->scratch, r->headers.text.len + 64);
	while ((got = record_header(r, &j, &s->scratch, &name, &value, e)) == 1) {
		if (no_payload && span_is(name, field))
			return refuse(e,
				"null payload, and a header '%s' that would be taken for it",
				field);
		if (no_key && key_field && span_is(name, key_field))
			return refuse(e, "null key, and a header '%s' that would be taken for it",
				key_field);
		request_word(&s->stream.body, name);
		request_word(&s->stream.body, value.p ? value : SPAN(""));
		count++;
	}
	return got ? -1 : count;
}

static void put_trim(const struct rpub_stream *t, struct buf *out)
{
	struct timespec now;

	request_text(out, t->trim);
	request_text(out, t->trim_about ? "~" : "=");
	if (t->max_length >= 0) {
		request_number(out, t->max_length);
	} else if (t->max_age_ms < 0) {
		request_id(out, t->min_id);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		request_number(
			out, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 - t->max_age_ms);
	}
}

int entry_put(struct rpub *s, const struct record *r, struct span line, struct buf *out,
	struct record_error *e)
{
	const char *constant = template_constant(s->template);
	struct rpub_stream *t = &s->stream;
	bool no_payload, no_key;
	int64_t offset = -1, headers, words;

	buf_clear(&t->body);
	if (t->by_offset && (offset = record_int(&r->offset, -1)) < 0)
		return record_refuse(
			e, CLASS_MISSING_FIELD, "the record has no 'offset' to be the entry's id");
	if (put_payload(s, r, line, &no_payload, e) || put_key(s, r, &no_key, e))
		return -1;
	headers = s->raw ? 0 : put_headers(s, r, no_payload, no_key, e);
	if (headers < 0)
		return -1;
	words = 2 * (headers + !no_payload + !no_key);
	if (!words)
		return refuse(
			e, "null payload and no headers: an entry has one field at least%s", "");
	request_begin(out, (size_t)(3 + words + (t->trim ? 3 : 0)), "XADD");
	request_word(out,
		constant ? (struct span){constant, strlen(constant)} : buf_as_span(&s->channel));
	if (t->trim)
		put_trim(t, out);
	t->id = (struct id){(uint64_t)offset, 1};
	if (t->by_offset)
		request_id(out, t->id);
	else
		request_text(out, "*");
	buf_span(out, buf_as_span(&t->body));
	return 0;
}
