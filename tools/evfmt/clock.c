/* SPDX-License-Identifier: ISC */
#include "evfmt/clock.h"

#include <stdlib.h>
#include <time.h>

int64_t clock_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

/* Of the second that was asked for last: records come with the same one again and again. */
static const struct tm *calendar(int64_t second, bool utc)
{
	static struct {
		int64_t second;
		struct tm tm;
		bool is_known;
	} last[2];

	if (!last[utc].is_known || last[utc].second != second) {
		time_t t = (time_t)second;

		last[utc].is_known = (utc ? gmtime_r(&t, &last[utc].tm)
					  : localtime_r(&t, &last[utc].tm)) != NULL &&
			last[utc].tm.tm_year >= -1900 && last[utc].tm.tm_year < 8100;
		last[utc].second = second;
	}
	return last[utc].is_known ? &last[utc].tm : NULL;
}

static char *digits(char *p, int n, int count)
{
	for (int i = count - 1; i >= 0; i--, n /= 10)
		p[i] = (char)('0' + n % 10);
	return p + count;
}

static void put_calendar(struct buf *out, const struct tm *tm, char between, int ms)
{
	char text[32], *p = text;

	p = digits(p, tm->tm_year + 1900, 4);
	*p++ = '-';
	p = digits(p, tm->tm_mon + 1, 2);
	*p++ = '-';
	p = digits(p, tm->tm_mday, 2);
	*p++ = between;
	p = digits(p, tm->tm_hour, 2);
	*p++ = ':';
	p = digits(p, tm->tm_min, 2);
	*p++ = ':';
	p = digits(p, tm->tm_sec, 2);
	*p++ = '.';
	p = digits(p, ms, 3);
	buf_put(out, text, (size_t)(p - text));
}

static void put_zone(struct buf *out, long offset)
{
	long minutes = labs(offset) / 60;

	if (offset)
		buf_printf(
			out, "%c%02ld:%02ld", offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
	else
		buf_putc(out, 'Z');
}

static void put_ago(struct buf *out, int64_t ms, int64_t now_ms)
{
	static const struct {
		int64_t ms;
		const char *unit;
	} units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
	bool past = now_ms >= ms;
	uint64_t gap = past ? (uint64_t)now_ms - (uint64_t)ms : (uint64_t)ms - (uint64_t)now_ms;
	size_t i = 0;

	while (i < 4 && gap < 2 * (uint64_t)units[i].ms)
		i++;
	buf_puts(out, past ? "" : "in ");
	buf_printf(out, "%llu%s", (unsigned long long)(gap / (uint64_t)units[i].ms), units[i].unit);
	buf_puts(out, past ? " ago" : "");
}

/* strftime knows no milliseconds: %L is written into the format first. */
static void put_strftime(struct buf *out, const char *format, const struct tm *tm, int ms)
{
	char text[1024], own[512], *to = own;

	for (; *format && to < own + sizeof(own) - 8; format++) {
		if (format[0] == '%' && format[1] == 'L') {
			to = digits(to, ms, 3);
			format++;
			continue;
		}
		*to++ = *format;
		if (format[0] == '%' && format[1])
			*to++ = *++format;
	}
	*to = '\0';
	buf_put(out, text, strftime(text, sizeof(text), own, tm));
}

void clock_put(
	struct buf *out, enum clock_form form, const char *format, int64_t ms, int64_t now_ms)
{
	int64_t second = ms / 1000 - (ms % 1000 < 0);
	int rest = (int)(ms - second * 1000);
	const struct tm *tm = NULL;

	if (form == CLOCK_AGO) {
		put_ago(out, ms, now_ms);
		return;
	}
	if (form != CLOCK_SECONDS)
		tm = calendar(second, form == CLOCK_ISO);
	if (!tm) {
		buf_int(out, form == CLOCK_SECONDS ? second : ms);
		return;
	}
	if (form == CLOCK_STRFTIME) {
		put_strftime(out, format, tm, rest);
		return;
	}
	put_calendar(out, tm, form == CLOCK_LOCAL ? ' ' : 'T', rest);
	if (form == CLOCK_ISO)
		buf_putc(out, 'Z');
	else if (form == CLOCK_RFC3339)
		put_zone(out, tm->tm_gmtoff);
}
