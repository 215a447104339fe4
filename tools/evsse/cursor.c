/* SPDX-License-Identifier: ISC */
#include "evsse/ring.h"

#include "base/mem.h"

#include <stdlib.h>

static void put_into(struct cursor **list, struct cursor *c)
{
	c->link = list;
	c->beside = *list;
	if (c->beside)
		c->beside->link = &c->beside;
	*list = c;
}

static void take_out(struct cursor *c)
{
	if (!c->link)
		return;
	*c->link = c->beside;
	if (c->beside)
		c->beside->link = c->link;
	c->link = NULL;
}

static void wait_at(struct cursor *c, uint64_t next)
{
	struct topic *t = c->topic;

	c->next = next;
	put_into(&t->slots[next & (t->cap - 1)].waiting, c);
}

void cursor_open(struct cursor *c, struct topic *t, uint64_t next)
{
	c->topic = t;
	c->own = NULL;
	t->cursors++;
	wait_at(c, next < t->head ? t->head : next);
}

void cursor_close(struct cursor *c)
{
	take_out(c);
	c->topic->cursors--;
	free(c->own);
	c->own = NULL;
}

void cursor_step(struct cursor *c)
{
	if (!c->own)
		take_out(c);
	c->next++;
}

void cursor_rest(struct cursor *c)
{
	if (!c->link)
		wait_at(c, c->next);
}

void cursor_stray(struct cursor *c)
{
	if (c->own)
		return;
	take_out(c);
	put_into(&c->topic->strays, c);
	c->own = mem_alloc(sizeof(*c->own));
	*c->own = (struct own_places){0};
}

void cursor_settle(struct cursor *c)
{
	take_out(c);
	free(c->own);
	c->own = NULL;
	wait_at(c, c->next);
}

struct own *cursor_own(struct cursor *c, struct part_name name, const struct place *next)
{
	struct own_places *own = c->own;

	for (size_t i = 0; i < own->count; i++)
		if (part_is(own->at[i].name, name))
			return &own->at[i];
	if (!next)
		return NULL;
	if (own->count == own->cap) {
		own->cap = own->cap ? own->cap * 2 : 2;
		own = mem_realloc(own, sizeof(*own) + own->cap * sizeof(own->at[0]));
		c->own = own;
	}
	own->at[own->count] = (struct own){.name = name, .next = *next};
	return &own->at[own->count++];
}

/* ---- ids ---- */

static void put_part(struct buf *id, const struct topic *t, bool *begun, struct part_name name,
	struct place next)
{
	if (place_is_first(next))
		return;
	if (id->len)
		buf_putc(id, ',');
	if (!*begun) {
		position_put_topic(id, t->name);
		buf_putc(id, '/');
	}
	*begun = true;
	position_put_name(id, name);
	buf_putc(id, '=');
	position_put_place(id, name.kind, place_before(next));
}

void cursor_put_id(const struct cursor *c, struct buf *id)
{
	const struct topic *t = c->topic;
	bool begun = false;

	if (c->own) {
		for (size_t i = 0; i < c->own->count; i++)
			put_part(id, t, &begun, c->own->at[i].name, c->own->at[i].next);
		return;
	}
	if (c->next > t->head) {
		const struct entry *e = t->slots[(c->next - 1) & (t->cap - 1)].entry;

		if (id->len)
			buf_putc(id, ',');
		buf_put(id, e->text + 4, e->id_end - 5);
		return;
	}
	for (size_t i = 0; i < t->part_count; i++)
		put_part(id, t, &begun, t->parts[i].name, t->parts[i].first);
}
