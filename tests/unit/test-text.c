/* SPDX-License-Identifier: ISC */
/* base/text: nothing that a terminal obeys comes through, all else does, and columns are
 * counted. */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct span span(const char *s)
{
	return (struct span){s, strlen(s)};
}

static void becomes(const char *in, const char *out)
{
	struct buf b = {0};

	text_safe(&b, span(in));
	buf_putc(&b, '\0');
	assert_string_equal(b.p, out);
	buf_free(&b);
}

static void test_safe(void **state)
{
	(void)state;
	becomes("", "");
	becomes("plain text, longer than eight", "plain text, longer than eight");
	becomes("Zürich 東京 🚀 é", "Zürich 東京 🚀 é");
	becomes("a\nb\rc\td\033[31m\177", "a\\nb\\rc\\td\\x1b[31m\\x7f");
	becomes("C1 \302\233 NEL \302\205.", "C1 \\u009b NEL \\u0085.");
	becomes("turned \342\200\256 isolate \342\201\246 line \342\200\250",
		"turned \\u202e isolate \\u2066 line \\u2028");
	becomes("\377\376 \303", "\\xff\\xfe \\xc3");
	becomes("surrogate \355\240\200 overlong \300\257 beyond \364\220\200\200",
		"surrogate \\xed\\xa0\\x80 overlong \\xc0\\xaf beyond \\xf4\\x90\\x80\\x80");
	becomes("\\x1b stays", "\\x1b stays");
}

/* Each byte at each place, beside the loop that takes eight at once. */
static void test_all_bytes(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++)
		for (size_t at = 0; at < 24; at++) {
			char text[24];
			struct span s = {text, sizeof(text)};
			bool is_safe = c >= 0x20 && c < 0x7f;

			memset(text, ' ', sizeof(text));
			text[at] = (char)c;
			assert_ptr_equal(text_unsafe(s), is_safe ? text + 24 : text + at);
		}
}

static void test_columns(void **state)
{
	(void)state;
	assert_int_equal(text_columns(span("")), 0);
	assert_int_equal(text_columns(span("abc")), 3);
	assert_int_equal(text_columns(span("é")), 1);
	assert_int_equal(text_columns(span("e\314\201")), 1); /* e and a mark */
	assert_int_equal(text_columns(span("東京")), 4);
	assert_int_equal(text_columns(span("🚀")), 2);
	assert_int_equal(text_columns(span("\377x")), 2);
}

static void test_cut(void **state)
{
	(void)state;
	assert_int_equal(text_cut(span("abc"), 5), 3);
	assert_int_equal(text_cut(span("abc"), 2), 2);
	assert_int_equal(text_cut(span("東京"), 3), 3);
	assert_int_equal(text_cut(span("e\314\201x"), 1), 3);
	assert_int_equal(text_cut(span("éé"), 1), 2);
	assert_int_equal(text_cut(span("abc"), 0), 0);
}

static void test_url(void **state)
{
	struct buf b = {0};

	(void)state;
	text_put_url(&b, (struct span){"aZ09-./ \0\303\251%", 12}, "-.");
	assert_int_equal(b.len, 24);
	assert_memory_equal(b.p, "aZ09-.%2F%20%00%C3%A9%25", 24);
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_safe),
		cmocka_unit_test(test_all_bytes),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_url),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
