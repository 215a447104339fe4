/* SPDX-License-Identifier: ISC */
/* What sources have in common when their records are acknowledged (evpipe-ack(7)): the options, the
 * numbers, what ends a source early, what is waited for at the end, and what is said of records that
 * nobody has acknowledged. Without a socket (ledger NULL) all functions do nothing.
 *
 * In a loop: put server.fd into the poll array, call source_serve after each poll and source_tick once a
 * second, emit at most source_room records with source_emit, and end when source_serve says so. At the
 * end, when all output is written or given up: source_end, then serve everything while source_drains,
 * then source_left. Nothing here waits. */
#ifndef EVPIPE_SOURCE_H
#define EVPIPE_SOURCE_H

#include "ack/client.h"
#include "ack/server.h"
#include "base/buf.h"
#include "ack/ledger.h"
#include "base/metrics.h"
#include "base/opt.h"
#include "base/out.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source_opts {
	struct ack_opts ack;
	struct arg_str *account, *drain;
};

struct source {
	struct ack_server server;
	struct ledger *ledger;
	const char *path; /* NULL: no socket */
	bool replays; /* it emits nothing before the sink's hello and nothing above its window */
	bool order;
	bool closed; /* standard output */
	int64_t window, drain_ms;
	/* internal */
	struct ledger_counts counts; /* for metrics, as is: */
	uint64_t stalled;
	struct metrics_histogram delivery;
	struct buf seq; /* ,"seq":"RUN: */
	int64_t start_ms, stop_ms; /* stop_ms: of the first signal, or 0 */
	bool told, ended;
	uint64_t open;
	int64_t open_ms; /* since when so many are open */
	int64_t flush_by_ms;
};

/* --ack, --account, --drain. */
void source_opts(struct source_opts *o);
#define SOURCE_ENTRIES(o) ACK_ENTRIES((o).ack), (o).account, (o).drain
/* Reads them into @s. Dies with 100. */
void source_take(struct source *s, const struct source_opts *o);
/* Listens on s->path if there is one. @window: numbers; also 64 MiB when it @replays. Who does not forgets
 * the oldest numbers instead. Dies with 100. */
void source_open(struct source *s, bool replays, int64_t window);

/* A record has been printed, with the next number. @p->user is used here. */
void source_emit(struct source *s, struct ledger_part *p, int64_t at, int64_t low, size_t bytes,
	int64_t now_us);
/* Appends the member with the number that source_emit will give, and a comma before it. */
static inline void source_put_seq(const struct source *s, struct buf *b)
{
	buf_span(b, buf_as_span(&s->seq));
	buf_int(b, (int64_t)ledger_last(s->ledger) + 1);
	buf_putc(b, '"');
}
/* How many records may be emitted now, @most at most. */
size_t source_room(const struct source *s, size_t most);

/* Serves the socket if @readable. Returns 0, or the status with which the source has to end: the reason
 * has been said, and output not yet written is not to be written. */
int source_serve(struct source *s, bool readable);
void source_tick(struct source *s);
/* A signal has come: --drain begins. */
void source_stop(struct source *s);
/* Whether it is over: output not yet written is to be given up. */
bool source_gave_up(const struct source *s);

/* @whole: all output is written, and the sink may be told that its input ends well. */
void source_end(struct source *s, bool whole);
/* Serves the socket, closes @out once the end is told, and returns whether there is more to wait for,
 * an event of server.fd or a tenth of a second. *@status becomes that of a failure. */
bool source_drains(struct source *s, struct out *out, int *status);
/* Says what has not been acknowledged. Returns 0, or 111. Closes the socket. */
int source_left(struct source *s);

#endif
