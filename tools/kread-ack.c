/* SPDX-License-Identifier: ISC */
/* What becomes of the records: their numbers, the ledger, the socket, and the end (evpipe-ack(7)).
 *
 * With --commit acked nothing is emitted before the sink's hello, and never more than a window of
 * numbers that are not final, or final and not committed. Otherwise the ledger tells at the end what a
 * failure has lost, and reading waits for nobody. */
#include "kread.h"

#include "die.h"
#include "metrics.h"
#include "opt.h"
#include "wake.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
	HELLO_MS = 10000,
	FLUSH_MS = 1000, /* for `end` to reach those who do not read */
	WINDOW_BYTES = 64 << 20,
	RECORD_BYTES = 128, /* what a record weighs besides its payload and key */
	IDLE_WINDOWS = 100,
};
static const int64_t STALL_US = 30000000;

/* ---- options ---- */

void acks_opts(struct acks_opts *o)
{
	o->commit = arg_str0(NULL, "commit", "acked|written|never",
		"with -g: commit what is delivered (default), what has left the process, or nothing");
	ack_opts(&o->ack);
	o->account = arg_str0(NULL, "account", "strict|order",
		"order: what an acknowledged record has overtaken counts as dropped");
	o->window = arg_str0(
		NULL, "window", "N", "at most N records not yet acknowledged (default 10000)");
	o->drain = arg_str0(
		NULL, "drain", "TIME", "at the end wait TIME for acknowledgements (default 10s)");
}

static void take_commit(struct kread *r, const char *commit)
{
	if (!r->group && commit)
		opt_bad("--commit needs a group: -g");
	if (!r->group)
		return;
	if (!commit)
		commit = "acked";
	if (strcmp(commit, "acked") && strcmp(commit, "written") && strcmp(commit, "never"))
		opt_bad("--commit takes acked, written or never, not '%s'", commit);
	r->commit = strcmp(commit, "never") != 0;
	r->acked = strcmp(commit, "acked") == 0;
	if (r->acked && !r->ack_path)
		opt_bad("-g commits what is delivered, and is told so over a socket: run the pipeline with evpipe, or give each of its programs --ack PATH; or ask for --commit written, which may lose what is in the pipe at a crash, or --commit never");
	if (r->acked && r->raw)
		opt_bad("--raw prints no numbers that could be acknowledged: ask for --commit written, which may lose what is in the pipe at a crash, or --commit never");
}

void acks_take_options(struct kread *r, const struct acks_opts *o)
{
	const char *account = opt_text(o->account, "--account");

	r->ack_path = ack_path(&o->ack);
	if (!r->ack_path && (o->window->count || o->drain->count || account))
		opt_bad("--window, --account and --drain need a socket: --ack PATH");
	if (account && strcmp(account, "strict") && strcmp(account, "order"))
		opt_bad("--account takes strict or order, not '%s'", account);
	r->order = account && strcmp(account, "order") == 0;
	r->window = opt_int(o->window, "--window", 10000, 1, 10000000);
	take_commit(r, opt_text(o->commit, "--commit"));
	r->drain_ms = opt_duration_ms(o->drain, "--drain", 10000);
}

/* ---- the ledger ---- */

static void on_settled(void *ctx, struct ledger_part *p, int64_t at, int64_t low,
	enum ledger_kind kind, int64_t taken_us)
{
	(void)ctx, (void)p, (void)at, (void)low, (void)kind;
	metrics_delivery(taken_us);
}

/* The consumer group's metadata, under which a transaction commits positions. */
static void on_metadata(void *ctx, struct buf *out)
{
	struct kread *r = (struct kread *)ctx;
	rd_kafka_consumer_group_metadata_t *md = rd_kafka_consumer_group_metadata(r->kafka.rk);
	const void *bytes;
	size_t size;

	if (md && !rd_kafka_consumer_group_metadata_write(md, (void **)&bytes, &size)) {
		buf_base64(out, bytes, size);
		free((void *)(uintptr_t)bytes);
	}
	if (md)
		rd_kafka_consumer_group_metadata_destroy(md);
}

void acks_open(struct kread *r)
{
	r->ackd.fd = -1;
	r->start_ms = wake_now_ms();
	if (!r->ack_path)
		return;
	r->ledger = ledger_new((uint64_t)r->window, WINDOW_BYTES, r->order);
	ledger_on_settled(r->ledger, on_settled, r);
	ackd_open(&r->ackd, r->ack_path, r->ledger);
	if (r->acked)
		ackd_on_txn(&r->ackd, on_metadata, r);
	buf_printf(&r->seq, ",\"seq\":\"%s:", r->ackd.run);
	metrics.is_ledger = true;
}

void acks_emit(struct kread *r, struct part *p, int64_t offset, size_t bytes)
{
	while (!r->acked && ledger_full(r->ledger))
		ledger_forget(r->ledger);
	ledger_emit(r->ledger, p->account, offset, 0, bytes + RECORD_BYTES, r->now_us);
}

size_t acks_room(const struct kread *r, size_t most)
{
	uint64_t window = (uint64_t)r->window, out;

	if (!r->acked)
		return most;
	if (!r->ackd.has_sink)
		return 0;
	/* By order: among so many may be none that would tell what has been dropped. */
	if (r->order && r->ackd.sink_idle)
		window *= IDLE_WINDOWS;
	else if (ledger_full(r->ledger))
		return 0;
	out = ledger_uncommitted(r->ledger);
	if (out >= window)
		return 0;
	return most < window - out ? most : (size_t)(window - out);
}

/* ---- while it runs ---- */

void acks_stop(struct kread *r)
{
	if (!r->stop_ms)
		r->stop_ms = wake_now_ms();
	kread_end(r, EXIT_DONE);
}

static void judge(struct kread *r)
{
	const struct ackd *d = &r->ackd;

	if (r->broken)
		return;
	if (d->trouble_status) {
		die_error("%s", d->trouble);
		ackd_stop(&r->ackd, d->trouble);
		kread_fail(r, d->trouble_status);
	} else if (d->sink_lost || (d->had_sink && !d->has_sink && !r->told_end)) {
		die_error("the sink has gone");
		kread_fail(r, EXIT_TEMP);
	} else if (r->acked && !d->had_sink && wake_now_ms() - r->start_ms >= HELLO_MS) {
		die_error(
			"no sink has come to '%s' for ten seconds: run the pipeline with evpipe, or give each of its programs --ack PATH; or ask for --commit written, which may lose what is in the pipe at a crash",
			r->ack_path);
		kread_fail(r, EXIT_PERM);
	}
}

/* Commits before the window is full of what is only not committed. */
static void commit_early(struct kread *r)
{
	uint64_t due = 0;

	for (struct part *p = r->parts; p < r->parts + r->part_count; p++) {
		uint64_t covered = ledger_covered(r->ledger, p->account);

		due += covered - p->covered;
		/* The transaction that has reported them has moved the position. */
		if (r->ackd.is_txn) {
			p->covered = covered;
			ledger_committed(r->ledger, p->account, covered);
		}
	}
	if (due >= ((uint64_t)r->window + 3) / 4)
		group_commit(r);
}

void acks_serve(struct kread *r, bool readable)
{
	if (!r->ledger)
		return;
	if (readable)
		ackd_serve(&r->ackd, wake_now_us());
	judge(r);
	if (r->acked && !r->committing)
		commit_early(r);
}

static void on_stalled(void *ctx, const struct ledger_open *o)
{
	struct kread *r = (struct kread *)ctx;
	struct part *p = part_find(r, o->part->topic, o->part->partition);

	if (!p || p->stall_said == o->number)
		return;
	p->stall_said = o->number;
	die_error(
		"topic '%s', partition %" PRId32 ": %" PRIu64 " records from offset %" PRId64
		" on have not been acknowledged for 30 s and hold the position back: a program of the pipeline has swallowed them: filter with evsel, put it under evbatch, or give kread --account order",
		p->topic, p->partition, o->count, o->at);
}

void acks_tick(struct kread *r)
{
	struct ledger_counts c;

	if (!r->ledger)
		return;
	ackd_serve(&r->ackd, wake_now_us());
	c = ledger_counts(r->ledger);
	metrics.open_records = c.open;
	metrics.late_reports = c.late;
	metrics.stale_reports = r->ackd.stale;
	metrics.ack_garbage = r->ackd.garbage;
	if (!r->order)
		metrics.stalled_records = ledger_stalled(
			r->ledger, r->ackd.sink_idle, wake_now_us(), STALL_US, on_stalled, r);
}

/* ---- the end ---- */

bool acks_gave_up(const struct kread *r)
{
	return r->ledger && r->stop_ms && wake_now_ms() - r->stop_ms >= r->drain_ms;
}

/* Whether it is worth to wait for more acknowledgements. */
static bool may_come(struct kread *r, int64_t now)
{
	const struct ackd *d = &r->ackd;
	uint64_t open = ledger_counts(r->ledger).open;

	if (open != r->drain_open) {
		r->drain_open = open;
		r->progress_ms = now;
	}
	if (d->sink_lost || d->trouble_status || (d->had_peer && !d->connections))
		return false;
	/* It may not have started yet. */
	if (!d->had_sink)
		return !r->broken && !r->stop_ms && now - r->start_ms < HELLO_MS;
	return open && now - (r->stop_ms ? r->stop_ms : r->progress_ms) < r->drain_ms;
}

static void close_output(struct kread *r)
{
	struct out *o = &r->out;

	if (r->broken || out_pending(o)) {
		o->head = 0;
		buf_clear(&o->b);
		r->broken = true;
	}
	if (out_close(o) && !r->broken) {
		die_error("cannot write standard output: %s", strerror(errno));
		kread_fail(r, EXIT_TEMP);
	}
	r->closed = true;
}

static void tell_open(struct kread *r)
{
	const struct ackd *d = &r->ackd;
	struct ledger_open o;
	uint64_t lost = ledger_counts(r->ledger).forgotten;

	if (!d->had_sink || d->void_account)
		return;
	if (!ledger_first_open(r->ledger, &o) && !lost)
		return;
	if (r->acked && r->order && !r->broken && (!d->connections || d->sink_idle)) {
		die_warn(
			"%" PRIu64
			" records behind the last acknowledged one, from topic '%s', partition %" PRId32
			", offset %" PRId64 " on, may have been dropped; they will be read again",
			o.count, o.part->topic, o.part->partition, o.at);
		return;
	}
	die_error("%" PRIu64
		  " records were not acknowledged, the first of topic '%s', partition %" PRId32
		  ", offset %" PRId64 "; %s",
		o.count, o.part->topic, o.part->partition, o.at,
		r->acked ? "they will be read again" : "they may be lost");
	if (r->status == EXIT_DONE || r->status == EXIT_TIMEOUT)
		r->status = EXIT_TEMP;
}

void acks_finish(struct kread *r)
{
	int64_t flush_by = wake_now_ms() + FLUSH_MS;

	if (!r->ledger)
		return;
	if (!r->broken && !out_pending(&r->out)) {
		ackd_end(&r->ackd);
		r->told_end = true;
	}
	r->drain_open = UINT64_MAX;
	for (;;) {
		struct pollfd fds[] = {
			{.fd = r->signal_fd, .events = POLLIN},
			{.fd = r->kafka.wake_fd, .events = POLLIN},
			{.fd = r->ackd.fd, .events = POLLIN},
		};
		int64_t now = wake_now_ms();

		ackd_serve(&r->ackd, wake_now_us());
		judge(r);
		if (!r->closed && (ackd_flushed(&r->ackd) || now >= flush_by))
			close_output(r);
		if (r->closed && !may_come(r, now))
			break;
		poll(fds, 3, 100);
		if (fds[0].revents && wake_stops())
			acks_stop(r);
		if (wake_stops() > 1) {
			die_error("stopped before all records were acknowledged");
			r->status = EXIT_TEMP;
			break;
		}
		if (fds[1].revents)
			kafka_woken(&r->kafka);
		kread_events(r);
		kread_tick(r, now);
	}
	tell_open(r);
}

void acks_close(struct kread *r)
{
	if (!r->ledger)
		return;
	acks_tick(r);
	ackd_close(&r->ackd);
}
