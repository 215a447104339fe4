/* SPDX-License-Identifier: ISC */
/* Of partitions that arrive the brokers are asked for the first and the last offset, then the sink
 * is told, and asked where to begin. `opaque` of a partition in `arriving` is not NULL when the
 * sink has answered. */
#include "kread/keeper.h"

#include "base/msg.h"
#include "base/wake.h"
#include "kread/follow.h"

#include <string.h>

enum { RETRY_MS = 200 };

static void forget(rd_kafka_topic_partition_list_t **list)
{
	if (*list)
		rd_kafka_topic_partition_list_destroy(*list);
	*list = NULL;
}

void keeper_cancel(struct keeper *k)
{
	forget(&k->arriving);
	forget(&k->low);
	forget(&k->high);
	k->told = false;
}

void keeper_ask(struct keeper *k, const rd_kafka_topic_partition_list_t *list)
{
	keeper_cancel(k);
	k->arriving = rd_kafka_topic_partition_list_copy(list);
	for (int i = 0; i < k->arriving->cnt; i++)
		k->arriving->elems[i].opaque = NULL;
	k->ask_ms = 0;
}

bool keeper_is_answer(
	const rd_kafka_topic_partition_list_t *a, const rd_kafka_topic_partition_list_t *b)
{
	if (a->cnt != b->cnt)
		return false;
	for (int i = 0; i < a->cnt; i++)
		if (a->elems[i].partition != b->elems[i].partition ||
			strcmp(a->elems[i].topic, b->elems[i].topic))
			return false;
	return true;
}

/* Returns false until *@answer is there. */
static bool look_up(struct keeper *k, int64_t which, rd_kafka_topic_partition_list_t **answer)
{
	struct listing *l = &k->listing;
	rd_kafka_topic_partition_list_t *list;

	if (*answer)
		return true;
	if (!listing_is_out(l)) {
		if (wake_now_ms() < k->ask_ms)
			return false;
		list = rd_kafka_topic_partition_list_new(k->arriving->cnt);
		for (int i = 0; i < k->arriving->cnt; i++)
			rd_kafka_topic_partition_list_add(
				list, k->arriving->elems[i].topic, k->arriving->elems[i].partition)
				->offset = which;
		listing_ask_offsets(l, list);
	}
	if (!listing_take(l))
		return false;
	if (!l->err && keeper_is_answer(l->offsets, k->arriving)) {
		*answer = rd_kafka_topic_partition_list_copy(l->offsets);
		return true;
	}
	k->ask_ms = l->err ? wake_now_ms() + RETRY_MS : 0;
	if (l->err) {
		msg_info("cannot ask for offsets: %s; trying again", kafka_why(l->err));
		kafka_judge(k->kafka, l->err, kafka_why(l->err));
	}
	return false;
}

static void tell(struct keeper *k)
{
	char *cluster = rd_kafka_clusterid(k->kafka->rk, 0);

	for (int i = 0; i < k->arriving->cnt; i++) {
		const rd_kafka_topic_partition_t *o = &k->arriving->elems[i];

		ack_server_assigned(&k->source->server,
			&(struct ack_assigned){.topic = {o->topic, strlen(o->topic)},
				.partition = o->partition,
				.low = k->low->elems[i].offset,
				.high = k->high->elems[i].offset,
				.committed = o->offset < 0 ? -1 : o->offset,
				.cluster = cluster ? (struct span){cluster, strlen(cluster)}
						   : SPAN("-")});
	}
	if (cluster)
		rd_kafka_mem_free(k->kafka->rk, cluster);
	k->told = true;
}

rd_kafka_topic_partition_list_t *keeper_step(struct keeper *k)
{
	rd_kafka_topic_partition_list_t *list = k->arriving;

	if (!list)
		return NULL;
	if (!k->told) {
		if (!look_up(k, RD_KAFKA_OFFSET_BEGINNING, &k->low) ||
			!look_up(k, RD_KAFKA_OFFSET_END, &k->high))
			return NULL;
		tell(k);
	}
	for (int i = 0; i < list->cnt; i++)
		if (!list->elems[i].opaque)
			return NULL;
	k->arriving = NULL;
	keeper_cancel(k);
	return list;
}

/* ---- the sink ---- */

/* The topic's name with a NUL, in @b. */
static const char *name_of(struct buf *b, struct span topic)
{
	buf_span(b, topic);
	buf_putc(b, '\0');
	return b->p;
}

/* The partition, of which the sink was told that it is assigned; NULL: it is not on its way. */
static rd_kafka_topic_partition_t *arriving(
	const struct keeper *k, struct span topic, int32_t partition)
{
	struct buf name = {0};
	rd_kafka_topic_partition_t *o = NULL;

	if (k->told)
		o = rd_kafka_topic_partition_list_find(
			k->arriving, name_of(&name, topic), partition);
	buf_free(&name);
	return o;
}

/* An answer that comes late, to an earlier assignment, was true then: what the sink has got since,
 * it leaves out. */
static void on_start(void *ctx, struct span topic, int32_t partition, int64_t offset)
{
	struct keeper *k = ctx;
	rd_kafka_topic_partition_t *o = arriving(k, topic, partition);

	if (o && !o->opaque) {
		if (offset >= 0)
			o->offset = offset;
		else if (o->offset < 0)
			o->offset = k->low->elems[o - k->arriving->elems].offset;
		o->opaque = k;
	}
}

static void on_back(void *ctx, struct span topic, int32_t partition, int64_t offset)
{
	struct keeper *k = ctx;
	struct buf name = {0};
	struct kread_part *p = parts_find(k->parts, name_of(&name, topic), partition);
	rd_kafka_topic_partition_t *o = arriving(k, topic, partition);

	if (p)
		follow_back(k->parts, p, offset);
	else if (o && o->opaque) /* lost behind its back, after it had said where to start */
		o->offset = offset;
	buf_free(&name);
	ack_server_from(&k->source->server, topic, partition, ledger_last(k->source->ledger) + 1);
}

void keeper_open(struct keeper *k)
{
	static const struct ack_positions positions = {.start = on_start, .back = on_back};

	listing_open(&k->listing, k->kafka);
	ack_server_on_positions(&k->source->server, &positions, k);
}

bool keeper_close(struct keeper *k)
{
	keeper_cancel(k);
	return listing_close(&k->listing);
}
