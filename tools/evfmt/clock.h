/* SPDX-License-Identifier: ISC */
/* Points in time for people. */
#ifndef EVPIPE_EVFMT_CLOCK_H
#define EVPIPE_EVFMT_CLOCK_H

#include "base/buf.h"

enum clock_form {
	CLOCK_ISO, /* 2026-11-21T10:00:00.123Z */
	/* the same of the local zone: 2026-11-21T11:00:00.123+01:00; Z where that is UTC */
	CLOCK_RFC3339,
	CLOCK_LOCAL, /* 2026-11-21 11:00:00.123 */
	CLOCK_AGO, /* 3.2s ago, 5m ago, in 2h */
	CLOCK_SECONDS, /* since the epoch */
	CLOCK_STRFTIME, /* @format, in the local zone; %L is the milliseconds */
};

/* Appends the time @ms since the epoch; @now_ms is for CLOCK_AGO, @format for CLOCK_STRFTIME. A
 * time that no calendar has is appended as its number. */
void clock_put(
	struct buf *out, enum clock_form form, const char *format, int64_t ms, int64_t now_ms);
/* Milliseconds since the epoch, now. */
int64_t clock_now_ms(void);

#endif
