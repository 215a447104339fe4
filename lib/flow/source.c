/* SPDX-License-Identifier: ISC */
#include "flow/source-parts.h"

#include "base/msg.h"
#include "base/progress.h"
#include "base/trouble.h"
#include "base/wake.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	HELLO_MS = 10000,
	END_MS = 1000,
	WELL_MS = 3000,
	LEAVE_MS = 10000,
	TICK_MS = 1000,
	STEP_MS = 100, /* between two steps while draining and leaving */
	WINDOW_BYTES = 64 << 20,
	RECORD_BYTES = 128, /* how much a record takes in the window besides its payload and key */
};

void source_opts(struct source_opts *o)
{
	o->count = arg_str0("c", "count", "N", "stop after N records");
	o->idle_exit = arg_str0(
		NULL, "idle-exit", "TIME", "end with status 99 after TIME without a record");
	ack_opts(&o->ack);
	o->account = arg_str0(NULL, "account", "strict|order",
		"order: what an acknowledged record has overtaken counts as dropped");
	o->drain = arg_str0(
		NULL, "drain", "TIME", "at the end wait TIME for acknowledgements (default 10s)");
}

void source_take(struct source *s, const struct source_opts *o)
{
	const char *account = opt_text(o->account, "--account");

	s->path = ack_path(&o->ack);
	if (!s->path && (account || o->drain->count))
		opt_bad("--account and --drain need a socket: --ack PATH");
	if (account && strcmp(account, "strict") && strcmp(account, "order"))
		opt_bad("--account takes strict or order, not '%s'", account);
	s->order = account && strcmp(account, "order") == 0;
	s->drain_ms = opt_duration_ms(o->drain, "--drain", 10000);
	s->left = opt_int(o->count, "-c", -1, 0, INT64_MAX);
	s->idle_exit_ms = opt_duration_ms(o->idle_exit, "--idle-exit", -1);
}

/* Under evpipe, whether the records of a source that commits nothing are counted as they are
 * acknowledged: it is a member itself, and the last member is a sink that can tell it. */
static bool is_counted(void)
{
	const char *sink = getenv("EVPIPE_SINK"), *member = getenv("EVPIPE_MEMBER");

	return sink && *sink && member && strcmp(member, msg_prog()) == 0;
}

void source_open(struct source *s, bool replays, int64_t window)
{
	out_open(&s->out, STDOUT_FILENO);
	s->signal_fd = wake_open();
	s->server.fd = -1;
	s->start_ms = s->tick_ms = s->record_ms = wake_now_ms();
	s->replays = replays;
	s->window = window;
	metrics_counts(METRICS_OUT);
	progress_open(PROGRESS_READ, true, false);
	if (s->left == 0)
		source_done(s);
	if (s->path && ack_is_evpipes(s->path)) {
		if (!replays && !is_counted())
			s->path = NULL;
		else
			source_explain(s);
	}
	if (!s->path)
		return;
	s->ledger = ledger_new((uint64_t)window, replays ? WINDOW_BYTES : UINT64_MAX, s->order);
	ack_server_open(&s->server, s->path, s->ledger);
	source_count(s);
}

/* ---- records ---- */

void source_enter(struct source *s, struct ledger_part *p, int64_t at, int64_t low, size_t bytes,
	int64_t now_us)
{
	while (!s->replays && ledger_full(s->ledger))
		ledger_forget(s->ledger);
	ledger_emit(s->ledger, p, at, low, bytes + RECORD_BYTES, now_us);
}

size_t source_room(const struct source *s, size_t most)
{
	return out_pending(&s->out) ? 0 : source_window(s, most);
}

size_t source_window(const struct source *s, size_t most)
{
	uint64_t window = (uint64_t)s->window, out;

	if (s->phase != SOURCE_READING)
		return 0;
	if (s->left >= 0 && most > (uint64_t)s->left)
		most = (size_t)s->left;
	if (!s->replays)
		return most;
	if (!s->server.has_sink)
		return 0;
	/* An idle sink sends no report that would tell which records were dropped. */
	if (s->order && s->server.sink_idle)
		return ledger_has_room(s->ledger) ? most : 0;
	if (ledger_full(s->ledger))
		return 0;
	out = ledger_uncommitted(s->ledger);
	if (out >= window)
		return 0;
	return most < window - out ? most : (size_t)(window - out);
}

/* ---- why it ends ---- */

void source_done(struct source *s)
{
	if (s->phase == SOURCE_READING)
		s->phase = SOURCE_FLUSHING;
}

static bool end(struct source *s, int status, const char *fmt, va_list ap)
{
	char text[1024];

	source_done(s);
	if (trouble_worse(s->status, status) == s->status)
		return false;
	s->status = status;
	vsnprintf(text, sizeof(text), fmt, ap);
	msg_error("%s", text);
	return true;
}

bool source_end(struct source *s, int status, const char *fmt, ...)
{
	va_list ap;
	bool counts;

	va_start(ap, fmt);
	counts = end(s, status, fmt, ap);
	va_end(ap);
	return counts;
}

bool source_fail(struct source *s, int status, const char *fmt, ...)
{
	va_list ap;
	bool counts;

	s->is_broken = true;
	va_start(ap, fmt);
	counts = end(s, status, fmt, ap);
	va_end(ap);
	return counts;
}

static void lose_output(struct source *s, int why)
{
	if (why == EPIPE && s->reader_may_go) {
		s->is_broken = true;
		source_done(s);
	} else if (why == EPIPE)
		source_fail(s, EXIT_TEMP, "the reader of standard output has gone");
	else
		source_fail(s, EXIT_TEMP, "cannot write standard output: %s", strerror(why));
}

static void lack_sink(struct source *s)
{
	const char *remedy = ack_is_evpipes(s->path)
		? "end the pipeline with rpub, kwrite or evack"
		: "run the pipeline with evpipe, or give each of its programs --ack PATH";
	struct buf filters = {0};

	ack_server_filters(&s->server, &filters);
	if (filters.len)
		buf_puts(&filters, " (with --pass a sink is a filter)");
	source_fail(s, EXIT_PERM,
		"no sink has come to '%s' for ten seconds%s%.*s: %s; or ask for --commit written, "
		"which may lose what is in the pipe at a crash",
		s->path, filters.len ? ", only filters: " : "", (int)filters.len, filters.p,
		remedy);
	buf_free(&filters);
}

/* Looks whether a member of the pipeline has ended it. */
static void judge(struct source *s, int64_t now_ms)
{
	struct ack_server *d = &s->server;

	if (d->trouble.status)
		source_fail(s, d->trouble.status, "%s", d->trouble.text);
	/* If a member has asked to stop, the sink may finish the records that the member passed
	 * on. */
	if (d->void_account && !s->told_stop) {
		s->told_stop = true;
		ack_server_stop(d, d->trouble.text);
	}
	if (d->is_txn)
		ledger_keep_exact(s->ledger);
	if (d->sink_lost || (d->had_sink && !d->has_sink && !s->told_end))
		source_fail(s, EXIT_TEMP, "the sink has gone");
	if (s->replays && !d->had_sink && now_ms - s->start_ms >= HELLO_MS)
		lack_sink(s);
}

/* ---- phases ---- */

static bool drain_is_over(const struct source *s, int64_t now_ms)
{
	return s->ledger && s->stop_ms && now_ms - s->stop_ms >= s->drain_ms;
}

static void begin_drain(struct source *s, int64_t now_ms)
{
	s->phase = SOURCE_DRAINING;
	s->open = UINT64_MAX;
	s->end_by_ms = now_ms + END_MS;
	s->told_end = !s->is_broken;
	if (s->told_end)
		ack_server_end(&s->server);
	ack_server_serve(&s->server, wake_now_us());
	judge(s, now_ms);
}

/* Whether acknowledgements may still come that are worth waiting for. */
static bool may_come(struct source *s, int64_t now_ms)
{
	const struct ack_server *d = &s->server;
	uint64_t open = ledger_counts(s->ledger).open;

	/* A filter that holds records, and has reason to, is waited for unless somebody waits for
	 * the source. */
	if (open != s->open || (d->busy && !s->stop_ms)) {
		s->open = open;
		s->open_ms = now_ms;
	}
	if (d->sink_lost || d->void_account || (d->had_sink && !d->connections))
		return false;
	/* The sink may not have started yet, even if filters have come and gone. */
	if (!d->had_sink)
		return s->told_end && !s->stop_ms && now_ms - s->start_ms < HELLO_MS;
	return open && now_ms - (s->stop_ms ? s->stop_ms : s->open_ms) < s->drain_ms;
}

/* In order accounting, when the sink has seen the end of all: what is still open no sink will
 * report. It was dropped, unless a program between has died with it. evpipe sees how they end, and
 * makes a file when all have ended well. Waits for it for a moment; if it is there, all is
 * final. */
static bool waits_for_evpipe(struct source *s, int64_t now_ms)
{
	const char *well = getenv("EVPIPE_WELL");
	const struct ack_server *d = &s->server;

	if (!s->order || !s->told_end || !well || !*well || !d->had_sink || d->sink_lost ||
		d->void_account || d->connections || d->bare || !ledger_counts(s->ledger).open)
		return false;
	if (access(well, F_OK) == 0) {
		ledger_pass_all(s->ledger);
		return false;
	}
	if (!s->well_by_ms)
		s->well_by_ms = now_ms + WELL_MS;
	return now_ms < s->well_by_ms;
}

/* Output that could not be written is left out. */
static void close_output(struct source *s)
{
	if (!s->told_end) {
		s->out.head = 0;
		buf_clear(&s->out.b);
	}
	s->is_closed = true;
	if (out_close(&s->out) && s->told_end)
		lose_output(s, errno);
}

static void drain(struct source *s, int64_t now_ms)
{
	bool hurry = s->stops > 1;

	if (hurry) {
		source_fail(s, EXIT_TEMP, "stopped before all records were acknowledged");
	} else if (!s->is_closed) {
		if (!ack_server_flushed(&s->server) && now_ms < s->end_by_ms)
			return;
		close_output(s);
	}
	if (!hurry && (may_come(s, now_ms) || waits_for_evpipe(s, now_ms)))
		return;
	source_tick(s);
	source_complain(s);
	ack_server_close(&s->server);
	s->phase = SOURCE_LEAVING;
}

static void flush(struct source *s)
{
	if (!out_pending(&s->out) || s->is_broken)
		return;
	progress_print();
	if (out_flush(&s->out))
		lose_output(s, errno);
	else if (!out_pending(&s->out))
		s->flushes++;
}

static void on_signal(struct source *s, int64_t now_ms)
{
	s->stops = wake_stops();
	if (!s->stops)
		return;
	if (s->stops > 1 && s->phase <= SOURCE_FLUSHING)
		die(EXIT_TEMP, "stopped before all output was written");
	if (!s->stop_ms)
		s->stop_ms = now_ms;
	source_done(s);
}

void source_poll(const struct source *s, struct pollfd *p)
{
	bool writes = s->phase <= SOURCE_FLUSHING && !s->is_broken;

	p[0] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
	p[1] = (struct pollfd){.fd = writes ? s->out.fd : -1, .events = out_events(&s->out)};
	p[2] = (struct pollfd){.fd = s->server.fd, .events = POLLIN};
}

int source_timeout_ms(const struct source *s, int64_t now_ms)
{
	int64_t idle_ms = s->record_ms + s->idle_exit_ms - now_ms;
	int ms = wake_least(s->ledger ? TICK_MS : -1, progress_timeout_ms(now_ms));

	switch (s->phase) {
	case SOURCE_READING:
		if (s->idle_exit_ms < 0 || idle_ms > INT32_MAX)
			return ms;
		return wake_least(ms, idle_ms < 0 ? 0 : (int)idle_ms);
	case SOURCE_FLUSHING:
		return out_pending(&s->out) && !s->is_broken ? ms : 0;
	default:
		return STEP_MS;
	}
}

void source_serve(struct source *s, const struct pollfd *p, int64_t now_ms)
{
	if (p[0].revents)
		on_signal(s, now_ms);
	if (p[1].revents & OUT_GONE)
		lose_output(s, p[1].revents & POLLNVAL ? EBADF : EPIPE);
	else if (p[1].revents)
		flush(s);
	if (p[2].revents)
		ack_server_serve(&s->server, wake_now_us());
	if (s->server.fd >= 0)
		judge(s, now_ms);
}

static void read_on(struct source *s, int64_t now_ms)
{
	/* The time in which we could not take a record does not count as silence. */
	if (!source_room(s, 1))
		s->record_ms = now_ms;
	if (s->idle_exit_ms >= 0 && now_ms - s->record_ms >= s->idle_exit_ms)
		source_end(
			s, EXIT_TIMEOUT, "no record came for %lld ms", (long long)s->idle_exit_ms);
}

void source_step(struct source *s, int64_t now_ms)
{
	flush(s);
	progress_tick(now_ms, s->emitted);
	if (s->server.fd >= 0 && now_ms - s->tick_ms >= TICK_MS) {
		s->tick_ms = now_ms;
		source_tick(s);
	}
	if (s->phase == SOURCE_READING)
		read_on(s, now_ms);
	if (s->phase == SOURCE_FLUSHING && out_pending(&s->out) && drain_is_over(s, now_ms))
		source_fail(s, EXIT_TEMP, "stopped before all output was written");
	if (s->phase == SOURCE_FLUSHING && (s->is_broken || !out_pending(&s->out))) {
		if (s->ledger)
			begin_drain(s, now_ms);
		else
			s->phase = SOURCE_LEAVING;
	}
	if (s->phase == SOURCE_DRAINING)
		drain(s, now_ms);
	if (s->phase != SOURCE_LEAVING)
		return;
	/* The first signal may ask for an end that has begun for another reason. */
	if (!s->leave_by_ms) {
		s->leave_by_ms = now_ms + LEAVE_MS;
		s->stops_before_leave = s->stops ? s->stops : 1;
	}
	if (s->stops > s->stops_before_leave || now_ms > s->leave_by_ms)
		s->phase = SOURCE_OVER;
}

void source_left(struct source *s)
{
	s->phase = SOURCE_OVER;
}

int source_close(struct source *s)
{
	if (!s->is_closed && !s->is_broken && out_close(&s->out))
		lose_output(s, errno);
	s->is_closed = true;
	progress_close(s->emitted);
	return s->status;
}
