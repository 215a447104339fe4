/* SPDX-License-Identifier: ISC */
/* The common part of all sources: their end, and the fate of their records (evpipe-ack(7)). A
 * source owns standard output, the signals, the acknowledgement socket, the options --ack,
 * --account, --drain, -c and --idle-exit, and the exit status. It goes through these phases and
 * never back:
 *
 *   READING   records are printed while source_room allows.
 *   FLUSHING  no record is printed any more; the output that is pending is written.
 *   DRAINING  with a socket only: the members of the pipeline are told the end, standard output is
 *   closed,
 *             and acknowledgements are awaited, for --drain at most.
 *   LEAVING   the program takes leave of its server, for ten seconds at most.
 *   OVER      the program ends, even if it has not taken leave.
 *
 * SIGTERM ends READING. A second signal ends the program with 111 while it is flushing, and the
 * phase while it is draining or leaving. A program runs
 *
 * 	while (source_phase(&s) != SOURCE_OVER) {
 * 		struct pollfd p[SOURCE_FDS + 1] = {[SOURCE_FDS] = {.fd = …}};
 *
 * 		source_poll(&s, p);
 * 		poll(p, SOURCE_FDS + 1, … source_timeout_ms(&s, now_ms));
 * 		source_serve(&s, p, now_ms);
 * 		… print into s.out.b what source_room allows, with source_put_seq and source_emit …
 * 		source_step(&s, now_ms);
 * 		… in LEAVING: take leave, then source_left …
 * 	}
 * 	return source_close(&s);
 *
 * Nothing here waits, but source_open once (ack/server.h) and source_close. */
#ifndef EVPIPE_SOURCE_H
#define EVPIPE_SOURCE_H

#include "ack/client.h"
#include "ack/ledger.h"
#include "ack/server.h"
#include "base/buf.h"
#include "base/metrics.h"
#include "base/opt.h"
#include "base/out.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source_opts {
	struct ack_opts ack;
	struct arg_str *account, *drain, *count, *idle_exit;
};

enum source_phase { SOURCE_READING, SOURCE_FLUSHING, SOURCE_DRAINING, SOURCE_LEAVING, SOURCE_OVER };

enum { SOURCE_FDS = 3 };

struct source {
	struct out out; /* standard output: records are appended to out.b */
	uint64_t emitted; /* records */
	uint64_t flushes; /* how many times all pending output has been written */
	struct ack_server server;
	struct ledger *ledger; /* NULL: no socket, and records have no numbers */
	const char *path; /* of the socket; NULL: none */
	bool replays; /* nothing is emitted before the sink's hello, and nothing above the window */
	/* it is somebody who looks: nothing is lost with it, and it is no failure */
	bool reader_may_go;
	int64_t drain_ms;
	int64_t record_ms; /* when a record came last, for --idle-exit: the program sets it */
	/* Called with each number that is settled, where ledger_emit had it; NULL: nobody wants to
	 * know. */
	void (*settled)(void *ctx, struct ledger_part *p, int64_t at, int64_t low);
	void *settled_ctx;
	/* internal */
	enum source_phase phase;
	int status, signal_fd, stops, stops_before_leave;
	bool order, is_broken, is_closed, told_end, told_stop;
	int64_t left, idle_exit_ms, window;
	struct ledger_counts counts; /* for metrics, as is: */
	uint64_t stalled;
	struct metrics_histogram delivery;
	struct label_text seq; /* of the record that is printed next */
	int64_t start_ms, tick_ms, stop_ms; /* stop_ms: of the first signal, or 0 */
	uint64_t open;
	int64_t open_ms; /* since when so many are open */
	int64_t end_by_ms; /* for `end` to reach peers that do not read */
	int64_t leave_by_ms;
	int64_t well_by_ms; /* for evpipe's word that all between have ended well */
	unsigned bare_ticks; /* how long records have come without seq, and none with it */
};

/* -c, --idle-exit, --ack, --account, --drain. */
void source_opts(struct source_opts *o);
#define SOURCE_ENTRIES(o) (o).count, (o).idle_exit, ACK_ENTRIES((o).ack), (o).account, (o).drain
/* Reads them into @s. Dies with 100. */
void source_take(struct source *s, const struct source_opts *o);
/* Takes over standard output and the signals, and listens on s->path if there is one. @window: how
 * many numbers are kept; 64 MiB as well if it @replays. A source that does not replay forgets the
 * oldest numbers instead of waiting. Call before any thread is started. Dies with 100. */
void source_open(struct source *s, bool replays, int64_t window);

static inline enum source_phase source_phase(const struct source *s)
{
	return s->phase;
}
/* Whether all records that were printed when s->flushes had this value have left the process. */
static inline bool source_has_written(const struct source *s, uint64_t flushes)
{
	return s->flushes != flushes || !(out_pending(&s->out) || s->is_broken);
}
/* Fills in the first SOURCE_FDS entries, by phase; source_serve takes them back after poll. */
void source_poll(const struct source *s, struct pollfd *p);
/* After how many milliseconds source_serve and source_step are due without an event; -1: never. */
int source_timeout_ms(const struct source *s, int64_t now_ms);
/* Takes signals, acknowledgements and the end of the reader, and writes pending output. */
void source_serve(struct source *s, const struct pollfd *p, int64_t now_ms);
/* Writes pending output and goes to the next phase when it is time. Call last in each turn. */
void source_step(struct source *s, int64_t now_ms);
/* The program has taken leave of its server. */
void source_left(struct source *s);
/* Closes standard output if that was not done before. Returns the exit status. */
int source_close(struct source *s);

/* Ends READING: the work is done. */
void source_done(struct source *s);
/* The same for a reason, with an exit status that is not 0. If the reason counts (base/trouble.h)
 * it is printed, at once. Returns whether it counts. */
bool source_end(struct source *s, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same, and output that is pending is never written: what the sink has got is not all, and the
 * sink is not told that it is. */
bool source_fail(struct source *s, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* How many records may be printed now, @most at most: 0 also while output is pending. */
size_t source_room(const struct source *s, size_t most);
/* The same whatever is pending: how many may be asked for. */
size_t source_window(const struct source *s, size_t most);
/* Appends the member with the number that source_emit will give, and a comma before it. */
static inline void source_put_seq(struct source *s, struct buf *b)
{
	char *p = buf_room(b, sizeof(",\"seq\":\"\"") + sizeof(s->seq.text));

	label_text_set(&s->seq, s->server.run, ledger_last(s->ledger) + 1);
	memcpy(p, ",\"seq\":\"", 8);
	/* All of it: a copy of a fixed size is quick. */
	memcpy(p + 8, s->seq.text, sizeof(s->seq.text));
	p[8 + s->seq.size] = '"';
	b->len += 8 + s->seq.size + 1;
}
/* The part of source_emit that has to do with the ledger. */
void source_enter(struct source *s, struct ledger_part *p, int64_t at, int64_t low, size_t bytes,
	int64_t now_us);
/* A record has been printed, with the next number; @p NULL: without one. @p->user is used here.
 * @at, @low: where the record stands (ledger.h); @bytes: of its key and payload. */
static inline void source_emit(struct source *s, struct ledger_part *p, int64_t at, int64_t low,
	size_t bytes, int64_t now_us)
{
	if (p)
		source_enter(s, p, at, low, bytes, now_us);
	s->emitted++;
	metrics.records_out++;
	if (s->left > 0 && --s->left == 0)
		source_done(s);
}

#endif
