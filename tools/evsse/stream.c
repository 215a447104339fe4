/* SPDX-License-Identifier: ISC */
#include "evsse/stream.h"

#include "evsse/gap.h"
#include "evsse/replay.h"

#include <string.h>
#include <time.h>

enum { SKEW_MS = 10000 }; /* by so much clocks of producers may be wrong */

int64_t stream_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void stream_put_id(struct client *c)
{
	struct buf id = {0};

	for (const struct sub *sub = c->subs; sub; sub = sub->next)
		cursor_put_id(&sub->cursor, &id);
	if (!id.len)
		buf_putc(&id, '-');
	buf_puts(&c->out, "id: ");
	buf_span(&c->out, buf_as_span(&id));
	buf_putc(&c->out, '\n');
	buf_free(&id);
	c->moved = false;
}

/* The cursor stands behind the event. */
static void begin_event(struct client *c, struct entry *e, bool own_id)
{
	c->entry = entry_hold(e);
	c->at = own_id ? e->id_end : 0;
	c->end = c->as_record ? e->data_at : e->data_end;
	c->then_at = e->record_at;
	c->then_end = c->as_record ? e->record_end : e->record_at;
	if (c->unnamed) {
		c->end = e->id_end;
		c->then_at = c->as_record ? e->record_at : e->data_at;
		c->then_end = c->as_record ? e->record_end : e->data_end;
	}
	if (own_id)
		stream_put_id(c);
	c->moved = false;
	c->s->delivered++;
}

/* ---- what the ring has not ---- */

enum step {
	STEP_NONE, /* there is nothing to send at all */
	STEP_ON, /* something has moved: look again */
	STEP_READY, /* there is something to send */
};

/* The client lacks what is between its place and @first, NULL: what there is. It is asked for, or
 * the client is told of a gap. */
static enum step find(
	struct client *c, struct cursor *cursor, struct own *own, const struct place *first)
{
	if (replay_can(c->s, own->name) && !own->refused) {
		own->replay = replay_ask(c->s, cursor->topic->name, own->name, own->next, first);
		own->at = 0;
		c->replays++;
		return STEP_ON;
	}
	gap_in(c, cursor, own, *first);
	return STEP_READY;
}

/* It has come to an end: the client goes on in the ring, or asks once more. */
static void end_replay(struct client *c, struct own *own)
{
	struct replay *r = own->replay;

	own->refused = r->state == REPLAY_FAILED;
	if (r->to_end)
		own->to_end = own->refused || r->is_whole;
	else if (r->is_whole && place_compare(own->next, r->until) < 0)
		own->next = r->until;
	own->replay = NULL;
	c->replays--;
	replay_leave(c->s, r);
}

static enum step replay(struct client *c, struct cursor *cursor, struct own *own)
{
	struct replay *r = own->replay;

	while (own->at < r->count) {
		struct entry *e = r->entries[own->at];

		if (!own->at && r->lost && place_compare(own->next, e->place) < 0) {
			gap_in(c, cursor, own, e->place);
			return STEP_READY;
		}
		own->at++;
		if (place_compare(e->place, own->next) < 0)
			continue;
		own->next = place_after(e->place);
		if (c->where && !where_holds(c->where, e)) {
			c->moved = true;
			continue;
		}
		begin_event(c, e, true);
		return STEP_READY;
	}
	if (r->state == REPLAY_WAITS || r->state == REPLAY_RUNS_NOW)
		return STEP_NONE;
	end_replay(c, own);
	cursor->own->check = true;
	return STEP_ON;
}

/* One after the other. */
static enum step replays(struct client *c)
{
	for (struct sub *sub = c->subs; sub; sub = sub->next)
		for (size_t i = 0; sub->cursor.own && i < sub->cursor.own->count; i++)
			if (sub->cursor.own->at[i].replay)
				return replay(c, &sub->cursor, &sub->cursor.own->at[i]);
	return STEP_ON;
}

/* What a topic has dropped before the client had it, of parts that it may hold nothing of any more;
 * and parts of which it never had any. */
static enum step check(struct client *c, struct cursor *cursor)
{
	const struct topic *t = cursor->topic;

	cursor->own->check = false;
	for (size_t i = 0; i < t->part_count; i++)
		cursor_own(cursor, t->parts[i].name, &t->parts[i].origin);
	for (size_t i = 0; i < cursor->own->count; i++) {
		struct own *own = &cursor->own->at[i];
		const struct part *p = topic_part(t, own->name);
		enum step step = STEP_NONE;

		if (p && (own->anew || (p->anew && place_compare(own->next, p->next) > 0))) {
			gap_anew(c, cursor, own, p);
			step = STEP_READY;
		} else if (p && place_compare(own->next, p->first) < 0) {
			step = find(c, cursor, own, &p->first);
		} else if (!p && !own->to_end && replay_can(c->s, own->name)) {
			step = find(c, cursor, own, NULL);
		}
		if (step == STEP_NONE)
			continue;
		cursor->own->check = true;
		return step;
	}
	return STEP_NONE;
}

/* ---- what the ring has ---- */

/* A client is ahead of all that came since this process began. So it is after a restart, when a
 * window comes again; but if a record is younger than the client, its topic was made anew when
 * nobody was here to see it. */
static bool is_of_old_topic(const struct client *c, const struct own *own, const struct part *p)
{
	return own->name.kind == PART_KAFKA && place_compare(own->next, p->next) > 0 &&
		p->ts > c->since_ms + SKEW_MS && p->ts <= stream_wall_ms() + SKEW_MS;
}

/* Takes an event off the cursor. */
static enum step take(struct client *c, struct sub *sub, struct entry *e)
{
	struct cursor *cursor = &sub->cursor;
	struct topic *t = cursor->topic;
	const struct part *p = &t->parts[e->part];

	if (cursor->own) {
		struct own *own = cursor_own(cursor, p->name, &p->first);

		if (place_compare(own->next, p->first) < 0)
			return find(c, cursor, own, &p->first);
		if (place_compare(e->place, own->next) < 0) {
			own->anew = is_of_old_topic(c, own, p);
			cursor->own->check = cursor->own->check || own->anew;
			cursor->next = own->anew ? t->head : cursor->next + 1;
			return STEP_ON;
		}
		own->next = place_after(e->place);
	}
	cursor_step(cursor);
	if (c->where && !where_holds(c->where, e)) {
		c->moved = true;
		return STEP_ON;
	}
	begin_event(c, e, cursor->own || c->subs->next);
	return STEP_READY;
}

/* Whether a stray is where all others are. */
static void settle(struct cursor *cursor)
{
	const struct topic *t = cursor->topic;

	if (cursor->own->count != t->part_count)
		return;
	for (size_t i = 0; i < t->part_count; i++) {
		const struct own *own = cursor_own(cursor, t->parts[i].name, NULL);

		if (!own || place_compare(own->next, t->parts[i].next))
			return;
	}
	cursor_settle(cursor);
}

/* The oldest event of all topics. */
static enum step step(struct client *c)
{
	struct entry *e = NULL, *other;
	struct sub *from = NULL;
	enum step step;

	if (c->replays)
		return replays(c);
	for (struct sub *sub = c->subs; sub; sub = sub->next) {
		other = cursor_entry(&sub->cursor);
		if (sub->cursor.own && sub->cursor.own->check) {
			step = check(c, &sub->cursor);
			if (step != STEP_NONE)
				return step;
		}
		if (!other && sub->cursor.own)
			settle(&sub->cursor);
		if (!other || (e && e->seq < other->seq))
			continue;
		e = other;
		from = sub;
	}
	return e ? take(c, from, e) : STEP_NONE;
}

/* Makes the next thing to send. false: there is none. */
static bool next(struct client *c)
{
	enum step got;

	while ((got = step(c)) == STEP_ON)
		;
	return got == STEP_READY;
}

static size_t copy(char *to, size_t max, const char *text, size_t *at, size_t end)
{
	size_t n = end - *at < max ? end - *at : max;

	memcpy(to, text + *at, n);
	*at += n;
	return n;
}

size_t stream_fill(struct http_request *r, char *to, size_t max)
{
	struct client *c = r->user;
	size_t n = 0;

	while (n < max) {
		if (c->out_at < c->out.len) {
			n += copy(to + n, max - n, c->out.p, &c->out_at, c->out.len);
		} else if (c->at < c->end) {
			n += copy(to + n, max - n, c->entry->text, &c->at, c->end);
		} else if (c->then_at < c->then_end) {
			n += copy(to + n, max - n, c->entry->text, &c->then_at, c->then_end);
		} else {
			buf_clear(&c->out);
			c->out_at = 0;
			if (c->entry)
				entry_drop(c->entry);
			c->entry = NULL;
			if (c->leaves || !next(c))
				break;
		}
	}
	for (struct sub *sub = c->subs; sub; sub = sub->next)
		cursor_rest(&sub->cursor);
	c->idle = n == 0;
	c->fed_ms = c->s->now_ms;
	if (c->idle)
		buf_free(&c->out);
	if (!c->idle && c->subs &&
		c->subs->cursor.topic->tail - c->subs->cursor.next > c->s->ring.keep / 2)
		c->s->behind = true;
	return n;
}

bool stream_wants(struct client *c, struct cursor *cursor)
{
	struct entry *e;

	while ((e = cursor_entry(cursor)) && !where_holds(c->where, e)) {
		cursor_step(cursor);
		c->moved = true;
	}
	cursor_rest(cursor);
	return e;
}
