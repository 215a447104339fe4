/* SPDX-License-Identifier: ISC */
/* A poll loop is woken by signals, through a descriptor; and the monotonic clock. */
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
/* From now on SIGHUP is no stop signal: files are read anew. */
void wake_hup_reloads(void);
/* How often it has come since then, as far as wake_stops or wake_must_end has seen. */
int wake_hups(void);
/* For a program that ends with its input: whether the program must end now. While input is open the
 * first stop signal only makes a warning, that the end of input is waited for, and the second ends
 * the program; once a call had @input_ended, the first one does. Call when the descriptor is ready,
 * and in each round after the end of input: a signal to the whole pipeline may arrive only after
 * the end of input that it caused. */
bool wake_must_end(bool input_ended);
/* Whether a stop signal had come by the last call of one of these two. */
bool wake_signalled(void);
/* Whether this program was asked to stop by a signal, or the unit of evpipe(1) that it is a member
 * of: there only the source gets the signal, and $EVPIPE_DIR/stopping is made before. */
bool wake_stopped(void);
/* Makes POLLIN come true on the descriptor from any thread; safe in callbacks of a library. */
void wake_poke(void);

/* poll has returned -1: returns if a signal has come, else ends the program with EXIT_TEMP. */
void wake_poll_failed(void);

/* Monotonic. */
int64_t wake_now_ms(void);
int64_t wake_now_us(void);
/* The wall clock's: since the epoch. */
int64_t wake_epoch_ms(void);

/* The shorter of two of poll's timeouts in milliseconds, where -1 is for ever. */
static inline int wake_least(int a, int b)
{
	return a < 0 ? b : b < 0 || a < b ? a : b;
}

/* Exponential back-off with jitter: the next waiting time, @min_ms the first time, at most @max_ms.
 * *@ms is the state: 0 to begin anew. */
int64_t wake_backoff_ms(int64_t *ms, int64_t min_ms, int64_t max_ms);

#endif
