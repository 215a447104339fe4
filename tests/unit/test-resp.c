/* SPDX-License-Identifier: ISC */
/* The RESP parser: truncated anywhere, beside hiredis's reader, and what it refuses. */
#include "resp-text.h"
#include "test.h"

#include <hiredis.h>

static const struct {
	const char *bytes, *text;
} good[] = {
	{":0\r\n", ":0 "},
	{":00000000000000000000007\r\n", ":7 "},
	{"$000000000000000001\r\nx\r\n", "$x "},
	{":-9223372036854775808\r\n", ":-9223372036854775808 "},
	{":9223372036854775807\r\n", ":9223372036854775807 "},
	{"+OK\r\n", "+OK "},
	{"+\r\n", "+ "},
	{"-ERR no\r\n", "-ERR no "},
	{"$-1\r\n", "nil "},
	{"*-1\r\n", "nil "},
	{"$0\r\n\r\n", "$ "},
	{"$4\r\na\r\nb\r\n", "$a\r\nb "},
	{"*0\r\n", "[0 "},
	{"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", "[3 $subscribe $a :1 "},
	{"*3\r\n$6\r\nmaster\r\n:7\r\n*1\r\n*3\r\n$1\r\nh\r\n$1\r\np\r\n:7\r\n",
		"[3 $master :7 [1 [3 $h $p :7 "},
	{"*2\r\n*2\r\n*-1\r\n-E\r\n*0\r\n", "[2 [2 nil -E [0 "},
	{"$21\r\n012345678901234567890\r\n", "large 21 "},
	{"*2\r\n$21\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n1\r\n$1\r\nx\r\n", "[2 large 21 $x "},
};

static void values_are_whole_wherever_they_are_truncated(void **state)
{
	struct buf all = {0}, expected = {0}, got = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		buf_puts(&all, good[i].bytes);
		buf_puts(&expected, good[i].text);
	}
	for (size_t piece = 1; piece <= all.len; piece++) {
		buf_clear(&got);
		assert_int_equal(resp_text(&got, all.p, all.len, piece, 20), RESP_MORE);
		check(span_equal(buf_as_span(&got), buf_as_span(&expected)), buf_as_span(&got));
	}
	buf_free(&all);
	buf_free(&expected);
	buf_free(&got);
}

static void other_bytes_are_refused(void **state)
{
	static const char *const rows[] = {"x\r\n", ":1x\r\n", ":\r\n", ":-\r\n", ":1\rx",
		":9223372036854775808\r\n", ":-9223372036854775809\r\n", "$x\r\n", "$-2\r\n",
		"$1\r\nab\r\n", "$1\r\na\rb", "*-2\r\n", "*x\r\n", "+a\rb\r\n", "\r\n",
		"HTTP/1.1 400 Bad Request\r\n", "$9223372036854775807\r\n"};
	struct buf got = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		for (size_t piece = 1; piece <= strlen(rows[i]); piece++) {
			buf_clear(&got);
			check(resp_text(&got, rows[i], strlen(rows[i]), piece, 20) == RESP_BAD,
				(struct span){rows[i], strlen(rows[i])});
		}
	buf_free(&got);
}

static void a_line_without_an_end_is_refused(void **state)
{
	struct buf b = {0}, got = {0};

	(void)state;
	buf_putc(&b, '+');
	while (b.len < 70000)
		buf_putc(&b, 'x');
	assert_int_equal(resp_text(&got, b.p, b.len, 4096, 20), RESP_BAD);
	buf_free(&b);
	buf_free(&got);
}

/* Deeper than hiredis can. */
static void nesting_has_no_limit(void **state)
{
	enum { DEPTH = 100000 };
	struct buf b = {0};
	struct resp r;
	uint64_t left = 1;

	(void)state;
	for (int i = 0; i < DEPTH; i++)
		buf_puts(&b, "*2\r\n:1\r\n");
	buf_puts(&b, ":2\r\n:3\r\n");
	r = (struct resp){.p = b.p, .end = b.p + b.len - 8, .max_string = 20};
	assert_int_equal(resp_skip(&r, &left), RESP_MORE);
	assert_int_equal(left, 1);
	r.end = b.p + b.len;
	assert_int_equal(resp_skip(&r, &left), RESP_NIL);
	assert_ptr_equal(r.p, b.p + b.len - 4);
	buf_free(&b);
}

static void put_random(struct buf *b, int depth)
{
	size_t n = test_below(6);

	switch (test_below(depth ? 7 : 5)) {
	case 0:
		buf_printf(b, ":%lld\r\n", (long long)(test_random() >> test_below(64)));
		break;
	case 1:
		buf_puts(b, "+fine\r\n");
		break;
	case 2:
		buf_puts(b, "-ERR bad\r\n");
		break;
	case 3:
		buf_puts(b, "$-1\r\n");
		break;
	case 4:
		n = test_below(20);
		buf_printf(b, "$%zu\r\n", n);
		for (size_t i = 0; i < n; i++)
			buf_putc(b, "\r\n$:*0a"[test_below(7)]);
		buf_puts(b, "\r\n");
		break;
	default:
		buf_printf(b, "*%zu\r\n", n);
		for (size_t i = 0; i < n; i++)
			put_random(b, depth - 1);
	}
}

static void replies_are_those_that_hiredis_reads(void **state)
{
	struct buf b = {0}, got = {0}, expected = {0};

	(void)state;
	for (int round = 0; round < 20000; round++) {
		buf_clear(&b);
		buf_clear(&got);
		buf_clear(&expected);
		for (size_t n = 1 + test_below(3); n; n--)
			put_random(&b, 4);
		assert_int_equal(resp_text(&got, b.p, b.len, 1 + test_below(b.len), SIZE_MAX / 2),
			RESP_MORE);
		assert_true(resp_text_hiredis(&expected, b.p, b.len));
		check(span_equal(buf_as_span(&got), buf_as_span(&expected)), buf_as_span(&b));
	}
	buf_free(&b);
	buf_free(&got);
	buf_free(&expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_whole_wherever_they_are_truncated),
		cmocka_unit_test(other_bytes_are_refused),
		cmocka_unit_test(a_line_without_an_end_is_refused),
		cmocka_unit_test(nesting_has_no_limit),
		cmocka_unit_test(replies_are_those_that_hiredis_reads),
	};

	test_seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
