/* SPDX-License-Identifier: ISC */
#include "kread/acks.h"

#include <stdlib.h>
#include <string.h>

#include "kafka/generation.h"

void acks_opts(struct acks_opts *o)
{
	o->commit = arg_str0(NULL, "commit", "acked|written|never",
		"with -g: commit what is delivered (default), what has left the process, or nothing");
	o->window = arg_str0(NULL, "window", "N",
		"at most N records not yet delivered and committed (default 10000)");
}

void acks_take(struct acks *a, const struct acks_opts *o, bool raw)
{
	const char *commit = opt_text(o->commit, "--commit");

	a->window = opt_int(o->window, "--window", 10000, 1, 10000000);
	if (!a->group->name && commit)
		opt_bad("--commit needs a group: -g");
	if (!commit)
		commit = "acked";
	if (strcmp(commit, "acked") && strcmp(commit, "written") && strcmp(commit, "never"))
		opt_bad("--commit takes acked, written or never, not '%s'", commit);
	a->group->commit = a->group->name && strcmp(commit, "never");
	a->follows = a->group->name && strcmp(commit, "acked") == 0;
	if (!a->follows && o->window->count)
		opt_bad("--window needs -g with --commit acked");
	if (a->follows && !a->group->source->path)
		opt_bad("-g commits what is delivered, and is told so over a socket: run the pipeline with evpipe, or give each of its programs --ack PATH; or ask for --commit written, which may lose what is in the pipe at a crash, or --commit never");
	if (a->follows && raw)
		opt_bad("--raw prints no numbers that could be acknowledged: ask for --commit written, which may lose what is in the pipe at a crash, or --commit never");
}

/* The consumer group's metadata, under which a transaction commits positions, and the cluster's id.
 * librdkafka may know that the assignment is lost, and we not yet. */
static bool on_metadata(void *ctx, struct buf *out)
{
	const struct group *g = (const struct group *)ctx;
	rd_kafka_t *rk = g->kafka->rk;
	bool is_member = generation_held(rk, out) && !rd_kafka_assignment_lost(rk);
	char *cluster = rd_kafka_clusterid(rk, 0);

	if (cluster) {
		buf_printf(out, ",%s", cluster);
		rd_kafka_mem_free(rk, cluster);
	}
	return is_member;
}

/* A transaction commits the same metadata with a position as we do. */
static void on_note(void *ctx, const struct ledger_part *part, int64_t position, struct buf *out)
{
	const struct group *g = (const struct group *)ctx;
	struct kread_part *p = parts_find(g->parts, part->topic, part->partition);

	if (p && p->account == part)
		group_note(g, p, position, out);
}

void acks_open(struct acks *a)
{
	struct source *s = a->group->source;

	/* A source that does not wait has no more open records than the pipes hold, but for those
	 * that a filter swallows. */
	s->reader_may_go = !a->group->name && !s->path && !getenv("EVPIPE_DIR");
	source_open(s, a->follows, a->follows ? a->window : 1 << 18);
	if (a->follows) {
		ack_server_on_txn(&s->server, on_metadata, a->group);
		ack_server_on_note(&s->server, on_note);
	}
}

void acks_commit(struct acks *a)
{
	const struct parts *parts = a->group->parts;
	struct source *s = a->group->source;
	/* The transaction, or the sink with its data, has committed the position of what is
	 * final. */
	bool elsewhere = s->server.is_txn || s->server.keeps_positions;
	uint64_t due = 0;

	if (!a->follows || (a->group->committing && !elsewhere))
		return;
	for (struct kread_part *p = parts->parts; p < parts->parts + parts->part_count; p++) {
		uint64_t covered = ledger_covered(s->ledger, p->account);

		due += covered - p->covered;
		if (elsewhere) {
			p->covered = covered;
			ledger_committed(s->ledger, p->account, covered);
		}
	}
	if (!elsewhere && ledger_commit_due(s->ledger, due))
		group_commit(a->group);
}
