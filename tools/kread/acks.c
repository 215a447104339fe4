/* SPDX-License-Identifier: ISC */
/* What becomes of the records decides what is committed, and when to end. */
#include "kread/kread.h"

#include "base/msg.h"
#include "base/opt.h"
#include "base/wake.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

void acks_opts(struct acks_opts *o)
{
	source_opts(&o->source);
	o->commit = arg_str0(NULL, "commit", "acked|written|never",
		"with -g: commit what is delivered (default), what has left the process, or nothing");
	o->window = arg_str0(NULL, "window", "N",
		"at most N records not yet delivered and committed (default 10000)");
}

void acks_take_options(struct kread *r, const struct acks_opts *o)
{
	const char *commit = opt_text(o->commit, "--commit");

	source_take(&r->source, &o->source);
	r->window = opt_int(o->window, "--window", 10000, 1, 10000000);
	if (!r->group && commit)
		opt_bad("--commit needs a group: -g");
	if (!commit)
		commit = "acked";
	if (strcmp(commit, "acked") && strcmp(commit, "written") && strcmp(commit, "never"))
		opt_bad("--commit takes acked, written or never, not '%s'", commit);
	r->commit = r->group && strcmp(commit, "never");
	r->acked = r->group && strcmp(commit, "acked") == 0;
	if (!r->acked && o->window->count)
		opt_bad("--window needs -g with --commit acked");
	if (r->acked && !r->source.path)
		opt_bad("-g commits what is delivered, and is told so over a socket: run the pipeline with evpipe, or give each of its programs --ack PATH; or ask for --commit written, which may lose what is in the pipe at a crash, or --commit never");
	if (r->acked && r->raw)
		opt_bad("--raw prints no numbers that could be acknowledged: ask for --commit written, which may lose what is in the pipe at a crash, or --commit never");
}

/* The consumer group's metadata, under which a transaction commits positions. */
static void on_metadata(void *ctx, struct buf *out)
{
	struct kread *r = (struct kread *)ctx;
	rd_kafka_consumer_group_metadata_t *md = rd_kafka_consumer_group_metadata(r->kafka.rk);
	void *bytes;
	size_t size;

	if (md && !rd_kafka_consumer_group_metadata_write(md, &bytes, &size)) {
		buf_base64(out, bytes, size);
		free(bytes);
	}
	if (md)
		rd_kafka_consumer_group_metadata_destroy(md);
}

void acks_open(struct kread *r)
{
	/* What does not wait is bounded by what the pipes hold, but for what a filter swallows. */
	source_open(&r->source, r->acked, r->acked ? r->window : 1 << 18);
	if (r->acked)
		ack_server_on_txn(&r->source.server, on_metadata, r);
}

void acks_commit(struct kread *r)
{
	struct ledger *l = r->source.ledger;
	uint64_t due = 0;

	if (!r->acked || r->committing)
		return;
	for (struct part *p = r->parts; p < r->parts + r->part_count; p++) {
		uint64_t covered = ledger_covered(l, p->account);

		due += covered - p->covered;
		/* The transaction that has reported them has moved the position. */
		if (r->source.server.is_txn) {
			p->covered = covered;
			ledger_committed(l, p->account, covered);
		}
	}
	if (ledger_commit_due(l, due))
		group_commit(r);
}

void acks_serve(struct kread *r, bool readable)
{
	int status = source_serve(&r->source, readable);

	if (status)
		kread_fail(r, status);
}

void acks_finish(struct kread *r)
{
	int status = EXIT_DONE, stops = 0;

	source_end(&r->source, !r->broken && !out_pending(&r->out));
	while (source_drains(&r->source, &r->out, &status)) {
		struct pollfd fds[] = {
			{.fd = r->signal_fd, .events = POLLIN},
			{.fd = r->kafka.wake_fd, .events = POLLIN},
			{.fd = r->source.server.fd, .events = POLLIN},
		};

		poll(fds, 3, 100);
		if (fds[0].revents && (stops = wake_stops()))
			source_stop(&r->source);
		if (stops > 1) {
			msg_error("stopped before all records were acknowledged");
			status = EXIT_TEMP;
			break;
		}
		if (fds[1].revents)
			kafka_woken(&r->kafka);
		kread_events(r);
		kread_tick(r, wake_now_ms());
	}
	if (status)
		kread_fail(r, status);
	status = source_left(&r->source);
	if (status)
		kread_fail(r, status);
}
