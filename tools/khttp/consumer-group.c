/* SPDX-License-Identifier: ISC */
/* Partitions come and go.
 *
 * A rebalance that takes partitions away waits for the answer that is being written, then for the
 * commit of positions, REVOKE_MS at most. librdkafka seeks only in a partition that it fetches, and
 * what it was asking a broker for when it was told of another place, the end for instance, wins in
 * the end. So a seek right after an assignment, or after another seek, waits for the first message,
 * or for the end of the partition, which is dropped. */
#include "khttp/instance.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/sorted.h"
#include "base/wake.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- partitions ---- */

struct key {
	const char *topic;
	int32_t partition;
};

static int compare(const void *key, const void *part)
{
	const struct key *k = key;
	const struct consumer_part *p = part;
	int c = strcmp(k->topic, p->topic);

	return c ? c : (k->partition > p->partition) - (k->partition < p->partition);
}

static size_t place_of(const struct instance *i, const struct key *k)
{
	return sorted_place(i->parts, i->part_count, sizeof(*i->parts), compare, k);
}

struct consumer_part *part_find(const struct instance *i, const char *topic, int32_t partition)
{
	struct key k = {topic, partition};
	size_t at = place_of(i, &k);

	return at < i->part_count && compare(&k, &i->parts[at]) == 0 ? &i->parts[at] : NULL;
}

struct consumer_part *part_of(struct instance *i, const rd_kafka_message_t *m)
{
	if (!m->rkt)
		return NULL;
	if (!i->last || m->rkt != i->last_rkt || m->partition != i->last->partition) {
		i->last = part_find(i, rd_kafka_topic_name(m->rkt), m->partition);
		i->last_rkt = m->rkt;
	}
	return i->last;
}

static struct consumer_part *add(struct instance *i, const char *topic, int32_t partition)
{
	size_t at = place_of(i, &(struct key){topic, partition});
	struct consumer_part *p;

	i->parts = mem_realloc(i->parts, (i->part_count + 1) * sizeof(*p));
	p = &i->parts[at];
	memmove(p + 1, p, (i->part_count - at) * sizeof(*p));
	i->part_count++;
	i->last = NULL;
	*p = (struct consumer_part){.topic = mem_dup(topic),
		.partition = partition,
		.next = -1,
		.taken = -1,
		.end = -1,
		.shown = SHOWN_NONE,
		.seek = RD_KAFKA_OFFSET_INVALID,
		.committed = -1};
	return p;
}

/* Throws away what is held of it. */
static void purge(struct instance *i, const struct consumer_part *p)
{
	size_t kept = 0, out = i->out;

	for (size_t n = 0; n < i->held_count; n++) {
		rd_kafka_message_t *m = i->held[n];

		if (part_of(i, m) != p) {
			i->held[kept++] = m;
			continue;
		}
		poll_drop(i, m);
		if (n < i->out)
			out--;
	}
	i->held_count = kept;
	i->out = out;
}

static void drop(struct instance *i, struct consumer_part *p)
{
	purge(i, p);
	free(p->topic);
	i->part_count--;
	i->last = NULL;
	memmove(p, p + 1, (size_t)(i->parts + i->part_count - p) * sizeof(*p));
}

static void drop_all(struct instance *i)
{
	while (i->part_count)
		drop(i, &i->parts[i->part_count - 1]);
}

/* ---- seeking ---- */

/* Tells librdkafka to go on at another place. */
void group_seek_again(struct instance *i, struct consumer_part *p)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset = p->seek;
	rd_kafka_error_destroy(rd_kafka_seek_partitions(i->kafka.rk, list, 0));
	rd_kafka_topic_partition_list_destroy(list);
	p->seeks = p->started = false;
}

bool group_started(struct instance *i, struct consumer_part *p)
{
	p->started = true;
	if (!p->seeks)
		return true;
	group_seek_again(i, p);
	return false;
}

/* ---- assignments ---- */

/* Messages of the partition go to the instance's own queue. */
static void forward(struct instance *i, const char *topic, int32_t partition)
{
	rd_kafka_queue_t *q = rd_kafka_queue_get_partition(i->kafka.rk, topic, partition);

	rd_kafka_queue_forward(q, i->messages);
	rd_kafka_queue_destroy(q);
}

/* librdkafka stops a partition first that it has, or had, and forgets then, some time later, where
 * its messages go. */
static void look_again(struct instance *i)
{
	i->forward_until_ms = i->all->now_ms + FORWARD_MS;
	i->all->unsettled = true;
}

/* Hands the partitions that it was assigned by a request to librdkafka. */
static rd_kafka_resp_err_t assign_parts(struct instance *i)
{
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new((int)i->part_count);
	rd_kafka_resp_err_t err;

	for (struct consumer_part *p = i->parts; p < i->parts + i->part_count; p++) {
		rd_kafka_topic_partition_t *o =
			rd_kafka_topic_partition_list_add(list, p->topic, p->partition);

		/* What is held comes before what is fetched from here on. */
		o->offset = p->taken >= 0 ? p->taken : p->next >= 0 || i->read ? p->next : p->seek;
		p->started = p->stopped = p->seeks = false;
		forward(i, o->topic, o->partition);
	}
	err = rd_kafka_assign(i->kafka.rk, list->cnt ? list : NULL);
	rd_kafka_topic_partition_list_destroy(list);
	look_again(i);
	return err;
}

static void forward_again(struct instance *i)
{
	bool all = true;

	for (struct consumer_part *p = i->parts; p < i->parts + i->part_count; p++)
		if (!p->started) {
			forward(i, p->topic, p->partition);
			all = false;
		}
	if (all)
		i->forward_until_ms = 0;
}

rd_kafka_resp_err_t group_assign(struct instance *i, const struct places *list)
{
	struct consumer_part *p;

	if (i->auto_commit)
		commit_positions(i);
	for (size_t n = i->part_count; n-- > 0;) {
		bool stays = false;

		p = &i->parts[n];
		for (size_t l = 0; l < list->count; l++)
			stays = stays ||
				(list->list[l].partition == p->partition &&
					!strcmp(list->list[l].topic, p->topic));
		if (!stays)
			drop(i, p);
	}
	for (size_t l = 0; l < list->count; l++)
		if (!part_find(i, list->list[l].topic, list->list[l].partition))
			add(i, list->list[l].topic, list->list[l].partition);
	i->mode = list->count ? MODE_ASSIGNED : MODE_NOTHING;
	return assign_parts(i);
}

void group_read(struct instance *i, const struct places *list)
{
	for (size_t n = 0; n < list->count; n++) {
		struct consumer_part *p = add(i, list->list[n].topic, list->list[n].partition);

		p->end = list->list[n].end;
		p->next = list->list[n].offset;
		if (p->next >= 0)
			p->shown = p->next - 1;
	}
	assign_parts(i);
}

rd_kafka_resp_err_t group_subscribe(struct instance *i, const char *topics)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
	rd_kafka_resp_err_t err;

	for (const char *end; (end = strchr(topics, '\n')); topics = end + 1) {
		char *name = span_text((struct span){topics, (size_t)(end - topics)});

		if (!rd_kafka_topic_partition_list_find(list, name, RD_KAFKA_PARTITION_UA))
			rd_kafka_topic_partition_list_add(list, name, RD_KAFKA_PARTITION_UA);
		free(name);
	}
	err = rd_kafka_subscribe(i->kafka.rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	return err;
}

void group_unsubscribe(struct instance *i)
{
	enum instance_mode mode = i->mode;

	pattern_free(i);
	i->mode = MODE_NOTHING;
	i->joined = false;
	if (i->auto_commit && !i->leaving)
		commit_positions(i);
	if (mode == MODE_ASSIGNED) {
		drop_all(i);
		rd_kafka_assign(i->kafka.rk, NULL);
	} else if (mode != MODE_NOTHING) {
		/* The partitions go when librdkafka takes them away. */
		rd_kafka_unsubscribe(i->kafka.rk);
	}
}

/* ---- seeking anywhere ---- */

static bool is_cooperative(const struct instance *i)
{
	return strcmp(rd_kafka_rebalance_protocol(i->kafka.rk), "COOPERATIVE") == 0;
}

/* librdkafka does not seek in a partition where it has stopped, so it gets it anew. */
static void seek_stopped(struct instance *i, struct consumer_part *p)
{
	rd_kafka_topic_partition_list_t *list;

	if (!is_cooperative(i)) {
		assign_parts(i);
		return;
	}
	list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset = p->seek;
	rd_kafka_error_destroy(rd_kafka_incremental_unassign(i->kafka.rk, list));
	rd_kafka_error_destroy(rd_kafka_incremental_assign(i->kafka.rk, list));
	rd_kafka_topic_partition_list_destroy(list);
	look_again(i);
	p->started = p->stopped = p->seeks = false;
}

void group_seek(struct instance *i, struct consumer_part *p, int64_t offset)
{
	purge(i, p);
	error_over(i, p);
	p->next = offset >= 0 ? offset : -1;
	p->taken = -1;
	p->seek = offset;
	p->seeks = true;
	if (p->stopped && !i->leaving)
		seek_stopped(i, p);
	else if (p->started)
		group_seek_again(i, p);
}

/* ---- rebalances ---- */

static void give(struct instance *i, rd_kafka_topic_partition_list_t *list)
{
	for (int n = 0; n < list->cnt; n++) {
		const rd_kafka_topic_partition_t *o = &list->elems[n];

		if (!part_find(i, o->topic, o->partition))
			add(i, o->topic, o->partition);
		forward(i, o->topic, o->partition);
	}
	if (is_cooperative(i))
		rd_kafka_error_destroy(rd_kafka_incremental_assign(i->kafka.rk, list));
	else
		rd_kafka_assign(i->kafka.rk, list);
	look_again(i);
	error_over(i, NULL);
	for (size_t n = 0; i->resume && n < i->part_count; n++)
		stream_resume(i, &i->parts[n]);
	free(i->resume);
	i->resume = NULL;
	i->rejoin_by_ms = 0;
	i->joined = true;
	calls_joined(i);
}

static void release(struct instance *i)
{
	rd_kafka_topic_partition_list_t *list = i->leaving;

	i->leaving = NULL;
	i->rejoin_by_ms = i->all->now_ms + REJOIN_MS;
	for (int n = 0; n < list->cnt; n++) {
		struct consumer_part *p =
			part_find(i, list->elems[n].topic, list->elems[n].partition);

		if (p)
			drop(i, p);
	}
	if (i->leaving_cooperative)
		rd_kafka_error_destroy(rd_kafka_incremental_unassign(i->kafka.rk, list));
	else
		rd_kafka_assign(i->kafka.rk, NULL);
	rd_kafka_topic_partition_list_destroy(list);
}

static void on_rebalance(
	rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *kafka)
{
	struct instance *i = kafka;

	(void)rk;
	for (size_t n = 0; n < i->part_count; n++)
		i->parts[n].paused = true;
	/* What a subscription of before has to say: the answer is what was assigned since. */
	if (i->mode == MODE_ASSIGNED && !i->closing) {
		assign_parts(i);
		return;
	}
	if (i->leaving)
		release(i);
	if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
		kafka_assigned(&i->kafka);
		give(i, list);
		return;
	}
	i->rejoin_by_ms = 0;
	i->leaving = rd_kafka_topic_partition_list_copy(list);
	i->leaving_cooperative = is_cooperative(i);
	i->leaving_committed = false;
	i->all->unsettled = true;
	i->leave_by_ms = i->all->now_ms + REVOKE_MS;
}

void group_go_on(struct instance *i)
{
	bool lost;

	if (i->all->now_ms < i->forward_until_ms)
		forward_again(i);
	if (!i->leaving)
		return;
	lost = rd_kafka_assignment_lost(i->kafka.rk);
	/* Another member may have what we have lost. */
	if (i->auto_commit && !lost && i->all->now_ms < i->leave_by_ms) {
		if (i->out_to || i->receipt || i->own_commit)
			return;
		if (!i->leaving_committed) {
			i->leaving_committed = true;
			commit_moved(i);
			if (i->own_commit)
				return;
		}
	}
	release(i);
}

/* ---- the client ---- */

int group_open(struct instance *i, struct kafka_conf *conf, struct trouble *why)
{
	rd_kafka_conf_set_rebalance_cb(conf->rd, on_rebalance);
	if (kafka_start(&i->kafka, RD_KAFKA_CONSUMER, conf, why))
		return -1;
	rd_kafka_poll_set_consumer(i->kafka.rk);
	i->events = rd_kafka_queue_get_consumer(i->kafka.rk);
	i->messages = rd_kafka_queue_new(i->kafka.rk);
	i->answers = rd_kafka_queue_new(i->kafka.rk);
	kafka_wake_on(&i->kafka, i->events);
	kafka_wake_on(&i->kafka, i->messages);
	kafka_wake_on(&i->kafka, i->answers);
	return 0;
}

void group_close(struct instance *i)
{
	if (i->auto_commit)
		commit_positions(i);
}

bool group_may_close(const struct instance *i)
{
	for (const struct wait *w = i->waits; w; w = w->next)
		if (w->kind == WAIT_COMMIT && !w->answered)
			return false;
	return !i->own_commit && !i->out_to && !i->receipt;
}

bool group_release(struct instance *i)
{
	http_receipt_free(i->receipt);
	i->receipt = NULL;
	pattern_free(i);
	if (i->has_listing && !listing_close(&i->listing))
		return false;
	i->has_listing = false;
	if (i->leaving)
		rd_kafka_topic_partition_list_destroy(i->leaving);
	i->leaving = NULL;
	drop_all(i);
	while (i->held_count)
		poll_drop(i, i->held[--i->held_count]);
	i->out = 0;
	free(i->parts);
	i->parts = NULL;
	free(i->resume);
	i->resume = NULL;
	read_free(i->read);
	i->read = NULL;
	rd_kafka_queue_destroy(i->messages);
	rd_kafka_queue_destroy(i->answers);
	rd_kafka_queue_destroy(i->events);
	return true;
}
