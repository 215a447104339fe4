/* SPDX-License-Identifier: ISC */
/* Entries that are on their way, and those that are left to others.
 *
 * DESIGN: XCLAIM of our own entries, by their ids, makes them idle for 0 ms: they are not those of
 * a dead consumer. Its answer has those that are pending. One that is on its way and is not pending
 * was forgotten: somebody has removed the consumer (XGROUP DELCONSUMER) or acknowledged it, and if
 * we were killed nobody would read it again. So it is put back (FORCE), but only if it is not final
 * meanwhile: behind its XACK it would stay pending. Entries that were deleted do not come back:
 * those are remembered, and not missed again.
 *
 * Redis says each second how many are pending for us (XPENDING): where others are missing all are
 * claimed at once. */
#include "rsub/streams.h"

#include "base/msg.h"
#include "redis/request.h"

#include <stdlib.h>

enum { IDS = 1000 }; /* in one XCLAIM */

static void know(void *ctx, const struct ledger_open *o)
{
	id_set_add((struct id_set *)ctx, (struct id){(uint64_t)o->at, (uint64_t)o->low});
}

static void know_open(const struct streams *s, const struct stream *st, struct id_set *ids)
{
	ids->count = 0;
	if (st->account)
		ledger_each_open(s->source->ledger, st->account, know, ids);
}

static void know_mine(const struct streams *s, const struct stream *st, struct id_set *ids)
{
	know_open(s, st, ids);
	for (uint64_t i = st->acks.head; i < st->acks.tail; i++)
		id_set_add(ids, st->acks.ids[i & (st->acks.cap - 1)]);
	id_set_sort(ids);
}

void streams_know(struct streams *s, struct stream *st)
{
	know_mine(s, st, &st->known);
}

/* XCLAIM with JUSTID changes neither entry nor count of deliveries. */
static void claim_ids(struct streams *s, const struct stream *st, struct id_set *ids,
	int64_t idle_ms, enum ask what)
{
	for (size_t at = 0; at < ids->count; at += IDS) {
		size_t count = ids->count - at < IDS ? ids->count - at : IDS;
		struct buf *b = streams_begin(s, st, count + 8 + (what == ASK_BACK), "XCLAIM");

		if (!b) {
			ids->count = at;
			return;
		}
		streams_put_names(b, st, s->group);
		request_text(b, s->consumer);
		request_number(b, 0);
		for (size_t i = at; i < at + count; i++)
			request_id(b, ids->ids[i]);
		request_text(b, "IDLE");
		request_number(b, idle_ms);
		request_text(b, "JUSTID");
		if (what == ASK_BACK)
			request_text(b, "FORCE");
		streams_commit(s, what, st, count);
	}
}

void streams_renew(struct streams *s)
{
	if (!s->follows || s->is_exact || s->now_ms < s->renew_ms || s->now_ms < s->retry_ms)
		return;
	s->renew_ms = s->now_ms + s->claim_idle_ms / 3;
	for (int i = 0; i < s->count; i++) {
		struct stream *st = &s->streams[i];

		if (st->held.count || st->forgotten.count)
			continue;
		know_open(s, st, &st->held);
		claim_ids(s, st, &st->held, 0, ASK_RENEW);
	}
}

/* How many of the deleted are still on their way; the others are forgotten. */
static size_t count_deleted(const struct streams *s, struct stream *st)
{
	size_t count = 0;

	if (!st->deleted.count)
		return 0;
	know_mine(s, st, &st->mine);
	for (size_t i = 0; i < st->deleted.count; i++)
		if (id_set_has(&st->mine, st->deleted.ids[i]))
			st->deleted.ids[count++] = st->deleted.ids[i];
	return st->deleted.count = count;
}

void streams_missed(struct streams *s, struct stream *st, uint64_t pending)
{
	if (st->account &&
		pending + count_deleted(s, st) <
			ledger_part_open(st->account) + st->acks.tail - st->acks.head)
		s->renew_ms = s->now_ms;
}

static void put_back(struct streams *s, struct stream *st)
{
	size_t count = 0;

	know_open(s, st, &st->held);
	id_set_sort(&st->held);
	for (size_t i = 0; i < st->forgotten.count; i++)
		if (id_set_has(&st->held, st->forgotten.ids[i]))
			st->forgotten.ids[count++] = st->forgotten.ids[i];
	st->forgotten.count = count;
	st->held.count = st->deleted.count = st->at = st->put_back = 0;
	claim_ids(s, st, &st->forgotten, 0, ASK_BACK);
}

/* Redis names what it has claimed in the order of the command. @asked's others go to @missing. */
static void on_claimed(const struct stream *st, const struct id_set *asked, struct id_set *missing,
	uint64_t count, const struct link_reply *reply)
{
	struct resp c = reply->elements;
	struct resp_value v;
	struct id id = {0};
	int64_t left = reply->value.n;
	bool has = false;

	for (uint64_t i = 0; i < count; i++) {
		struct id wanted = asked->ids[st->at + i];

		if (!has && left-- > 0)
			has = resp_next(&c, &v) == RESP_STRING && !id_parse(v.text, &id);
		if (has && id_compare(id, wanted) == 0)
			has = false;
		else
			id_set_add(missing, wanted);
	}
}

static void on_back(struct streams *s, struct stream *st)
{
	unsigned long long n = st->put_back;

	st->forgotten.count = st->at = 0;
	if (!n)
		return;
	s->whole->put_back += n;
	msg_warn(
		"redis at %s: stream '%s': %llu %s on %s way and not pending any more: somebody has removed consumer '%s' or acknowledged what it reads; %s pending again",
		redis_name(&s->redis), st->name, n, PLURAL(n, "entry was", "entries were"),
		PLURAL(n, "its", "their"), s->consumer, PLURAL(n, "it is", "they are"));
}

void streams_claimed(struct streams *s, enum ask what, struct stream *st, uint64_t count,
	const struct link_reply *reply)
{
	if (reply && reply->value.type == RESP_ARRAY && what == ASK_RENEW)
		on_claimed(st, &st->held, &st->forgotten, count, reply);
	if (reply && reply->value.type == RESP_ARRAY && what == ASK_BACK) {
		on_claimed(st, &st->forgotten, &st->deleted, count, reply);
		st->put_back += (uint64_t)reply->value.n;
	}
	st->at += count;
	if (what == ASK_RENEW && st->at == st->held.count)
		put_back(s, st);
	else if (what == ASK_BACK && st->at == st->forgotten.count)
		on_back(s, st);
}

void streams_hand_back(struct streams *s, struct stream *st)
{
	claim_ids(s, st, &st->back, s->claim_idle_ms, ASK_QUIET);
	st->back.count = 0;
}
