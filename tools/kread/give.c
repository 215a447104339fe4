/* SPDX-License-Identifier: ISC */
#include "kread/give.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"
#include "kread/follow.h"

#include <inttypes.h>
#include <string.h>

enum { FORWARD_MS = 100 };

/* Whether it was there when the process began. */
static bool was_there(const struct group *g, const rd_kafka_topic_partition_t *o)
{
	for (int i = 0; g->at_start && i < g->at_start->topic_cnt; i++)
		if (!strcmp(g->at_start->topics[i].topic, o->topic))
			return o->partition < g->at_start->topics[i].partition_cnt;
	return false;
}

/* The process that was given it at the start begins where the option says. What has appeared since
 * then, and what was made anew, is read from its beginning. */
static int64_t begin_without_position(struct group *g, const rd_kafka_topic_partition_t *o)
{
	rd_kafka_topic_partition_t *past =
		rd_kafka_topic_partition_list_find(g->past, o->topic, o->partition);

	if (past && !g->commit && g->begin == GROUP_LATEST && past->offset >= 0)
		return past->offset;
	if (past && g->commit && past->offset > 0)
		follow_anew(g->parts, o->topic, o->partition, past->offset);
	if (past)
		return RD_KAFKA_OFFSET_BEGINNING;
	if (g->begin == GROUP_ERROR)
		source_end(g->source, EXIT_PERM,
			"topic '%s', partition %" PRId32
			": no position is committed, and auto.offset.reset=error",
			o->topic, o->partition);
	return g->begin == GROUP_LATEST && !g->had_assignment && was_there(g, o)
		? RD_KAFKA_OFFSET_END
		: RD_KAFKA_OFFSET_BEGINNING;
}

/* Where reading of a partition goes on that is ours already. librdkafka would begin at a position
 * of its own. */
static int64_t go_on(const struct kread_part *p)
{
	if (p->proof != KREAD_PROOF_NONE)
		return p->tried.offset;
	return p->next >= 0 ? p->next : p->given;
}

/* The partition's messages go to the queue for messages. */
static void forward(const struct group *g, const char *topic, int32_t partition)
{
	rd_kafka_queue_t *q = rd_kafka_queue_get_partition(g->kafka->rk, topic, partition);

	rd_kafka_queue_forward(q, g->parts->messages);
	rd_kafka_queue_destroy(q);
}

/* Sets o->offset to where librdkafka is to begin. */
static void give_part(struct group *g, rd_kafka_topic_partition_t *o)
{
	struct kread_part *p = parts_find(g->parts, o->topic, o->partition);

	if (!p) {
		p = parts_add(g->parts, o->topic, o->partition);
		/* Marks of another site name a topic of another id. */
		if (!g->move->is_on)
			follow_identify(g->parts, p);
		if (o->offset >= 0) {
			int64_t next = o->offset;

			o->offset = follow_begin(g->parts, p, next, o->metadata, o->metadata_size);
			/* A position that was found in a map is committed without a record, too. */
			if (g->move->is_on && p->account)
				ledger_skip(p->account, next);
			if (g->move->is_on)
				p->committed = -1;
		} else if (!o->err && !g->closing)
			o->offset = begin_without_position(g, o);
		p->given = o->offset;
	} else {
		o->offset = go_on(p);
		p->given_again = true;
	}
	forward(g, o->topic, o->partition);
}

/* When librdkafka ends the assignment before, a while later, it also forgets where messages are to
 * go, and keeps them. */
void give_serve(struct group *g, int64_t now_ms)
{
	if (now_ms < g->forward_ms)
		return;
	g->forward_ms = now_ms + FORWARD_MS;
	for (struct kread_part *p = g->parts->parts; p < g->parts->parts + g->parts->part_count;
		p++) {
		/* Until a message has come. */
		p->given_again = p->given_again && p->paused;
		if (p->given_again)
			forward(g, p->topic, p->partition);
	}
}

/* librdkafka joins again without taking anything away when the group changes before it is told of
 * an assignment. What the next one does not have is another member's then. */
static void drop_others(struct group *g, rd_kafka_topic_partition_list_t *list)
{
	for (size_t i = g->parts->part_count; i-- > 0;) {
		struct kread_part *p = &g->parts->parts[i];

		if (rd_kafka_topic_partition_list_find(list, p->topic, p->partition))
			continue;
		group_remember(g, p);
		parts_remove(g->parts, p);
	}
}

void give_partitions(struct group *g, rd_kafka_topic_partition_list_t *list)
{
	/* Those that come now are asked for a proof anyway. */
	follow_changes(g->parts, NULL);
	if (!g->arriving_cooperative)
		drop_others(g, list);
	for (int i = 0; i < list->cnt; i++)
		give_part(g, &list->elems[i]);
	if (g->arriving_cooperative)
		rd_kafka_error_destroy(rd_kafka_incremental_assign(g->kafka->rk, list));
	else
		rd_kafka_assign(g->kafka->rk, list);
	msg_info(
		"%d %s assigned", list->cnt, PLURAL(list->cnt, "partition was", "partitions were"));
	g->had_assignment = true;
	if (g->rejoining)
		g->rejoining--;
	g->parts->known = true;
	g->parts->need_ends = g->parts->to_end;
	metrics_set_ready(true);
	rd_kafka_topic_partition_list_destroy(g->arriving);
	g->arriving = NULL;
}
