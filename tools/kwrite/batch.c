/* SPDX-License-Identifier: ISC */
/* DESIGN: librdkafka copies a message into memory of its own when it takes the message, and its
 * broker's thread reads partition by partition. Keyed messages cost a fifth less when messages of
 * one partition are taken one behind the other, probably since they then lie so in memory (245
 * bytes, six partitions, 2.0.2).
 *
 * Only the order between partitions changes. Messages of one key go into one list, whatever
 * partition the list is for. While the number of partitions is not known all messages of the topic
 * go into one list; then those behind them do, too, until the last of them has left (strays).
 * A batch is sent before the loop waits for anything.
 *
 * An entry that has to wait stays in its list and lets others pass, which go to other partitions.
 * Those of its own partition are not let pass, since the first record of that is still out. The
 * text of its message is not kept: the message is made again from its line. A list is looked at
 * from its beginning only after an answer to a first record. */
#include "kwrite/batch.h"

#include "kwrite/partition.h"

#include <string.h>
#include <time.h>

_Static_assert(BATCH_ENTRIES <= UINT16_MAX, "entries have numbers of 16 bits");

static int64_t utc_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool has_key(const struct message *m)
{
	const struct partition_state *s = m->topic->own;

	return partition_is_by_key(s->all, m->key.p, m->key.len);
}

/* The partition that the message's key or its record names; -1: neither does. */
static int32_t partition_of(const struct message *m)
{
	struct partition_state *s = m->topic->own;

	if (m->partition >= 0)
		return m->partition;
	if (!has_key(m) || partition_count(s) == 0)
		return -1;
	return s->all->hash(m->topic->rkt, m->key.p, m->key.len, partition_count(s), NULL, NULL);
}

void batch_open(struct batch *b, const struct shape *shape)
{
	b->shape = *shape;
	b->shape.name = b->shape.scratch = b->shape.keys = (struct buf){0};
}

void batch_add(struct batch *b, const struct message *m, struct delivery *d)
{
	struct partition_state *s = m->topic->own;
	int32_t p = partition_of(m);
	bool is_stray = s->strays || (p < 0 && has_key(m));
	struct batch_list *list =
		&b->lists[((p < 0 || is_stray ? 0 : (size_t)p) + s->number * 8) % BATCH_LISTS];
	uint16_t i = b->free_count ? b->free[--b->free_count] : (uint16_t)b->used++;

	b->messages[b->count] = *m;
	b->entries[i] = (struct batch_entry){.delivery = d,
		.partition = p,
		.message = (uint16_t)b->count++,
		.is_keyless = p < 0 && !has_key(m),
		.is_stray = is_stray};
	s->strays += is_stray;
	if (list->count++)
		b->entries[list->last].next = i;
	else
		list->first = i;
	list->last = i;
}

/* Makes the message of an entry again; it is valid until the next one, and its headers are the
 * caller's. false: the line gives none any more. */
static bool make_again(
	struct batch *b, const struct delivery *d, const struct sink *sink, struct message *m)
{
	*m = (struct message){.topic = d->topic};
	if (!message_again(&b->shape, sink_text(sink, &d->slot), m))
		return false;
	m->ts = d->ts;
	return true;
}

static void forget_headers(struct message *m)
{
	if (m->headers)
		rd_kafka_headers_destroy(m->headers);
	m->headers = NULL;
}

/* The partition of the next record without a key: rather one whose first record is not out. */
static int32_t run_partition(struct batch *b, struct partition_state *s)
{
	int32_t guess = partition_guess(s), p = guess;

	for (int32_t n = 0; s->firsts_out && n < s->partitions; n++) {
		if (firsts_hour(&b->firsts, s, p) != FIRSTS_OUT) {
			if (p != guess)
				partition_run_at(s, p);
			return p;
		}
		p = (p + 1) % s->partitions;
	}
	return guess;
}

enum sent { SENT, WAITS, NO_ROOM };

static enum sent try_to_send(
	struct batch *b, struct batch_entry *e, struct deliveries *ds, struct message *m)
{
	struct delivery *d = e->delivery;
	const struct partition_state *s = d->topic->own;
	int32_t p = e->partition;

	if (p < 0)
		p = e->is_keyless ? run_partition(b, d->topic->own) : partition_of(m);
	if (!firsts_may_go(&b->firsts, d, p))
		return WAITS;
	if (!deliveries_produce(ds, d, m))
		return NO_ROOM;
	if (e->is_keyless && s->run_partition != p)
		firsts_moved(&b->firsts, d, s->run_partition);
	return SENT;
}

static enum sent send_one(
	struct batch *b, struct batch_entry *e, struct deliveries *ds, int64_t now_ms)
{
	struct message *m = &b->messages[e->message], again;
	enum sent sent;

	if (e->message == BATCH) {
		m = &again;
		/* Without a look at its line. */
		if (e->partition >= 0 && firsts_is_out(&b->firsts, e->delivery, e->partition))
			return WAITS;
		if (!make_again(b, e->delivery, ds->sink, m)) {
			forget_headers(m);
			deliveries_fail(ds, e->delivery, RD_KAFKA_RESP_ERR__FAIL);
			return SENT;
		}
	}
	if (m->ts == 0)
		m->ts = now_ms;
	e->delivery->ts = m->ts;
	sent = try_to_send(b, e, ds, m);
	if (sent == WAITS)
		e->message = BATCH;
	if (e->message == BATCH && sent != SENT)
		forget_headers(m);
	return sent;
}

static void leave(struct batch *b, uint16_t i)
{
	struct partition_state *s = b->entries[i].delivery->topic->own;

	s->strays -= b->entries[i].is_stray;
	b->free[b->free_count++] = i;
}

/* false: there is no room. */
static bool send_list(struct batch *b, struct batch_list *l, struct deliveries *ds, int64_t now_ms)
{
	if (l->seen != b->firsts.answers)
		l->waiting = 0;
	l->seen = b->firsts.answers;
	while (l->waiting < l->count) {
		uint16_t *link = l->waiting ? &b->entries[l->behind].next : &l->first, i = *link;
		enum sent sent = send_one(b, &b->entries[i], ds, now_ms);

		if (sent == NO_ROOM)
			return false;
		if (sent == WAITS) {
			l->behind = i;
			l->waiting++;
			continue;
		}
		*link = b->entries[i].next;
		if (l->last == i)
			l->last = l->behind;
		l->count--;
		leave(b, i);
	}
	return true;
}

bool batch_send(struct batch *b, struct deliveries *ds)
{
	int64_t now_ms = b->used > b->free_count ? utc_now_ms() : 0;

	firsts_place(&b->firsts);
	b->is_stuck = true;
	for (size_t l = 0; l < BATCH_LISTS && b->used > b->free_count; l++)
		if (!send_list(b, &b->lists[l], ds, now_ms))
			return false;
	b->is_stuck = false;
	b->count = 0;
	return true;
}
