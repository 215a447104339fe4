/* SPDX-License-Identifier: ISC */
/* Figures for people: sizes, times, rates with their history. */
#ifndef EVPIPE_EVTOP_FIGURES_H
#define EVPIPE_EVTOP_FIGURES_H

#include "base/buf.h"

enum { RATE_HISTORY = 30, SPREAD_STEPS = 4, SPREAD_BUCKETS = 64 * SPREAD_STEPS };

/* A counter's rate, taken each time the table is drawn. */
struct rate {
	double now; /* a second */
	double history[RATE_HISTORY];
	size_t taken; /* in all */
	/* internal */
	double last;
	bool has_last;
};

/* @total is the counter, @seconds the time since it was taken last. A counter that went back has
 * begun anew. */
void rate_take(struct rate *r, double total, double seconds);
/* Appends a line of bars, one for each time it was taken; of plain characters unless @utf8. */
void rate_sparkline(const struct rate *r, bool utf8, struct buf *out);

/* A distribution in buckets that grow by a quarter at most: all zero is empty. */
struct spread {
	uint64_t counts[SPREAD_BUCKETS], total, max;
};
void spread_add(struct spread *s, uint64_t n);
/* The value below which a part @q of all lies. */
uint64_t spread_quantile(const struct spread *s, double q);

/* "1.2 kB", "12 ms", "3.4 s", "12345", "0.3": short, without an end. */
void figures_bytes(struct buf *out, double n);
void figures_ms(struct buf *out, double ms);
void figures_rate(struct buf *out, double n);

#endif
