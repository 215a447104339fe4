/* SPDX-License-Identifier: ISC */
/* lib/json: the grammar, the walk, and the block loops against plain ones. Built four times: as it
 * is, without AVX-512, without byte shuffles, and without SIMD at all. */
#include "test.h"

#include "plain-json.h"

#include <sys/mman.h>
#include <unistd.h>

static const char fills[] = {0, ' ', 'x', '"', '\\', '1', '}', ']', 'e', '\x80', '\n', ','};

/* Judges a text with each filling behind its end: what stands there must not count. */
static int judge(struct span text, struct json_value *v, struct json *why)
{
	int first = 0;

	for (size_t i = 0; i < sizeof(fills); i++) {
		struct span s = span_flush(text, fills[i]);
		struct json_value got = {0};
		struct json j;
		int ret = json_parse(s, &got, &j);

		if (i == 0)
			first = ret;
		check(ret == first, text);
		check(ret == 0 || (j.why && j.p >= s.p && j.p <= s.p + s.len), text);
		if (ret == 0)
			check(got.text.p >= s.p && got.text.p + got.text.len <= s.p + s.len, text);
		if (v)
			*v = got;
		if (why) {
			*why = j;
			why->p = text.p + (j.p - s.p);
			why->start = text.p;
		}
		span_free(s);
	}
	return first;
}

/* Puts @n ordinary bytes. */
static void pad(struct buf *b, size_t n)
{
	while (n--)
		buf_putc(b, (char)('a' + n % 26));
}

static void texts_that_are_json(void **state)
{
	static const struct {
		struct span text;
		enum json_type type;
	} good[] = {
		{SPAN("null"), JSON_NULL},
		{SPAN("true"), JSON_TRUE},
		{SPAN(" \t\r\n false \t\r\n "), JSON_FALSE},
		{SPAN("0"), JSON_NUMBER},
		{SPAN("-0"), JSON_NUMBER},
		{SPAN("-0.0"), JSON_NUMBER},
		{SPAN("10"), JSON_NUMBER},
		{SPAN("1234567890123456789012345678901234567890"), JSON_NUMBER},
		{SPAN("0e0"), JSON_NUMBER},
		{SPAN("0E+1"), JSON_NUMBER},
		{SPAN("1e-1000"), JSON_NUMBER},
		{SPAN("-1.25e+07"), JSON_NUMBER},
		{SPAN("\"\""), JSON_STRING},
		{SPAN("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), JSON_STRING},
		{SPAN("\"\\u0000\\uFFFF\\u00e9\\uD83D\\uDE00\""), JSON_STRING},
		{SPAN("\"\\ud800\""), JSON_STRING},
		{SPAN("\"\\udc00\\ud800\\u0041\""), JSON_STRING},
		{SPAN("\"\x7f\""), JSON_STRING},
		{SPAN("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\""), JSON_STRING},
		{SPAN("\"\xe2\x80\xa8\xef\xbb\xbf\xef\xbf\xbf\""), JSON_STRING},
		{SPAN("[]"), JSON_ARRAY},
		{SPAN("[ ]"), JSON_ARRAY},
		{SPAN("{}"), JSON_OBJECT},
		{SPAN("{ }"), JSON_OBJECT},
		{SPAN("[[],{},[{}],[[]]]"), JSON_ARRAY},
		{SPAN("[1 , 2,3 ,\"x\" ,null]"), JSON_ARRAY},
		{SPAN("{\"a\":1,\"a\":2,\"\":3}"), JSON_OBJECT},
		{SPAN("{ \"a\" : [ { \"b\" : { } } , 1 ] , \"c\" : \"d\" }"), JSON_OBJECT},
		{SPAN("{\"\\u0061\\\"\":\"}\"}"), JSON_OBJECT},
		{SPAN("{\"a\":{\"b\":[{\"c\":[1]}]},\"d\":[[[]]]}"), JSON_OBJECT},
		{SPAN("[\"]\",\"[\",\"{\",\"}\",\",\",\":\"]"), JSON_ARRAY},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct json_value v;

		check(judge(good[i].text, &v, NULL) == 0, good[i].text);
		check(v.type == good[i].type, good[i].text);
	}
}

static void texts_that_are_not(void **state)
{
	static const struct span bad[] = {
		SPAN(""),
		SPAN(" "),
		SPAN("\xef\xbb\xbf{}"),
		SPAN("nul"),
		SPAN("nulll"),
		SPAN("NULL"),
		SPAN("True"),
		SPAN("undefined"),
		SPAN("NaN"),
		SPAN("Infinity"),
		SPAN("-Infinity"),
		SPAN("+1"),
		SPAN("-"),
		SPAN("--1"),
		SPAN("01"),
		SPAN("-01"),
		SPAN("00"),
		SPAN("1."),
		SPAN(".5"),
		SPAN("-.5"),
		SPAN("1.e1"),
		SPAN("1e"),
		SPAN("1e+"),
		SPAN("1E-"),
		SPAN("1e1.5"),
		SPAN("0x10"),
		SPAN("1 000"),
		SPAN("1,"),
		SPAN("1_0"),
		SPAN("\""),
		SPAN("\"\\"),
		SPAN("\"\\\""),
		SPAN("\"abc"),
		SPAN("'a'"),
		SPAN("\"\\x41\""),
		SPAN("\"\\a\""),
		SPAN("\"\\'\""),
		SPAN("\"\\0\""),
		SPAN("\"\\U0041\""),
		SPAN("\"\\u004\""),
		SPAN("\"\\u00g0\""),
		SPAN("\"\\u+041\""),
		SPAN("\"\\u\""),
		SPAN("\"\\u00"),
		SPAN("\"\t\""),
		SPAN("\"\n\""),
		SPAN("\"a\0b\""),
		SPAN("\"\x1f\""),
		SPAN("\0"),
		SPAN("1\0"),
		SPAN("{}\0"),
		SPAN("[1\0]"),
		SPAN("\"\x80\""),
		SPAN("\"\xc0\xaf\""),
		SPAN("\"\xc1\xbf\""),
		SPAN("\"\xe0\x80\xaf\""),
		SPAN("\"\xed\xa0\x80\""),
		SPAN("\"\xf0\x80\x80\xaf\""),
		SPAN("\"\xf4\x90\x80\x80\""),
		SPAN("\"\xf5\x80\x80\x80\""),
		SPAN("\"\xff\""),
		SPAN("\"\xc3\""),
		SPAN("\"\xe2\x82\""),
		SPAN("\"\xf0\x9f\x98\""),
		SPAN("\"\xe2\"\xac\""),
		SPAN("{\"\xff\":1}"),
		SPAN("\xc2\xa0"),
		SPAN("[1]\xc2\x85"),
		SPAN("\v1"),
		SPAN("\f1"),
		SPAN("["),
		SPAN("]"),
		SPAN("[1"),
		SPAN("[1,"),
		SPAN("[1,]"),
		SPAN("[,1]"),
		SPAN("[,]"),
		SPAN("[1,,2]"),
		SPAN("[1 2]"),
		SPAN("[1:2]"),
		SPAN("[1}"),
		SPAN("[}"),
		SPAN("[1]]"),
		SPAN("[1]["),
		SPAN("[[1]"),
		SPAN("{"),
		SPAN("}"),
		SPAN("{]"),
		SPAN("{\"a\""),
		SPAN("{\"a\":"),
		SPAN("{\"a\":1"),
		SPAN("{\"a\":1,"),
		SPAN("{\"a\":1,}"),
		SPAN("{,\"a\":1}"),
		SPAN("{\"a\":1]"),
		SPAN("{\"a\" 1}"),
		SPAN("{\"a\",1}"),
		SPAN("{\"a\"::1}"),
		SPAN("{\"a\":1 \"b\":2}"),
		SPAN("{a:1}"),
		SPAN("{1:1}"),
		SPAN("{null:1}"),
		SPAN("{[]:1}"),
		SPAN("{\"a\":1}}"),
		SPAN("{\"a\":1}{"),
		SPAN("{\"a\":1} 2"),
		SPAN("[{\"a\":1],2}"),
		SPAN("[\"a\":1]"),
		SPAN("{\"a\":[}]"),
		SPAN("[1]//"),
		SPAN("/**/1"),
		SPAN("#1"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check(judge(bad[i], NULL, NULL) == -1, bad[i]);
}

/* Each beginning of a text is refused, also when the rest stands right behind its end. */
static void torn_texts(void **state)
{
	static const struct span whole = SPAN(
		"{\"a\":[true,false,null,-1.5e+3],\"\\u00e9\\n\":{\"k\":\"v\\ud83d\\ude00\\\\\","
		"\"long\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		"\\\"\\\"\\\"\"},\"utf8\":\"\xc3\xa9\xf0\x9f\x98\x80\"}");
	struct span s = span_flush(whole, 'x');
	struct json_value v;
	struct json j;

	(void)state;
	assert_int_equal(judge(whole, NULL, NULL), 0);
	for (size_t len = 0; len < whole.len; len++) {
		struct span torn = {s.p, len};

		check(json_parse(torn, &v, &j) == -1, torn);
		check(j.p <= s.p + len && strcmp(j.why, "unexpected end") == 0, torn);
		check(judge(torn, NULL, NULL) == -1, torn);
	}
	span_free(s);
}

/* A string is not closed, nor an escape begun or ended, by what stands behind the text; nor is that
 * read further than the slack goes. */
static void slack_is_no_text(void **state)
{
	static const char *const slacks[] = {"\"", "\\\"", "\\ud83d\\ude00\"", "\\u", "\\ud800",
		"0041\"", "u0041\"", "n\"", "\xa9\"", "\x1f"};
	static const char *const tails[] = {
		"", "\\", "\\u", "\\u00", "\\ud83d", "\\ud83d\\u", "\xc3"};
	struct buf b = {0};

	(void)state;
	for (size_t len = 0; len < 140; len++) {
		for (size_t i = 0; i < sizeof(slacks) / sizeof(slacks[0]); i++) {
			const char *slack = slacks[i], *tail = tails[(len + i) % 7];
			struct json_value v;
			struct json j;
			struct span s;

			buf_clear(&b);
			buf_putc(&b, '"');
			pad(&b, len);
			buf_puts(&b, tail);
			s = span_flush(buf_as_span(&b), 0);
			for (size_t k = 0; k < BUF_SLACK; k++)
				((char *)(uintptr_t)s.p)[s.len + k] = slack[k % strlen(slack)];
			json_init(&j, s);
			check(json_value(&j, &v) == -1, s);
			check(j.p <= s.p + s.len, s);
			check(strcmp(j.why, "unexpected end") == 0 || strstr(tail, "\\u"), s);
			span_free(s);
		}
	}
	buf_free(&b);
}

static void why_says_where(void **state)
{
	struct json_value v;
	struct json j;

	(void)state;
	assert_int_equal(judge(SPAN("[1,2,x]"), &v, &j), -1);
	assert_int_equal(j.p - j.start, 5);
	assert_string_equal(j.why, "unexpected character");
	assert_int_equal(judge(SPAN("[1,\"a\\qb\"]"), &v, &j), -1);
	assert_int_equal(j.p - j.start, 6);
	assert_string_equal(j.why, "unknown escape");
	assert_int_equal(judge(SPAN("[1,\"a\1b\"]"), &v, &j), -1);
	assert_int_equal(j.p - j.start, 5);
	assert_string_equal(j.why, "control character in a string");
	assert_int_equal(judge(SPAN("[1,\"ab\xff\"]"), &v, &j), -1);
	assert_int_equal(j.p - j.start, 6);
	assert_string_equal(j.why, "invalid UTF-8");
	assert_int_equal(judge(SPAN("[1"), &v, &j), -1);
	assert_int_equal(j.p - j.start, 2);
	assert_false(j.deep);
}

/* @n containers around each other, closed when @closed; every second an object when @mixed. */
static void nest(struct buf *b, size_t n, bool mixed, bool closed)
{
	buf_clear(b);
	for (size_t i = 0; i < n; i++)
		buf_puts(b, mixed && i % 2 ? "{\"a\":" : "[");
	if (!closed)
		return;
	if (mixed && n % 2 == 0)
		buf_putc(b, '1');
	while (n--)
		buf_putc(b, mixed && n % 2 ? '}' : ']');
}

static void nesting_ends_at_the_limit(void **state)
{
	struct buf b = {0};
	struct json_value v;
	struct json j;

	(void)state;
	for (int mixed = 0; mixed < 2; mixed++) {
		for (size_t n = 1; n <= JSON_DEPTH_MAX; n++) {
			nest(&b, n, mixed, true);
			check(json_parse(buf_as_span(&b), &v, &j) == 0, buf_as_span(&b));
		}
		nest(&b, JSON_DEPTH_MAX + 1, mixed, true);
		assert_int_equal(json_parse(buf_as_span(&b), &v, &j), -1);
		assert_true(j.deep);
		nest(&b, 100000, mixed, false);
		assert_int_equal(json_parse(buf_as_span(&b), &v, &j), -1);
		assert_true(j.deep);
	}
	/* A wrong bracket at every depth. */
	for (size_t n = 1; n <= JSON_DEPTH_MAX; n++) {
		nest(&b, n, true, true);
		b.p[b.len - n] ^= ']' ^ '}';
		check(json_parse(buf_as_span(&b), &v, &j) == -1 && !j.deep, buf_as_span(&b));
	}
	buf_free(&b);
}

static void the_walk_counts_its_depth(void **state)
{
	struct buf b = {0};
	struct json_value v;
	struct json j;

	(void)state;
	nest(&b, JSON_DEPTH_MAX + 1, false, true);
	json_init(&j, buf_as_span(&b));
	for (int i = 0; i < JSON_DEPTH_MAX; i++) {
		assert_int_equal(json_enter(&j, '['), 0);
		assert_int_equal(json_next(&j, ']'), 1);
	}
	assert_int_equal(json_enter(&j, '['), -1);
	assert_true(j.deep);
	json_init(&j, buf_as_span(&b));
	assert_int_equal(json_enter(&j, '['), 0);
	assert_int_equal(json_element(&j, &v), -1);
	assert_true(j.deep);
	buf_free(&b);
}

static void the_walk(void **state)
{
	struct span text =
		SPAN(" { \"a\" : [ 1 , \"x\" ,{}] ,\"\\u0062\":{\"c\":null},\"d\":-2.5}  ");
	struct span s = span_flush(text, '}');
	struct json_value k, v;
	struct json j;

	(void)state;
	json_init(&j, s);
	assert_int_equal(json_peek(&j), '{');
	assert_int_equal(json_enter(&j, '{'), 0);
	assert_int_equal(json_key(&j, &k), 1);
	assert_true(json_is(&k, "a"));
	assert_false(json_is(&k, "ab"));
	assert_false(json_is(&k, ""));
	assert_int_equal(json_enter(&j, '['), 0);
	assert_int_equal(json_element(&j, &v), 1);
	assert_int_equal(v.type, JSON_NUMBER);
	assert_true(v.integer);
	assert_int_equal(json_element(&j, &v), 1);
	assert_int_equal(v.type, JSON_STRING);
	assert_true(span_is(v.text, "x"));
	assert_int_equal(json_element(&j, &v), 1);
	assert_int_equal(v.type, JSON_OBJECT);
	assert_true(span_is(v.text, "{}"));
	assert_int_equal(json_element(&j, &v), 0);
	assert_int_equal(json_member(&j, &k, &v), 1);
	assert_true(k.escaped);
	assert_true(json_is(&k, "b"));
	assert_false(json_is(&k, "bb"));
	assert_false(json_is(&k, "\\u0062"));
	assert_int_equal(v.type, JSON_OBJECT);
	assert_true(span_is(v.text, "{\"c\":null}"));
	assert_int_equal(json_member(&j, &k, &v), 1);
	assert_int_equal(v.type, JSON_NUMBER);
	assert_false(v.integer);
	assert_int_equal(json_member(&j, &k, &v), 0);
	assert_int_equal(json_done(&j), 0);
	assert_int_equal(json_peek(&j), 0);

	json_init(&j, s);
	assert_int_equal(json_enter(&j, '['), -1);
	span_free(s);

	s = span_flush(SPAN("[1;2]"), ']');
	json_init(&j, s);
	assert_int_equal(json_enter(&j, '['), 0);
	assert_int_equal(json_element(&j, &v), 1);
	assert_int_equal(json_element(&j, &v), -1);
	span_free(s);
	s = span_flush(SPAN("{\"a\":1"), '}');
	json_init(&j, s);
	assert_int_equal(json_enter(&j, '{'), 0);
	assert_int_equal(json_member(&j, &k, &v), 1);
	assert_int_equal(json_member(&j, &k, &v), -1);
	span_free(s);
}

/* ---- strings at every place of a block ---- */

static void runs_of_backslashes_at_every_place(void **state)
{
	struct buf b = {0};

	(void)state;
	for (size_t before = 0; before < 140; before++) {
		for (size_t run = 1; run <= 70; run += run < 9 ? 1 : 15) {
			size_t content = before + run + (run % 2 ? 1 : 0) + 5;
			struct json_value v;

			buf_clear(&b);
			buf_putc(&b, '"');
			pad(&b, before);
			for (size_t i = 0; i < run; i++)
				buf_putc(&b, '\\');
			if (run % 2)
				buf_putc(&b, '"');
			buf_puts(&b, "tail!\"");
			check(judge(buf_as_span(&b), &v, NULL) == 0, buf_as_span(&b));
			check(v.escaped && v.text.len == content, buf_as_span(&b));
			/* One backslash more: the quote behind is taken or given back. */
			buf_clear(&b);
			buf_putc(&b, '"');
			pad(&b, before);
			for (size_t i = 0; i < run; i++)
				buf_putc(&b, '\\');
			buf_putc(&b, '"');
			check(judge(buf_as_span(&b), &v, NULL) == (run % 2 ? -1 : 0),
				buf_as_span(&b));
		}
	}
	buf_free(&b);
}

static void every_byte_at_every_place(void **state)
{
	struct buf b = {0};

	(void)state;
	for (size_t at = 0; at < 140; at++) {
		for (int c = 0; c < 256; c++) {
			bool good = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
			struct json_value v;

			buf_clear(&b);
			buf_putc(&b, '"');
			pad(&b, at);
			buf_putc(&b, (char)c);
			buf_putc(&b, 'x');
			pad(&b, 70 - at % 70);
			buf_putc(&b, '"');
			buf_room(&b, 1);
			check((json_parse(buf_as_span(&b), &v, NULL) == 0) == good,
				buf_as_span(&b));
			/* The same byte escaped. */
			b.len = 1 + at;
			buf_putc(&b, '\\');
			buf_putc(&b, (char)c);
			buf_putc(&b, 'x');
			pad(&b, 70 - at % 70);
			buf_putc(&b, '"');
			good = c && strchr("\"\\/bfnrt", c);
			check((json_parse(buf_as_span(&b), &v, NULL) == 0) == good,
				buf_as_span(&b));
			check(!good || v.escaped, buf_as_span(&b));
		}
	}
	buf_free(&b);
}

static void unicode_escapes_at_every_place(void **state)
{
	static const struct {
		const char *text, *decoded; /* NULL: lone */
	} cases[] = {
		{"\\u00e9", "\xc3\xa9"},
		{"\\u20AC", "\xe2\x82\xac"},
		{"\\ud83d\\ude00", "\xf0\x9f\x98\x80"},
		{"\\uDBFF\\uDFFF", "\xf4\x8f\xbf\xbf"},
		{"\\ud83d", NULL},
		{"\\ude00", NULL},
		{"\\ud83dx", NULL},
		{"\\ud83d\\n", NULL},
		{"\\ud83d\\u0041", NULL},
		{"\\ud83d\\ud83d", NULL},
		{"\\ude00\\ud83d", NULL},
		{"\\ud83d\\ude00\\ude00", NULL},
	};
	struct buf b = {0}, out = {0};

	(void)state;
	for (size_t at = 0; at < 140; at++) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct json_value v;
			struct span s;

			buf_clear(&b);
			buf_putc(&b, '"');
			pad(&b, at);
			buf_puts(&b, cases[i].text);
			buf_puts(&b, "end\"");
			check(judge(buf_as_span(&b), &v, NULL) == 0, buf_as_span(&b));
			check(v.lone == !cases[i].decoded, buf_as_span(&b));
			s = span_flush((struct span){b.p + 1, b.len - 2}, '"');
			buf_clear(&out);
			buf_puts(&out, "kept");
			check(json_unescape(&out, s) == (cases[i].decoded ? 0 : -1),
				buf_as_span(&b));
			if (cases[i].decoded) {
				buf_clear(&b);
				buf_puts(&b, "kept");
				pad(&b, at);
				buf_puts(&b, cases[i].decoded);
				buf_puts(&b, "end");
				check(span_equal(buf_as_span(&b), buf_as_span(&out)),
					buf_as_span(&out));
			} else {
				check(span_is(buf_as_span(&out), "kept"), buf_as_span(&out));
			}
			span_free(s);
		}
	}
	buf_free(&b);
	buf_free(&out);
}

/* ---- UTF-8 ---- */

static size_t encode(uint32_t u, char *to)
{
	if (u < 0x80) {
		to[0] = (char)u;
		return 1;
	}
	if (u < 0x800) {
		to[0] = (char)(0xc0 + u / 64);
		to[1] = (char)(0x80 + u % 64);
		return 2;
	}
	if (u < 0x10000) {
		to[0] = (char)(0xe0 + u / 4096);
		to[1] = (char)(0x80 + u / 64 % 64);
		to[2] = (char)(0x80 + u % 64);
		return 3;
	}
	to[0] = (char)(0xf0 + u / 262144);
	to[1] = (char)(0x80 + u / 4096 % 64);
	to[2] = (char)(0x80 + u / 64 % 64);
	to[3] = (char)(0x80 + u % 64);
	return 4;
}

static bool scalar(uint32_t u)
{
	return u < 0x110000 && (u < 0xd800 || u > 0xdfff);
}

/* By decoding and encoding again, as the definition has it. */
static bool utf8_by_definition(const unsigned char *p, size_t len)
{
	for (size_t n; len; p += n, len -= n) {
		uint32_t u = p[0];
		char again[4];

		n = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
		if (!n || n > len || p[0] >= 0xf8)
			return false;
		if (n > 1)
			u &= 0x7fu >> n;
		for (size_t i = 1; i < n; i++) {
			if (p[i] >> 6 != 2)
				return false;
			u = u << 6 | (p[i] & 0x3f);
		}
		if (!scalar(u) || encode(u, again) != n || memcmp(again, p, n) != 0)
			return false;
	}
	return true;
}

static void utf8_is_what_the_definition_says(void **state)
{
	char text[8];

	(void)state;
	for (uint32_t u = 0; u < 0x110000; u += u < 0x20000 ? 1 : 37) {
		struct span s = {text, encode(u, text)};

		check(json_utf8(s) == scalar(u), s);
	}
	/* Every beginning of up to three bytes, and four with a choice of ends. */
	for (uint32_t i = 0; i < 1u << 24; i += i < 0xc00000 ? 0x3ff1 : 1 + (i >> 2 & 0x3f)) {
		text[0] = (char)(i >> 16);
		text[1] = (char)(i >> 8);
		text[2] = (char)i;
		text[3] = (char)(0x80 + i % 64);
		text[4] = 'x';
		for (size_t n = 1; n <= 5; n++) {
			struct span s = {text, n};

			check(json_utf8(s) == utf8_by_definition((unsigned char *)text, n), s);
		}
	}
}

static void utf8_at_every_place(void **state)
{
	static const char *const chars[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	struct buf b = {0};

	(void)state;
	for (size_t at = 0; at < 140; at++) {
		for (size_t i = 0; i < 3; i++) {
			struct json_value v;
			struct span s;

			buf_clear(&b);
			buf_putc(&b, '"');
			pad(&b, at);
			buf_puts(&b, chars[i]);
			buf_puts(&b, chars[2 - i]);
			buf_putc(&b, '"');
			check(judge(buf_as_span(&b), &v, NULL) == 0, buf_as_span(&b));
			s = span_flush((struct span){b.p + 1, b.len - 2}, '\x80');
			check(json_utf8(s), s);
			for (size_t k = at; k < s.len; k++) {
				char was = b.p[1 + k];

				b.p[1 + k] = k % 2 ? '\xff' : 'x';
				check(judge(buf_as_span(&b), &v, NULL) == -1, buf_as_span(&b));
				check(!json_utf8((struct span){b.p + 1, s.len}), buf_as_span(&b));
				b.p[1 + k] = was;
				/* Cut in the middle of a character. */
				check(json_utf8((struct span){s.p, k}) ==
						utf8_by_definition((const unsigned char *)s.p, k),
					(struct span){s.p, k});
			}
			span_free(s);
		}
	}
	buf_free(&b);
}

static void all_code_points_as_escapes(void **state)
{
	struct buf b = {0}, out = {0};

	(void)state;
	for (uint32_t u = 0; u < 0x110000; u += u < 0x10000 ? 1 : 101) {
		char expected[4];
		size_t n = encode(u, expected);
		struct json_value v;
		char text[32];

		if (u < 0x10000)
			snprintf(text, sizeof(text), u % 2 ? "\"\\u%04x\"" : "\"\\u%04X\"", u);
		else
			snprintf(text, sizeof(text), "\"\\u%04x\\u%04x\"",
				0xd800 + ((u - 0x10000) >> 10), 0xdc00 + (u & 0x3ff));
		buf_clear(&b);
		buf_puts(&b, text);
		buf_clear(&out);
		check(json_parse(buf_as_span(&b), &v, NULL) == 0, buf_as_span(&b));
		check(v.lone == !scalar(u), buf_as_span(&b));
		check(json_unescape(&out, v.text) == (scalar(u) ? 0 : -1), buf_as_span(&b));
		if (!scalar(u))
			continue;
		check(span_equal(buf_as_span(&out), (struct span){expected, n}), buf_as_span(&b));
		check(json_equals(&v, (struct span){expected, n}), buf_as_span(&b));
		check(!json_equals(&v, (struct span){expected, n - 1}), buf_as_span(&b));
		check(json_seek(v.text, n) == v.text.p + v.text.len, buf_as_span(&b));
	}
	buf_free(&b);
	buf_free(&out);
}

/* ---- escaping and back ---- */

/* Random text of just @len bytes of valid UTF-8, of a kind. */
static void random_text(struct buf *b, size_t len, unsigned kind)
{
	size_t end = b->len + len;

	while (b->len < end) {
		uint32_t u = 'a' + (uint32_t)test_below(26);
		char c[4];
		size_t n;

		switch (kind % 6) {
		case 0: /* dense quotes */
			if (test_below(6) == 0)
				u = '"';
			break;
		case 1: /* dense backslashes */
			u = test_below(3) ? '\\' : '"';
			break;
		case 2: /* all of ASCII */
			u = (uint32_t)test_below(0x80);
			break;
		case 3: /* controls among words */
			if (test_below(20) == 0)
				u = (uint32_t)test_below(0x20);
			break;
		case 4: /* all of Unicode */
			u = (uint32_t)test_below(0x110000);
			break;
		case 5: /* mostly quiet */
			if (test_below(100) == 0)
				u = "\"\\\n\xe9"[test_below(4)] & 0xff;
			break;
		}
		if (!scalar(u))
			continue;
		n = encode(u, c);
		if (n <= end - b->len)
			buf_put(b, c, n);
	}
}

static void escape_by_definition(struct buf *b, struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
		const char *at = s.p[i] ? strchr(from, s.p[i]) : NULL;

		if (at)
			buf_printf(b, "\\%c", to[at - from]);
		else if ((unsigned char)s.p[i] < 0x20)
			buf_printf(b, "\\u%04x", s.p[i]);
		else
			buf_putc(b, s.p[i]);
	}
}

static void what_is_escaped_comes_back(void **state)
{
	struct buf raw = {0}, escaped = {0}, expected = {0}, back = {0};

	(void)state;
	for (unsigned round = 0; round < 6 * 310 * 4; round++) {
		struct span s, t;
		bool ascii = true;

		buf_clear(&raw);
		random_text(&raw, round / 6 % 310, round);
		for (size_t i = 0; i < raw.len; i++)
			ascii &= !(raw.p[i] & 0x80);
		/* Nothing is readable behind it: json_escape must not look. */
		s = (struct span){malloc(raw.len ? raw.len : 1), raw.len};
		if (raw.len)
			memcpy((char *)(uintptr_t)s.p, raw.p, raw.len);
		buf_free(&escaped);
		buf_puts(&escaped, "x");
		check(json_escape(&escaped, s) == ascii, s);
		check(json_utf8(s), s);
		buf_clear(&expected);
		buf_puts(&expected, "x");
		escape_by_definition(&expected, s);
		check(span_equal(buf_as_span(&escaped), buf_as_span(&expected)), s);
		t = span_flush((struct span){escaped.p + 1, escaped.len - 1}, '\\');
		buf_free(&back);
		check(json_unescape(&back, t) == 0, s);
		check(span_equal(buf_as_span(&back), s), s);
		span_free(s);
		span_free(t);
	}
	buf_free(&raw);
	buf_free(&escaped);
	buf_free(&expected);
	buf_free(&back);
}

static void long_texts_are_escaped_in_steps(void **state)
{
	struct buf raw = {0}, escaped = {0}, expected = {0}, back = {0};

	(void)state;
	for (size_t len = 900; len < 5000; len += 61) {
		buf_clear(&raw);
		buf_clear(&escaped);
		buf_clear(&expected);
		buf_clear(&back);
		random_text(&raw, len, (unsigned)len);
		buf_room(&raw, 1);
		json_escape(&escaped, buf_as_span(&raw));
		escape_by_definition(&expected, buf_as_span(&raw));
		check(span_equal(buf_as_span(&escaped), buf_as_span(&expected)), buf_as_span(&raw));
		assert_int_equal(json_unescape(&back, buf_as_span(&escaped)), 0);
		check(span_equal(buf_as_span(&back), buf_as_span(&raw)), buf_as_span(&raw));
	}
	buf_free(&raw);
	buf_free(&escaped);
	buf_free(&expected);
	buf_free(&back);
}

/* A string of random escapes and characters, between the quotes. */
static void random_string(struct buf *b, size_t pieces)
{
	static const char *const escapes[] = {"\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r",
		"\\t", "\\u0000", "\\u0041", "\\u00e9", "\\u20ac", "\\ud83d\\ude00"};
	unsigned density = 1 + (unsigned)test_below(10);

	while (pieces--) {
		if (test_below(density) == 0)
			buf_puts(b, escapes[test_below(13)]);
		else if (test_below(8) == 0)
			buf_puts(b, test_below(2) ? "\xc3\xa9" : "\xf0\x9f\x98\x80");
		else
			buf_putc(b, (char)('a' + test_below(26)));
	}
}

/* What is escaped may end where a page does and none follows. */
static void escape_reads_no_page_that_is_not_there(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct buf b = {0}, plain = {0};

	(void)state;
	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + page, page, PROT_NONE), 0);
	for (size_t n = 0; n < page; n++)
		p[n] = "\"abc\xc3\xa9\\\n"[n % 8];
	for (size_t n = 0; n <= 300 + page; n = n == 300 ? page - 100 : n + 1)
		for (size_t gap = 0; gap < 2 && n + gap <= page; gap++) {
			struct span s = {p + page - n - gap, n};

			buf_clear(&b);
			buf_clear(&plain);
			check(json_escape(&b, s) == plain_json_escape(&plain, s), s);
			check(b.len == plain.len && (!b.len || memcmp(b.p, plain.p, b.len) == 0),
				s);
		}
	buf_free(&b);
	buf_free(&plain);
	munmap(p, 2 * page);
}

/* Bytes anywhere in a text are found, and none that are not in it. */
static void what_a_text_may_hold(void **state)
{
	static const struct {
		struct span text, plain;
		bool may;
	} cases[] = {
		{SPAN("{\\\"source\\\":\\\"nas\\\"}"), SPAN("nas"), true},
		{SPAN("{\\\"source\\\":\\\"nas\\\"}"), SPAN("nat"), false},
		{SPAN("{\\\"source\\\":\\\"nas\\\"}"), SPAN(""), true},
		{SPAN("\\u006eas"), SPAN("nas"), true},
		{SPAN("\\\\u006eas"), SPAN("nas"), true},
		{SPAN("a\\/b"), SPAN("a/b"), true},
		{SPAN("a"), SPAN("\t"), true},
		{SPAN("a"), SPAN("\""), true},
		{SPAN("a"), SPAN("\\"), true},
		{SPAN("na"), SPAN("nas"), false},
		{SPAN(""), SPAN("n"), false},
		{SPAN("Z\xc3\xbcrich"), SPAN("\xc3\xbc"), true},
	};
	struct buf b = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* What stands behind the text does not count. */
		struct span text = span_flush(cases[i].text, 's');

		check(json_may_hold(text, cases[i].plain) == cases[i].may, text);
		check(plain_json_may_hold(text, cases[i].plain) == cases[i].may, text);
		span_free(text);
	}
	for (size_t before = 0; before < 40; before++)
		for (size_t n = 1; n < 40; n++)
			for (size_t after = 0; after < 20; after += 19) {
				struct span text, plain;

				buf_clear(&b);
				for (size_t k = 0; k < before + n + after; k++)
					buf_putc(&b, k < before || k >= before + n ? 'x' : 'y');
				text = span_flush(buf_as_span(&b), 'y');
				plain = (struct span){b.p + before, n};
				check(json_may_hold(text, plain), text);
				plain = span_flush(plain, 'y');
				buf_putc(&b, 'y');
				((char *)(uintptr_t)plain.p)[n] = 'y';
				plain.len++;
				check(!json_may_hold(text, plain), text);
				span_free(plain);
				span_free(text);
			}
	buf_free(&b);
}

static void seek_finds_every_character(void **state)
{
	struct buf text = {0}, all = {0}, part = {0};

	(void)state;
	for (int round = 0; round < 200; round++) {
		struct span s;
		const char *p;

		buf_clear(&text);
		buf_clear(&all);
		random_string(&text, test_below(200));
		s = span_flush(buf_as_span(&text), 'x');
		assert_int_equal(json_unescape(&all, s), 0);
		for (size_t at = 0; at <= all.len; at++) {
			if (at < all.len && (all.p[at] & 0xc0) == 0x80)
				continue;
			p = json_seek(s, at);
			check(p >= s.p && p <= s.p + s.len, s);
			buf_clear(&part);
			assert_int_equal(
				json_unescape(&part, (struct span){s.p, (size_t)(p - s.p)}), 0);
			check(part.len == at, s);
			check(p == plain_json_seek(s, at), s);
		}
		span_free(s);
	}
	buf_free(&text);
	buf_free(&all);
	buf_free(&part);
}

/* ---- against the plain loops ---- */

static void random_value(struct buf *b, int depth)
{
	size_t n = test_below(5);

	switch (test_below(depth ? 8 : 5)) {
	case 0:
		buf_puts(b, test_below(2) ? "true" : "null");
		return;
	case 1:
		buf_printf(b, "%s%d%s", test_below(2) ? "-" : "", (int)test_below(100000),
			test_below(2) ? "" : ".25e-3");
		return;
	case 2:
	case 3:
	case 4:
		buf_putc(b, '"');
		random_string(b, test_below(test_below(4) ? 20 : 200));
		buf_putc(b, '"');
		return;
	case 5:
	case 6:
		buf_putc(b, '{');
		for (size_t i = 0; i < n; i++) {
			buf_puts(b, i ? " ,\"" : "\"");
			random_string(b, test_below(12));
			buf_puts(b, test_below(2) ? "\":" : "\" : ");
			random_value(b, depth - 1);
		}
		buf_putc(b, '}');
		return;
	default:
		buf_putc(b, '[');
		for (size_t i = 0; i < n; i++) {
			buf_puts(b, i ? "," : "");
			random_value(b, depth - 1);
		}
		buf_putc(b, ']');
	}
}

static void same_as_plain(struct span text)
{
	struct buf a = {0}, b = {0};
	struct json_value v = {0}, w = {0};
	struct json j, k;
	int ret = json_parse(text, &v, &j);

	check(ret == plain_json_parse(text, &w, &k), text);
	check(j.deep == k.deep, text);
	if (ret == 0) {
		check(v.type == w.type && v.escaped == w.escaped && v.lone == w.lone, text);
		check(v.text.p == w.text.p && v.text.len == w.text.len, text);
		if (v.type == JSON_STRING) {
			check(json_unescape(&a, v.text) == plain_json_unescape(&b, v.text), text);
			check(span_equal(buf_as_span(&a), buf_as_span(&b)), text);
		}
	}
	buf_clear(&a);
	buf_clear(&b);
	check(json_escape(&a, text) == plain_json_escape(&b, text), text);
	check(span_equal(buf_as_span(&a), buf_as_span(&b)), text);
	check(json_utf8(text) == plain_json_utf8(text), text);
	buf_free(&a);
	buf_free(&b);
}

static void random_and_mutated_texts_are_judged_alike(void **state)
{
	static const char alphabet[] =
		"\"\"\\\\\\u0dD8cafnrtb/{}[]:,1e-. \xc3\xa9\xf0\x9f\x98\x80\n";
	struct buf b = {0};
	size_t good = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct json_value v;
		struct span s;

		buf_clear(&b);
		random_value(&b, 4);
		s = span_flush(buf_as_span(&b), alphabet[test_below(sizeof(alphabet))]);
		check(json_parse(s, &v, NULL) == 0, s);
		same_as_plain(s);
		for (int i = 0; i < 4; i++) {
			((char *)(uintptr_t)s.p)[test_below(s.len)] = test_below(4)
				? alphabet[test_below(sizeof(alphabet))]
				: (char)test_random();
			same_as_plain(s);
			good += json_parse(s, &v, NULL) == 0;
		}
		span_free(s);
		/* A string of nothing but trouble. */
		buf_clear(&b);
		buf_putc(&b, '"');
		for (size_t i = test_below(150); i; i--)
			buf_putc(&b, "\\\\\\\"unb/a0000"[test_below(13)]);
		buf_putc(&b, '"');
		s = span_flush(buf_as_span(&b), '"');
		same_as_plain(s);
		span_free(s);
	}
	/* Mutations that break everything, or nothing, would test little. */
	assert_in_range(good, 1000, 79000);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_that_are_json),
		cmocka_unit_test(texts_that_are_not),
		cmocka_unit_test(torn_texts),
		cmocka_unit_test(slack_is_no_text),
		cmocka_unit_test(why_says_where),
		cmocka_unit_test(nesting_ends_at_the_limit),
		cmocka_unit_test(the_walk_counts_its_depth),
		cmocka_unit_test(the_walk),
		cmocka_unit_test(runs_of_backslashes_at_every_place),
		cmocka_unit_test(every_byte_at_every_place),
		cmocka_unit_test(unicode_escapes_at_every_place),
		cmocka_unit_test(utf8_is_what_the_definition_says),
		cmocka_unit_test(utf8_at_every_place),
		cmocka_unit_test(all_code_points_as_escapes),
		cmocka_unit_test(what_is_escaped_comes_back),
		cmocka_unit_test(long_texts_are_escaped_in_steps),
		cmocka_unit_test(escape_reads_no_page_that_is_not_there),
		cmocka_unit_test(what_a_text_may_hold),
		cmocka_unit_test(seek_finds_every_character),
		cmocka_unit_test(random_and_mutated_texts_are_judged_alike),
	};

	test_seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
