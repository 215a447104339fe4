/* SPDX-License-Identifier: ISC */
#include "flow/source-parts.h"

#include "base/msg.h"
#include "base/trouble.h"
#include "base/wake.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STALL_US = 30000000 };

void source_explain(const struct source *s)
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

static void on_settled(void *ctx, struct ledger_part *p, int64_t at, int64_t low, uint64_t count,
	enum ledger_kind kind, int64_t taken_us)
{
	struct source *s = (struct source *)ctx;

	(void)kind;
	metrics_observe(&s->delivery, taken_us, count);
	for (uint64_t i = 0; i < count && s->settled; i++)
		s->settled(s->settled_ctx, p, at + (int64_t)i, low);
}

void source_count(struct source *s)
{
	ledger_on_settled(s->ledger, on_settled, s);
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
	/* The same number is reported once for each partition. */
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

/* Records reach the sink without their seq: they are delivered, never committed, and would come
 * again for ever. */
static void say_bare(struct source *s)
{
	trouble_set(&s->server.trouble, EXIT_PERM,
		"%" PRIu64
		" records came to the sink without their seq, so they are never acknowledged: a program of the pipeline leaves it out; let it keep the field (jq: '{seq, payload: …}'), or put it under evbatch",
		s->server.bare);
}

/* Programs may add records, which have none: so while it runs only if nothing else comes. */
static void watch_bare(struct source *s)
{
	enum { BARE_TICKS = 5, BARE_MANY = 1000 };
	const struct ack_server *d = &s->server;

	if (!s->replays || !d->bare || d->sink_reported || !s->counts.open) {
		s->bare_ticks = 0;
		return;
	}
	if (++s->bare_ticks < BARE_TICKS && d->bare < BARE_MANY)
		return;
	say_bare(s);
	ack_server_stop(&s->server, d->trouble.text);
}

void source_tick(struct source *s)
{
	enum ledger_members members;

	ack_server_serve(&s->server, wake_now_us());
	s->counts = ledger_counts(s->ledger);
	watch_bare(s);
	members = s->server.busy      ? LEDGER_FILTER_BUSY
		: s->server.sink_idle ? LEDGER_SINK_IDLE
				      : LEDGER_WORK;
	if (!s->order)
		s->stalled =
			ledger_stalled(s->ledger, members, wake_now_us(), STALL_US, on_stalled, s);
}

void source_complain(struct source *s)
{
	const struct ack_server *d = &s->server;
	struct ledger_open o;
	uint64_t forgotten, count;

	if (!d->had_sink || d->void_account || !ledger_first_open(s->ledger, &o))
		return;
	if (s->replays && d->bare && s->told_end && !d->sink_lost && !d->has_sink) {
		say_bare(s);
		source_end(s, EXIT_PERM, "%s", d->trouble.text);
		return;
	}
	if (s->order && s->told_end && !d->sink_lost && (!d->connections || d->sink_idle)) {
		msg_warn("%" PRIu64
			 " %s behind the last acknowledged one, %s %s, may have been dropped%s%s%s",
			o.count, PLURAL(o.count, "record", "records"),
			PLURAL(o.count, "namely", "the first of them"), place(&o),
			s->replays ? "; " : "", s->replays ? PLURAL(o.count, "it", "they") : "",
			s->replays ? " will be read again" : "");
		return;
	}
	forgotten = ledger_counts(s->ledger).forgotten;
	/* Of what was forgotten some may have been acknowledged since. */
	count = o.count + forgotten;
	msg_error("%s%" PRIu64 " %s not acknowledged, %s %s%s; %s %s", forgotten ? "at most " : "",
		count, PLURAL(count, "record was", "records were"),
		PLURAL(count, "namely", "the first of them"), place(&o),
		forgotten ? " at the latest" : "", PLURAL(count, "it", "they"),
		s->replays ? "will be read again" : "may be lost");
	s->status = trouble_worse(s->status, EXIT_TEMP);
}
