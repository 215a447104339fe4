/* SPDX-License-Identifier: ISC */
/* lib/num: numbers as users type them. */
#include "base/num.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define REFUSED INT64_MIN
#define NOW INT64_C(1795255200000) /* 2026-11-21T10:00:00Z */

struct row {
	const char *text;
	int64_t value; /* REFUSED: not of the form */
};

typedef int parse_fn(const char *s, int64_t *n);

static void check(parse_fn *parse, const struct row *rows)
{
	for (; rows->text; rows++) {
		int64_t n = 0;
		int got = parse(rows->text, &n);

		if (got != (rows->value == REFUSED ? -1 : 0))
			fail_msg("'%s' gives %d (%lld)", rows->text, got, (long long)n);
		if (got == 0 && n != rows->value)
			fail_msg("'%s' is %lld, not %lld", rows->text, (long long)n,
				(long long)rows->value);
	}
}

static void whole_numbers(void **state)
{
	static const struct row rows[] = {
		{"0", 0},
		{"42", 42},
		{"-42", -42},
		{"007", 7},
		{"9223372036854775807", INT64_MAX},
		{"9223372036854775808", REFUSED},
		{"-9223372036854775809", REFUSED},
		{"", REFUSED},
		{"-", REFUSED},
		{"+1", REFUSED},
		{" 1", REFUSED},
		{"1 ", REFUSED},
		{"1x", REFUSED},
		{"0x10", REFUSED},
		{"1e3", REFUSED},
		{"--1", REFUSED},
		{NULL, 0},
	};
	int64_t n;

	(void)state;
	check(num_i64, rows);
	assert_int_equal(num_i64("-9223372036854775808", &n), 0);
	assert_true(n == INT64_MIN);
}

static void durations(void **state)
{
	static const struct row rows[] = {
		{"200ms", 200},
		{"5s", 5000},
		{"1m", 60000},
		{"2h", 7200000},
		{"1d", 86400000},
		{"10", 10000},
		{"0", 0},
		{"0ms", 0},
		{"9223372036854775807ms", INT64_MAX},
		{"9223372036854775807s", REFUSED},
		{"-5s", REFUSED},
		{"5 s", REFUSED},
		{"5S", REFUSED},
		{"5sec", REFUSED},
		{"1.5s", REFUSED},
		{"s", REFUSED},
		{"", REFUSED},
		{"1m30s", REFUSED},
		{NULL, 0},
	};

	(void)state;
	check(num_duration_ms, rows);
}

static void sizes(void **state)
{
	static const struct row rows[] = {
		{"512", 512},
		{"64K", 65536},
		{"16M", 16777216},
		{"1G", 1073741824},
		{"0", 0},
		{"8589934591G", INT64_C(8589934591) << 30},
		{"8589934592G", REFUSED},
		{"-1", REFUSED},
		{"64k", REFUSED},
		{"64KB", REFUSED},
		{"64 K", REFUSED},
		{"1T", REFUSED},
		{"K", REFUSED},
		{"", REFUSED},
		{NULL, 0},
	};

	(void)state;
	check(num_size, rows);
}

static int time_at_now(const char *s, int64_t *ms)
{
	return num_time_ms(s, NOW, ms);
}

static const struct row times[] = {
	{"0", 0},
	{"1795255200123", 1795255200123},
	{"1795255200", NOW},
	{"9999999999", 9999999999000},
	{"999999999", 999999999},
	{"10000000000", 10000000000},
	{"2026-11-21", 1795219200000},
	{"2024-02-29", 1709164800000},
	{"2026-11-21T10:00:00", NOW},
	{"2026-11-21 10:00:00", NOW},
	{"2026-11-21T10:00", NOW},
	{"2026-11-21T10:00:00Z", NOW},
	{"2026-11-21T10:00:00.5Z", NOW + 500},
	{"2026-11-21T10:00:00.123", NOW + 123},
	{"2026-11-21T10:00:00.1239999Z", NOW + 123},
	{"2026-11-21T11:00:00+01:00", NOW},
	{"2026-11-21T04:30:00-0530", NOW},
	{"2026-11-21T11:00:00.250+01:00", NOW + 250},
	{"1969-12-31T23:59:59Z", -1000},
	{"-1h", NOW - 3600000},
	{"-200ms", NOW - 200},
	{"-30", NOW - 30000},
	{"", REFUSED},
	{"-", REFUSED},
	{"yesterday", REFUSED},
	{"2026", 2026},
	{"2026-11", REFUSED},
	{"2026-13-01", REFUSED},
	{"2026-02-30", REFUSED},
	{"2025-02-29", REFUSED},
	{"2026-11-21T", REFUSED},
	{"2026-11-21T25:00:00", REFUSED},
	{"2026-11-21T10:00:00.", REFUSED},
	{"2026-11-21T10:00:00z+", REFUSED},
	{"2026-11-21T10:00:00+01:00x", REFUSED},
	{"2026-11-21T10:00:00 Z", REFUSED},
	{"12345678901234567890", REFUSED},
	{"-1x", REFUSED},
	{NULL, 0},
};

static void points_in_time(void **state)
{
	(void)state;
	check(time_at_now, times);
}

static void points_in_time_do_not_depend_on_the_time_zone(void **state)
{
	(void)state;
	setenv("TZ", "Asia/Kathmandu", 1);
	tzset();
	check(time_at_now, times);
	unsetenv("TZ");
	tzset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_numbers),
		cmocka_unit_test(durations),
		cmocka_unit_test(sizes),
		cmocka_unit_test(points_in_time),
		cmocka_unit_test(points_in_time_do_not_depend_on_the_time_zone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
