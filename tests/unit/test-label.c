/* SPDX-License-Identifier: ISC */
/* lib/label: what a seq says. */
#include "ack/label.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct span text(const char *s)
{
	return (struct span){s, strlen(s)};
}

static void what_labels_say(void **state)
{
	static const struct {
		const char *label, *ranges;
		uint32_t part, parts;
		bool single;
	} rows[] = {
		{"1", "1-1;", 0, 0, true},
		{"401-403", "401-403;", 0, 0, false},
		{"7-7", "7-7;", 0, 0, true},
		{"1,3-5,9", "1-1;3-5;9-9;", 0, 0, false},
		{"1,2", "1-1;2-2;", 0, 0, false},
		{"12.1/1", "12-12;", 1, 1, true},
		{"1,3.2/40", "1-1;3-3;", 2, 40, false},
		{"9223372036854775807", "9223372036854775807-9223372036854775807;", 0, 0, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct label l;
		struct buf got = {0};
		uint64_t from, to;
		struct span rest;

		assert_int_equal(label_parse(&l, text(rows[i].label)), 0);
		for (rest = l.set; label_range(&rest, &from, &to);)
			buf_printf(&got, "%llu-%llu;", (unsigned long long)from,
				(unsigned long long)to);
		buf_putc(&got, '\0');
		assert_string_equal(got.p, rows[i].ranges);
		assert_int_equal(l.part, rows[i].part);
		assert_int_equal(l.parts, rows[i].parts);
		assert_int_equal(l.single, rows[i].single);
		assert_int_equal(l.last, to);
		buf_free(&got);
	}
}

static void what_is_no_label(void **state)
{
	static const char *const rows[] = {"", "0", "01", "-1", "1-", "1,", ",1", "2-1", "3,2",
		"3,3", "1-3,3", "1 ", " 1", "1.", "1.0/1", "1.2/1", "1./2", "1.1/", "1.1/2.1/2",
		"1.1/2x", "a", "1.01/2", "9223372036854775808", "18446744073709551616",
		"99999999999999999999999", "1.1/1048577", "1..2", "1-2-3", "1.1/2,3"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct label l;

		if (label_parse(&l, text(rows[i])) == 0)
			fail_msg("'%s' was taken", rows[i]);
	}
}

static void a_seq_is_cut_in_two(void **state)
{
	struct span run, label;

	(void)state;
	assert_int_equal(label_split(text("0123456789abcdef:12.1/2"), &run, &label), 0);
	assert_true(span_is(run, "0123456789abcdef"));
	assert_true(span_is(label, "12.1/2"));
	assert_int_equal(label_split(text("0123456789abcdef:"), &run, &label), -1);
	assert_int_equal(label_split(text("0123456789abcdef"), &run, &label), -1);
	assert_int_equal(label_split(text("0123456789ABCDEF:1"), &run, &label), -1);
	assert_int_equal(label_split(text("0123456789abcde:12"), &run, &label), -1);
	assert_int_equal(label_split(text("0123456789abcdef12:1"), &run, &label), -1);
	assert_int_equal(label_split(SPAN_NONE, &run, &label), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_labels_say),
		cmocka_unit_test(what_is_no_label),
		cmocka_unit_test(a_seq_is_cut_in_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
