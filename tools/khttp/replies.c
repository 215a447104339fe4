/* SPDX-License-Identifier: ISC */
#include "khttp/replies.h"

#include "khttp/ask.h"
#include "khttp/error.h"

#include "base/mem.h"
#include "base/msg.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	TOPICS_MAX = 1000,
	TURN_RECORDS = 4000, /* in a turn of the loop */
	LOOK_MS = 10000, /* a topic in use may have more partitions after so long */
	IDLE_MS = 300000, /* a topic that no request has named for so long is not read any more */
};

struct replies {
	struct khttp *k;
	struct replies_user user;
	struct kafka client;
	bool started, more;
	rd_kafka_queue_t *messages;
	struct reply_topic *topics;
	size_t count;
};

struct replies *replies_open(struct khttp *k, const struct replies_user *user)
{
	struct replies *all = mem_alloc(sizeof(*all));

	*all = (struct replies){.k = k, .user = *user};
	return all;
}

static int start(struct replies *all, struct trouble *why)
{
	static const struct kafka_prop own[] = {
		{"auto.offset.reset", "earliest"}, /* of a topic that was made anew */
		{"enable.auto.commit", "false"},
		{"enable.auto.offset.store", "false"},
		{"allow.auto.create.topics", "false"},
		/* A topic that is added waits for the end of a fetch of the others. */
		{"fetch.wait.max.ms", "100"},
		{0},
	};
	struct kafka_conf conf = khttp_consumer_conf(all->k);
	rd_kafka_queue_t *queue;

	for (const struct kafka_prop *p = own; p->name; p++)
		rd_kafka_conf_set(conf.rd, p->name, p->value, NULL, 0);
	if (kafka_start(&all->client, RD_KAFKA_CONSUMER, &conf, why))
		return -1;
	silence_watch(&all->k->silence, &all->client);
	queue = rd_kafka_queue_get_main(all->client.rk);
	kafka_wake_on(&all->client, queue);
	rd_kafka_queue_destroy(queue);
	all->messages = rd_kafka_queue_new(all->client.rk);
	kafka_wake_on(&all->client, all->messages);
	all->started = true;
	return 0;
}

/* ---- a topic ---- */

static void stop(struct reply_topic *t)
{
	for (int32_t p = 0; t->rkt && p < t->partitions; p++)
		rd_kafka_consume_stop(t->rkt, p);
	if (t->rkt)
		rd_kafka_topic_destroy(t->rkt);
	t->rkt = NULL;
	t->is_read = false;
	t->partitions = 0;
}

static void fail(struct reply_topic *t, int status, const char *text)
{
	stop(t);
	t->all->user.failed(t->all->user.ctx, t, status, text);
}

static void fail_kafka(struct reply_topic *t, rd_kafka_resp_err_t err)
{
	int status = error_status(err, t->all->k->compat);

	fail(t, status == 504 ? 503 : status, kafka_why(err));
}

static bool begin(struct reply_topic *t, int32_t partition, int64_t offset)
{
	if (!t->rkt)
		t->rkt = rd_kafka_topic_new(t->all->client.rk, t->name, NULL);
	return t->rkt && !rd_kafka_consume_start_queue(t->rkt, partition, offset, t->all->messages);
}

static void on_ends(void *ctx, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md,
	const rd_kafka_topic_partition_list_t *ends)
{
	struct reply_topic *t = ctx;
	int32_t count = t->partitions;

	(void)md;
	t->asks = false;
	t->partitions = 0;
	if (err) {
		fail_kafka(t, err);
		return;
	}
	for (; t->partitions < count; t->partitions++)
		if (!begin(t, ends->elems[t->partitions].partition,
			    ends->elems[t->partitions].offset)) {
			fail(t, 500, "the reply topic cannot be read");
			return;
		}
	t->is_read = true;
	t->all->user.ready(t->all->user.ctx, t);
}

static void ask_ends(struct reply_topic *t, int32_t partitions)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);

	for (int32_t p = 0; p < partitions; p++)
		rd_kafka_topic_partition_list_add(list, t->name, p)->offset = RD_KAFKA_OFFSET_END;
	t->partitions = partitions;
	t->asks = true;
	ask_offsets(t->all->k->asks, list, on_ends, t);
}

static void on_topics(void *ctx, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md,
	const rd_kafka_topic_partition_list_t *offsets)
{
	struct reply_topic *t = ctx;
	const rd_kafka_metadata_topic_t *m = err ? NULL : ask_find(md, t->name);
	char text[400];

	(void)offsets;
	t->asks = false;
	if (err && t->is_read)
		return;
	if (err) {
		fail_kafka(t, err);
	} else if (!m || !m->partition_cnt) {
		snprintf(text, sizeof(text), "There is no reply topic '%s'.", t->name);
		fail(t, 404, text);
	} else if (!t->is_read || m->partition_cnt < t->partitions) {
		stop(t);
		ask_ends(t, m->partition_cnt);
	} else {
		/* Nothing was in it when it was looked at last. */
		for (; t->partitions < m->partition_cnt; t->partitions++)
			if (!begin(t, t->partitions, RD_KAFKA_OFFSET_BEGINNING))
				break;
	}
}

static void look(struct reply_topic *t)
{
	t->used_ms = t->all->k->now_ms;
	if (t->asks || (t->is_read && t->used_ms < t->asked_ms + LOOK_MS))
		return;
	t->asks = true;
	t->asked_ms = t->used_ms;
	ask_topics(t->all->k->asks, on_topics, t);
}

static struct reply_topic *find(struct replies *all, const char *name)
{
	struct reply_topic *t = all->topics;

	while (t && strcmp(t->name, name))
		t = t->next;
	return t;
}

struct reply_topic *replies_topic(struct replies *all, const char *name, struct trouble *why)
{
	struct reply_topic *t = find(all, name);

	if (!all->started && start(all, why))
		return NULL;
	if (all->client.trouble.status) {
		*why = all->client.trouble;
		return NULL;
	}
	if (!t && all->count == TOPICS_MAX) {
		trouble_set(why, EXIT_TEMP, "there are %d reply topics: no more", TOPICS_MAX);
		return NULL;
	}
	if (!t) {
		t = mem_alloc(sizeof(*t));
		*t = (struct reply_topic){.name = mem_dup(name), .all = all, .next = all->topics};
		all->topics = t;
		all->count++;
	}
	look(t);
	return t;
}

static void drop(struct reply_topic *t)
{
	stop(t);
	t->all->count--;
	free(t->name);
	free(t);
}

/* ---- the loop ---- */

static void take(struct replies *all, const rd_kafka_message_t *m)
{
	struct reply_topic *t = m->err && m->rkt ? find(all, rd_kafka_topic_name(m->rkt)) : NULL;

	switch (m->err) {
	case RD_KAFKA_RESP_ERR_NO_ERROR:
		all->user.reply(all->user.ctx, m);
		break;
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		if (t && t->is_read)
			fail_kafka(t, m->err);
		break;
	default: /* librdkafka goes on */
		break;
	}
}

static void drop_idle(struct replies *all)
{
	struct reply_topic **link = &all->topics, *t;

	while ((t = *link)) {
		if (t->users || t->asks || (t->is_read && all->k->now_ms < t->used_ms + IDLE_MS)) {
			link = &t->next;
			continue;
		}
		*link = t->next;
		drop(t);
	}
}

void replies_serve(struct replies *all)
{
	rd_kafka_message_t *m = NULL;
	size_t count = 0, bytes = 0;

	if (!all->started)
		return;
	kafka_woken(&all->client);
	rd_kafka_poll(all->client.rk, 0);
	while (count < TURN_RECORDS && (m = rd_kafka_consume_queue(all->messages, 0))) {
		count++;
		bytes += m->len + m->key_len;
		take(all, m);
		rd_kafka_message_destroy(m);
	}
	if (count)
		kafka_taken(&all->client, count, bytes, rd_kafka_queue_length(all->messages));
	all->more = m != NULL;
	kafka_tick(&all->client);
	for (struct reply_topic *t = all->topics; all->client.trouble.status && t; t = t->next)
		if (t->is_read)
			fail(t, 503, all->client.trouble.text);
	drop_idle(all);
}

int replies_fd(const struct replies *all)
{
	return all->started ? all->client.wake_fd : -1;
}

bool replies_has_more(const struct replies *all)
{
	return all->more;
}

void replies_close(struct replies *all)
{
	struct reply_topic *t;

	while ((t = all->topics)) {
		all->topics = t->next;
		drop(t);
	}
	if (all->started) {
		rd_kafka_queue_destroy(all->messages);
		kafka_stop(&all->client);
	}
	free(all);
}
