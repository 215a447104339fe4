/* SPDX-License-Identifier: ISC */
/* What wakes a poll loop: signals through a descriptor, and the monotonic clock. */
#ifndef EVPIPE_WAKE_H
#define EVPIPE_WAKE_H

#include <stdbool.h>
#include <stdint.h>

/* Takes SIGTERM, SIGINT and SIGHUP through the returned descriptor (POLLIN) and ignores SIGPIPE.
 * One a process. Call before any thread is started. */
int wake_open(void);
/* Reads the descriptor dry; never blocks. Returns how many stop signals (SIGTERM, SIGINT, SIGHUP)
 * have come in all. */
int wake_stops(void);
/* For a program that ends with its input: whether it is to end now. The first stop signal is ignored
 * while input is open; a second one ends it, and so does the first to come once @input_ended has been
 * told here. Call when the descriptor is ready, and in each round after the end of input: a signal
 * to the whole pipeline may be seen only after the end that it caused. */
bool wake_must_end(bool input_ended);
/* Makes POLLIN come true on the descriptor from any thread; safe in callbacks of a library. */
void wake_poke(void);

/* Monotonic. */
int64_t wake_now_ms(void);
int64_t wake_now_us(void);

/* The shorter of two of poll's timeouts in milliseconds, where -1 is for ever. */
static inline int wake_least(int a, int b)
{
	return a < 0 ? b : b < 0 || a < b ? a : b;
}

/* Exponential back-off with jitter: the next waiting time, @min_ms the first time, at most @max_ms.
 * *@ms is the state: 0 to begin anew. */
int64_t wake_backoff_ms(int64_t *ms, int64_t min_ms, int64_t max_ms);

#endif
