/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/num.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SECONDS_DIGITS = 10 };

/* strtoll without its leniency: no leading space or plus, at least one digit. */
static int digits(const char *s, char **end, int64_t *n)
{
	const char *d = *s == '-' ? s + 1 : s;

	if (*d < '0' || *d > '9')
		return -1;
	errno = 0;
	*n = strtoll(s, end, 10);
	return errno ? -1 : 0;
}

int num_i64(const char *s, int64_t *n)
{
	char *end;

	return digits(s, &end, n) || *end ? -1 : 0;
}

static int scaled(int64_t n, int64_t unit, int64_t *out)
{
	return n < 0 || __builtin_mul_overflow(n, unit, out) ? -1 : 0;
}

int num_duration_ms(const char *s, int64_t *ms)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {
		{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"", 1000}};
	int64_t n;
	char *end;

	if (digits(s, &end, &n))
		return -1;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (strcmp(end, units[i].name) == 0)
			return scaled(n, units[i].ms, ms);
	return -1;
}

int num_size(const char *s, int64_t *bytes)
{
	int64_t n, unit = 1;
	char *end;

	if (digits(s, &end, &n))
		return -1;
	switch (*end) {
	case 'G':
		unit <<= 10; /* fall through */
	case 'M':
		unit <<= 10; /* fall through */
	case 'K':
		unit <<= 10;
		end++;
	}
	return *end ? -1 : scaled(n, unit, bytes);
}

/* "[.123][Z|+01:00|-0130]" behind the seconds; the offset is taken off *@ms. */
static int fraction_and_zone(const char *s, int64_t *ms)
{
	if (*s == '.') {
		int64_t unit = 100;

		if (*++s < '0' || *s > '9')
			return -1;
		for (; *s >= '0' && *s <= '9'; s++, unit /= 10)
			*ms += (*s - '0') * unit;
	}
	if (*s == '+' || *s == '-') {
		struct tm zone = {0};
		const char *end = strptime(s + 1, "%H:%M", &zone);

		if (!end)
			end = strptime(s + 1, "%H%M", &zone);
		if (!end || *end)
			return -1;
		*ms += (*s == '-' ? 1 : -1) * (zone.tm_hour * 60 + zone.tm_min) * INT64_C(60000);
		return 0;
	}
	return *s == '\0' || strcmp(s, "Z") == 0 ? 0 : -1;
}

int num_time_ms(const char *s, int64_t now_ms, int64_t *ms)
{
	struct tm tm = {0};
	const char *rest;
	int64_t ago;
	int day;

	if (*s == '-') {
		if (num_duration_ms(s + 1, &ago))
			return -1;
		*ms = now_ms - ago;
		return 0;
	}
	/* As milliseconds they would be of early 1970. */
	if (num_i64(s, ms) == 0)
		return strlen(s) == SECONDS_DIGITS ? scaled(*ms, 1000, ms) : 0;
	rest = strptime(s, "%Y-%m-%d", &tm);
	if (!rest)
		return -1;
	if (*rest == 'T' || *rest == ' ') {
		const char *seconds = strptime(rest + 1, "%H:%M:%S", &tm);

		rest = seconds ? seconds : strptime(rest + 1, "%H:%M", &tm);
		if (!rest)
			return -1;
	}
	/* timegm takes February 30 for March 2. */
	day = tm.tm_mday;
	*ms = timegm(&tm) * INT64_C(1000);
	if (tm.tm_mday != day)
		return -1;
	return fraction_and_zone(rest, ms);
}
