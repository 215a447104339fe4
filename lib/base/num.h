/* SPDX-License-Identifier: ISC */
/* Numbers as users type them. All functions return 0, or -1 when the whole text is not a number of
 * that form or the number does not fit into 64 bits. They allocate nothing and ignore the
 * locale. */
#ifndef EVPIPE_NUM_H
#define EVPIPE_NUM_H

#include <stdint.h>

/* Decimal digits, maybe behind a minus sign. */
int num_i64(const char *s, int64_t *n);
/* "200ms" "5s" "1m" "2h" "1d"; a bare number is seconds. */
int num_duration_ms(const char *s, int64_t *ms);
/* "512" "64K" "16M" "1G": powers of 1024. */
int num_size(const char *s, int64_t *bytes);
/* A point in time: ms since the epoch, or seconds if it has ten digits; ISO 8601 (2026-11-21,
 * 2026-11-21T10:00:00[.123][Z|+01:00]; UTC unless it says otherwise), or "-1h": that long before
 * @now_ms. */
int num_time_ms(const char *s, int64_t now_ms, int64_t *ms);

#endif
