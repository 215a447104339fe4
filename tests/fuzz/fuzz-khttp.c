/* SPDX-License-Identifier: ISC */
/* Any bytes as a body of khttp, of each type, and as a media type: what is taken points into the
 * body or the scratch, what is refused has a status and a reason that is JSON. The first byte
 * chooses. */
#include "fuzz.h"
#include "json/json.h"
#include "khttp/media.h"
#include "khttp/records.h"

#include <stdlib.h>

static bool is_in(struct span s, const char *p, size_t len)
{
	return !s.len || (s.p >= p && s.p + s.len <= p + len);
}

static void check(const struct records *rs, struct span body)
{
	struct span scratch = buf_as_span(&rs->scratch);

	for (size_t i = 0; i < rs->count; i++) {
		const struct message *m = &rs->list[i];

		/* What compat makes of null is neither. */
		must(is_in(m->key, body.p, body.len) || is_in(m->key, scratch.p, scratch.len));
		must(is_in(m->value, body.p, body.len) || is_in(m->value, scratch.p, scratch.len) ||
			m->value.len <= 4);
		must(m->timestamp >= 0 && m->partition >= RD_KAFKA_PARTITION_UA);
	}
}

static void check_errors(int status, const struct buf *errors, const char *why)
{
	struct buf text = {0};
	struct json_value v;
	struct json j;

	must(status == 0 || status == 400 || status == 422);
	must((status == 400) == (errors->len > 0));
	must(status != 422 || *why);
	buf_putc(&text, '[');
	buf_span(&text, buf_as_span(errors));
	buf_putc(&text, ']');
	must(json_parse(buf_as_span(&text), &v, &j) == 0);
	buf_free(&text);
}

/* Returns the status; -1: it is no JSON. @count: of records. */
static int read_body(struct span body, struct records_how how, size_t window, size_t *count)
{
	struct records_reader in = {.how = how, .window = window};
	struct json_value v = {0};
	struct records rs = {0};
	struct json j;

	*count = 0;
	if (how.type != MEDIA_LINES && json_parse(body, &v, &j))
		return -1;
	if (records_begin(&in, &v, body))
		while (records_next(&in, &rs)) {
			*count += rs.count;
			if (!in.status)
				check(&rs, body);
		}
	check_errors(in.status, &in.errors, in.why);
	records_free(&rs);
	buf_free(&in.errors);
	return in.status;
}

/* All at once and in pieces it is the same. */
static void read_twice(struct span body, struct records_how how)
{
	size_t count, again;
	int status = read_body(body, how, 0, &count);

	must(read_body(body, how, 1, &again) == status && again == count);
}

static void read_type(const char *text)
{
	static const enum media offered[] = {MEDIA_JSON, MEDIA_EVENTS, MEDIA_LINES, MEDIA_NONE};
	enum media m = media_of(text, false), chosen = media_choose(text, offered, false);

	must(m > MEDIA_NONE && m <= MEDIA_OTHER);
	must(media_of(text, true) == m || media_of(text, true) == MEDIA_OTHER);
	must(chosen == MEDIA_NONE || chosen == MEDIA_JSON || chosen == MEDIA_EVENTS ||
		chosen == MEDIA_LINES);
	must(media_choose(text, offered, true) == MEDIA_NONE || chosen != MEDIA_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum media types[] = {MEDIA_JSON, MEDIA_BINARY, MEDIA_TEXT, MEDIA_LINES};
	char *copy;

	if (!size)
		return 0;
	copy = malloc(size + BUF_SLACK);
	must(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	memset(copy + size - 1, 0, BUF_SLACK);
	read_type(copy);
	read_twice((struct span){copy, size - 1},
		(struct records_how){.type = types[data[0] & 3],
			.partition = data[0] & 4 ? 0 : RD_KAFKA_PARTITION_UA,
			.compat = data[0] & 8});
	free(copy);
	return 0;
}
