/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evsse/client.h"

#include "evsse/gap.h"
#include "evsse/replay.h"
#include "evsse/stream.h"

#include "base/mem.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_RESTART_MS = 2000 };

int64_t client_retry_ms(int64_t ms)
{
	return ms / 2 + random() % (ms + 1);
}

/* ---- topics ---- */

bool client_is_pattern(const char *name)
{
	return strpbrk(name, "*?[") != NULL;
}

/* A pattern does not speak of a name's slashes or of a dot at its beginning. */
bool client_names(const char *names, const char *topic)
{
	for (; *names; names += strlen(names) + 1)
		if (client_is_pattern(names) ? fnmatch(names, topic, 0) == 0
					     : strcmp(names, topic) == 0)
			return true;
	return false;
}

static bool wants(const struct client *c, const char *topic)
{
	return client_names(c->topics, topic) && (!c->allowed || client_names(c->allowed, topic));
}

static struct sub *find_sub(const struct client *c, const struct topic *t)
{
	for (struct sub *sub = c->subs; sub; sub = sub->next)
		if (sub->cursor.topic == t)
			return sub;
	return NULL;
}

static struct sub *add_sub(struct client *c, struct topic *t, uint64_t next)
{
	struct sub *sub = c->subs ? mem_alloc(sizeof(*sub)) : &c->first, **link = &c->subs;

	*sub = (struct sub){.cursor.user = c};
	cursor_open(&sub->cursor, t, next);
	while (*link)
		link = &(*link)->next;
	*link = sub;
	return sub;
}

void clients_see_topic(struct evsse *s, struct topic *t)
{
	for (struct client *c = s->clients; c; c = c->next)
		if (!find_sub(c, t) && wants(c, t->name.p))
			add_sub(c, t, 0);
}

/* ---- where it begins ---- */

static void resume(struct client *c, const char *id)
{
	struct span rest = {id, strlen(id)};
	struct buf topic = {0};
	struct part_name name;
	struct place place;

	while (position_next(&rest, &topic, &name, &place) == 1) {
		struct sub *sub;
		struct topic *t;

		buf_putc(&topic, '\0');
		topic.len--;
		if (strlen(topic.p) != topic.len || !wants(c, topic.p))
			continue;
		t = ring_topic(&c->s->ring, buf_as_span(&topic));
		sub = find_sub(c, t);
		if (!sub)
			sub = add_sub(c, t, t->head);
		place = place_after(place);
		if (name.kind == PART_COUNT && name.number != c->s->ring.run) {
			gap_of_run(c, t, place);
			continue;
		}
		cursor_stray(&sub->cursor);
		cursor_own(&sub->cursor, name, &place)->next = place;
	}
	buf_free(&topic);
}

static bool is_id(const char *id)
{
	struct span rest = {id, strlen(id)};
	struct buf topic = {0};
	struct part_name name;
	struct place place;
	int got;

	while ((got = position_next(&rest, &topic, &name, &place)) == 1)
		;
	buf_free(&topic);
	return got == 0;
}

struct beginning {
	struct client *c;
	bool resumed;
	uint64_t last;
};

/* Of a topic that an id does not name nothing had come by then: all of it is new. */
static void begin_topic(void *ctx, struct topic *t)
{
	struct beginning *b = ctx;
	struct sub *sub = find_sub(b->c, t);
	uint64_t count = t->tail - t->head;

	if (!sub && !wants(b->c, t->name.p))
		return;
	if (!sub && b->resumed) {
		sub = add_sub(b->c, t, t->head);
		cursor_stray(&sub->cursor);
	} else if (!sub) {
		add_sub(b->c, t, t->tail - (b->last < count ? b->last : count));
	}
	if (sub && sub->cursor.own)
		sub->cursor.own->check = true;
}

static void begin(struct client *c, const struct wish *w)
{
	bool resumes = w->last_id && is_id(w->last_id);
	struct beginning b = {c, resumes, w->last};

	for (const char *name = c->topics; *name; name += strlen(name) + 1)
		if (!client_is_pattern(name) && wants(c, name))
			ring_topic(&c->s->ring, (struct span){name, strlen(name)});
	if (resumes)
		resume(c, w->last_id);
	ring_each_topic(&c->s->ring, begin_topic, &b);
	if (w->last_id && !resumes)
		gap_of_id(c, w->last_id);
}

/* ---- opening and closing ---- */

static void leave_replays(struct evsse *s, const struct own_places *own)
{
	for (size_t i = 0; own && i < own->count; i++)
		if (own->at[i].replay)
			replay_leave(s, own->at[i].replay);
}

static void on_done(struct http_request *r, bool whole)
{
	struct client *c = r->user;
	struct evsse *s = c->s;
	struct sub *next;

	(void)whole;
	for (struct sub *sub = c->subs; sub; sub = next) {
		struct topic *t = sub->cursor.topic;

		next = sub->next;
		leave_replays(s, sub->cursor.own);
		cursor_close(&sub->cursor);
		ring_drop_topic(&s->ring, t);
		if (sub != &c->first)
			free(sub);
	}
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	s->client_count--;
	if (c->entry)
		entry_drop(c->entry);
	where_drop(c->where);
	buf_free(&c->out);
	free(c->topics);
	free(c->allowed);
	free(c);
}

void client_open(struct evsse *s, struct http_request *r, const struct wish *w)
{
	struct client *c = mem_alloc(sizeof(*c));

	*c = (struct client){.s = s,
		.r = r,
		.topics = w->topics,
		.allowed = w->allowed,
		.where = w->where,
		.as_record = w->as_record,
		.unnamed = w->unnamed,
		.since_ms = stream_wall_ms(),
		.fed_ms = s->now_ms,
		.next = s->clients,
		.link = &s->clients};
	if (c->next)
		c->next->link = &c->next;
	s->clients = c;
	s->client_count++;
	r->user = c;
	r->done = on_done;
	buf_printf(&c->out, "retry: %" PRId64 "\n", client_retry_ms(s->retry_ms));
	begin(c, w);
	stream_put_id(c);
	buf_puts(&c->out, "\n");
	http_stream_direct(r, 200, "text/event-stream", stream_fill);
}

/* ---- all of them ---- */

void client_wake(struct cursor *cursor)
{
	struct client *c = cursor->user;

	if (!c->idle)
		return;
	/* Nobody is woken for what it does not want. */
	if (c->where && !cursor->own && !stream_wants(c, cursor))
		return;
	http_wake(c->r);
}

int clients_tick_ms(const struct evsse *s)
{
	if (!s->clients)
		return -1;
	return s->sweep_ms > s->now_ms ? (int)(s->sweep_ms - s->now_ms) : 0;
}

void clients_wake_replayed(struct evsse *s, const struct replay *r)
{
	(void)r;
	for (struct client *c = s->clients; c; c = c->next)
		if (c->replays && c->idle)
			http_wake(c->r);
}

void clients_tick(struct evsse *s)
{
	int64_t every_ms = s->heartbeat_ms / 8 < 1000 ? s->heartbeat_ms / 8 : 1000;
	struct client *next;

	if (!s->clients || s->now_ms < s->sweep_ms)
		return;
	s->sweep_ms = s->now_ms + every_ms + 1;
	for (struct client *c = s->clients; c; c = next) {
		next = c->next;
		if (!c->idle && s->now_ms - c->fed_ms >= s->stuck_ms) {
			http_cut(c->r);
		} else if (c->idle && s->now_ms - c->fed_ms >= s->heartbeat_ms - every_ms) {
			buf_puts(&c->out, ":\n");
			if (c->moved)
				stream_put_id(c);
			buf_puts(&c->out, "\n");
			http_wake(c->r);
		}
	}
}

void clients_leave(struct evsse *s)
{
	for (struct client *c = s->clients; c; c = c->next) {
		if (!c->idle || c->leaves)
			continue;
		c->leaves = true;
		buf_printf(&c->out, "retry: %" PRId64 "\n", client_retry_ms(RETRY_RESTART_MS));
		if (c->moved)
			stream_put_id(c);
		buf_puts(&c->out, "\n");
		http_end(c->r);
	}
}
