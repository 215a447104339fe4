/* SPDX-License-Identifier: ISC */
#include "khttp/ask.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
	LISTINGS = 4, /* the first asks for topics, the others for offsets */
	TRIES = 10, /* of LISTING_MS, while Kafka answers others */
	PROBE_MS = 1000, /* so long nothing may be known of Kafka */
};

struct question {
	struct question *next;
	ask_fn *fn;
	void *ctx;
	rd_kafka_topic_partition_list_t *list; /* NULL: topics */
	int tries;
};

struct asks {
	const bool *answers;
	struct listing listings[LISTINGS];
	struct question *out[LISTINGS]; /* of a listing, those that it answers */
	struct question *topics, *offsets; /* that wait; the newest first */
	int64_t probe_ms; /* when the brokers are asked next, to know whether they answer */
};

struct asks *asks_open(struct kafka *k, const bool *answers)
{
	struct asks *a = mem_alloc(sizeof(*a));

	*a = (struct asks){.answers = answers};
	for (int i = 0; i < LISTINGS; i++)
		listing_open(&a->listings[i], k);
	return a;
}

static void add(struct question **list, ask_fn *fn, void *ctx, rd_kafka_topic_partition_list_t *of)
{
	struct question *q = mem_alloc(sizeof(*q));

	*q = (struct question){.next = *list, .fn = fn, .ctx = ctx, .list = of};
	*list = q;
}

void ask_topics(struct asks *a, ask_fn *fn, void *ctx)
{
	add(&a->topics, fn, ctx, NULL);
}

void ask_offsets(struct asks *a, rd_kafka_topic_partition_list_t *list, ask_fn *fn, void *ctx)
{
	add(&a->offsets, fn, ctx, list);
}

void asks_probe(struct asks *a)
{
	a->probe_ms = 0;
}

static void forget(struct question *q, const void *ctx)
{
	for (; q; q = q->next)
		if (q->ctx == ctx)
			q->fn = NULL;
}

void asks_forget(struct asks *a, const void *ctx)
{
	forget(a->topics, ctx);
	forget(a->offsets, ctx);
	for (int i = 0; i < LISTINGS; i++)
		forget(a->out[i], ctx);
}

static void free_question(struct question *q)
{
	if (q->list)
		rd_kafka_topic_partition_list_destroy(q->list);
	free(q);
}

/* Whether the question is asked again. */
static bool again(struct asks *a, struct question *q, rd_kafka_resp_err_t err)
{
	bool passes = err == RD_KAFKA_RESP_ERR__TIMED_OUT || err == RD_KAFKA_RESP_ERR__TRANSPORT ||
		err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
		err == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;

	if (!passes || !*a->answers || !q->fn || ++q->tries >= TRIES)
		return false;
	q->next = q->list ? a->offsets : a->topics;
	*(q->list ? &a->offsets : &a->topics) = q;
	return true;
}

static void take(struct asks *a, int i)
{
	struct listing *l = &a->listings[i];
	struct question *q = a->out[i], *next;

	a->out[i] = NULL;
	for (; q; q = next) {
		next = q->next;
		if (l->err && again(a, q, l->err))
			continue;
		if (q->fn)
			q->fn(q->ctx, l->err, l->err ? NULL : l->metadata,
				l->err ? NULL : l->offsets);
		free_question(q);
	}
}

static void ask_next(struct asks *a, int64_t now_ms)
{
	if (!listing_is_out(&a->listings[0]) && (a->topics || now_ms >= a->probe_ms)) {
		a->out[0] = a->topics;
		a->topics = NULL;
		a->probe_ms = now_ms + PROBE_MS;
		if (a->out[0])
			listing_ask_topics(&a->listings[0]);
		else
			listing_ask_brokers(&a->listings[0]);
	}
	for (int i = 1; i < LISTINGS && a->offsets; i++) {
		struct question *q = a->offsets;

		if (listing_is_out(&a->listings[i]))
			continue;
		a->offsets = q->next;
		q->next = NULL;
		a->out[i] = q;
		listing_ask_offsets(&a->listings[i], rd_kafka_topic_partition_list_copy(q->list));
	}
}

void asks_serve(struct asks *a, int64_t now_ms)
{
	for (int i = 0; i < LISTINGS; i++)
		if (listing_take(&a->listings[i]))
			take(a, i);
	ask_next(a, now_ms);
}

static void drop(struct question *q)
{
	struct question *next;

	for (; q; q = next) {
		next = q->next;
		free_question(q);
	}
}

bool asks_close(struct asks *a)
{
	bool closed = true;

	for (int i = 0; i < LISTINGS; i++)
		closed &= listing_close(&a->listings[i]);
	if (!closed)
		return false;
	drop(a->topics);
	drop(a->offsets);
	for (int i = 0; i < LISTINGS; i++)
		drop(a->out[i]);
	free(a);
	return true;
}

const rd_kafka_metadata_topic_t *ask_find(const struct rd_kafka_metadata *md, const char *topic)
{
	for (int i = 0; i < md->topic_cnt; i++)
		if (strcmp(md->topics[i].topic, topic) == 0 &&
			md->topics[i].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
			return &md->topics[i];
	return NULL;
}

const rd_kafka_metadata_partition_t *ask_find_partition(
	const rd_kafka_metadata_topic_t *t, int32_t partition)
{
	for (int i = 0; i < t->partition_cnt; i++)
		if (t->partitions[i].id == partition)
			return &t->partitions[i];
	return NULL;
}
