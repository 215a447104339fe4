/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evsse/ring.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void ring_open(struct ring *r, size_t keep, size_t max_bytes)
{
	*r = (struct ring){.keep = keep, .max_bytes = max_bytes, .table_size = 64, .count = 1};
	r->table = mem_alloc(r->table_size * sizeof(struct topic *));
	memset(r->table, 0, r->table_size * sizeof(struct topic *));
	if (getrandom(&r->run, sizeof(r->run), 0) != sizeof(r->run))
		r->run = (uint32_t)(uintptr_t)r->table;
}

/* ---- topics ---- */

static size_t hash(struct span name)
{
	size_t h = 5381;

	for (size_t i = 0; i < name.len; i++)
		h = h * 33 ^ (unsigned char)name.p[i];
	return h ^ h >> 15;
}

static struct topic **place_of(const struct ring *r, struct span name)
{
	struct topic **link = &r->table[hash(name) & (r->table_size - 1)];

	while (*link &&
		!((*link)->name.len == name.len && memcmp((*link)->name.p, name.p, name.len) == 0))
		link = &(*link)->next;
	return link;
}

static void grow_table(struct ring *r)
{
	struct topic **old = r->table;
	size_t n = r->table_size;

	r->table_size *= 2;
	r->table = mem_alloc(r->table_size * sizeof(struct topic *));
	memset(r->table, 0, r->table_size * sizeof(struct topic *));
	for (size_t i = 0; i < n; i++)
		for (struct topic *t = old[i], *next; t; t = next) {
			struct topic **link = &r->table[hash(t->name) & (r->table_size - 1)];

			next = t->next;
			t->next = *link;
			*link = t;
		}
	free(old);
}

struct topic *ring_find(const struct ring *r, struct span name)
{
	return *place_of(r, name);
}

struct topic *ring_topic(struct ring *r, struct span name)
{
	struct topic **link = place_of(r, name), *t = *link;

	if (t)
		return t;
	t = mem_alloc(sizeof(*t));
	*t = (struct topic){.name = {span_text(name), name.len}, .cap = 1};
	t->slots = mem_alloc(sizeof(*t->slots));
	t->slots[0] = (struct slot){0};
	*link = t;
	if (++r->topic_count > r->table_size)
		grow_table(r);
	return t;
}

static void free_topic(struct topic *t)
{
	buf_free(&t->id);
	free(t->slots);
	free(t->parts);
	free((void *)(uintptr_t)t->name.p);
	free(t);
}

void ring_drop_topic(struct ring *r, struct topic *t)
{
	struct topic **link;

	if (t->cursors || t->head < t->tail || t->part_count || t->is_fresh)
		return;
	link = place_of(r, t->name);
	*link = t->next;
	r->topic_count--;
	free_topic(t);
}

void ring_each_topic(const struct ring *r, void (*each)(void *ctx, struct topic *t), void *ctx)
{
	for (size_t i = 0; i < r->table_size; i++)
		for (struct topic *t = r->table[i]; t; t = t->next)
			each(ctx, t);
}

struct part *topic_part(const struct topic *t, struct part_name name)
{
	for (size_t i = 0; i < t->part_count; i++)
		if (part_is(t->parts[i].name, name))
			return &t->parts[i];
	return NULL;
}

static struct part *add_part(struct topic *t, struct part_name name, struct place place)
{
	t->parts = mem_realloc(t->parts, (t->part_count + 1) * sizeof(*t->parts));
	t->parts[t->part_count] = (struct part){
		.name = name, .origin = place, .first = place, .next = place, .ts = -1};
	return &t->parts[t->part_count++];
}

/* ---- dropping ---- */

void entry_drop(struct entry *e)
{
	if (--e->refs == 0)
		free(e);
}

static struct slot *slot(const struct topic *t, uint64_t i)
{
	return &t->slots[i & (t->cap - 1)];
}

/* Those for whom it was the next keep their positions themselves from now on. */
static void part_from_cursors(struct topic *t, struct slot *s)
{
	while (s->waiting) {
		struct cursor *c = s->waiting;

		cursor_stray(c);
		c->own->check = true;
		for (size_t i = 0; i < t->part_count; i++)
			cursor_own(c, t->parts[i].name, &t->parts[i].first);
	}
}

static size_t entry_bytes(const struct entry *e)
{
	return sizeof(*e) + e->record_end + BUF_SLACK;
}

static void drop_oldest(struct ring *r, struct topic *t)
{
	struct slot *s = slot(t, t->head);
	struct entry *e = s->entry;

	part_from_cursors(t, s);
	t->parts[e->part].first = place_after(e->place);
	t->head++;
	s->entry = NULL;
	*(e->older ? &e->older->newer : &r->oldest) = e->newer;
	*(e->newer ? &e->newer->older : &r->newest) = e->older;
	r->bytes -= entry_bytes(e);
	r->entries--;
	entry_drop(e);
}

static void make_room(struct ring *r, struct topic *t, size_t bytes)
{
	while (t->tail - t->head >= r->keep)
		drop_oldest(r, t);
	while (r->oldest && r->bytes + bytes > r->max_bytes)
		drop_oldest(r, r->oldest->topic);
}

/* ---- putting in ---- */

bool entry_carries(struct span payload)
{
	return payload.p && !memchr(payload.p, '\r', payload.len) && json_utf8(payload);
}

static char *put(char *to, const char *p, size_t n)
{
	if (n)
		memcpy(to, p, n);
	return to + n;
}

/* "data: " before each line, and a blank line behind. */
static char *put_lines(char *to, struct span payload)
{
	const char *lf;

	while ((lf = payload.len ? memchr(payload.p, '\n', payload.len) : NULL)) {
		size_t n = (size_t)(lf - payload.p) + 1;

		to = put(put(to, "data: ", 6), payload.p, n);
		payload.p += n;
		payload.len -= n;
	}
	to = put(put(to, "data: ", 6), payload.p, payload.len);
	return put(to, "\n\n", 2);
}

/* A record is one line; CR can stand in it only as white space. */
static char *put_record(char *to, struct span line)
{
	to = put(to, "data: ", 6);
	for (char *at = put(to, line.p, line.len); to < at; to++)
		if (*to == '\r')
			*to = ' ';
	return put(to, "\n\n", 2);
}

/* A name stands in one line. */
static void put_name(struct buf *b, struct span topic)
{
	static const char digits[] = "0123456789ABCDEF";
	bool is_text = json_utf8(topic);

	for (size_t i = 0; i < topic.len; i++) {
		unsigned char c = (unsigned char)topic.p[i];

		if (c >= 0x20 && c != 0x7f && (is_text || c < 0x80)) {
			buf_putc(b, (char)c);
			continue;
		}
		buf_putc(b, '%');
		buf_putc(b, digits[c >> 4]);
		buf_putc(b, digits[c & 15]);
	}
}

static size_t count_lines(struct span s)
{
	size_t n = 1;

	for (const char *p = s.p, *end = s.p + s.len;
		s.len && (p = memchr(p, '\n', (size_t)(end - p))); p++)
		n++;
	return n;
}

struct entry *entry_make(struct span id, struct span topic, struct span payload, struct span line)
{
	static struct buf name;
	size_t data = payload.p ? payload.len + 6 * count_lines(payload) + 2 : 0;
	size_t most, at;
	struct entry *e;
	char *to;

	buf_clear(&name);
	put_name(&name, topic);
	most = id.len + 5 + name.len + 8 + data + line.len + 8;
	e = mem_alloc(sizeof(*e) + most + BUF_SLACK);
	*e = (struct entry){.refs = 1};
	to = put(put(put(e->text, "id: ", 4), id.p, id.len), "\n", 1);
	e->id_end = (size_t)(to - e->text);
	to = put(put(put(to, "event: ", 7), name.p, name.len), "\n", 1);
	e->data_at = (size_t)(to - e->text);
	if (payload.p)
		to = put_lines(to, payload);
	at = (size_t)(to - e->text);
	to = put_record(to, line);
	e->record_at = at;
	e->record_end = (size_t)(to - e->text);
	e->data_end = payload.p ? at : e->record_end;
	return e;
}

static void grow_slots(struct topic *t)
{
	struct slot *old = t->slots;
	uint64_t cap = t->cap;

	t->cap *= 2;
	t->slots = mem_alloc(t->cap * sizeof(*t->slots));
	memset(t->slots, 0, t->cap * sizeof(*t->slots));
	for (uint64_t i = t->head; i <= t->tail; i++) {
		struct slot *s = slot(t, i);

		*s = old[i & (cap - 1)];
		if (s->waiting)
			s->waiting->link = &s->waiting;
	}
	free(old);
}

static void put_id(struct topic *t)
{
	buf_clear(&t->id);
	for (size_t i = 0; i < t->part_count; i++) {
		const struct part *p = &t->parts[i];

		if (!i) {
			position_put_topic(&t->id, t->name);
			buf_putc(&t->id, '/');
		} else {
			buf_putc(&t->id, ',');
		}
		position_put_name(&t->id, p->name);
		buf_putc(&t->id, '=');
		position_put_place(&t->id, p->name.kind, place_before(p->next));
	}
}

struct place ring_count(struct ring *r, struct part_name *name)
{
	*name = (struct part_name){PART_COUNT, r->run};
	return (struct place){0, r->count++};
}

/* The part is not what it was. Its old events would stand in front of lower places. */
static void begin_anew(struct ring *r, struct topic *t, struct part *p, struct place place)
{
	while (t->head < t->tail)
		drop_oldest(r, t);
	p->anew = true;
	p->origin = p->first = place;
	for (struct cursor *c = t->strays; c; c = c->beside) {
		c->own->check = true;
		cursor_own(c, p->name, &place)->anew = true;
	}
}

static void mark_fresh(struct ring *r, struct topic *t)
{
	if (t->is_fresh)
		return;
	t->is_fresh = true;
	t->fresh = t->tail;
	t->next_fresh = r->fresh;
	r->fresh = t;
}

enum ring_put ring_put(struct ring *r, struct topic *t, struct part_name name, struct place place,
	struct span payload, struct span line, int64_t ts)
{
	struct part *p = topic_part(t, name);
	struct entry *e;

	if (!p)
		p = add_part(t, name, place);
	if (place_compare(place, p->next) < 0) {
		if (ts <= p->ts) {
			r->repeated++;
			return RING_REPEATED;
		}
		begin_anew(r, t, p, place);
	}
	p->next = place_after(place);
	if (ts > p->ts)
		p->ts = ts;
	put_id(t);
	e = entry_make(buf_as_span(&t->id), t->name, payload, line);
	make_room(r, t, entry_bytes(e));
	if (t->tail - t->head + 1 == t->cap)
		grow_slots(t);
	mark_fresh(r, t);
	e->topic = t;
	e->seq = r->seq++;
	e->place = place;
	e->part = (unsigned)(p - t->parts);
	e->older = r->newest;
	*(r->newest ? &r->newest->newer : &r->oldest) = e;
	r->newest = e;
	r->bytes += entry_bytes(e);
	r->entries++;
	slot(t, t->tail++)->entry = e;
	slot(t, t->tail)->entry = NULL;
	return RING_PUT;
}

void ring_tell(struct ring *r, void (*wake)(struct cursor *c))
{
	while (r->fresh) {
		struct topic *t = r->fresh;
		uint64_t i = t->fresh > t->head ? t->fresh : t->head;

		r->fresh = t->next_fresh;
		t->is_fresh = false;
		for (; i < t->tail; i++)
			for (struct cursor *c = slot(t, i)->waiting, *next; c; c = next) {
				next = c->beside;
				wake(c);
			}
		for (struct cursor *c = t->strays, *next; c; c = next) {
			next = c->beside;
			wake(c);
		}
	}
}

void ring_close(struct ring *r)
{
	while (r->oldest)
		drop_oldest(r, r->oldest->topic);
	for (size_t i = 0; i < r->table_size; i++)
		for (struct topic *t = r->table[i], *next; t; t = next) {
			next = t->next;
			free_topic(t);
		}
	free(r->table);
}
