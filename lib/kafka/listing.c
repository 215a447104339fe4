/* SPDX-License-Identifier: ISC */
/* DESIGN: while a question is out its thread owns err, metadata, offsets and topic; `answered`
 * hands them back. */
#include "kafka/listing.h"

#include "base/near.h"
#include "base/thread.h"

#include <poll.h>
#include <unistd.h>

void listing_open(struct listing *l, struct kafka *k)
{
	*l = (struct listing){.kafka = k};
}

static rd_kafka_resp_err_t ask_offsets(struct listing *l)
{
	rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(l->kafka->rk, l->offsets, LISTING_MS);

	for (int i = 0; !err && i < l->offsets->cnt; i++)
		err = l->offsets->elems[i].err;
	return err;
}

static void *run(void *listing)
{
	struct listing *l = listing;
	int wake_fd = l->kafka->wake_in;

	if (l->has_failed)
		poll(NULL, 0, l->pause_ms);
	if (l->kind == LISTING_OFFSETS)
		l->err = ask_offsets(l);
	else if (l->kind == LISTING_COMMITTED)
		l->err = rd_kafka_committed(l->kafka->rk, l->offsets, LISTING_MS);
	else
		l->err = rd_kafka_metadata(l->kafka->rk, l->kind == LISTING_TOPICS, l->topic,
			&l->metadata, LISTING_MS);
	l->answered = true;
	/* A full pipe wakes the loop, too. */
	if (write(wake_fd, "", 1) < 0)
		return NULL;
	return NULL;
}

/* Frees the last answer. */
static void forget(struct listing *l)
{
	if (l->topic)
		rd_kafka_topic_destroy(l->topic);
	if (l->metadata)
		rd_kafka_metadata_destroy(l->metadata);
	if (l->offsets)
		rd_kafka_topic_partition_list_destroy(l->offsets);
	l->topic = NULL;
	l->metadata = NULL;
	l->offsets = NULL;
}

static void ask(struct listing *l)
{
	l->is_out = true;
	l->answered = false;
	l->has_thread = thread_start(&l->thread, run, l);
	if (!l->has_thread) {
		l->err = RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
		l->answered = true;
	}
}

void listing_ask_topic(struct listing *l, const char *name)
{
	forget(l);
	l->kind = LISTING_TOPIC;
	l->topic = rd_kafka_topic_new(l->kafka->rk, name, NULL);
	if (l->topic) {
		ask(l);
		return;
	}
	l->err = RD_KAFKA_RESP_ERR__INVALID_ARG;
	l->is_out = true;
	l->answered = true;
}

void listing_ask_topics(struct listing *l)
{
	forget(l);
	l->kind = LISTING_TOPICS;
	ask(l);
}

void listing_ask_brokers(struct listing *l)
{
	forget(l);
	l->kind = LISTING_BROKERS;
	ask(l);
}

void listing_ask_offsets(struct listing *l, rd_kafka_topic_partition_list_t *list)
{
	forget(l);
	l->kind = LISTING_OFFSETS;
	l->offsets = list;
	ask(l);
}

void listing_ask_committed(struct listing *l, rd_kafka_topic_partition_list_t *list)
{
	forget(l);
	l->kind = LISTING_COMMITTED;
	l->offsets = list;
	ask(l);
}

bool listing_is_out(const struct listing *l)
{
	return l->is_out;
}

bool listing_take(struct listing *l)
{
	if (!l->is_out || !l->answered)
		return false;
	if (l->has_thread)
		pthread_join(l->thread, NULL);
	l->has_thread = l->is_out = false;
	l->has_failed = l->err != RD_KAFKA_RESP_ERR_NO_ERROR;
	/* The metadata have the partition, and its leader knows nothing of it. */
	if (l->kind == LISTING_OFFSETS && l->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		kafka_doubts(l->kafka);
	return true;
}

const char *listing_near(const struct listing *l, const char *name)
{
	const struct rd_kafka_metadata *md = l->err ? NULL : l->metadata;

	for (int i = 0; md && i < md->topic_cnt; i++)
		if (near_word(name, md->topics[i].topic))
			return md->topics[i].topic;
	return NULL;
}

bool listing_close(struct listing *l)
{
	if (l->is_out && !listing_take(l))
		return false;
	forget(l);
	return true;
}
