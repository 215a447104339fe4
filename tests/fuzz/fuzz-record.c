/* SPDX-License-Identifier: ISC */
/* Any bytes as a line and as a payload: what lib/record takes must be readable, come back the same,
 * and stay a record through every edit; what it refuses has a class and a printable sentence; the
 * fast loops judge as the plain ones do. */
#include "fuzz.h"
#include "json/path.h"
#include "plain-json.h"
#include "record/record.h"
#include "record/template.h"

static bool same(struct span a, struct span b)
{
	return a.len == b.len && !a.p == !b.p && (!a.len || memcmp(a.p, b.p, a.len) == 0);
}

/* At the end of an allocation, with just the slack behind it. */
static struct span flush(struct span s, char fill)
{
	char *p = malloc(s.len + BUF_SLACK);

	must(p);
	if (s.len)
		memcpy(p, s.p, s.len);
	memset(p + s.len, fill, BUF_SLACK);
	return (struct span){p, s.len};
}

static void span_free(struct span s)
{
	free((char *)(uintptr_t)s.p);
}

/* Every string that the payload is or holds at .a may be in it. */
static void may_hold(const struct record *r, struct span payload)
{
	struct path *path = path_parse(".a");
	struct span text = flush(payload, 'a'), got;
	struct buf b = {0};
	struct json_value v;

	if (path_find(path, text, &v, NULL) == 1 && v.type >= JSON_NUMBER &&
		v.type <= JSON_STRING && (v.type == JSON_NUMBER || !json_string(&v, &b, &got)))
		must(json_may_hold(r->payload.text, v.type == JSON_NUMBER ? v.text : got));
	for (size_t n = 0; n < 40 && n <= r->line.len; n++) {
		struct span part = {r->line.p + r->line.len - n, n};

		must(json_may_hold(r->line, part));
		must(json_may_hold(r->payload.text, part) ==
			plain_json_may_hold(r->payload.text, part));
	}
	path_free(path);
	span_free(text);
	buf_free(&b);
}

/* The next place from @at on where a character begins. */
static size_t boundary(struct span s, size_t at)
{
	at = s.len ? at % (s.len + 1) : 0;
	while (at < s.len && (s.p[at] & 0xc0) == 0x80)
		at++;
	return at;
}

static void judge_alike(struct span text)
{
	struct json_value v, w;
	struct json j, k;
	struct buf a = {0}, b = {0};
	int ret = json_parse(text, &v, &j);

	must(ret == plain_json_parse(text, &w, &k));
	must(j.deep == k.deep);
	must(json_utf8(text) == plain_json_utf8(text));
	if (ret == 0) {
		must(v.type == w.type && v.lone == w.lone && v.escaped == w.escaped);
		must(v.text.p == w.text.p && v.text.len == w.text.len);
	} else {
		must(j.why && j.p >= text.p && j.p <= text.p + text.len);
	}
	if (ret == 0 && v.type == JSON_STRING) {
		must(json_unescape(&a, v.text) == plain_json_unescape(&b, v.text));
		must(same(buf_as_span(&a), buf_as_span(&b)));
	}
	buf_clear(&a);
	buf_clear(&b);
	must(json_escape(&a, text) == plain_json_escape(&b, text));
	must(same(buf_as_span(&a), buf_as_span(&b)));
	buf_free(&a);
	buf_free(&b);
}

/* Prints @bytes as a source does, and reads them again. */
static void come_back(struct span bytes)
{
	struct buf line = {0}, scratch = {0};
	struct span got, name;
	struct record_error e;
	struct json j = {0};
	struct record r;

	buf_putc(&line, '{');
	record_put_bytes(&line, "key", bytes);
	buf_puts(&line, ",\"headers\":[");
	record_put_header(&line, bytes.p ? bytes : SPAN("none"), bytes);
	buf_puts(&line, "],");
	record_put_bytes(&line, "payload", bytes);
	buf_putc(&line, '}');
	must(!memchr(line.p, '\n', line.len));
	must(record_parse(&r, buf_as_span(&line), &e) == 0);
	must(record_payload(&r, &scratch, &got, &e) == (bytes.p ? RECORD_BYTES : RECORD_NULL));
	must(same(got, bytes));
	must(record_key(&r, &scratch, &got, &e) == (bytes.p ? RECORD_BYTES : RECORD_NULL));
	must(same(got, bytes));
	buf_room(&scratch, r.headers.text.len + 64);
	must(record_header(&r, &j, &scratch, &name, &got, &e) == 1);
	must(same(got, bytes) && same(name, bytes.p ? bytes : SPAN("none")));
	must(record_header(&r, &j, &scratch, &name, &got, &e) == 0);
	buf_free(&line);
	buf_free(&scratch);
}

/* The edited line is a record with the same payload and the same places. */
static void still_the_record(const struct record *r, struct buf *line, struct record *again,
	struct span payload, struct buf *scratch)
{
	struct record_error e;
	struct span got;

	buf_room(line, 1);
	must(record_parse(again, buf_as_span(line), &e) == 0);
	must((record_payload(again, scratch, &got, &e) == RECORD_NULL) == !payload.p);
	must(same(got, payload));
	must(r->topic.type == again->topic.type && same(r->topic.text, again->topic.text));
	must(r->channel.type == again->channel.type && same(r->channel.text, again->channel.text));
	must(record_int(&r->partition, -7) == record_int(&again->partition, -7));
	must(record_int(&r->offset, -7) == record_int(&again->offset, -7));
	must(record_int(&r->ts, -7) == record_int(&again->ts, -7));
}

static void edit_key(const struct record *r, struct span payload, struct span key)
{
	struct buf line = {0}, scratch = {0};
	struct record_error e;
	struct record again;
	struct span got;

	record_set_key(r, key, !key.p, &line);
	still_the_record(r, &line, &again, payload, &scratch);
	must((record_key(&again, &scratch, &got, &e) == RECORD_NULL) == !key.p);
	must(same(got, key));
	buf_free(&line);
	buf_free(&scratch);
}

static void edit_header(const struct record *r, struct span payload, struct span value)
{
	struct buf line = {0}, scratch = {0};
	struct record_error e;
	struct record again;
	struct span got;

	record_set_header(r, SPAN("h"), value, &line);
	still_the_record(r, &line, &again, payload, &scratch);
	must(record_header_find(&again, "h", &scratch, &got, &e) == 1);
	must(same(got, value));
	buf_free(&line);
	buf_free(&scratch);
}

static void edit_payload(const struct record *r, struct span payload, size_t a, size_t b)
{
	static const struct span with = SPAN("\"\\\xc3\xa9\n");
	struct buf line = {0}, scratch = {0}, expected = {0};
	size_t from = boundary(payload, a < b ? a : b), to = boundary(payload, a < b ? b : a);
	struct record_error e;
	struct record again;
	struct span got;

	if (from > to)
		from = to;
	record_splice_payload(r, from, from, SPAN(""), &line);
	if (r->payload_b64.type == JSON_ABSENT || !r->payload_b64.escaped)
		must(same(buf_as_span(&line), r->line));
	buf_clear(&line);
	record_splice_payload(r, from, to, with, &line);
	buf_put(&expected, payload.p, from);
	buf_span(&expected, with);
	buf_put(&expected, payload.p + to, payload.len - to);
	buf_room(&line, 1);
	if (r->payload.type != JSON_OBJECT && r->payload.type != JSON_ARRAY) {
		must(record_parse(&again, buf_as_span(&line), &e) == 0);
		must(record_payload(&again, &scratch, &got, &e) == RECORD_BYTES);
		must(same(got, buf_as_span(&expected)));
	} else {
		must(line.len == r->line.len - (to - from) + with.len);
	}
	buf_free(&line);
	buf_free(&scratch);
	buf_free(&expected);
}

/* Every header can be read, and the last of its name is the one that is found. */
static void walk_headers(const struct record *r)
{
	struct buf scratch = {0}, found = {0};
	struct span name, value, got;
	struct record_error e;
	struct json j = {0};
	int ret;

	buf_room(&scratch, r->headers.text.len + 64);
	while ((ret = record_header(r, &j, &scratch, &name, &value, &e)) == 1) {
		char *text = strndup(name.p, name.len);

		must(text);
		if (strlen(text) == name.len)
			must(record_header_find(r, text, &found, &got, &e) == 1);
		free(text);
	}
	must(ret == 0);
	buf_free(&scratch);
	buf_free(&found);
}

static void fill_in(const struct record *r)
{
	static const char *const templates[] = {"{topic}{channel#s}", "{key}{header:h}",
		"{payload.a.b[0]}", "{payload.\"\"%x}", "{partition}{offset}{ts}"};
	struct buf scratch = {0}, out = {0};
	struct record_error e;
	char why[256];

	for (size_t i = 0; i < sizeof(templates) / sizeof(templates[0]); i++) {
		struct template *t = template_parse(templates[i], why, sizeof(why));
		size_t len = out.len;

		must(t);
		if (template_expand(t, r, &scratch, &out, &e) < 0) {
			must(out.len == len && e.class != CLASS_NONE);
			must(json_utf8((struct span){e.message, strlen(e.message)}));
		}
		template_free(t);
	}
	buf_free(&scratch);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span line = flush(
		(struct span){(const char *)data, size}, size ? "\"\\0}x \n,"[data[0] % 8] : '"');
	struct buf scratch = {0};
	struct record_error e = {0};
	struct json_value v;
	struct span payload;
	struct path *path;
	struct record r;

	judge_alike(line);
	come_back((struct span){(const char *)data, size});
	path = path_parse(".payload.a");
	must((path_find(path, line, &v, NULL) == -1) == (json_parse(line, &v, NULL) == -1));
	path_free(path);
	if (record_parse(&r, line, &e) < 0) {
		must(e.class == CLASS_JSON_DECODE || e.class == CLASS_TOO_LARGE ||
			e.class == CLASS_INVALID_RECORD);
		must(e.message[0] && json_utf8((struct span){e.message, strlen(e.message)}));
		span_free(line);
		return 0;
	}
	must(record_payload(&r, &scratch, &payload, &e) != RECORD_BAD);
	come_back(payload);
	if (r.payload.type > JSON_NULL)
		may_hold(&r, payload);
	walk_headers(&r);
	fill_in(&r);
	edit_key(&r, payload, SPAN("k\"\n\xc3\xa9"));
	edit_key(&r, payload, SPAN("\xff"));
	edit_key(&r, payload, SPAN_NONE);
	edit_header(&r, payload, SPAN("v\"\n\xc3\xa9"));
	edit_header(&r, payload, SPAN("\xff"));
	edit_header(&r, payload, SPAN_NONE);
	if (payload.p)
		edit_payload(&r, payload, data[size / 2], data[size / 3] * 3u);
	buf_free(&scratch);
	span_free(line);
	return 0;
}
