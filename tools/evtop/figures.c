/* SPDX-License-Identifier: ISC */
#include "evtop/figures.h"

void rate_take(struct rate *r, double total, double seconds)
{
	double gained = total < r->last ? total : total - r->last;

	if (r->has_last && seconds > 0) {
		r->now = gained / seconds;
		r->history[r->taken++ % RATE_HISTORY] = r->now;
	}
	r->last = total;
	r->has_last = true;
}

void rate_sparkline(const struct rate *r, bool utf8, struct buf *out)
{
	static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char plain[] = "_.-:=+*#";
	size_t n = r->taken < RATE_HISTORY ? r->taken : RATE_HISTORY;
	double most = 0;

	for (size_t i = 0; i < n; i++)
		most = r->history[i] > most ? r->history[i] : most;
	for (size_t i = r->taken - n; i < r->taken; i++) {
		double part = most > 0 ? r->history[i % RATE_HISTORY] / most : 0;
		size_t level = (size_t)(part * 7 + 0.5);

		if (utf8)
			buf_puts(out, bars[level]);
		else
			buf_putc(out, plain[level]);
	}
}

static size_t bucket_of(uint64_t n)
{
	unsigned bits;

	if (n < SPREAD_STEPS)
		return (size_t)n;
	bits = 63 - (unsigned)__builtin_clzll(n);
	return (bits - 1) * SPREAD_STEPS + (n >> (bits - 2) & (SPREAD_STEPS - 1));
}

/* The highest value of a bucket. */
static uint64_t bucket_top(size_t i)
{
	size_t bits = i / SPREAD_STEPS + 1;

	if (i < SPREAD_STEPS)
		return i;
	return ((i % SPREAD_STEPS + SPREAD_STEPS + 1) << (bits - 2)) - 1;
}

void spread_add(struct spread *s, uint64_t n)
{
	s->counts[bucket_of(n)]++;
	s->total++;
	if (n > s->max)
		s->max = n;
}

uint64_t spread_quantile(const struct spread *s, double q)
{
	uint64_t wanted = (uint64_t)(q * (double)s->total), seen = 0;

	for (size_t i = 0; i < SPREAD_BUCKETS; i++) {
		seen += s->counts[i];
		if (seen > wanted)
			return bucket_top(i) < s->max ? bucket_top(i) : s->max;
	}
	return s->max;
}

static void put(struct buf *out, double n, const char *unit)
{
	buf_printf(out, n < 10 && n != (double)(int64_t)n ? "%.1f %s" : "%.0f %s", n, unit);
}

void figures_bytes(struct buf *out, double n)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	size_t i = 0;

	for (; n >= 1000 && i < 5; i++)
		n /= 1000;
	put(out, n, units[i]);
}

void figures_ms(struct buf *out, double ms)
{
	static const struct {
		double ms;
		const char *unit;
	} units[] = {{86400e3, "d"}, {3600e3, "h"}, {60e3, "min"}, {1e3, "s"}};

	for (size_t i = 0; i < 4; i++)
		if (ms >= units[i].ms) {
			put(out, ms / units[i].ms, units[i].unit);
			return;
		}
	put(out, ms, "ms");
}

void figures_rate(struct buf *out, double n)
{
	buf_printf(out, n > 0 && n < 10 ? "%.1f" : "%.0f", n);
}
