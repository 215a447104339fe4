/* SPDX-License-Identifier: ISC */
#include "flow/source.h"

#include "base/msg.h"
#include "base/metrics.h"
#include "base/wake.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	HELLO_MS = 10000,
	FLUSH_MS = 1000, /* for `end` to reach those who do not read */
	WINDOW_BYTES = 64 << 20,
	RECORD_BYTES = 128, /* what a record weighs besides its payload and key */
	IDLE_WINDOWS = 100,
	STALL_US = 30000000,
};

void source_opts(struct source_opts *o)
{
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
}

static void on_settled(void *ctx, struct ledger_part *p, int64_t at, int64_t low,
	enum ledger_kind kind, int64_t taken_us)
{
	struct source *s = ctx;

	(void)p, (void)at, (void)low, (void)kind;
	metrics_observe(&s->delivery, taken_us);
}

/* Under evpipe, whether the records of a source that commits nothing are counted as they are acknowledged:
 * it is a member itself, and the last member is a sink that can tell it. */
static bool is_counted(void)
{
	const char *sink = getenv("EVPIPE_SINK"), *member = getenv("EVPIPE_MEMBER");

	return sink && *sink && member && strcmp(member, msg_prog()) == 0;
}

/* Says what evpipe saw in the line: no sink of ours, and programs that may drop records in silence. */
static void explain(const struct source *s)
{
	const char *sink = getenv("EVPIPE_SINK"), *foreign = getenv("EVPIPE_FOREIGN");
	struct span names = {foreign, foreign ? strlen(foreign) : 0};

	if (s->replays && sink && !*sink)
		msg_warn(
			"the last member of the pipeline is no sink of ours, or has --pass: unless "
			"a member runs a sink, nothing is ever acknowledged; end the line with "
			"rpub, kwrite or evack");
	while (names.len && !s->order) {
		struct span name = span_word(&names);

		msg_warn("`%.*s` is not ours: what it drops %s; use evsel, evbatch -- %.*s, or "
			 "--account order",
			(int)name.len, name.p, s->replays ? "is never committed" : "counts as lost",
			(int)name.len, name.p);
	}
}

void source_open(struct source *s, bool replays, int64_t window)
{
	s->server.fd = -1;
	s->start_ms = wake_now_ms();
	s->replays = replays;
	s->window = window;
	metrics_counts(METRICS_OUT);
	if (s->path && ack_is_evpipes(s->path)) {
		if (!replays && !is_counted())
			s->path = NULL;
		else
			explain(s);
	}
	if (!s->path)
		return;
	s->ledger = ledger_new((uint64_t)window, replays ? WINDOW_BYTES : UINT64_MAX, s->order);
	ledger_on_settled(s->ledger, on_settled, s);
	ack_server_open(&s->server, s->path, s->ledger);
	buf_printf(&s->seq, ",\"seq\":\"%s:", s->server.run);
	metrics_gauge("open_records", "Records read and not yet final.", METRICS_PIPELINE,
		&s->counts.open);
	metrics_gauge("stalled_records", "Open records that no program will account for.",
		METRICS_PIPELINE, &s->stalled);
	metrics_counter("late_reports_total", "Reports of records that were another's by then.",
		METRICS_TOOL, &s->counts.late);
	metrics_counter("stale_reports_total", "Reports of another source's records.", METRICS_TOOL,
		&s->server.stale);
	metrics_counter("ack_garbage_total", "Acknowledgement connections closed for garbage.",
		METRICS_TOOL, &s->server.garbage);
	metrics_histogram(
		"delivery_seconds", "Time from reading a record until it was final.", &s->delivery);
}

/* ---- records ---- */

void source_emit(struct source *s, struct ledger_part *p, int64_t at, int64_t low, size_t bytes,
	int64_t now_us)
{
	while (!s->replays && ledger_full(s->ledger))
		ledger_forget(s->ledger);
	ledger_emit(s->ledger, p, at, low, bytes + RECORD_BYTES, now_us);
}

size_t source_room(const struct source *s, size_t most)
{
	uint64_t window = (uint64_t)s->window, out;

	if (!s->replays)
		return most;
	if (!s->server.has_sink)
		return 0;
	/* By order: among so many may be none that would tell what has been dropped. */
	if (s->order && s->server.sink_idle)
		window *= IDLE_WINDOWS;
	else if (ledger_full(s->ledger))
		return 0;
	out = ledger_uncommitted(s->ledger);
	if (out >= window)
		return 0;
	return most < window - out ? most : (size_t)(window - out);
}

/* ---- while it runs ---- */

static void say_no_sink(const struct source *s)
{
	const char *remedy = ack_is_evpipes(s->path)
		? "end the pipeline with rpub, kwrite or evack"
		: "run the pipeline with evpipe, or give each of its programs --ack PATH";
	struct buf filters = {0};

	ack_server_filters(&s->server, &filters);
	if (filters.len)
		buf_puts(&filters, " (with --pass a sink is a filter)");
	msg_error(
		"no sink has come to '%s' for ten seconds%s%.*s: %s; or ask for --commit written, "
		"which may lose what is in the pipe at a crash",
		s->path, filters.len ? ", only filters: " : "", (int)filters.len, filters.p,
		remedy);
	buf_free(&filters);
}

static int judge(struct source *s)
{
	struct ack_server *d = &s->server;

	if (s->told)
		return 0;
	s->told = true;
	if (trouble_tell(&d->trouble)) {
		/* Behind a member that asks to stop what it has handed on is still worth delivering. */
		if (d->void_account)
			ack_server_stop(d, d->trouble.text);
		return d->trouble.status;
	}
	if (d->sink_lost || (d->had_sink && !d->has_sink && !s->ended)) {
		msg_error("the sink has gone");
		return EXIT_TEMP;
	}
	if (s->replays && !d->had_sink && wake_now_ms() - s->start_ms >= HELLO_MS) {
		say_no_sink(s);
		return EXIT_PERM;
	}
	s->told = false;
	return 0;
}

int source_serve(struct source *s, bool readable)
{
	if (!s->ledger)
		return 0;
	if (readable)
		ack_server_serve(&s->server, wake_now_us());
	return judge(s);
}

void source_stop(struct source *s)
{
	if (!s->stop_ms)
		s->stop_ms = wake_now_ms();
}

bool source_gave_up(const struct source *s)
{
	return s->ledger && s->stop_ms && wake_now_ms() - s->stop_ms >= s->drain_ms;
}

/* Where a record stands, as its source names it. */
static const char *place(const struct ledger_open *o)
{
	static char text[600];
	const struct ledger_part *p = o->part;

	if (p->partition >= 0)
		snprintf(text, sizeof(text), "topic '%s', partition %" PRId32 ", offset %" PRId64,
			p->topic, p->partition, o->at);
	else if (p->topic)
		snprintf(text, sizeof(text), "stream '%s', id %" PRId64 "-%" PRId64, p->topic,
			o->at, o->low);
	else
		snprintf(text, sizeof(text), "number %" PRIu64, o->number);
	return text;
}

static void on_stalled(void *ctx, const struct ledger_open *o)
{
	struct source *s = (struct source *)ctx;
	/* Of each partition the same is said once. */
	struct ledger_part *p = (struct ledger_part *)(uintptr_t)o->part;

	if ((uintptr_t)p->user == (uintptr_t)o->number)
		return;
	p->user = (void *)(uintptr_t)o->number;
	msg_error(
		"%" PRIu64
		" records have not been acknowledged for 30 s, the first of them %s: a program of the pipeline has swallowed them%s: filter with evsel, put it under evbatch, or give %s --account order",
		o->count, place(o), s->replays ? ", which holds the position back" : "",
		msg_prog());
}

void source_tick(struct source *s)
{
	if (!s->ledger)
		return;
	ack_server_serve(&s->server, wake_now_us());
	s->counts = ledger_counts(s->ledger);
	if (!s->order)
		s->stalled = ledger_stalled(
			s->ledger, s->server.sink_idle, wake_now_us(), STALL_US, on_stalled, s);
}

/* ---- the end ---- */

void source_end(struct source *s, bool whole)
{
	if (!s->ledger)
		return;
	s->open = UINT64_MAX;
	s->flush_by_ms = wake_now_ms() + FLUSH_MS;
	if (whole)
		ack_server_end(&s->server);
	s->ended = whole;
}

/* Whether acknowledgements may still come that are worth waiting for. */
static bool may_come(struct source *s, int64_t now)
{
	const struct ack_server *d = &s->server;
	uint64_t open = ledger_counts(s->ledger).open;

	if (open != s->open) {
		s->open = open;
		s->open_ms = now;
	}
	if (d->sink_lost || d->void_account || (d->had_sink && !d->connections))
		return false;
	/* It may not have started yet, even if filters have come and gone. */
	if (!d->had_sink)
		return s->ended && !s->stop_ms && now - s->start_ms < HELLO_MS;
	return open && now - (s->stop_ms ? s->stop_ms : s->open_ms) < s->drain_ms;
}

/* What was not written and cannot be is left out. */
static int close_output(struct source *s, struct out *out)
{
	int ret;

	if (!s->ended) {
		out->head = 0;
		buf_clear(&out->b);
	}
	ret = out_close(out);
	s->closed = true;
	if (!ret || !s->ended)
		return 0;
	msg_error("cannot write standard output: %s", strerror(errno));
	return EXIT_TEMP;
}

bool source_drains(struct source *s, struct out *out, int *status)
{
	int64_t now = wake_now_ms();
	int failed;

	if (!s->ledger)
		return false;
	ack_server_serve(&s->server, wake_now_us());
	failed = judge(s);
	if (failed)
		*status = failed;
	if (!s->closed && (ack_server_flushed(&s->server) || now >= s->flush_by_ms)) {
		failed = close_output(s, out);
		if (failed)
			*status = failed;
	}
	return !s->closed || may_come(s, now);
}

static int tell(struct source *s)
{
	const struct ack_server *d = &s->server;
	struct ledger_open o;

	if (!d->had_sink || d->void_account || !ledger_first_open(s->ledger, &o))
		return 0;
	if (s->order && s->ended && !d->sink_lost && (!d->connections || d->sink_idle)) {
		msg_warn(
			"%" PRIu64
			" records behind the last acknowledged one, the first of them %s, may have been dropped%s",
			o.count, place(&o), s->replays ? "; they will be read again" : "");
		return 0;
	}
	o.count += ledger_counts(s->ledger).forgotten;
	msg_error("%" PRIu64 " records were not acknowledged, the first of them %s; %s", o.count,
		place(&o), s->replays ? "they will be read again" : "they may be lost");
	return EXIT_TEMP;
}

int source_left(struct source *s)
{
	int status;

	if (!s->ledger)
		return 0;
	source_tick(s);
	status = tell(s);
	ack_server_close(&s->server);
	return status;
}
