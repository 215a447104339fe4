/* SPDX-License-Identifier: ISC */
/* What is counted of requests: how many of each route and status, and how long they took. */
#ifndef KHTTP_STATS_H
#define KHTTP_STATS_H

#include "base/buf.h"
#include "base/metrics.h"

#include <stddef.h>
#include <stdint.h>

struct stats {
	struct stats_row *rows; /* in the order in which they came to be */
	size_t count;
	uint64_t records, bytes,
		failed; /* produced: records that Kafka has, their bytes, those that it has not */
	uint64_t in_flight; /* records without Kafka's answer */
	uint64_t repeated; /* requests that an Idempotency-Key has shown to be repeated */
	uint64_t refused; /* requests that were answered with 503 */
};

/* A request is over. @route: the pattern; NULL: none was found. @method and @route stay. */
void stats_over(struct stats *s, const char *route, const char *method, int status, int64_t us);
/* Registers the counters. */
void stats_open(struct stats *s);
/* Appends the histogram's family. */
void stats_print(const struct stats *s, struct buf *out);

#endif
