/* SPDX-License-Identifier: ISC */
/* Pending output to an inherited descriptor that never blocks the loop and never gets O_NONBLOCK
 * (the other processes that share it would get it too): a pipe or terminal is opened anew through
 * /proc/self/fd, a socket is written with MSG_DONTWAIT, a file cannot block, and anything else is
 * written in pieces of PIPE_BUF after POLLOUT.
 *
 * Append to .b, call out_flush before a wait, listen with out_events. */
#ifndef EVPIPE_OUT_H
#define EVPIPE_OUT_H

#include "base/buf.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct out {
	int fd;
	int kind; /* internal */
	struct buf b; /* append here */
	size_t head; /* bytes of b already written */
	int64_t stuck_ms; /* internal */
};

/* Flush at the latest when this much is pending. */
enum { OUT_BLOCK = 64 << 10 };

/* Takes @fd over; out_close closes it. Never fails: out_flush reports what is wrong with @fd. */
void out_open(struct out *o, int fd);
static inline size_t out_pending(const struct out *o)
{
	return o->b.len - o->head;
}
/* Writes as much as is possible without blocking. Returns 0 (also when bytes are left), or -1 with
 * errno; EPIPE: the reader has closed its end. */
int out_flush(struct out *o);
/* For how many milliseconds the reader has taken nothing of what is pending, by the last
 * out_flush. */
int64_t out_stuck_ms(const struct out *o, int64_t now_ms);
/* In struct pollfd .revents, whatever .events: the reader has closed its end (a pipe says POLLERR,
 * a socket POLLHUP). poll reports it without a write, so also while a topic is idle. */
enum { OUT_GONE = POLLERR | POLLHUP | POLLNVAL };
/* For struct pollfd .events: POLLOUT while something is pending, else 0. */
short out_events(const struct out *o);
/* Whether what is written there may have colours: it is a terminal that is not dumb, and NO_COLOR
 * is not set, or empty (https://no-color.org). */
bool out_wants_colour(int fd);
/* Writes the rest, blocking, and closes. Returns 0, or -1 with errno: then the output is not
 * whole. */
int out_close(struct out *o);

#endif
