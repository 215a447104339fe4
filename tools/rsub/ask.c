/* SPDX-License-Identifier: ISC */
/* What Redis is asked for: by the step, and besides. */
#include "rsub/streams.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "redis/request.h"

#include <stdlib.h>
#include <string.h>

enum {
	BATCH = 1000, /* new entries at once, at most */
	BLOCK_MS = 1000, /* how long Redis waits for new entries, */
	BUSY_MS = 50, /* and while records are on their way, whose XACK waits behind */
};

struct buf *streams_begin(
	struct streams *s, const struct stream *st, size_t words, const char *name)
{
	struct buf *b = s->in_multi
		? redis_more(&s->redis)
		: redis_begin(&s->redis, (struct span){st->name, strlen(st->name)});

	if (b)
		request_begin(b, words, name);
	return b;
}

void streams_commit(struct streams *s, enum ask what, const struct stream *st, uint64_t count)
{
	redis_commit(&s->redis,
		(uint64_t)what << 56 | (uint64_t)(st->acks.round & 0xff) << 48 |
			(uint64_t)(st - s->streams) << 24 | count);
	if (ask_is_quiet(what, count))
		s->quiet++;
	else if (what != ASK_ACK)
		s->asked++;
}

void streams_step(struct streams *s, enum streams_step step)
{
	s->step = step;
	s->has_asked = false;
	s->at = 0;
	s->cursor = (struct id){0};
	s->delivery_count = 0;
}

/* ---- the step's ---- */

void streams_put_names(struct buf *b, const struct stream *st, const char *group)
{
	request_text(b, st->name);
	request_text(b, group);
}

static void put_bare(struct streams *s, const struct stream *st, const char *name)
{
	if (streams_begin(s, st, 1, name))
		streams_commit(s, ASK_QUEUE, st, 0);
}

/* All at one moment, so that the numbers fit one another. */
static void ask_info(struct streams *s, const struct stream *st, bool waits)
{
	struct buf *b;

	put_bare(s, st, "MULTI");
	s->in_multi = true;
	b = streams_begin(s, st, 3, "XINFO");
	if (!b) {
		s->in_multi = false;
		return;
	}
	request_text(b, "STREAM");
	request_text(b, st->name);
	streams_commit(s, ASK_QUEUE, st, 0);
	if (s->group) {
		b = streams_begin(s, st, 3, "XINFO");
		request_text(b, "GROUPS");
		request_text(b, st->name);
		streams_commit(s, ASK_QUEUE, st, 0);
		b = streams_begin(s, st, 3, "XPENDING");
		streams_put_names(b, st, s->group);
		streams_commit(s, ASK_QUEUE, st, 0);
	}
	if (streams_begin(s, st, 1, "EXEC"))
		streams_commit(s, ASK_INFO, st, !waits);
	s->in_multi = false;
}

static void lowest(void *ctx, const struct ledger_open *o)
{
	struct id *id = (struct id *)ctx;

	*id = id_least(*id, (struct id){(uint64_t)o->at, (uint64_t)o->low});
}

/* Where a group stood that is there no more: before the first entry that is not final, as far as it
 * is known. */
static struct id position(const struct streams *s, const struct stream *st)
{
	struct id at = st->has_read ? st->read : st->info.delivered;
	struct id first = {UINT64_MAX, UINT64_MAX};

	if (st->account)
		ledger_each_open(s->source->ledger, st->account, lowest, &first);
	if (st->info.consumers > 1 && st->info.pending)
		first = id_least(first, st->info.pending_first);
	if (st->info.consumers > 1)
		at = id_least(at, st->info.delivered);
	return id_least(at, id_before(first));
}

static void ask_group(struct streams *s, struct stream *st)
{
	struct buf *b = streams_begin(s, st, 6, "XGROUP");

	if (!b)
		return;
	request_text(b, "CREATE");
	streams_put_names(b, st, s->group);
	if (st->had_group)
		request_id(b, st->rewound = position(s, st));
	else if (s->from_end)
		request_text(b, "$");
	else
		request_id(b, s->from);
	request_text(b, "MKSTREAM");
	streams_commit(s, ASK_GROUP, st, 0);
}

static void set_up(struct streams *s)
{
	bool all = true;

	for (int i = 0; i < s->count; i++) {
		struct stream *st = &s->streams[i];

		if (!s->has_asked && !s->has_no_info) {
			ask_info(s, st, true);
			all = false;
		} else if (s->group && !st->has_group && !s->denied[0]) {
			ask_group(s, st);
			all = false;
		}
	}
	s->has_asked = true;
	if (!all)
		return;
	whole_ready(s->whole, &s->is_ready, !s->is_stalled && redis_is_there(&s->redis));
	s->info_ms = s->now_ms + 1000;
	streams_step(s, s->group ? STREAMS_OWN : STREAMS_NEW);
}

/* How often the entries that are read next were delivered. */
static void ask_deliveries(struct streams *s, const struct stream *st, size_t count, bool own)
{
	struct buf *b;

	s->delivery_count = 0;
	if (!s->max_deliveries)
		return;
	b = streams_begin(s, st, own ? 7 : 8, "XPENDING");
	if (!b)
		return;
	streams_put_names(b, st, s->group);
	if (!own) {
		request_text(b, "IDLE");
		request_number(b, s->claim_idle_ms);
	}
	request_id(b, s->cursor);
	request_text(b, "+");
	/* Behind the cursor: one may stand on it. */
	request_number(b, (int64_t)count + 1);
	if (own)
		request_text(b, s->consumer);
	streams_commit(s, ASK_DELIVERIES, st, 0);
}

static void ask_own(struct streams *s, struct stream *st, size_t room)
{
	struct buf *b;

	if (!s->has_asked)
		streams_know(s, st);
	s->has_asked = true;
	ask_deliveries(s, st, room, true);
	b = streams_begin(s, st, 9, "XREADGROUP");
	if (!b)
		return;
	request_text(b, "GROUP");
	request_text(b, s->group);
	request_text(b, s->consumer);
	request_text(b, "COUNT");
	request_number(b, (int64_t)room);
	request_text(b, "STREAMS");
	request_text(b, st->name);
	request_id(b, s->cursor);
	streams_commit(s, ASK_OWN, st, 0);
}

static void ask_claim(struct streams *s, struct stream *st, size_t room)
{
	struct buf *b;

	if (!s->has_asked)
		streams_know(s, st);
	s->has_asked = true;
	ask_deliveries(s, st, room, false);
	b = streams_begin(s, st, 8, "XAUTOCLAIM");
	if (!b)
		return;
	streams_put_names(b, st, s->group);
	request_text(b, s->consumer);
	request_number(b, s->claim_idle_ms);
	request_id(b, s->cursor);
	request_text(b, "COUNT");
	request_number(b, (int64_t)room);
	streams_commit(s, ASK_CLAIM, st, 0);
}

/* How long Redis may wait for new entries; -1: not at all. */
static int block_ms(const struct streams *s)
{
	if (s->to_end)
		return -1;
	for (int i = 0; i < s->count; i++)
		if (s->streams[i].acks.head < s->streams[i].acks.tail ||
			(s->follows && ledger_part_open(s->streams[i].account)))
			return BUSY_MS;
	return BLOCK_MS;
}

/* COUNT is for each stream: when there is no room for all, some have to wait for the next time. */
static void ask_new(struct streams *s, size_t room)
{
	int streams = 0, taken = 0, block = block_ms(s);
	bool in_group = s->group && !s->is_exact;
	struct buf *b;

	for (int i = 0; i < s->count; i++)
		streams += !s->streams[i].is_done;
	if (!streams) {
		whole_count(&s->whole->over, &s->is_over, true);
		if (s->whole->over == s->whole->count)
			source_done(s->source);
		return;
	}
	if ((size_t)streams > room)
		streams = (int)room;
	b = streams_begin(s, s->streams,
		(in_group ? 7 : 4) + (block < 0 ? 0 : 2) + 2 * (size_t)streams,
		in_group ? "XREADGROUP" : "XREAD");
	if (!b)
		return;
	if (in_group) {
		request_text(b, "GROUP");
		request_text(b, s->group);
		request_text(b, s->consumer);
	}
	request_text(b, "COUNT");
	request_number(b, (int64_t)(room / (size_t)streams));
	if (block >= 0) {
		request_text(b, "BLOCK");
		request_number(b, block);
	}
	request_text(b, "STREAMS");
	for (int i = s->first; taken < streams; i++)
		if (!s->streams[i % s->count].is_done) {
			request_text(b, s->streams[i % s->count].name);
			s->streams[i % s->count].is_asked = true;
			taken++;
		}
	for (int i = s->first; taken; i++)
		if (!s->streams[i % s->count].is_done) {
			if (in_group)
				request_text(b, ">");
			else
				request_id(b, s->streams[i % s->count].read);
			taken--;
		}
	s->streams_asked = streams;
	s->room_asked = room / (size_t)streams;
	streams_commit(s, ASK_NEW, s->streams, 0);
}

/* How many records may be asked for beside @pending ones, @most at most. What other connections
 * have asked for may still come, and each of them has its share, or one that waits for entries
 * would keep the others from theirs. */
static size_t room_for(const struct streams *s, size_t pending, size_t most)
{
	size_t others = s->whole->asked - s->room_out, room;
	size_t share = s->follows && s->whole->count > 1
		? (size_t)s->window / (2 * (size_t)s->whole->count) + 1
		: BATCH;

	room = source_window(s->source, others + pending + (most < share ? most : share));
	return room > others + pending ? room - others - pending : 0;
}

static void put_room(struct streams *s, size_t room)
{
	s->whole->asked += room - s->room_out;
	s->room_out = room;
}

static void go_on(struct streams *s, size_t pending)
{
	struct stream *st = &s->streams[s->at];
	size_t room;

	put_room(s, 0);
	if (s->step != STREAMS_SETUP && exact_is_on(&s->whole->exact)) {
		if (!s->whole->exact.is_told)
			return;
		if (!s->is_exact)
			exact_begin(s);
		if (s->step != STREAMS_NEW)
			streams_step(s, STREAMS_NEW);
	}
	room = room_for(s, 0, BATCH);

	switch (s->step) {
	case STREAMS_SETUP:
		set_up(s);
		return;
	case STREAMS_OWN:
	case STREAMS_CLAIM:
		if (room > STREAMS_PENDING)
			room = STREAMS_PENDING;
		put_room(s, room);
		if (room && s->step == STREAMS_OWN)
			ask_own(s, st, room);
		else if (room)
			ask_claim(s, st, room);
		return;
	case STREAMS_NEW:
		if (s->group && !s->is_exact && !s->has_no_claim && s->now_ms >= s->claim_ms &&
			!pending) {
			streams_step(s, STREAMS_CLAIM);
			return;
		}
		room = s->batch * (size_t)s->count;
		room = room_for(s, pending, room < BATCH ? room : BATCH);
		put_room(s, room);
		if (room)
			ask_new(s, room);
		return;
	}
}

void streams_ask(struct streams *s, size_t pending)
{
	enum streams_step before;

	if (s->now_ms < s->retry_ms)
		return;
	do {
		before = s->step;
		if (!s->asked && source_phase(s->source) == SOURCE_READING)
			go_on(s, pending);
	} while (s->step != before);
	if (s->now_ms >= s->info_ms && !s->has_no_info && s->step != STREAMS_SETUP) {
		s->info_ms = s->now_ms + 1000;
		for (int i = 0; i < s->count; i++)
			ask_info(s, &s->streams[i], false);
	}
}

/* ---- what is final ---- */

void streams_ack(struct streams *s)
{
	dead_sync(&s->whole->dead);
	for (int i = 0; i < s->count && s->now_ms >= s->retry_ms; i++) {
		struct stream *st = &s->streams[i];
		uint64_t count;

		if (s->is_exact) {
			exact_ack(s, st);
			continue;
		}
		while ((count = xack_due(&st->acks))) {
			struct buf *b = streams_begin(s, st, 3 + (size_t)count, "XACK");

			if (!b)
				return;
			streams_put_names(b, st, s->group);
			xack_put(&st->acks, count, b);
			streams_commit(s, ASK_ACK, st, count);
		}
	}
}
