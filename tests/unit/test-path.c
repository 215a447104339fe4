/* SPDX-License-Identifier: ISC */
#include "test.h"

#include "json/path.h"

static void what_is_a_path(void **state)
{
	static const char *const good[] = {".", ".a", "._x9", ".a.b", ".a[0]", ".a[0][1].b", "[0]",
		".[0]", ".a[\"b c\"]", ".\"odd name\"", ".\"\\u00e9\\n\"", ".[\"a\"]", "[\"a\"].b",
		".\"\"", ".a[4294967295]", ".a.\"]\"[7]"};
	static const char *const bad[] = {"", "a", ".a.", "..a", ".9", ".a b", ".a|.b", ".a-b",
		".a[-1]", ".a[]", ".a[", ".a[0", ".a[x]", ".a[1.0]", ".a.[0]", ".a[\"b\"", ".\"a",
		".\"a\"b", ".a[0]b", ". a", " .a", ".a ", ".a[99999999999999999999]", ".\"\\x\"",
		".\"\\ud800\"", ".a?", ".a[1:2]", "{a}", ".\xc3\xa9"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct path *p = path_parse(good[i]);

		if (!p)
			fail_msg("refused: %s", good[i]);
		path_free(p);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (path_parse(bad[i]))
			fail_msg("taken: %s", bad[i]);
	path_free(NULL);
}

static void what_is_found(void **state)
{
	static const struct {
		const char *path;
		struct span text;
		int ret;
		const char *found;
	} cases[] = {
		{".", SPAN(" [1] "), 1, "[1]"},
		{".", SPAN("5"), 1, "5"},
		{".", SPAN(""), -1, NULL},
		{".a", SPAN("{\"a\":1}"), 1, "1"},
		{".a", SPAN("{\"b\":0,\"a\":\"x\\n\"}"), 1, "x\\n"},
		{".a", SPAN("{\"a\":null}"), 1, "null"},
		{".a", SPAN("{}"), 0, NULL},
		{".a", SPAN("[]"), 0, NULL},
		{".a", SPAN("[{\"a\":1}]"), 0, NULL},
		{".a", SPAN("7"), 0, NULL},
		{".a", SPAN("\"a\""), 0, NULL},
		{".a", SPAN("{\"b\":{\"a\":1}}"), 0, NULL},
		{".a", SPAN("{\"\\u0061\":1}"), 1, "1"},
		{".\"\\u0061\"", SPAN("{\"a\":1}"), 1, "1"},
		{".\"b c\"", SPAN("{\"b\":1,\"b c\":2}"), 1, "2"},
		{".\"\"", SPAN("{\"\":3}"), 1, "3"},
		{".a", SPAN("{\"a\":1,\"a\":2}"), 1, "2"},
		{".a.b", SPAN("{\"a\":{\"b\":1},\"a\":{\"b\":2}}"), 1, "2"},
		{".a.b", SPAN("{\"a\":{\"b\":1},\"a\":{}}"), 0, NULL},
		{".a.b", SPAN("{\"a\":{\"b\":1},\"a\":5}"), 0, NULL},
		{".a.b", SPAN("{\"a\":5,\"a\":{\"b\":1}}"), 1, "1"},
		{".a.b", SPAN("{\"a\":{\"b\":1,\"c\":2},\"b\":3}"), 1, "1"},
		{".a.b", SPAN("{\"b\":3,\"a\":{\"c\":{\"b\":4}}}"), 0, NULL},
		{".a[0]", SPAN("{\"a\":[7,8]}"), 1, "7"},
		{".a[1]", SPAN("{\"a\":[7,8]}"), 1, "8"},
		{".a[2]", SPAN("{\"a\":[7,8]}"), 0, NULL},
		{".a[0]", SPAN("{\"a\":[]}"), 0, NULL},
		{".a[0]", SPAN("{\"a\":{\"0\":1}}"), 0, NULL},
		{"[1][0].x", SPAN("[[],[{\"x\":[true]}]]"), 1, "[true]"},
		{"[1][1]", SPAN("[[1,2],[3,4],[5,6]]"), 1, "4"},
		{"[0]", SPAN("[[[1]],2]"), 1, "[[1]]"},
		{".a.b", SPAN("{\"a\":{},\"x\":1}"), 0, NULL},
		{".a.b", SPAN("{\"a\":{}\"x\":1}"), -1, NULL},
		{".a", SPAN("{\"a\":1"), -1, NULL},
		{".a", SPAN("{\"a\":1}}"), -1, NULL},
		{".a", SPAN("{\"a\":1,\"b\":tru}"), -1, NULL},
		{".a.b", SPAN("{\"a\":{\"b\":1,}}"), -1, NULL},
		{".a.b", SPAN("{\"a\":{\"b\":1]}"), -1, NULL},
		{".a", SPAN("{\"a\":01}"), -1, NULL},
		{".a[0]", SPAN("{\"a\":[1}}"), -1, NULL},
		{".a", SPAN("{\"a\":\"\xff\"}"), -1, NULL},
		{".x", SPAN("{\"a\":\"\\q\"}"), -1, NULL},
		{".x", SPAN("not json"), -1, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct path *p = path_parse(cases[i].path);
		struct span s = span_flush(cases[i].text, '}');
		struct json_value v;
		struct json why;

		assert_non_null(p);
		check(path_find(p, s, &v, &why) == cases[i].ret, s);
		if (cases[i].ret == 1)
			check(span_is(v.text, cases[i].found), s);
		if (cases[i].ret == 0)
			check(v.type == JSON_ABSENT, s);
		if (cases[i].ret < 0)
			check(why.why && !why.deep, s);
		check(path_find(p, s, &v, NULL) == cases[i].ret, s);
		span_free(s);
		path_free(p);
	}
}

static void depth_is_limited_along_the_path_too(void **state)
{
	struct buf path = {0}, text = {0};
	struct json_value v;
	struct json why;
	struct path *p;

	(void)state;
	for (int depth = 1; depth <= JSON_DEPTH_MAX + 1; depth += 73) {
		buf_clear(&path);
		buf_clear(&text);
		for (int i = 0; i < depth; i++) {
			buf_puts(&path, "[1]");
			buf_puts(&text, "[0,");
		}
		buf_puts(&text, "\"end\"");
		for (int i = 0; i < depth; i++)
			buf_putc(&text, ']');
		buf_putc(&path, 0);
		p = path_parse(path.p);
		assert_non_null(p);
		if (depth <= JSON_DEPTH_MAX) {
			assert_int_equal(path_find(p, buf_as_span(&text), &v, &why), 1);
			assert_true(span_is(v.text, "end"));
		} else {
			assert_int_equal(path_find(p, buf_as_span(&text), &v, &why), -1);
			assert_true(why.deep);
		}
		path_free(p);
	}
	buf_free(&path);
	buf_free(&text);
}

static void the_parent(void **state)
{
	struct span text = span_flush(SPAN("{\"a\":{\"b\":1}}"), ' '), last;
	struct path *p = path_parse(".a.\"x\\ty\""), *parent;
	struct json_value v;

	(void)state;
	parent = path_parent(p, &last);
	assert_non_null(parent);
	assert_true(span_is(last, "x\ty"));
	assert_int_equal(path_find(parent, text, &v, NULL), 1);
	assert_true(span_is(v.text, "{\"b\":1}"));
	path_free(parent);
	path_free(p);

	p = path_parse(".a");
	parent = path_parent(p, &last);
	assert_true(span_is(last, "a"));
	assert_int_equal(path_find(parent, text, &v, NULL), 1);
	assert_true(span_is(v.text, "{\"a\":{\"b\":1}}"));
	assert_null(path_parent(parent, &last));
	path_free(parent);
	path_free(p);

	p = path_parse(".a[0]");
	assert_null(path_parent(p, &last));
	path_free(p);
	span_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_a_path),
		cmocka_unit_test(what_is_found),
		cmocka_unit_test(depth_is_limited_along_the_path_too),
		cmocka_unit_test(the_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
