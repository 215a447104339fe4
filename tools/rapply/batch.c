/* SPDX-License-Identifier: ISC */
/* Batches: records are encoded while the batch before them is on its way, and sent as one
 * transaction, with the positions they lead to, once that batch has been answered. */
#include "rapply/rapply.h"

#include "base/mem.h"
#include "base/msg.h"
#include "redis/request.h"

#include <inttypes.h>
#include <stdio.h>

enum {
	BATCH_BYTES = 1 << 20, /* no record is added to a batch of so many */
	RECENT = 4, /* batches: a partition that was in one of the last is watched */
};

/* ---- records into the next batch ---- */

void batch_pass(struct place *p, int64_t offset, int64_t ts)
{
	if (!p || offset <= p->passed)
		return;
	p->passed = offset;
	p->passed_ts = ts;
}

void batch_put_place(struct rapply *s, struct place *p, int64_t offset, int64_t ts)
{
	if (offset < p->applied) {
		offset = p->applied;
		ts = p->applied_ts;
	}
	if (p->next < 0)
		s->next_places++;
	if (offset <= p->next)
		return;
	p->next = offset;
	p->next_ts = ts;
}

/* Under `stop` nothing behind the refused record is applied. */
static void cut(struct rapply *s, uint64_t i)
{
	for (i++; i < s->sink.tail; i++)
		if (i >= s->sent)
			sink_done(&slot_at(s, i)->slot);
}

void batch_refuse(struct rapply *s, uint64_t i, enum errclass class, const char *why)
{
	struct rapply_slot *slot = slot_at(s, i);

	sink_refuse(&s->sink, i, class, true, "%s", why);
	if (s->sink.in.dead.stopped)
		cut(s, i);
	else
		batch_pass(slot->place, slot->offset, slot->ts);
}

/* Redis has the record already. */
static bool is_applied(const struct rapply_slot *slot)
{
	return slot->place && slot->offset <= slot->place->applied;
}

/* A batch has it that is on its way, or is being built: this one is done when that is. */
static bool is_ahead(const struct rapply_slot *slot)
{
	const struct place *p = slot->place;

	return p && (slot->offset <= p->next || slot->offset <= p->flight);
}

/* The slot's position decides. */
static void encode_shard(struct rapply *s, uint64_t i, const struct record *r)
{
	struct rapply_slot *slot = slot_at(s, i);
	size_t at = s->next.len;
	struct record_error e;

	slot->spot = NULL;
	if (is_applied(slot) && !s->wait) {
		sink_done(&slot->slot);
		return;
	}
	if (commands_put(&s->commands, r, &s->next, &slot->commands, &e))
		batch_refuse(s, i, e.class, e.message);
	else
		shards_put(s, i, at);
}

static void encode(struct rapply *s, uint64_t i, const struct record *r)
{
	struct rapply_slot *slot = slot_at(s, i);
	struct record_error e;

	slot->commands = 0;
	if (s->spots) {
		encode_shard(s, i, r);
		return;
	}
	/* Whether replicas have it too is asked behind a command: its position is written once
	 * more. */
	if (is_applied(slot) && !s->wait) {
		sink_done(&slot->slot);
		return;
	}
	if (!is_applied(slot) && !is_ahead(slot) &&
		commands_put(&s->commands, r, &s->next, &slot->commands, &e)) {
		batch_refuse(s, i, e.class, e.message);
		return;
	}
	s->next_records++;
	if (slot->place)
		batch_put_place(s, slot->place, slot->offset, slot->ts);
}

/* A record of the ring stands before the next ones again. */
static void encode_again(struct rapply *s, uint64_t i)
{
	struct rapply_slot *slot = slot_at(s, i);
	struct record_error e;
	struct record r;

	if (slot->slot.done)
		return;
	if (slot->stale) {
		sink_done(&slot->slot);
		return;
	}
	if (record_parse(&r, sink_text(&s->sink, &slot->slot), &e))
		sink_die(&s->sink, EXIT_TEMP, "cannot encode a record again: %s", e.message);
	encode(s, i, &r);
}

/* A position needs records one by one, in their order. */
static void check_order(struct rapply *s, struct rapply_slot *slot)
{
	struct place *p = slot->place;

	if (slot->slot.label_len)
		sink_die(&s->sink, EXIT_PERM,
			"%s, offset %" PRId64
			": records that were split or put together have no position: give one list of commands a record, or --position none",
			places_name(p), slot->offset);
	if (slot->slot.label && slot->slot.label < p->number)
		sink_die(&s->sink, EXIT_PERM,
			"%s, offset %" PRId64
			": a filter changes the order of records: leave it out, or give --position none",
			places_name(p), slot->offset);
}

static void put_record(struct rapply *s, uint64_t i, const struct record *r)
{
	struct rapply_slot *slot = slot_at(s, i);
	struct place *p = slot->place;

	if (p) {
		check_order(s, slot);
		if (slot->slot.label && slot->slot.label < p->from) {
			slot->stale = true;
			sink_done(&slot->slot);
			return;
		}
		p->number = slot->slot.label;
		places_prove(s, p, slot->offset, slot->ts);
		if (slot->offset > p->taken)
			p->taken = slot->offset;
	} else if (s->position && !s->told_no_place) {
		s->told_no_place = true;
		msg_warn(
			"line %" PRIu64
			": records without topic, partition and offset are applied without a position: after a failure they may be applied twice",
			slot->slot.number);
	}
	encode(s, i, r);
}

/* Returns false when the line has to wait. */
static bool take(struct rapply *s, struct span text)
{
	struct record_error e = {0};
	struct place *p;
	struct record r;
	int64_t offset;

	if (record_parse(&r, text, &e)) {
		sink_refuse_line(&s->sink, &r.seq, false, &e);
		return true;
	}
	p = places_of(s, &r, &offset);
	if (p && (!p->known || p->backs))
		return false;
	if (!sink_take(&s->sink, &r.seq))
		return true;
	slot_at(s, s->sink.tail - 1)->place = p;
	slot_at(s, s->sink.tail - 1)->offset = offset;
	slot_at(s, s->sink.tail - 1)->ts = record_int(&r.ts, -1);
	slot_at(s, s->sink.tail - 1)->stale = false;
	put_record(s, s->sink.tail - 1, &r);
	return true;
}

bool batch_has_room(const struct rapply *s)
{
	return s->next_records < s->batch_max && s->next.len < BATCH_BYTES;
}

void batch_fill(struct rapply *s)
{
	struct span text;

	while (batch_has_room(s) && s->redis.state == REDIS_UP) {
		if (s->encoded < s->sink.tail)
			encode_again(s, s->encoded);
		else if (!sink_next(&s->sink, &text) || !take(s, text))
			break;
		s->encoded = s->encoded < s->sink.tail ? s->encoded + 1 : s->sink.tail;
	}
	/* Records that wait to be encoded again may stand before a refused one. */
	for (size_t i = 0; s->encoded == s->sink.tail && i < s->places.count; i++) {
		struct place *p = s->places.p[i];

		if (p->passed > p->applied && p->passed > p->next && p->known && !p->backs)
			batch_put_place(s, p, p->passed, p->passed_ts);
	}
}

void batch_clear_next(struct rapply *s)
{
	buf_clear(&s->next);
	s->next_records = s->next_places = 0;
	for (size_t i = 0; i < s->places.count; i++)
		s->places.p[i]->next = -1;
	if (s->spots)
		shards_clear(s);
}

void batch_rebuild(struct rapply *s)
{
	batch_clear_next(s);
	s->encoded = s->sent;
}

/* ---- what is sent ---- */

static struct buf *begin(struct rapply *s)
{
	return redis_begin(&s->redis, SPAN_NONE);
}

static void put_words(struct rapply *s, uint64_t tag, int argc, const char *const *argv)
{
	redis_command(&s->redis, SPAN_NONE, tag, argc, argv);
}

static void put_keys(struct rapply *s, uint64_t tag, const char *name, size_t count)
{
	struct buf *out = begin(s);

	request_begin(out, 1 + count, name);
	for (size_t i = 0; i < count; i++)
		request_text(out, s->look[i]->key);
	redis_commit(&s->redis, tag);
}

static bool is_wanted(const struct rapply *s, const struct place *p)
{
	return p->next >= 0 || (!s->narrow && p->used && p->used + RECENT >= s->batch);
}

/* Puts those that are to be watched first. */
static void choose(struct rapply *s, bool all)
{
	struct places *from = &s->places;

	if (s->look_cap < from->count) {
		s->look_cap = from->cap;
		s->look = mem_realloc(s->look, s->look_cap * sizeof(struct place *));
	}
	s->look_count = 0;
	for (size_t i = 0; i < from->count; i++)
		if (is_wanted(s, from->p[i]))
			s->look[s->look_count++] = from->p[i];
	s->look_watched = s->look_count;
	for (size_t i = 0; all && i < from->count; i++)
		if (!is_wanted(s, from->p[i]))
			s->look[s->look_count++] = from->p[i];
}

/* Asks for positions: those of the next batch, or all. */
static void look(struct rapply *s, bool all)
{
	choose(s, all);
	if (all) {
		s->look_due = false;
		s->look_ms = s->now_ms;
	}
	if (!s->look_count)
		return;
	if (s->look_watched)
		put_keys(s, TAG_WATCH, "WATCH", s->look_watched);
	put_keys(s, TAG_MGET, "MGET", s->look_count);
	s->looking = true;
}

void batch_ask_replicas(struct rapply *s)
{
	char replicas[16], ms[16];

	snprintf(replicas, sizeof(replicas), "%d", s->wait);
	snprintf(ms, sizeof(ms), "%d", REPLICAS_MS);
	put_words(s, TAG_REPLICAS, 3, (const char *const[]){"WAIT", replicas, ms});
}

static void put_position(struct rapply *s, struct place *p)
{
	struct buf *out = begin(s);

	buf_clear(&s->scratch);
	places_text(p, p->next, p->next_ts, &s->scratch);
	request_begin(out, 3, "SET");
	request_text(out, p->key);
	request_word(out, buf_as_span(&s->scratch));
	redis_commit(&s->redis, TAG_SET);
	p->flight = p->next;
	p->flight_ts = p->next_ts;
	p->used = s->batch;
}

/* All commands are one piece of bytes; each has an answer, and so a tag. */
static void put_records(struct rapply *s)
{
	if (s->next.len)
		buf_span(begin(s), buf_as_span(&s->next));
	for (uint64_t i = s->sent; i < s->encoded; i++)
		for (uint32_t n = slot_at(s, i)->slot.done ? 0 : slot_at(s, i)->commands; n; n--)
			redis_commit(&s->redis, i);
}

static void send_batch(struct rapply *s)
{
	s->batch++;
	put_words(s, TAG_MULTI, 1, (const char *const[]){"MULTI"});
	put_records(s);
	for (size_t i = 0; i < s->places.count; i++)
		if (s->places.p[i]->next >= 0)
			put_position(s, s->places.p[i]);
	put_words(s, TAG_EXEC, 1, (const char *const[]){"EXEC"});
	if (s->wait)
		batch_ask_replicas(s);
	s->in_flight = true;
	s->flight = s->sent;
	s->sent = s->encoded;
	s->fault = REDIS_FAULT_COMMAND;
	s->refusals.count = 0;
	batch_clear_next(s);
	/* EXEC has ended the watch. */
	s->watch++;
	look(s, false);
}

static bool is_fenced(const struct rapply *s)
{
	for (size_t i = 0; i < s->places.count; i++)
		if (s->places.p[i]->next >= 0 && s->places.p[i]->watch != s->watch)
			return false;
	return true;
}

/* WATCH does not see that a key which is not there comes with the data of another server, when this
 * one becomes its replica for a moment. So no batch follows a position that is not there: "-" is
 * written first, if there is none. */
static bool make_positions(struct rapply *s)
{
	bool any = false;

	for (size_t i = 0; i < s->places.count; i++) {
		struct place *p = s->places.p[i];
		struct buf *out;

		if (p->next < 0 || !p->absent)
			continue;
		any = true;
		out = begin(s);
		buf_clear(&s->scratch);
		places_text(p, -1, -1, &s->scratch);
		request_begin(out, 4, "SET");
		request_text(out, p->key);
		request_word(out, buf_as_span(&s->scratch));
		request_text(out, "NX");
		p->making = true;
		redis_commit(&s->redis, TAG_MAKE);
	}
	return any;
}

void batch_send(struct rapply *s)
{
	if (s->spots) {
		shards_send(s);
		return;
	}
	if (s->redis.state != REDIS_UP || s->in_flight || s->looking ||
		(s->waits && s->now_ms < s->wait_until_ms))
		return;
	if (s->places.count && (s->look_due || s->now_ms - s->look_ms >= LOOK_MS))
		look(s, true);
	else if (!s->next_records && !s->next_places)
		return;
	else if (!make_positions(s) && is_fenced(s))
		send_batch(s);
	else
		look(s, false);
}

int batch_timeout_ms(const struct rapply *s, int64_t now_ms)
{
	int64_t at = s->look_ms + LOOK_MS;

	if (s->spots)
		return shards_timeout_ms(s, now_ms);
	if (s->redis.state != REDIS_UP || s->in_flight || s->looking)
		return -1;
	if (s->waits)
		at = s->wait_until_ms;
	else if (s->next_records || (s->look_due && s->places.count))
		return 0;
	else if (!s->places.count)
		return -1;
	return at > now_ms ? (int)(at - now_ms) : 0;
}

/* ---- what became of it ---- */

void batch_done(struct rapply *s)
{
	for (; s->flight < s->sent; s->flight++)
		sink_done(&slot_at(s, s->flight)->slot);
	s->in_flight = false;
}

void batch_failed(struct rapply *s)
{
	s->sent = s->flight;
	s->in_flight = false;
	for (size_t i = 0; i < s->places.count; i++)
		s->places.p[i]->flight = -1;
	batch_rebuild(s);
}
