/* SPDX-License-Identifier: ISC */
#include "evsse/stream.h"

#include "evsse/gap.h"

#include <string.h>

enum { OUT_KEEP = 256 }; /* bytes that an idle client may keep for what is written for it */

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
	if (own_id)
		stream_put_id(c);
	c->moved = false;
	c->s->delivered++;
}

/* Takes an event off the cursor. Returns whether there is something to send now. */
static bool take(struct client *c, struct sub *sub, struct entry *e)
{
	struct cursor *cursor = &sub->cursor;
	struct topic *t = cursor->topic;
	const struct part *p = &t->parts[e->part];

	if (cursor->own) {
		struct own *own = cursor_own(cursor, p->name, &p->first);

		if (place_compare(own->next, p->first) < 0)
			return gap_in(c, cursor, own, p);
		if (place_compare(e->place, own->next) < 0) {
			cursor->next++;
			return false;
		}
		own->next = place_after(e->place);
	}
	cursor_move(cursor, cursor->next + 1);
	if (c->where && !where_holds(c->where, e)) {
		c->moved = true;
		return false;
	}
	begin_event(c, e, cursor->own || c->subs->next);
	return true;
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

/* What a topic has dropped before the client had it, of parts that it may hold nothing of any more. */
static bool find_gap(struct client *c, struct cursor *cursor)
{
	const struct topic *t = cursor->topic;

	for (size_t i = 0; i < t->part_count; i++) {
		const struct part *p = &t->parts[i];
		struct own *own = cursor_own(cursor, p->name, &p->origin);

		if (p->anew && place_compare(own->next, p->next) > 0)
			return gap_anew(c, cursor, own, p);
		if (place_compare(own->next, p->first) < 0)
			return gap_in(c, cursor, own, p);
	}
	cursor->own->check = false;
	return false;
}

/* Makes the next thing to send. false: there is none. */
static bool next(struct client *c)
{
	for (;;) {
		struct entry *e = NULL, *other;
		struct sub *from = NULL;

		for (struct sub *sub = c->subs; sub; sub = sub->next) {
			other = cursor_entry(&sub->cursor);
			if (sub->cursor.own && sub->cursor.own->check && find_gap(c, &sub->cursor))
				return true;
			if (!other && sub->cursor.own)
				settle(&sub->cursor);
			if (!other || (e && e->seq < other->seq))
				continue;
			e = other;
			from = sub;
		}
		if (!e)
			return false;
		if (take(c, from, e))
			return true;
	}
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
	c->idle = n == 0;
	c->fed_ms = c->s->now_ms;
	if (c->idle && c->out.cap > OUT_KEEP)
		buf_free(&c->out);
	if (!c->idle && c->subs &&
		c->subs->cursor.topic->tail - c->subs->cursor.next > c->s->ring.keep / 2)
		c->s->behind = true;
	return n;
}

bool stream_wants(struct client *c, struct cursor *cursor)
{
	struct entry *e;

	while ((e = cursor_entry(cursor))) {
		if (where_holds(c->where, e))
			return true;
		cursor_move(cursor, cursor->next + 1);
		c->moved = true;
	}
	return false;
}
