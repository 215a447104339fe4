/* SPDX-License-Identifier: ISC */
#include "test.h"

#include "record/template.h"

static const struct span line = SPAN(
	"{\"topic\":\"orders.v1\",\"partition\":3,\"offset\":17,\"ts\":1763700000123,"
	"\"headers\":[\"h\",\"first\",\"h\",\"la\\\"st\",\"n\",null,\"bin\",{\"b64\":\"/wA=\"}],"
	"\"channel\":\"sse:a\\nb\",\"stream\":\"s\",\"key\":\"k\\u00e9\","
	"\"payload\":\"{\\\"a\\\":{\\\"b\\\":\\\"x\\\\ty\\\"},\\\"n\\\":1.50,\\\"t\\\":true,"
	"\\\"z\\\":null,\\\"o\\\":{},\\\"odd}#%\\\":9,\\\"l\\\":[1,\\\"two\\\"]}\"}");

static void what_is_a_template(void **state)
{
	static const char *const bad[][2] = {
		{"{", "no closing brace"},
		{"x{topic", "'{topic' has no closing brace"},
		{"a}b", "no opening brace"},
		{"}", "no opening brace"},
		{"{}", "'{}' is not a field"},
		{"{foo}",
			"'{foo}' is not a field: it is one of topic, channel, stream, key, "
			"partition, offset, ts, header:NAME, payload.PATH"},
		{"{Topic}", "'{Topic}' is not a field"},
		{"{topic }", "'{topic }' is not a field"},
		{"{header:}", "'{header:}' is not a field"},
		{"{payload}", "'{payload}' is not a field"},
		{"{payload.a-b}", "'{payload.a-b}' is not a field"},
		{"{payloads.a}", "'{payloads.a}' is not a field"},
		{"{topic#x", "no closing brace"},
	};
	char why[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(why, 0, sizeof(why));
		assert_null(template_parse(bad[i][0], why, sizeof(why)));
		if (!strstr(why, bad[i][1]))
			fail_msg("%s: %s", bad[i][0], why);
	}
	template_free(NULL);
}

static void constants(void **state)
{
	static const char *const cases[][2] = {
		{"", ""},
		{"plain", "plain"},
		{"{{a}}", "{a}"},
		{"{{{{}}", "{{}"},
		{"#%", "#%"},
		{"{topic}", NULL},
		{"x{topic}", NULL},
	};
	char why[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct template *t = template_parse(cases[i][0], why, sizeof(why));

		assert_non_null(t);
		if (cases[i][1])
			assert_string_equal(template_constant(t), cases[i][1]);
		else
			assert_null(template_constant(t));
		template_free(t);
	}
}

static void expansions(void **state)
{
	static const struct {
		const char *template, *out;
		enum errclass class;
		const char *message;
	} cases[] = {
		{"", ""},
		{"sse:{topic}", "sse:orders.v1"},
		{"{{{topic}}}", "{orders.v1}"},
		{"{topic%.v1}", "orders"},
		{"{topic#orders}", ".v1"},
		{"{topic#orders.v1}", ""},
		{"{topic#}{topic%}", "orders.v1orders.v1"},
		{"{topic#orders.v1x}", NULL, CLASS_PREFIX_MISMATCH,
			"topic 'orders.v1' does not begin with 'orders.v1x'"},
		{"a{topic%.v2}", NULL, CLASS_PREFIX_MISMATCH,
			"topic 'orders.v1' does not end in '.v2'"},
		{"{partition}/{offset}@{ts}", "3/17@1763700000123"},
		{"{key}", "k\xc3\xa9"},
		{"{channel#sse:}", "a\nb"},
		{"{channel#ssx:}", NULL, CLASS_PREFIX_MISMATCH,
			"channel 'sse:a?b' does not begin with 'ssx:'"},
		{"{stream}", "s"},
		{"{header:h}", "la\"st"},
		{"{header:h#la}", "\"st"},
		{"{header:bin}", "\xff"},
		{"{header:n}", NULL, CLASS_MISSING_FIELD, "'header:n'"},
		{"{header:none}", NULL, CLASS_MISSING_FIELD, "'header:none'"},
		{"{payload.a.b}", "x\ty"},
		{"{payload.a[\"b\"]}", "x\ty"},
		{"{payload.n}", "1.50"},
		{"{payload.t}", "true"},
		{"{payload.l[1]}", "two"},
		{"{payload.l[1]#tw}", "o"},
		{"{payload.\"odd}#%\"}", "9"},
		{"{payload.z}", NULL, CLASS_MISSING_FIELD, "'payload.z'"},
		{"{payload.o}", NULL, CLASS_MISSING_FIELD, "'payload.o'"},
		{"{payload.l}", NULL, CLASS_MISSING_FIELD, "'payload.l'"},
		{"{topic}{payload.a.c}", NULL, CLASS_MISSING_FIELD, "'payload.a.c'"},
	};
	struct buf scratch = {0}, out = {0};
	struct span s = span_flush(line, '"');
	struct record_error e;
	struct record r;
	char why[256];

	(void)state;
	assert_int_equal(record_parse(&r, s, &e), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct template *t = template_parse(cases[i].template, why, sizeof(why));
		struct span got;

		assert_non_null(t);
		buf_clear(&out);
		buf_puts(&out, "kept ");
		memset(&e, 0, sizeof(e));
		if (template_expand(t, &r, &scratch, &out, &e) == 0) {
			got = (struct span){out.p + 5, out.len - 5};
			if (!cases[i].out)
				fail_msg("%s is taken", cases[i].template);
			/* The one case with a NUL in it. */
			if (strcmp(cases[i].template, "{header:bin}") == 0)
				check(span_equal(got, SPAN("\xff\0")), got);
			else
				check(span_is(got, cases[i].out), got);
		} else {
			check(span_is(buf_as_span(&out), "kept "), buf_as_span(&out));
			if (cases[i].out || e.class != cases[i].class ||
				!strstr(e.message, cases[i].message))
				fail_msg("%s: %s: %s", cases[i].template, errclass_name(e.class),
					e.message);
		}
		template_free(t);
	}
	span_free(s);
	buf_free(&scratch);
	buf_free(&out);
}

static void records_that_lack_things(void **state)
{
	static const struct {
		struct span line;
		const char *template;
		enum errclass class;
	} cases[] = {
		{SPAN("{\"payload\":\"x\"}"), "{topic}", CLASS_MISSING_FIELD},
		{SPAN("{\"payload\":\"x\",\"topic\":null}"), "{topic}", CLASS_MISSING_FIELD},
		{SPAN("{\"payload\":\"x\"}"), "{key}", CLASS_MISSING_FIELD},
		{SPAN("{\"payload\":\"x\",\"key\":null}"), "{key}", CLASS_MISSING_FIELD},
		{SPAN("{\"payload\":\"x\"}"), "{header:h}", CLASS_MISSING_FIELD},
		{SPAN("{\"payload\":\"x\"}"), "{partition}", CLASS_MISSING_FIELD},
		{SPAN("{\"payload\":null}"), "{payload.a}", CLASS_MISSING_FIELD},
		{SPAN("{\"payload\":\"\"}"), "{payload.a}", CLASS_JSON_DECODE},
		{SPAN("{\"payload\":\"{\\\"a\\\":1\"}"), "{payload.a}", CLASS_JSON_DECODE},
		{SPAN("{\"payload_b64\":\"/w==\"}"), "{payload.a}", CLASS_JSON_DECODE},
		{SPAN("{\"payload\":{\"a\":\"\\ud800\"}}"), "{payload.a}", CLASS_MISSING_FIELD},
		{SPAN("{\"payload\":{\"a\":1}}"), "{payload.a}", CLASS_NONE},
		{SPAN("{\"payload_b64\":\"eyJhIjoxfQ==\"}"), "{payload.a}", CLASS_NONE},
		{SPAN("{\"payload\":\"x\",\"key_b64\":\"MQ==\"}"), "{key}", CLASS_NONE},
	};
	struct buf scratch = {0}, out = {0};
	char why[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct template *t = template_parse(cases[i].template, why, sizeof(why));
		struct span s = span_flush(cases[i].line, '"');
		struct record_error e = {0};
		struct record r;
		int ret;

		assert_int_equal(record_parse(&r, s, &e), 0);
		buf_clear(&out);
		ret = template_expand(t, &r, &scratch, &out, &e);
		check(ret == (cases[i].class ? -1 : 0) && e.class == cases[i].class, s);
		if (ret == 0)
			check(span_is(buf_as_span(&out), "1"), s);
		span_free(s);
		template_free(t);
	}
	buf_free(&scratch);
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_a_template),
		cmocka_unit_test(constants),
		cmocka_unit_test(expansions),
		cmocka_unit_test(records_that_lack_things),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
