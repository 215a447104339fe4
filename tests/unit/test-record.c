/* SPDX-License-Identifier: ISC */
/* lib/record: what is a record, any bytes there and back, and edits that change nothing else. */
#include "test.h"

#include "record/record.h"

/* Parses a copy that ends where its slack does. The caller frees r->line. */
static int parse(struct record *r, struct span line, struct record_error *e)
{
	int ret;

	memset(e, 0, sizeof(*e));
	ret = record_parse(r, span_flush(line, '"'), e);
	if (ret < 0) {
		span_free(r->line);
		/* Whatever the line held, the sentence can be printed. */
		check(e->message[0] && json_utf8((struct span){e->message, strlen(e->message)}),
			line);
	}
	return ret;
}

/* ---- what is a record ---- */

static void a_line_of_kcat(void **state)
{
	struct span line = SPAN("{\"topic\":\"orders\",\"partition\":2,\"offset\":17,"
				"\"tstype\":\"create\",\"ts\":1763700000123,\"broker\":1,"
				"\"headers\":[\"a\",\"1\",\"b\",null],\"key\":\"k\","
				"\"payload\":\"{\\\"x\\\":1}\"}");
	struct buf scratch = {0}, place = {0};
	struct record_error e;
	struct span bytes;
	struct record r;

	(void)state;
	assert_int_equal(parse(&r, line, &e), 0);
	assert_true(json_is(&r.topic, "orders"));
	assert_int_equal(record_int(&r.partition, -1), 2);
	assert_int_equal(record_int(&r.offset, -1), 17);
	assert_int_equal(record_int(&r.ts, -1), 1763700000123);
	assert_true(json_is(&r.tstype, "create"));
	assert_int_equal(r.channel.type, JSON_ABSENT);
	assert_int_equal(record_int(&r.seq, -5), -5);
	assert_int_equal(record_key(&r, &scratch, &bytes, &e), RECORD_BYTES);
	assert_true(span_is(bytes, "k"));
	assert_int_equal(record_payload(&r, &scratch, &bytes, &e), RECORD_BYTES);
	assert_true(span_is(bytes, "{\"x\":1}"));
	record_place(&r, &place);
	assert_true(span_is(buf_as_span(&place), "topic orders, partition 2, offset 17"));
	span_free(r.line);
	buf_free(&scratch);
	buf_free(&place);
}

static void lines_that_are_no_records(void **state)
{
	static const struct {
		struct span line;
		enum errclass class;
		const char *message;
	} bad[] = {
		{SPAN(""), CLASS_JSON_DECODE, "not JSON: the line is empty"},
		{SPAN("hello"), CLASS_JSON_DECODE, "not JSON: unexpected character at byte 1"},
		{SPAN("{\"payload\":\"x\""), CLASS_JSON_DECODE, "unexpected end at byte 15"},
		{SPAN("{\"payload\":\"x\"}}"), CLASS_JSON_DECODE, "byte 16"},
		{SPAN("{\"payload\":\"x\"}\r\r{"), CLASS_JSON_DECODE, "byte 18"},
		{SPAN("{\"payload\":\"x\",}"), CLASS_JSON_DECODE, "byte 16"},
		{SPAN("{\"payload\":\"a\0b\"}"), CLASS_JSON_DECODE, "control character"},
		{SPAN("{\"payload\":\"\xff\"}"), CLASS_JSON_DECODE, "invalid UTF-8 at byte 13"},
		{SPAN("{\"other\":\"\xff\",\"payload\":\"x\"}"), CLASS_JSON_DECODE,
			"invalid UTF-8"},
		{SPAN("{\"payload\":\"x\",\"other\":[1,2"), CLASS_JSON_DECODE, "unexpected end"},
		{SPAN("{\"payload\"\"x\"}"), CLASS_JSON_DECODE, "colon"},
		{SPAN("\xef\xbb\xbf{\"payload\":\"x\"}"), CLASS_JSON_DECODE,
			"a byte order mark at byte 1"},
		{SPAN("[]"), CLASS_INVALID_RECORD, "not an object"},
		{SPAN("\"payload\""), CLASS_INVALID_RECORD, "not an object"},
		{SPAN("17"), CLASS_INVALID_RECORD, "not an object"},
		{SPAN("{}"), CLASS_INVALID_RECORD, "'payload' is missing"},
		{SPAN("{\"Payload\":\"x\"}"), CLASS_INVALID_RECORD, "'payload' is missing"},
		{SPAN("{\"payload\":1}"), CLASS_INVALID_RECORD, "'payload' is neither"},
		{SPAN("{\"payload\":true}"), CLASS_INVALID_RECORD, "'payload' is neither"},
		{SPAN("{\"payload\":false}"), CLASS_INVALID_RECORD, "'payload' is neither"},
		{SPAN("{\"payload\":\"x\",\"payload_b64\":\"eA==\"}"), CLASS_INVALID_RECORD,
			"both 'payload' and 'payload_b64'"},
		{SPAN("{\"payload\":null,\"payload_b64\":\"eA==\"}"), CLASS_INVALID_RECORD,
			"both 'payload' and 'payload_b64'"},
		{SPAN("{\"payload\":\"x\",\"key\":\"a\",\"key_b64\":\"eA==\"}"),
			CLASS_INVALID_RECORD, "both 'key' and 'key_b64'"},
		{SPAN("{\"payload_b64\":null}"), CLASS_INVALID_RECORD, "'payload_b64'"},
		{SPAN("{\"payload_b64\":\"eA=\"}"), CLASS_INVALID_RECORD, "'payload_b64'"},
		{SPAN("{\"payload_b64\":\"eA\"}"), CLASS_INVALID_RECORD, "'payload_b64'"},
		{SPAN("{\"payload_b64\":\"eB==\"}"), CLASS_INVALID_RECORD, "'payload_b64'"},
		{SPAN("{\"payload_b64\":\"eHl=\"}"), CLASS_INVALID_RECORD, "'payload_b64'"},
		{SPAN("{\"payload_b64\":\"e===\"}"), CLASS_INVALID_RECORD, "'payload_b64'"},
		{SPAN("{\"payload_b64\":\"====\"}"), CLASS_INVALID_RECORD, "'payload_b64'"},
		{SPAN("{\"payload_b64\":\"eA==eA==\"}"), CLASS_INVALID_RECORD, "'payload_b64'"},
		{SPAN("{\"payload_b64\":\"e-__\"}"), CLASS_INVALID_RECORD, "'payload_b64'"},
		{SPAN("{\"payload_b64\":\" eA==\"}"), CLASS_INVALID_RECORD, "'payload_b64'"},
		{SPAN("{\"payload\":\"x\",\"key_b64\":7}"), CLASS_INVALID_RECORD, "'key_b64'"},
		{SPAN("{\"payload\":\"x\",\"key\":7}"), CLASS_INVALID_RECORD, "'key'"},
		{SPAN("{\"payload\":\"x\",\"key\":{}}"), CLASS_INVALID_RECORD, "'key'"},
		{SPAN("{\"payload\":\"x\",\"topic\":7}"), CLASS_INVALID_RECORD, "'topic'"},
		{SPAN("{\"payload\":\"x\",\"tstype\":7}"), CLASS_INVALID_RECORD, "'tstype'"},
		{SPAN("{\"payload\":\"x\",\"channel\":[]}"), CLASS_INVALID_RECORD, "'channel'"},
		{SPAN("{\"payload\":\"x\",\"pattern\":true}"), CLASS_INVALID_RECORD, "'pattern'"},
		{SPAN("{\"payload\":\"x\",\"stream\":1}"), CLASS_INVALID_RECORD, "'stream'"},
		{SPAN("{\"payload\":\"x\",\"id\":1}"), CLASS_INVALID_RECORD, "'id'"},
		{SPAN("{\"payload\":\"x\",\"seq\":1}"), CLASS_INVALID_RECORD, "'seq'"},
		{SPAN("{\"payload\":\"x\",\"partition\":\"1\"}"), CLASS_INVALID_RECORD,
			"'partition' is not a 32-bit integer"},
		{SPAN("{\"payload\":\"x\",\"partition\":1.0}"), CLASS_INVALID_RECORD,
			"'partition'"},
		{SPAN("{\"payload\":\"x\",\"partition\":1e1}"), CLASS_INVALID_RECORD,
			"'partition'"},
		{SPAN("{\"payload\":\"x\",\"partition\":2147483648}"), CLASS_INVALID_RECORD,
			"'partition'"},
		{SPAN("{\"payload\":\"x\",\"partition\":-2147483649}"), CLASS_INVALID_RECORD,
			"'partition'"},
		{SPAN("{\"payload\":\"x\",\"offset\":9223372036854775808}"), CLASS_INVALID_RECORD,
			"'offset' is not a 64-bit integer"},
		{SPAN("{\"payload\":\"x\",\"offset\":-9223372036854775809}"), CLASS_INVALID_RECORD,
			"'offset'"},
		{SPAN("{\"payload\":\"x\",\"offset\":18446744073709551617}"), CLASS_INVALID_RECORD,
			"'offset'"},
		{SPAN("{\"payload\":\"x\",\"ts\":1.5}"), CLASS_INVALID_RECORD, "'ts'"},
		{SPAN("{\"payload\":\"x\",\"headers\":{}}"), CLASS_INVALID_RECORD, "'headers'"},
		{SPAN("{\"payload\":\"x\",\"headers\":\"a\"}"), CLASS_INVALID_RECORD, "'headers'"},
		{SPAN("{\"payload\":\"x\",\"headers\":[\"a\"]}"), CLASS_INVALID_RECORD, "in turn"},
		{SPAN("{\"payload\":\"x\",\"headers\":[\"a\",\"b\",null,\"c\"]}"),
			CLASS_INVALID_RECORD, "name of header 2"},
		{SPAN("{\"payload\":\"x\",\"headers\":[\"a\",1]}"), CLASS_INVALID_RECORD,
			"value of header 1"},
		{SPAN("{\"payload\":\"x\",\"headers\":[\"a\",[\"b\",\"c\"]]}"),
			CLASS_INVALID_RECORD, "value of header 1"},
		{SPAN("{\"payload\":\"x\",\"headers\":[\"a\",{}]}"), CLASS_INVALID_RECORD,
			"header 1"},
		{SPAN("{\"payload\":\"x\",\"headers\":[\"a\",{\"b64\":\"x\"}]}"),
			CLASS_INVALID_RECORD, "header 1"},
		{SPAN("{\"payload\":\"x\",\"headers\":[\"a\",{\"b64\":null}]}"),
			CLASS_INVALID_RECORD, "header 1"},
		{SPAN("{\"payload\":\"x\",\"headers\":[\"a\",{\"b65\":\"eA==\"}]}"),
			CLASS_INVALID_RECORD, "header 1"},
		{SPAN("{\"payload\":\"x\",\"headers\":[\"a\",{\"b64\":\"eA==\",\"x\":1}]}"),
			CLASS_INVALID_RECORD, "header 1"},
		{SPAN("{\"payload\":\"\\ud800\"}"), CLASS_INVALID_RECORD, "'payload' holds half"},
		{SPAN("{\"payload\":\"x\",\"key\":\"\\udc00\"}"), CLASS_INVALID_RECORD,
			"'key' holds"},
		{SPAN("{\"payload\":\"x\",\"topic\":\"\\ud800\\n\"}"), CLASS_INVALID_RECORD,
			"'topic' holds"},
		{SPAN("{\"payload\":\"x\",\"headers\":[\"a\",\"\\ud800\"]}"), CLASS_INVALID_RECORD,
			"'headers' holds half of a surrogate pair in header 1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct record_error e;
		struct record r;

		check(parse(&r, bad[i].line, &e) == -1, bad[i].line);
		if (e.class != bad[i].class || !strstr(e.message, bad[i].message))
			fail_msg("%s: %s: %s", bad[i].line.p, errclass_name(e.class), e.message);
	}
}

static void deep_lines(void **state)
{
	struct buf b = {0};
	struct record_error e;
	struct record r;

	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_putc(&b, '[');
	assert_int_equal(parse(&r, buf_as_span(&b), &e), -1);
	assert_int_equal(e.class, CLASS_TOO_LARGE);
	buf_clear(&b);
	buf_puts(&b, "{\"payload\":");
	for (int i = 0; i < 100000; i++)
		buf_puts(&b, "{\"a\":");
	assert_int_equal(parse(&r, buf_as_span(&b), &e), -1);
	assert_int_equal(e.class, CLASS_TOO_LARGE);
	assert_non_null(strstr(e.message, "512"));
	buf_free(&b);
}

static void lines_that_are(void **state)
{
	static const struct {
		struct span line;
		const char *payload; /* NULL: a tombstone */
		const char *key;
	} good[] = {
		{SPAN("{\"payload\":\"\"}"), "", NULL},
		{SPAN("{\"payload\":null}"), NULL, NULL},
		{SPAN(" \t{ \"payload\" : \"x\" } \r"), "x", NULL},
		{SPAN("{\"p\\u0061yload\":\"x\",\"\\u006bey\":\"k\"}"), "x", "k"},
		{SPAN("{\"payload\":\"x\",\"key\":null}"), "x", NULL},
		{SPAN("{\"payload\":\"x\",\"key\":\"\"}"), "x", ""},
		{SPAN("{\"payload\":\"a\",\"payload\":\"b\"}"), "b", NULL},
		{SPAN("{\"payload\":7,\"payload\":\"b\"}"), "b", NULL},
		{SPAN("{\"payload\":\"a\",\"key\":\"1\",\"payload\":null,\"key\":\"2\"}"), NULL,
			"2"},
		{SPAN("{\"payload\":{\"a\": [1 ,2]}}"), "{\"a\": [1 ,2]}", NULL},
		{SPAN("{\"payload\" : [ ] }"), "[ ]", NULL},
		{SPAN("{\"payload\":{\"a\":\"\\ud800\"}}"), "{\"a\":\"\\ud800\"}", NULL},
		{SPAN("{\"payload_b64\":\"\"}"), "", NULL},
		{SPAN("{\"payload_b64\":\"eHl6\",\"key_b64\":\"eHk=\"}"), "xyz", "xy"},
		{SPAN("{\"payload_b64\":\"\\/w\\u003d=\"}"), "\xff", NULL},
		{SPAN("{\"topic\":null,\"partition\":null,\"offset\":null,\"ts\":null,"
		      "\"headers\":null,\"channel\":null,\"seq\":null,\"payload\":\"x\"}"),
			"x", NULL},
		{SPAN("{\"payload\":\"x\",\"partition\":-1,\"offset\":-9223372036854775808,"
		      "\"ts\":9223372036854775807}"),
			"x", NULL},
		{SPAN("{\"other\":\"\\ud800\",\"payload\":\"x\",\"more\":[1e400,{}]}"), "x", NULL},
		{SPAN("{\"topic\":7,\"topic\":\"t\",\"payload\":\"x\"}"), "x", NULL},
		{SPAN("{\"keys\":1,\"ke\":2,\"payload_b\":3,\"t\":4,\"\":5,\"payload\":\"x\"}"),
			"x", NULL},
		{SPAN("{\"payload\":\"x\",\"headers\":[\"a\",{ \"b64\" : \"eA==\" }]}"), "x", NULL},
		{SPAN("{\"payload\":\"x\",\"headers\":[]}"), "x", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct buf scratch = {0};
		struct record_error e;
		struct span bytes;
		struct record r;

		if (parse(&r, good[i].line, &e) < 0)
			fail_msg("%s: %s", good[i].line.p, e.message);
		check(record_payload(&r, &scratch, &bytes, &e) ==
				(good[i].payload ? RECORD_BYTES : RECORD_NULL),
			good[i].line);
		check(good[i].payload ? span_is(bytes, good[i].payload) : !bytes.p, good[i].line);
		check(record_key(&r, &scratch, &bytes, &e) ==
				(good[i].key ? RECORD_BYTES : RECORD_NULL),
			good[i].line);
		check(good[i].key ? span_is(bytes, good[i].key) : !bytes.p, good[i].line);
		span_free(r.line);
		buf_free(&scratch);
	}
}

static void integers_at_their_ends(void **state)
{
	struct span line = SPAN("{\"payload\":\"x\",\"partition\":-2147483648,"
				"\"offset\":-9223372036854775808,\"ts\":9223372036854775807}");
	struct record_error e;
	struct record r;

	(void)state;
	assert_int_equal(parse(&r, line, &e), 0);
	assert_true(record_int(&r.partition, 0) == INT32_MIN);
	assert_true(record_int(&r.offset, 0) == INT64_MIN);
	assert_true(record_int(&r.ts, 0) == INT64_MAX);
	span_free(r.line);
}

/* Each field in each spelling of its name comes to its place. */
static void fields_come_to_their_places(void **state)
{
	static const struct {
		const char *name;
		size_t at;
		bool number;
	} fields[] = {
		{"topic", offsetof(struct record, topic), false},
		{"partition", offsetof(struct record, partition), true},
		{"offset", offsetof(struct record, offset), true},
		{"tstype", offsetof(struct record, tstype), false},
		{"ts", offsetof(struct record, ts), true},
		{"key", offsetof(struct record, key), false},
		{"channel", offsetof(struct record, channel), false},
		{"pattern", offsetof(struct record, pattern), false},
		{"stream", offsetof(struct record, stream), false},
		{"id", offsetof(struct record, id), false},
		{"seq", offsetof(struct record, seq), false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		for (int spelling = 0; spelling < 4; spelling++) {
			const char *value = fields[i].number ? "41" : "\"forty-one\"";
			const struct json_value *v;
			struct record_error e;
			struct buf b = {0};
			struct record r;

			buf_puts(&b, "{\"payload\":null,\"");
			if (spelling == 1)
				buf_printf(&b, "\\u%04x%s", fields[i].name[0], fields[i].name + 1);
			else
				buf_puts(&b, fields[i].name);
			buf_printf(&b,
				spelling == 2		? "\" : %s }"
					: spelling == 3 ? "\":%s, \"x\":1}"
							: "\":%s}",
				value);
			assert_int_equal(parse(&r, buf_as_span(&b), &e), 0);
			v = (const struct json_value *)((char *)&r + fields[i].at);
			if (fields[i].number)
				check(record_int(v, 0) == 41, buf_as_span(&b));
			else
				check(json_is(v, "forty-one"), buf_as_span(&b));
			span_free(r.line);
			buf_free(&b);
		}
	}
}

static void places(void **state)
{
	static const char *const cases[][2] = {
		{"{\"payload\":null}", ""},
		{"{\"payload\":null,\"channel\":\"sse:x\"}", "channel sse:x"},
		{"{\"payload\":null,\"stream\":\"s\",\"id\":\"1-0\"}", "stream s, id 1-0"},
		{"{\"payload\":null,\"topic\":\"t\"}", "topic t"},
		{"{\"payload\":null,\"topic\":\"t\",\"partition\":0,\"offset\":5}",
			"topic t, partition 0, offset 5"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct record_error e;
		struct buf out = {0};
		struct record r;

		assert_int_equal(parse(&r, (struct span){cases[i][0], strlen(cases[i][0])}, &e), 0);
		record_place(&r, &out);
		check(span_is(buf_as_span(&out), cases[i][1]), r.line);
		span_free(r.line);
		buf_free(&out);
	}
}

static void messages_are_printable(void **state)
{
	struct record_error e;

	(void)state;
	assert_int_equal(record_refuse(&e, CLASS_LOOP, "a\nb\xff\xc3\xa9\x7f%s", "\xe2\x82"), -1);
	assert_string_equal(e.message, "a?b?\xc3\xa9???");
	assert_int_equal(e.class, CLASS_LOOP);
	/* Cut in the middle of a character. */
	record_refuse(&e, CLASS_LOOP, "%254s\xe2\x82\xac", "x");
	assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
	assert_int_equal(e.message[sizeof(e.message) - 2], '?');
}

/* ---- headers ---- */

static void headers_in_order(void **state)
{
	struct span line =
		SPAN("{\"payload\":null,\"headers\":[ \"a\" , \"1\",\"\\u0061\",\"2\\n\","
		     "\"n\",null,\"e\",\"\",\"b\",{\"b64\":\"\\/wA=\"},"
		     "{\"b64\":\"/g==\"},\"odd\" ]}");
	static const struct span expected[][2] = {
		{SPAN("a"), SPAN("1")},
		{SPAN("a"), SPAN("2\n")},
		{SPAN("n"), {0}},
		{SPAN("e"), SPAN("")},
		{SPAN("b"), SPAN("\xff\0")},
		{SPAN("\xfe"), SPAN("odd")},
	};
	struct span name, value;
	struct buf scratch = {0};
	struct record_error e;
	struct json j = {0};
	struct record r;

	(void)state;
	assert_int_equal(parse(&r, line, &e), 0);
	buf_room(&scratch, r.headers.text.len + 64);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(record_header(&r, &j, &scratch, &name, &value, &e), 1);
		check(span_equal(name, expected[i][0]), name);
		check(span_equal(value, expected[i][1]) && !value.p == !expected[i][1].p, value);
	}
	assert_int_equal(record_header(&r, &j, &scratch, &name, &value, &e), 0);
	assert_int_equal(record_header_find(&r, "a", &scratch, &value, &e), 1);
	assert_true(span_is(value, "2\n"));
	assert_int_equal(record_header_find(&r, "n", &scratch, &value, &e), 1);
	assert_null(value.p);
	assert_int_equal(record_header_find(&r, "e", &scratch, &value, &e), 1);
	assert_true(value.p && !value.len);
	assert_int_equal(record_header_find(&r, "\xfe", &scratch, &value, &e), 1);
	assert_true(span_is(value, "odd"));
	assert_int_equal(record_header_find(&r, "1", &scratch, &value, &e), 0);
	assert_int_equal(record_header_find(&r, "", &scratch, &value, &e), 0);
	span_free(r.line);

	assert_int_equal(parse(&r, SPAN("{\"payload\":null}"), &e), 0);
	memset(&j, 0, sizeof(j));
	assert_int_equal(record_header(&r, &j, &scratch, &name, &value, &e), 0);
	assert_int_equal(record_header_find(&r, "a", &scratch, &value, &e), 0);
	span_free(r.line);
	buf_free(&scratch);
}

/* A name stays where it was decoded to while the value is decoded, if room was made as the contract
 * says: at every length, for the buffer grows only at some. */
static void a_name_does_not_move_under_its_value(void **state)
{
	(void)state;
	for (size_t len = 0; len < 600; len++) {
		struct buf line = {0}, scratch = {0};
		struct span name, value;
		struct record_error e;
		struct json j = {0};
		const char *was;
		struct record r;

		buf_puts(&line, "{\"payload\":null,\"headers\":[\"\\u006e\",\"\\n");
		for (size_t i = 0; i < len; i++)
			buf_putc(&line, 'v');
		buf_puts(&line, "\"]}");
		assert_int_equal(parse(&r, buf_as_span(&line), &e), 0);
		buf_room(&scratch, r.headers.text.len + 64);
		was = scratch.p;
		assert_int_equal(record_header(&r, &j, &scratch, &name, &value, &e), 1);
		assert_ptr_equal(was, scratch.p);
		assert_true(span_is(name, "n"));
		assert_int_equal(value.len, len + 1);
		span_free(r.line);
		buf_free(&line);
		buf_free(&scratch);
	}
}

/* ---- any bytes, there and back ---- */

static const size_t edges[] = {0, 1, 2, 7, 8, 9, 14, 15, 16, 17, 31, 32, 33, 47, 48, 62, 63, 64, 65,
	79, 80, 81, 127, 128, 129};

/* Bytes of a kind: any, dense quotes and backslashes, controls, UTF-8, one value repeated. */
static void random_bytes(struct buf *b, size_t len, unsigned kind)
{
	static const char *const chars[] = {
		"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\"", "x"};
	size_t start = b->len;
	char same = (char)test_random();

	while (b->len - start < len) {
		switch (kind) {
		case 0:
			buf_putc(b, (char)test_random());
			break;
		case 1:
			buf_putc(b, "\"\"\\\\ab"[test_below(6)]);
			break;
		case 2:
			buf_putc(b, (char)test_below(0x30));
			break;
		case 3: {
			const char *c = chars[test_below(5)];

			buf_put(b, c, strlen(c));
			break;
		}
		case 4:
			buf_putc(b, same);
			break;
		default: /* text with one byte of trouble */
			buf_putc(b, (char)(test_below(len) ? 'a' : test_random()));
			break;
		}
	}
	/* A character cut at the end makes it base64: wanted, too, now and then. */
	if (test_below(4) == 0)
		b->len = start + len;
}

static void there_and_back(struct span key, struct span payload, struct span header)
{
	struct buf line = {0}, scratch = {0};
	struct span got, name;
	struct record_error e;
	struct json j = {0};
	struct record r;

	buf_putc(&line, '{');
	record_put_bytes(&line, "key", key);
	buf_puts(&line, ",\"headers\":[");
	record_put_header(&line, SPAN("h"), header);
	buf_putc(&line, ',');
	record_put_header(&line, header.p ? header : SPAN("x"), key);
	buf_puts(&line, "],");
	record_put_bytes(&line, "payload", payload);
	buf_putc(&line, '}');
	check(!memchr(line.p, '\n', line.len), buf_as_span(&line));
	if (parse(&r, buf_as_span(&line), &e) < 0)
		fail_msg("%.*s: %s", (int)line.len, line.p, e.message);
	check(record_payload(&r, &scratch, &got, &e) == (payload.p ? RECORD_BYTES : RECORD_NULL) &&
			span_equal(got, payload),
		payload);
	check(record_key(&r, &scratch, &got, &e) == (key.p ? RECORD_BYTES : RECORD_NULL) &&
			span_equal(got, key),
		key);
	check((r.payload_b64.type != JSON_ABSENT) == (payload.p && !json_utf8(payload)), payload);
	buf_room(&scratch, r.headers.text.len + 64);
	check(record_header(&r, &j, &scratch, &name, &got, &e) == 1, header);
	check(span_is(name, "h") && span_equal(got, header) && !got.p == !header.p, header);
	check(record_header(&r, &j, &scratch, &name, &got, &e) == 1, header);
	check(span_equal(name, header.p ? header : SPAN("x")) && span_equal(got, key), header);
	check(record_header(&r, &j, &scratch, &name, &got, &e) == 0, header);
	span_free(r.line);
	buf_free(&line);
	buf_free(&scratch);
}

/* A copy with nothing readable behind it: what librdkafka hands out is no better. */
static struct span exact(struct buf *b)
{
	char *p = malloc(b->len ? b->len : 1);

	assert_non_null(p);
	if (b->len)
		memcpy(p, b->p, b->len);
	return (struct span){p, b->len};
}

static void any_bytes_come_back(void **state)
{
	struct buf b = {0};

	(void)state;
	for (int round = 0; round < 12000; round++) {
		struct span s[3];

		for (int i = 0; i < 3; i++) {
			size_t len = test_below(3)
				? test_below(301)
				: edges[test_below(sizeof(edges) / sizeof(*edges))];

			buf_clear(&b);
			random_bytes(&b, len, (unsigned)test_below(6));
			s[i] = test_below(20) ? exact(&b) : SPAN_NONE;
		}
		there_and_back(s[0], s[1], s[2]);
		for (int i = 0; i < 3; i++)
			span_free(s[i]);
	}
	/* Each byte value alone at each place. */
	for (int c = 0; c < 256; c++) {
		for (size_t at = 0; at < 100; at += 1 + at % 3) {
			struct span s;

			buf_clear(&b);
			for (size_t i = 0; i < 100; i++)
				buf_putc(&b, i == at ? (char)c : 'a');
			s = exact(&b);
			there_and_back(s, s, s);
			span_free(s);
		}
	}
	buf_free(&b);
}

/* ---- edits ---- */

static void key_edits(void **state)
{
	static const struct {
		const char *line, *key /* NULL: null */, *edited;
	} cases[] = {
		{"{\"payload\":\"x\"}", "k", "{\"key\":\"k\",\"payload\":\"x\"}"},
		{"{ \"a\":1, \"payload\":\"x\"}", "k",
			"{ \"a\":1, \"key\":\"k\",\"payload\":\"x\"}"},
		{"{\"payload\":\"x\"}", NULL, "{\"key\":null,\"payload\":\"x\"}"},
		{"{\"payload\":\"x\"}", "\xff", "{\"key_b64\":\"/w==\",\"payload\":\"x\"}"},
		{"{\"payload_b64\":\"eA==\"}", "k", "{\"key\":\"k\",\"payload_b64\":\"eA==\"}"},
		{"{\"payload\":1, \"payload\" : \"x\"}", "k",
			"{\"payload\":1, \"key\":\"k\",\"payload\" : \"x\"}"},
		{"{\"p\\u0061yload\":\"x\"}", "k", "{\"key\":\"k\",\"p\\u0061yload\":\"x\"}"},
		{"{\"key\" : \"old\" , \"payload\":\"x\"}", "a\"b\n\xc3\xa9",
			"{\"key\" : \"a\\\"b\\n\xc3\xa9\" , \"payload\":\"x\"}"},
		{"{\"key\":null,\"payload\":\"x\"}", "k", "{\"key\":\"k\",\"payload\":\"x\"}"},
		{"{\"payload\":\"x\",\"key\":\"k\"}", NULL, "{\"payload\":\"x\",\"key\":null}"},
		{"{\"payload\":\"x\",\"key\":\"\"}", "", "{\"payload\":\"x\",\"key\":\"\"}"},
		{"{\"key\":\"1\",\"payload\":\"x\",\"key\":\"2\",\"z\":\"key\"}", "k",
			"{\"key\":\"1\",\"payload\":\"x\",\"key\":\"k\",\"z\":\"key\"}"},
		{"{\"key\":\"1\",\"payload\":\"x\",\"k\\u0065y\" :\"2\"}", "\xff",
			"{\"key_b64\":\"/w==\",\"payload\":\"x\",\"key_b64\":\"/w==\"}"},
		{"{\"key_b64\":\"/w==\",\"payload\":\"x\"}", "k",
			"{\"key\":\"k\",\"payload\":\"x\"}"},
		{"{\"key_b64\":\"/w==\",\"payload\":\"x\"}", NULL,
			"{\"key\":null,\"payload\":\"x\"}"},
		{"{\"key_b64\" : \"/w==\" ,\"payload\":\"x\"}", "\xfe",
			"{\"key_b64\" : \"/g==\" ,\"payload\":\"x\"}"},
		{"{\"key_b64\":7,\"payload\":\"x\",\"key_b64\": \"/w==\"}", "k",
			"{\"key\":\"k\",\"payload\":\"x\",\"key\":\"k\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct span key = {cases[i].key, cases[i].key ? strlen(cases[i].key) : 0}, got;
		struct span line = {cases[i].line, strlen(cases[i].line)};
		struct buf out = {0}, scratch = {0};
		struct record_error e;
		struct record r, again;

		assert_int_equal(parse(&r, line, &e), 0);
		buf_puts(&out, "kept");
		record_set_key(&r, key, !key.p, &out);
		check(span_is((struct span){out.p + 4, out.len - 4}, cases[i].edited),
			buf_as_span(&out));
		assert_int_equal(parse(&again, (struct span){out.p + 4, out.len - 4}, &e), 0);
		check(record_key(&again, &scratch, &got, &e) ==
				(key.p ? RECORD_BYTES : RECORD_NULL),
			line);
		check(span_equal(got, key), line);
		span_free(r.line);
		span_free(again.line);
		buf_free(&out);
		buf_free(&scratch);
	}
}

static void seq_edits(void **state)
{
	static const struct {
		const char *line, *edited, *removed;
	} cases[] = {
		{"{\"a\":1,\"payload\":\"x\"}", "{\"a\":1,\"seq\":\"r:7\",\"payload\":\"x\"}",
			"{\"a\":1,\"payload\":\"x\"}"},
		{" {\"payload_b64\":\"\"} ", " {\"seq\":\"r:7\",\"payload_b64\":\"\"} ",
			" {\"payload_b64\":\"\"} "},
		{"{\"seq\" : \"old\" ,\"payload\":\"x\"}", "{\"seq\" : \"r:7\" ,\"payload\":\"x\"}",
			"{\"seq\" : null ,\"payload\":\"x\"}"},
		{"{\"payload\":\"x\",\"seq\":null}", "{\"payload\":\"x\",\"seq\":\"r:7\"}",
			"{\"payload\":\"x\",\"seq\":null}"},
		{"{\"seq\":\"a\",\"payload\":\"x\",\"s\\u0065q\":\"b\"}",
			"{\"seq\":\"a\",\"payload\":\"x\",\"s\\u0065q\":\"r:7\"}",
			"{\"seq\":\"a\",\"payload\":\"x\",\"s\\u0065q\":null}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct span line =
			span_flush((struct span){cases[i].line, strlen(cases[i].line)}, '"');
		struct record_error e;
		struct buf out = {0};
		struct record r;

		assert_int_equal(record_parse(&r, line, &e), 0);
		record_set_seq(&r, SPAN("r:7"), &out);
		check(span_is(buf_as_span(&out), cases[i].edited), buf_as_span(&out));
		buf_clear(&out);
		record_set_seq(&r, SPAN_NONE, &out);
		check(span_is(buf_as_span(&out), cases[i].removed), buf_as_span(&out));
		buf_free(&out);
		span_free(line);
	}
}

static void header_edits(void **state)
{
	static const struct {
		const char *line;
		struct span name, value;
		const char *edited;
	} cases[] = {
		{"{\"a\":1,\"payload\":\"x\"}", SPAN("h"), SPAN("v"),
			"{\"a\":1,\"headers\":[\"h\",\"v\"],\"payload\":\"x\"}"},
		{"{\"headers\" : null,\"payload\":\"x\"}", SPAN("h"), SPAN("v"),
			"{\"headers\" : [\"h\",\"v\"],\"payload\":\"x\"}"},
		{"{\"headers\":[],\"payload\":\"x\"}", SPAN("h"), SPAN("v\"\xc3\xa9"),
			"{\"headers\":[\"h\",\"v\\\"\xc3\xa9\"],\"payload\":\"x\"}"},
		{"{\"headers\":[ ],\"payload\":\"x\"}", SPAN("h"), {0},
			"{\"headers\":[ \"h\",null],\"payload\":\"x\"}"},
		{"{\"headers\":[\"a\",\"b\" ],\"payload\":\"x\"}", SPAN("h"), SPAN("\xff"),
			"{\"headers\":[\"a\",\"b\" ,\"h\",{\"b64\":\"/w==\"}],\"payload\":\"x\"}"},
		{"{\"headers\":[\"h\",\"1\",\"\\u0068\" , \"2\",\"i\",\"3\"],\"payload\":\"x\"}",
			SPAN("h"), SPAN("v"),
			"{\"headers\":[\"h\",\"1\",\"\\u0068\" , \"v\",\"i\",\"3\"],\"payload\":\"x\"}"},
		{"{\"payload\":\"x\",\"headers\":[\"h\",{\"b64\":\"/w==\"}]}", SPAN("h"), SPAN(""),
			"{\"payload\":\"x\",\"headers\":[\"h\",\"\"]}"},
		{"{\"payload\":\"x\",\"headers\":[\"h\",null]}", SPAN("h"), SPAN("v"),
			"{\"payload\":\"x\",\"headers\":[\"h\",\"v\"]}"},
		{"{\"headers\":[\"h\",\"0\"],\"payload\":\"x\",\"headers\":[\"i\",\"1\"]}",
			SPAN("h"), SPAN("v"),
			"{\"headers\":[\"h\",\"0\"],\"payload\":\"x\",\"headers\":[\"i\",\"1\",\"h\","
			"\"v\"]}"},
		{"{\"headers\":[\"v\",\"h\"],\"payload\":\"x\"}", SPAN("h"), SPAN("v"),
			"{\"headers\":[\"v\",\"h\",\"h\",\"v\"],\"payload\":\"x\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct span line = {cases[i].line, strlen(cases[i].line)}, got;
		struct buf out = {0}, scratch = {0};
		struct record_error e;
		struct record r, again;

		assert_int_equal(parse(&r, line, &e), 0);
		record_set_header(&r, cases[i].name, cases[i].value, &out);
		check(span_is(buf_as_span(&out), cases[i].edited), buf_as_span(&out));
		assert_int_equal(parse(&again, buf_as_span(&out), &e), 0);
		check(record_header_find(&again, cases[i].name.p, &scratch, &got, &e) == 1, line);
		check(span_equal(got, cases[i].value), line);
		span_free(r.line);
		span_free(again.line);
		buf_free(&out);
		buf_free(&scratch);
	}
}

static void payload_splices(void **state)
{
	static const struct span with[] = {
		SPAN(""), SPAN("n"), SPAN("\"q\\\"\n"), SPAN("\xc3\xa9\xf0\x9f\x98\x80")};
	static const char *const lines[] = {
		"{\"a\":1,\"payload\":\"a\\\"\\\\\\u00e9\\ud83d\\ude00\xe2\x82\xac\\n/\\/z\",\"z\":2}",
		"{\"a\":1,\"payload\":\"\",\"z\":2}",
		"{\"a\":1,\"payload_b64\" : \"YWLDqf8=\",\"z\":2}",
		"{\"a\":1,\"payload_b64\":\"\",\"z\":2}",
		"{\"a\":1,\"payload\":{\"k\":[1,\"\xc3\xa9\\\"\"]} ,\"z\":2}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct buf before = {0};
		struct record_error e;
		struct span old;
		struct record r;

		assert_int_equal(parse(&r, (struct span){lines[i], strlen(lines[i])}, &e), 0);
		assert_int_equal(record_payload(&r, &before, &old, &e), RECORD_BYTES);
		for (size_t from = 0; from <= old.len; from++) {
			for (size_t to = from; to <= old.len; to++) {
				const struct span *w = &with[(from * 3 + to) % 4];
				struct buf out = {0}, scratch = {0}, expected = {0};
				size_t head, tail;
				struct span got;
				struct record again;

				/* Between characters, but for base64, where there are none. */
				if (r.payload_b64.type == JSON_ABSENT &&
					((from < old.len && (old.p[from] & 0xc0) == 0x80) ||
						(to < old.len && (old.p[to] & 0xc0) == 0x80)))
					continue;
				buf_put(&expected, old.p, from);
				buf_span(&expected, *w);
				buf_put(&expected, old.p + to, old.len - to);
				record_splice_payload(&r, from, to, *w, &out);
				/* All outside of the payload is as it was. */
				head = (size_t)(r.payload_name - r.line.p);
				tail = strlen(",\"z\":2}");
				check(memcmp(out.p, r.line.p, head) == 0, buf_as_span(&out));
				check(memcmp(out.p + out.len - tail, r.line.p + r.line.len - tail,
					      tail) == 0,
					buf_as_span(&out));
				if (r.payload.type == JSON_OBJECT) {
					const char *p = strstr(lines[i], "{\"k\"");

					check(span_equal((struct span){out.p + (p - lines[i]),
								 expected.len},
						      buf_as_span(&expected)),
						buf_as_span(&out));
				} else {
					assert_int_equal(parse(&again, buf_as_span(&out), &e), 0);
					assert_int_equal(record_payload(&again, &scratch, &got, &e),
						RECORD_BYTES);
					check(span_equal(got, buf_as_span(&expected)),
						buf_as_span(&out));
					span_free(again.line);
				}
				buf_free(&out);
				buf_free(&scratch);
				buf_free(&expected);
			}
		}
		buf_free(&before);
		span_free(r.line);
	}
}

/* Members of a record in any order, with unknown ones, spaces and doubles among them. */
static void random_line(struct buf *b)
{
	static const char *const others[] = {"\"x\":1", "\"y\" : [ {\"key\":\"no\"} ]",
		"\"payload_\":\"\\\"payload\\\":\"", "\"ts\":5", "\"topic\":\"t\\u00e9\"",
		"\"k\":\"\xc3\xa9\\\\\"", "\"headers\":[\"a\",\"b\"]", "\"headers\":null",
		"\"\":{}"};
	size_t n = 1 + test_below(7), payload = test_below(n), key = test_below(n + 2);

	buf_puts(b, test_below(2) ? "{" : " { ");
	for (size_t i = 0; i < n; i++) {
		buf_puts(b, i ? test_below(2) ? "," : " , " : "");
		if (i == payload) {
			buf_puts(b, test_below(2) ? "\"payload\":" : "\"payload\" : ");
			buf_puts(b, test_below(2) ? "\"a\\\"b\\u00e9\"" : "{\"a\" :1}");
		} else if (i == key) {
			buf_puts(b, test_below(2) ? "\"key\":\"old\"" : "\"key_b64\":\"/w==\"");
		} else {
			buf_puts(b, others[test_below(sizeof(others) / sizeof(*others))]);
		}
	}
	buf_puts(b, test_below(2) ? "}" : " } ");
}

/* Bytes the two have in common at the begin and the end, not counted twice. */
static size_t in_common(struct span a, struct span b)
{
	size_t least = a.len < b.len ? a.len : b.len, head = 0, tail = 0;

	while (head < least && a.p[head] == b.p[head])
		head++;
	while (tail < least - head && a.p[a.len - 1 - tail] == b.p[b.len - 1 - tail])
		tail++;
	return head + tail;
}

/* What an edit took out of the line is never more than the value that was there. */
static void edits_keep_all_other_bytes(void **state)
{
	struct buf line = {0}, out = {0}, back = {0}, scratch = {0}, scratch2 = {0};

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t old_key, old_header = 0;
		struct span payload, got, value;
		struct record r, again;
		struct record_error e;
		int had;

		buf_clear(&line);
		buf_clear(&out);
		buf_clear(&scratch);
		buf_clear(&scratch2);
		random_line(&line);
		if (parse(&r, buf_as_span(&line), &e) < 0)
			fail_msg("%.*s: %s", (int)line.len, line.p, e.message);
		record_payload(&r, &scratch, &payload, &e);

		/* Another key: the old member may go, nothing else. */
		old_key = r.key.type	 ? r.key.text.len + 2
			: r.key_b64.type ? sizeof("\"key_b64\":\"/w==\"") - 1
					 : 0;
		record_set_key(&r, SPAN("<new>"), false, &out);
		check(in_common(buf_as_span(&line), buf_as_span(&out)) + old_key >= line.len,
			buf_as_span(&out));
		assert_int_equal(parse(&again, buf_as_span(&out), &e), 0);
		record_key(&again, &scratch2, &got, &e);
		check(span_is(got, "<new>"), buf_as_span(&out));
		record_payload(&again, &scratch2, &got, &e);
		check(span_equal(got, payload), buf_as_span(&out));
		/* And once more, in place now: back to the same line. */
		buf_clear(&back);
		record_set_key(&again, SPAN("<new>"), false, &back);
		check(span_equal(buf_as_span(&back), buf_as_span(&out)), buf_as_span(&back));
		span_free(again.line);

		/* A header. */
		buf_clear(&out);
		had = record_header_find(&r, "a", &scratch2, &value, &e);
		old_header = had == 1 ? sizeof("\"b\"") - 1 : r.headers.type == JSON_NULL ? 4 : 0;
		record_set_header(&r, SPAN("a"), SPAN("<new>"), &out);
		check(in_common(buf_as_span(&line), buf_as_span(&out)) + old_header >= line.len,
			buf_as_span(&out));
		assert_int_equal(parse(&again, buf_as_span(&out), &e), 0);
		assert_int_equal(record_header_find(&again, "a", &scratch2, &got, &e), 1);
		check(span_is(got, "<new>"), buf_as_span(&out));
		span_free(again.line);

		/* The payload: nothing in, nothing out, nothing changed. */
		buf_clear(&out);
		record_splice_payload(&r, 2, 2, SPAN(""), &out);
		check(span_equal(buf_as_span(&out), buf_as_span(&line)), buf_as_span(&out));
		span_free(r.line);
	}
	buf_free(&line);
	buf_free(&out);
	buf_free(&back);
	buf_free(&scratch);
	buf_free(&scratch2);
}

static void test_set_members(void **state)
{
	static const struct record_member members[] = {
		{"topic", {"\"t\"", 3}}, {"offset", {"17", 2}}};
	static const struct {
		const char *line, *want;
	} cases[] = {
		{"{\"payload\":1e5}", NULL},
		{"{\"payload\":\"x\"}", "{\"topic\":\"t\",\"offset\":17,\"payload\":\"x\"}"},
		{" { \"payload\" : \"x\" } ",
			" {\"topic\":\"t\",\"offset\":17, \"payload\" : \"x\" } "},
		{"{\"offset\":9007199254740993,\"payload\":\"x\",\"topic\":null}",
			"{\"offset\":17,\"payload\":\"x\",\"topic\":\"t\"}"},
		{"{\"a\":{\"offset\":3},\"topic\":\"a\\\"b\" ,\"payload\":{\"topic\":1.10}}",
			"{\"offset\":17,\"a\":{\"offset\":3},\"topic\":\"t\" ,\"payload\":{\"topic\":1.10}}"},
		{"{\"topic\":\"a\",\"topi\\u0063\":\"b\",\"payload\":null,\"offset\":1}",
			"{\"topic\":\"t\",\"topic\":\"t\",\"payload\":null,\"offset\":17}"},
	};
	struct buf out = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct record_error e;
		struct record r;
		char line[256] = {0};
		int bad;

		strcpy(line, cases[i].line);
		bad = record_parse(&r, (struct span){line, strlen(line)}, &e);
		assert_int_equal(bad, cases[i].want ? 0 : -1);
		if (bad)
			continue;
		buf_clear(&out);
		record_set_members(&r, members, 2, &out);
		assert_int_equal(out.len, strlen(cases[i].want));
		assert_memory_equal(out.p, cases[i].want, out.len);
	}
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_members),
		cmocka_unit_test(a_line_of_kcat),
		cmocka_unit_test(lines_that_are_no_records),
		cmocka_unit_test(deep_lines),
		cmocka_unit_test(lines_that_are),
		cmocka_unit_test(integers_at_their_ends),
		cmocka_unit_test(fields_come_to_their_places),
		cmocka_unit_test(places),
		cmocka_unit_test(messages_are_printable),
		cmocka_unit_test(headers_in_order),
		cmocka_unit_test(a_name_does_not_move_under_its_value),
		cmocka_unit_test(any_bytes_come_back),
		cmocka_unit_test(key_edits),
		cmocka_unit_test(seq_edits),
		cmocka_unit_test(header_edits),
		cmocka_unit_test(payload_splices),
		cmocka_unit_test(edits_keep_all_other_bytes),
	};

	test_seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
