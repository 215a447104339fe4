/* SPDX-License-Identifier: ISC */
#include "kwrite/blame.h"

#include "base/mem.h"
#include "base/wake.h"
#include "kafka/verdict.h"
#include "kwrite/resend.h"

#include <stdlib.h>

enum { LIMIT_MS = 20000, SLICE_MS = 100 };

static bool has_time(const struct blame *b)
{
	return wake_now_ms() < b->until_ms;
}

void blame_report(struct blame *b, const rd_kafka_message_t *m)
{
	b->out -= b->out > 0;
	b->refused = b->refused || verdict_is_shared(m->err);
}

static bool begin(struct blame *b)
{
	rd_kafka_error_t *error = has_time(b) ? rd_kafka_begin_transaction(b->rk) : NULL;

	if (error)
		rd_kafka_error_destroy(error);
	return !error && has_time(b);
}

/* Hands over one record. */
static bool produce(struct blame *b, struct delivery *d)
{
	struct message m;

	if (!resend_make(b->shape, b->sink, d, &m) ||
		deliveries_hand_over(b->rk, d->topic->rkt, d, &m)) {
		if (m.headers)
			rd_kafka_headers_destroy(m.headers);
		return false;
	}
	b->out++;
	return true;
}

/* Whether these records are refused, as far as is known. */
static bool is_refused(struct blame *b, size_t from, size_t to)
{
	b->refused = false;
	b->out = 0;
	if (!begin(b))
		return false;
	for (size_t i = from; i < to; i++)
		if (!produce(b, b->tried[i]))
			break;
	while (b->out && !b->refused && has_time(b))
		txn_poll(b->txn, SLICE_MS);
	return txn_abort(b->txn, b->until_ms) && b->refused;
}

/* The first of these that is refused alone; @to: none is. */
static size_t find(struct blame *b, size_t from, size_t to)
{
	size_t mid = from + (to - from) / 2, i;

	if (!is_refused(b, from, to))
		return to;
	if (to - from == 1)
		return from;
	i = find(b, from, mid);
	return i < mid ? i : find(b, mid, to);
}

/* Whether they were too large together, and none of them alone. */
static bool is_sum(struct blame *b, const struct delivery *d)
{
	size_t largest = 0;

	for (size_t i = 1; i < b->count; i++)
		if (b->tried[i]->bytes > b->tried[largest]->bytes)
			largest = i;
	return verdict_is_too_large(d->err) && !is_refused(b, largest, largest + 1);
}

/* Those that were refused with @d. Of a record that the broker names no other is needed. */
static struct delivery *collect(struct blame *b, struct deliveries *ds, const struct delivery *d)
{
	struct delivery *named = NULL;
	bool others = false;

	b->tried = mem_alloc((size_t)(ds->sink->tail - ds->judged) * sizeof(*b->tried));
	for (uint64_t i = ds->judged; i < ds->sink->tail; i++) {
		struct delivery *t = (struct delivery *)sink_slot(ds->sink, i);

		if (t->slot.refused || !t->answered || !verdict_is_shared(t->err) ||
			t->topic != d->topic || t->partition != d->partition)
			continue;
		b->tried[b->count++] = t;
		others = others || verdict_is_different(t->err);
		if (!named && !verdict_is_different(t->err))
			named = t;
	}
	return others ? named : NULL;
}

struct delivery *blame_find(struct deliveries *ds, struct delivery *d)
{
	struct shape shape = ds->resend->shape;
	struct blame b = {.rk = ds->kafka->rk,
		.txn = ds->txn,
		.sink = ds->sink,
		.shape = &shape,
		.until_ms = wake_now_ms() + LIMIT_MS};
	struct delivery *named = collect(&b, ds, d);
	size_t i;

	ds->blame = &b;
	if (!named && b.count == 1)
		named = d;
	if (!named && txn_abort(b.txn, b.until_ms) && !is_sum(&b, d)) {
		i = find(&b, 0, b.count);
		named = i < b.count ? b.tried[i] : NULL;
	}
	ds->blame = NULL;
	free(b.tried);
	return named;
}
