/* SPDX-License-Identifier: ISC */
/* DESIGN: a stall is that the oldest record stays where it is while brokers answer. Meanwhile
 * librdkafka is made to tell of each batch that a broker refuses, which gives the broker's own word
 * (kafka_tell_refusals), and is asked for the topic's metadata, which names partitions without a
 * leader. The metadata's answer also proves that brokers answer: what they keep, while replicas are
 * slow, is no silence. Without a record to send librdkafka asks nothing of brokers for five
 * minutes: it would notice neither that they are frozen nor that they are back. A transaction whose
 * records are all written waits for its source like that, too. Then they are asked from here. */
#include "kwrite/stall.h"

#include "base/msg.h"
#include "base/wake.h"
#include "kwrite/delivery.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	STALL_MS = 1000,
	ASK_MS = 2000,
	/* Brokers, while no record is on its way to them: whether they are back, … */
	SEEK_MS = 1000,
	LOOK_MS = 5000, /* … and whether they are there. */
	UNCONFIRMED_MS = 5000,
	STALE_MS = 10000, /* an entry of which nothing more is heard */
};

static struct stalled *find(struct stall *st, const char *topic, int32_t partition)
{
	for (int i = 0; i < st->count; i++)
		if (st->list[i].partition == partition && strcmp(st->list[i].topic, topic) == 0)
			return &st->list[i];
	return NULL;
}

static void name(const struct stalled *x, char *text, size_t size)
{
	int n = snprintf(text, size, "topic %s", x->topic);

	if (x->partition >= 0 && n > 0)
		snprintf(text + n, size - (size_t)n, " partition %" PRId32, x->partition);
}

static void tell(struct stall *st, const char *topic, int32_t partition, const char *why)
{
	struct stalled *x = find(st, topic, partition);
	char where[300];

	if (!x && st->count == STALL_MAX)
		return;
	if (!x) {
		x = &st->list[st->count++];
		*x = (struct stalled){.partition = partition};
		snprintf(x->topic, sizeof(x->topic), "%s", topic);
	}
	x->seen_ms = wake_now_ms();
	if (strcmp(x->why, why) == 0)
		return;
	snprintf(x->why, sizeof(x->why), "%s", why);
	name(x, where, sizeof(where));
	msg_warn("%s: %s; waiting", where, why);
}

static void forget(struct stall *st, struct stalled *x)
{
	*x = st->list[--st->count];
}

static void on_refusal(void *stall, const char *topic, int32_t partition, const char *why)
{
	struct stall *st = stall;

	/* That is no broker's word: the connection was lost. */
	if (strstr(why, "Broker transport failure"))
		return;
	/* The same in two ways: found before the records were written by the leader, and after. */
	if (strstr(why, "in-sync replicas"))
		why = "fewer in-sync replicas than min.insync.replicas";
	tell(st, topic, partition, why);
}

void stall_open(struct stall *st, struct kafka *k, const struct sink *s)
{
	*st = (struct stall){.kafka = k, .sink = s, .since_ms = wake_now_ms()};
	listing_open(&st->listing, k);
	kafka_on_refusal(k, on_refusal, st);
}

bool stall_close(struct stall *st)
{
	return listing_close(&st->listing);
}

void stall_written(struct stall *st, const char *topic, int32_t partition)
{
	struct stalled *x;
	char where[300];

	while ((x = find(st, topic, partition)) || (x = find(st, topic, -1))) {
		name(x, where, sizeof(where));
		msg_warn("%s: records are written again", where);
		forget(st, x);
	}
}

/* The topic of the oldest record. NULL: none waits for Kafka. */
static const struct topic *topic_of(const struct stall *st)
{
	const struct sink *s = st->sink;

	if (s->head == s->tail || sink_slot(s, s->head)->done)
		return NULL;
	return ((const struct delivery *)sink_slot(s, s->head))->topic;
}

static void take_metadata(struct stall *st, int64_t now_ms)
{
	const struct topic *t = topic_of(st);
	const struct rd_kafka_metadata *md = st->listing.err ? NULL : st->listing.metadata;
	const rd_kafka_metadata_topic_t *mt = md && md->topic_cnt ? &md->topics[0] : NULL;
	bool told = false;

	if (!t || !mt || strcmp(mt->topic, t->name))
		return;
	for (int i = 0; i < mt->partition_cnt; i++)
		if (mt->partitions[i].leader < 0)
			tell(st, t->name, mt->partitions[i].id, "no broker is its leader");
	for (int i = 0; i < st->count; i++)
		told = told || strcmp(st->list[i].topic, t->name) == 0;
	/* What a diagnosis finds is the better sentence. */
	if (now_ms - st->since_ms >= UNCONFIRMED_MS && !st->kafka->diagnosis &&
		!brokers_told(&st->kafka->brokers) && (!told || find(st, t->name, -1)))
		tell(st, t->name, -1, "no record is confirmed, though brokers answer");
}

static void ask(struct stall *st, const struct topic *t, bool up, int64_t now_ms)
{
	bool waits = now_ms - st->since_ms >= STALL_MS && now_ms - st->asked_ms >= ASK_MS;
	bool seeks = !t && now_ms - st->asked_ms >= (up ? LOOK_MS : SEEK_MS);

	if (listing_is_out(&st->listing) || !(waits || seeks))
		return;
	st->asked_ms = now_ms;
	if (seeks) {
		listing_ask_brokers(&st->listing);
		return;
	}
	kafka_misses(st->kafka);
	listing_ask_topic(&st->listing, t->name);
}

void stall_serve(struct stall *st, bool up, int64_t now_ms)
{
	const struct topic *t = topic_of(st);

	if (!t || st->sink->head != st->head || !up)
		st->since_ms = now_ms;
	st->head = st->sink->head;
	if (listing_take(&st->listing))
		take_metadata(st, now_ms);
	for (int i = st->count; i-- > 0;)
		if (now_ms - st->list[i].seen_ms > STALE_MS)
			forget(st, &st->list[i]);
	kafka_tell_refusals(st->kafka, st->count || now_ms - st->since_ms >= STALL_MS);
	ask(st, t, up, now_ms);
}
