/* SPDX-License-Identifier: ISC */
/* The consumer group: partitions come and go, positions are committed.
 *
 * A position is committed only when all records before it are final or, with --commit written, when
 * their bytes have left the process (part_safe). The loop takes messages only when no output is
 * pending, so the position is `next`, or `flushed_next` while output is stuck.
 *
 * One commit is out at a time, so that none can overtake another and a position never goes back.
 *
 * Partitions that are taken away are released in steps, while the loop goes on (group_serve): their
 * records are no longer emitted; their open records may become final; their positions are
 * committed; they are given up. The group waits for us so long, at most for half of
 * max.poll.interval.ms, and librdkafka fetches nothing meanwhile, not even from partitions that are
 * kept.
 *
 * A source that is to commit joins once its sink has come, which may keep the positions itself
 * (keeper.h). */
#include "kread/group.h"

#include "base/msg.h"
#include "base/metrics.h"
#include "base/wake.h"
#include "kafka/generation.h"
#include "kread/follow.h"
#include "kread/give.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REVOKE_MS = 5000, CLOSE_MS = 8000, REJOIN_MS = 10000, RETRY_MS = 200, ASKS_TOLD = 2 };

static int64_t part_safe(const struct group *g, const struct kread_part *p)
{
	if (g->source->replays)
		return ledger_position(g->source->ledger, p->account);
	return source_has_written(g->source, p->flushes) ? p->next : p->flushed_next;
}

/* A transaction commits positions itself. */
static bool may_commit(const struct group *g)
{
	return g->commit && !g->source->server.is_txn && !g->source->server.void_account;
}

void group_note(const struct group *g, struct kread_part *p, int64_t position, struct buf *out)
{
	marks_settle(&p->marks, position);
	if (!g->no_metadata && (p->marks.past_count || *p->id))
		marks_print(&p->marks, p->id, out);
}

static void put_position(struct group *g, rd_kafka_topic_partition_list_t *list,
	struct kread_part *p, int64_t position)
{
	rd_kafka_topic_partition_t *to =
		rd_kafka_topic_partition_list_add(list, p->topic, p->partition);
	struct buf text = {0};

	to->offset = p->committed = position;
	group_note(g, p, position, &text);
	to->metadata = text.p; /* freed with the list */
	to->metadata_size = text.len;
}

/* Positions to commit, which are marked as committed. @only: not NULL: of these partitions
 * alone. */
static rd_kafka_topic_partition_list_t *positions(
	struct group *g, rd_kafka_topic_partition_list_t *only)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
	struct parts *all = g->parts;

	for (struct kread_part *p = all->parts; may_commit(g) && p < all->parts + all->part_count;
		p++) {
		int64_t safe = part_safe(g, p);

		if (safe < 0 || safe == p->committed)
			continue;
		if (only && !rd_kafka_topic_partition_list_find(only, p->topic, p->partition))
			continue;
		put_position(g, list, p, safe);
		if (g->source->replays)
			p->covered = ledger_covered(g->source->ledger, p->account);
	}
	return list;
}

static void on_commit(struct group *g, rd_kafka_event_t *event)
{
	const rd_kafka_topic_partition_list_t *offsets = rd_kafka_event_topic_partition_list(event);
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	char why[256];

	for (int i = 0; offsets && i < offsets->cnt; i++) {
		const rd_kafka_topic_partition_t *o = &offsets->elems[i];
		struct kread_part *p = parts_find(g->parts, o->topic, o->partition);
		bool has_gone = o->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;

		if (o->err == RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE)
			g->no_metadata = true;
		/* A topic that was deleted before its first commit had a position, too. */
		if (p && ((!err && !o->err) || has_gone))
			p->stored = o->offset;
		/* The next commit names it again, but for a topic that has gone. */
		if (p && (err || o->err) && !has_gone)
			p->committed = -1;
		else if (p && g->source->replays)
			ledger_committed(g->source->ledger, p->account, p->covered);
		if (!err && o->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
			err = o->err;
	}
	g->committing = false;
	if (err == RD_KAFKA_RESP_ERR__NO_OFFSET)
		return;
	/* A rebalance is under way: nothing is amiss. */
	if (err == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
		err == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS)
		msg_info("cannot commit positions: %s; trying again", kafka_why(err));
	else if (err) {
		snprintf(why, sizeof(why), "cannot commit positions: %s", kafka_why(err));
		g->is_refused = kafka_judge(g->kafka, err, why);
		if (!g->is_refused && !g->commit_failed)
			msg_warn("%s; trying again", why);
	}
	g->commit_failed = err;
	/* All have joined, and the leader has not yet said who gets what: a member that leaves then
	 * waits for that. */
	g->commit_again = err && !g->is_refused && err != RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION &&
		(g->closing || err != RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS) &&
		err != RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
}

static void commit(struct group *g, rd_kafka_topic_partition_list_t *only)
{
	rd_kafka_topic_partition_list_t *list = positions(g, only);

	if (list->cnt && !rd_kafka_commit_queue(g->kafka->rk, list, g->answers, NULL, NULL))
		g->committing = true;
	rd_kafka_topic_partition_list_destroy(list);
}

void group_commit(struct group *g)
{
	/* librdkafka takes the answer to a commit under a past generation for the loss of all, and
	 * joins anew. It does not tell of each rejoin, and one commit tried again in each would let
	 * none of them end. */
	if (g->rejoining && wake_now_ms() < g->rejoin_by_ms)
		return;
	if (!g->committing && (!g->commit_failed || generation_held(g->kafka->rk, NULL)))
		commit(g, NULL);
}

/* librdkafka is told of the assignment when its positions are known. */
static void arrive_step(struct group *g)
{
	struct listing *l = &g->listing;
	int64_t now = wake_now_ms();

	if (g->arriving->cnt == 0 || g->closing) {
		keeper_cancel(g->keeper);
		give_partitions(g, g->arriving);
		return;
	}
	if (follow_waits_for_ids(g->parts, g->arriving, &g->need_ids))
		return;
	if (keeper_asks(g->keeper)) {
		rd_kafka_topic_partition_list_t *list = keeper_step(g->keeper);

		if (list) {
			give_partitions(g, list);
			rd_kafka_topic_partition_list_destroy(list);
		}
		return;
	}
	if (!listing_is_out(l) && now >= g->ask_ms)
		listing_ask_committed(l, rd_kafka_topic_partition_list_copy(g->arriving));
	if (!listing_take(l))
		return;
	if (!l->err && !keeper_is_answer(l->offsets, g->arriving)) {
		g->ask_ms = 0;
		return;
	}
	if (!l->err) {
		g->asks_failed = 0;
		move_fill(g->move, g->past, l->offsets);
		if (!keeper_decides(g->keeper)) {
			give_partitions(g, l->offsets);
			return;
		}
		keeper_ask(g->keeper, l->offsets);
		keeper_step(g->keeper);
		return;
	}
	msg_info("cannot ask for positions: %s", kafka_why(l->err));
	/* Of a coordinator that moves or has just started it is not worth a word. */
	if (!kafka_judge(g->kafka, l->err, kafka_why(l->err)) && g->kafka->up &&
		++g->asks_failed == ASKS_TOLD)
		msg_warn("cannot ask for the group's positions: %s; trying again",
			kafka_why(l->err));
	g->ask_ms = now + RETRY_MS;
}

/* How many records of partitions that are taken away are open. */
static uint64_t leaving_open(const struct group *g)
{
	const struct parts *all = g->parts;
	uint64_t n = 0;

	for (const struct kread_part *p = all->parts; p < all->parts + all->part_count; p++)
		if (p->leaving && p->account)
			n += ledger_part_open(p->account);
	return n;
}

void group_remember(struct group *g, const struct kread_part *p)
{
	rd_kafka_topic_partition_t *past =
		rd_kafka_topic_partition_list_find(g->past, p->topic, p->partition);

	if (!past)
		past = rd_kafka_topic_partition_list_add(g->past, p->topic, p->partition);
	past->offset = !g->commit	   ? p->next
		: g->source->server.is_txn ? part_safe(g, p)
					   : p->stored;
}

/* The last step: gives up the partitions that are taken away. */
static void release(struct group *g, bool lost)
{
	uint64_t open = g->source->replays ? leaving_open(g) : 0;
	rd_kafka_topic_partition_list_t *list = g->leaving;

	if (open && !g->closing)
		msg_warn(
			"%llu %s of partitions that were taken away %s not acknowledged; %s will be read again",
			(unsigned long long)open, PLURAL(open, "record", "records"),
			PLURAL(open, "is", "are"), PLURAL(open, "it", "they"));
	/* The positions of a sink that keeps them are not lost with the group's. A refusal is told
	 * at the end. */
	if (!lost && !g->source->server.keeps_positions && (g->committing || g->commit_failed) &&
		!g->is_refused) {
		const char *why =
			"cannot commit positions of partitions that were taken away; some records will be read again";

		if (!g->closing || !source_end(g->source, EXIT_TEMP, "%s", why))
			msg_warn("%s", why);
	}
	for (size_t i = g->parts->part_count; i-- > 0;) {
		struct kread_part *p = &g->parts->parts[i];

		if (!p->leaving)
			continue;
		group_remember(g, p);
		/* The partition may come back, and have more records then. */
		if (p->done)
			parts_pause(g->parts, p, false);
		parts_remove(g->parts, p);
	}
	/* Without partitions it is not known whether -e is done. */
	g->parts->known = g->parts->part_count > 0;
	g->leaving = NULL;
	/* In the cooperative protocol two callbacks follow: this assignment, then the one after the
	 * rejoin. */
	g->rejoining = g->leaving_cooperative && !lost ? 2 : 1;
	g->rejoin_by_ms = wake_now_ms() + REJOIN_MS;
	if (g->leaving_cooperative)
		rd_kafka_error_destroy(rd_kafka_incremental_unassign(g->kafka->rk, list));
	else
		rd_kafka_assign(g->kafka->rk, NULL);
	msg_info("%d %s taken away", list->cnt,
		PLURAL(list->cnt, "partition was", "partitions were"));
	rd_kafka_topic_partition_list_destroy(list);
}

static void leave_step(struct group *g)
{
	bool lost = rd_kafka_assignment_lost(g->kafka->rk);
	int64_t now = wake_now_ms();

	/* Another member may have the partitions that we have lost: do not commit them. */
	if (!lost && now < g->leave_by_ms && g->source->server.has_sink && leaving_open(g))
		return;
	if (!lost && now < g->leave_by_ms + (g->closing ? CLOSE_MS : REVOKE_MS)) {
		if (g->committing)
			return;
		/* A coordinator that has just come back answers a little later. */
		if (!g->leaving_committed || (g->commit_again && now >= g->leaving_retry_ms)) {
			g->leaving_committed = true;
			g->leaving_retry_ms = now + RETRY_MS;
			g->commit_failed = g->commit_again = false;
			commit(g, g->leaving);
		}
		if (g->committing || g->commit_again)
			return;
	}
	release(g, lost);
}

static void take(struct group *g, rd_kafka_topic_partition_list_t *list, bool cooperative)
{
	int64_t wait_ms = g->source->replays && !g->closing ? g->source->drain_ms : 0;

	if (g->arriving) {
		keeper_cancel(g->keeper);
		give_partitions(g, g->arriving);
	}
	if (g->leaving)
		release(g, true);
	for (int i = 0; i < list->cnt; i++) {
		struct kread_part *p =
			parts_find(g->parts, list->elems[i].topic, list->elems[i].partition);

		if (p)
			p->leaving = true;
	}
	if (wait_ms > g->poll_interval_ms / 2)
		wait_ms = g->poll_interval_ms / 2;
	msg_info("%d %s to be given up", list->cnt,
		PLURAL(list->cnt, "partition is", "partitions are"));
	g->leaving = rd_kafka_topic_partition_list_copy(list);
	g->leaving_cooperative = cooperative;
	g->leaving_committed = false;
	g->leave_by_ms = wake_now_ms() + wait_ms;
}

static void subscribe(struct group *g)
{
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new(g->parts->topic_count);
	rd_kafka_resp_err_t err;

	/* Twice the same is an error for librdkafka. */
	for (int i = 0; i < g->parts->topic_count; i++)
		if (!rd_kafka_topic_partition_list_find(
			    list, g->parts->topics[i], RD_KAFKA_PARTITION_UA))
			rd_kafka_topic_partition_list_add(
				list, g->parts->topics[i], RD_KAFKA_PARTITION_UA);
	err = rd_kafka_subscribe(g->kafka->rk, list);
	if (err)
		die(EXIT_PERM, "cannot subscribe: %s", kafka_why(err));
	rd_kafka_topic_partition_list_destroy(list);
}

void group_misses(struct group *g, const char *topic)
{
	if (g->missing)
		return;
	g->missing = span_text((struct span){topic, strlen(topic)});
	listing_ask_topics(&g->lookup);
}

static void tell_missing(struct group *g)
{
	const char *near = listing_near(&g->lookup, g->missing);

	msg_warn("topic '%s' does not exist; waiting for it%s%s%s", g->missing,
		near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
	free(g->missing);
	g->missing = NULL;
}

/* To tell what has appeared later, the topics of the start must be known. */
static void start_step(struct group *g)
{
	struct listing *l = &g->listing;

	if (g->source->replays && !g->source->server.had_sink)
		return;
	if (g->begin == GROUP_LATEST) {
		if (!listing_is_out(l) && wake_now_ms() >= g->ask_ms)
			listing_ask_topics(l);
		if (!listing_take(l))
			return;
		g->ask_ms = wake_now_ms() + RETRY_MS;
		if (l->err) {
			kafka_judge(g->kafka, l->err, kafka_why(l->err));
			return;
		}
		g->at_start = l->metadata;
		l->metadata = NULL;
	}
	subscribe(g);
	g->subscribed = true;
}

void group_serve(struct group *g)
{
	rd_kafka_event_t *event;

	while ((event = rd_kafka_queue_poll(g->answers, 0))) {
		if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT)
			on_commit(g, event);
		rd_kafka_event_destroy(event);
	}
	if (!g->subscribed && !g->closing)
		start_step(g);
	follow_ids(g->parts, g->arriving);
	if (g->arriving)
		arrive_step(g);
	if (g->leaving)
		leave_step(g);
	give_serve(g, wake_now_ms());
	if (!g->closing && !g->parts->need_ends)
		unheard_serve(&g->unheard, wake_now_ms());
	if (listing_take(&g->lookup))
		tell_missing(g);
}

void group_on_rebalance(
	struct group *g, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list)
{
	bool cooperative = strcmp(rd_kafka_rebalance_protocol(g->kafka->rk), "COOPERATIVE") == 0;

	for (size_t i = 0; i < g->parts->part_count; i++)
		g->parts->parts[i].paused = true;
	if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		kafka_assigned(g->kafka);
		keeper_cancel(g->keeper);
		if (g->arriving)
			rd_kafka_topic_partition_list_destroy(g->arriving);
		g->arriving = rd_kafka_topic_partition_list_copy(list);
		g->arriving_cooperative = cooperative;
		g->ask_ms = 0;
		g->need_ids = true;
	} else {
		take(g, list, cooperative);
	}
}

/* ---- the whole ---- */

void group_open(struct group *g)
{
	rd_kafka_poll_set_consumer(g->kafka->rk);
	g->queue = rd_kafka_queue_get_consumer(g->kafka->rk);
	g->answers = rd_kafka_queue_new(g->kafka->rk);
	kafka_wake_on(g->kafka, g->queue);
	kafka_wake_on(g->kafka, g->answers);
	listing_open(&g->listing, g->kafka);
	listing_open(&g->lookup, g->kafka);
	unheard_open(&g->unheard, g->parts);
	g->past = rd_kafka_topic_partition_list_new(8);
}

void group_take_reset(struct group *g, struct kafka_conf *conf)
{
	const char *reset = kafka_conf_text(conf, "auto.offset.reset");
	char why[256];

	g->begin = !strcmp(reset, "latest") || !strcmp(reset, "largest") || !strcmp(reset, "end")
		? GROUP_LATEST
		: !strcmp(reset, "error") ? GROUP_ERROR
					  : GROUP_EARLIEST;
	if (g->begin == GROUP_ERROR)
		g->parts->gap_stops = "auto.offset.reset=error";
	rd_kafka_conf_set(conf->rd, "auto.offset.reset", "earliest", why, sizeof(why));
}

bool group_leave(struct group *g)
{
	/* It is no member: librdkafka would wait for the answer to what it never sends. */
	if (!g->kafka->was_assigned && rd_kafka_fatal_error(g->kafka->rk, NULL, 0))
		return true;
	if (!g->closing) {
		g->closing = true;
		g->leave_by_ms = wake_now_ms();
		/* Takes all partitions away, with a commit. */
		rd_kafka_error_destroy(rd_kafka_consumer_close_queue(g->kafka->rk, g->queue));
	}
	return group_is_left(g);
}

bool group_is_left(const struct group *g)
{
	return rd_kafka_consumer_closed(g->kafka->rk);
}

bool group_close(struct group *g)
{
	if (g->at_start)
		rd_kafka_metadata_destroy(g->at_start);
	rd_kafka_topic_partition_list_destroy(g->past);
	rd_kafka_queue_destroy(g->answers);
	rd_kafka_queue_destroy(g->queue);
	return listing_close(&g->listing) && listing_close(&g->lookup) &&
		unheard_close(&g->unheard);
}
