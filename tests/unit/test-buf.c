/* SPDX-License-Identifier: ISC */
/* lib/buf: a growable buffer, numbers and base64. */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect(struct buf *b, const char *text)
{
	assert_int_equal(b->len, strlen(text));
	assert_memory_equal(b->p, text, b->len);
	buf_clear(b);
}

static void what_is_put_stands_in_order_through_every_growth(void **state)
{
	struct buf b = {0};

	(void)state;
	for (int i = 0; i < 100000; i++) {
		buf_putc(&b, (char)(i % 251));
		if (i % 3 == 0)
			buf_put(&b, "", 0);
	}
	assert_int_equal(b.len, 100000);
	for (int i = 0; i < 100000; i++)
		if (b.p[i] != (char)(i % 251))
			fail_msg("byte %d", i);
	buf_free(&b);
	assert_null(b.p);
}

static void the_slack_behind_the_capacity_may_be_loaded(void **state)
{
	struct buf b = {0};
	volatile char c;

	(void)state;
	for (size_t n = 1; n < 5000; n += 499) {
		buf_room(&b, n);
		assert_true(b.cap - b.len >= n);
		b.len = b.cap;
		/* Checked by the sanitizers. */
		c = b.p[b.cap + BUF_SLACK - 1];
		(void)c;
	}
	buf_free(&b);
}

static void integers_of_all_sizes(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_int(&b, 0);
	expect(&b, "0");
	buf_int(&b, -1);
	expect(&b, "-1");
	buf_int(&b, INT64_MAX);
	expect(&b, "9223372036854775807");
	buf_int(&b, INT64_MIN);
	expect(&b, "-9223372036854775808");
	buf_free(&b);
}

static void printf_takes_texts_of_any_length(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_printf(&b, "%0300d|", 7);
	assert_int_equal(b.len, 301);
	assert_memory_equal(b.p + 297, "007|", 4);
	buf_free(&b);
}

static void absent_is_not_empty(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_null(SPAN_NONE.p);
	assert_false(span_is(SPAN_NONE, ""));
	assert_true(span_is(SPAN(""), ""));
	assert_true(span_is(SPAN("abc"), "abc"));
	assert_false(span_is(SPAN("abc"), "ab"));
	assert_false(span_is(SPAN("ab"), "abc"));
	assert_non_null(buf_as_span(&b).p);
}

/* RFC 4648 section 10. */
static const struct {
	const char *plain, *coded;
} vectors[] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
	{"\xfb\xff\xbf", "+/+/"},
};

static void base64_both_ways(void **state)
{
	struct buf b = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
		const char *plain = vectors[i].plain, *coded = vectors[i].coded;

		buf_putc(&b, '<');
		buf_base64(&b, plain, strlen(plain));
		assert_int_equal(b.len, 1 + strlen(coded));
		assert_memory_equal(b.p + 1, coded, strlen(coded));
		b.len = 1;
		assert_int_equal(buf_unbase64(&b, (struct span){coded, strlen(coded)}), 0);
		assert_int_equal(b.len, 1 + strlen(plain));
		assert_memory_equal(b.p + 1, plain, strlen(plain));
		buf_clear(&b);
	}
	buf_free(&b);
}

static void base64_of_all_byte_values_in_all_lengths_comes_back(void **state)
{
	struct buf coded = {0}, plain = {0};
	unsigned char bytes[300];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 89);
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		buf_clear(&coded);
		buf_clear(&plain);
		buf_base64(&coded, bytes, n);
		assert_int_equal(buf_unbase64(&plain, buf_as_span(&coded)), 0);
		assert_int_equal(plain.len, n);
		assert_true(!n || !memcmp(plain.p, bytes, n));
	}
	buf_free(&coded);
	buf_free(&plain);
}

static void what_is_not_canonical_base64_is_refused_and_nothing_appended(void **state)
{
	static const char *const bad[] = {
		"Z",
		"Zg",
		"Zg=",
		"Zg===",
		"Zg==Zg==",
		"Zm8=Zm8=",
		"Z===",
		"====",
		"=",
		"Zh==", /* the bits left over are not zero */
		"Zm9=",
		"Zm9 ",
		"Zm9v\n",
		"Zm9-",
		"Zm9_",
		"Zm\x80v",
		"Zg=v",
	};
	struct buf b = {0};

	(void)state;
	buf_puts(&b, "kept");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (buf_unbase64(&b, (struct span){bad[i], strlen(bad[i])}) != -1)
			fail_msg("'%s' was taken", bad[i]);
		assert_int_equal(b.len, 4);
		assert_memory_equal(b.p, "kept", 4);
	}
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_stands_in_order_through_every_growth),
		cmocka_unit_test(the_slack_behind_the_capacity_may_be_loaded),
		cmocka_unit_test(integers_of_all_sizes),
		cmocka_unit_test(printf_takes_texts_of_any_length),
		cmocka_unit_test(absent_is_not_empty),
		cmocka_unit_test(base64_both_ways),
		cmocka_unit_test(base64_of_all_byte_values_in_all_lengths_comes_back),
		cmocka_unit_test(what_is_not_canonical_base64_is_refused_and_nothing_appended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
