/* SPDX-License-Identifier: ISC */
/* Positions in a cluster are read: all of a partition at its assignment; those of the slots that
 * another server has, or that has been away; and, each second, the one that each server wrote last,
 * since a server that loses anything loses its tail. */
#include "rapply/spots.h"

#include "base/mem.h"
#include "base/msg.h"
#include "rapply/rapply.h"
#include "redis/request.h"

#include <inttypes.h>

enum {
	ADVANCED = 500, /* positions that are brought forward in a second */
	CHECKED = 64, /* slots whose positions are read in a second, whatever was written last */
};

/* ---- which ones ---- */

static void put_look(struct rapply *s, struct place *p, int slot)
{
	struct spots *sp = s->spots;

	if (sp->looks_count == sp->looks_cap) {
		sp->looks_cap = sp->looks_cap ? 2 * sp->looks_cap : 256;
		sp->looks = mem_realloc(sp->looks, sp->looks_cap * sizeof(*sp->looks));
	}
	sp->looks[sp->looks_count++] = (struct look){p, slot};
}

static void put_all(struct rapply *s, struct place *p)
{
	p->all_due = true;
	put_look(s, p, -1);
	for (int slot = 0; slot < SLOT_COUNT; slot++)
		put_look(s, p, slot);
}

/* The last ones that each server wrote. */
static void mark_last(struct rapply *s)
{
	struct spot *last[CLUSTER_NODES_MAX] = {NULL};

	for (size_t n = 0; n < s->places.count; n++)
		for (int slot = 0; s->places.p[n]->spots && slot < SLOT_COUNT; slot++) {
			struct spot *spot = s->places.p[n]->spots[slot];
			unsigned owner = redis_owner_index(s->spots->owners[slot]);

			if (spot && spot->known &&
				(!last[owner] || spot->written > last[owner]->written))
				last[owner] = spot;
		}
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (last[i])
			last[i]->due = true;
}

/* A few of all: a key may be deleted by hand. */
static void mark_some(struct rapply *s)
{
	unsigned *slot = &s->spots->checked;

	for (int n = 0; n < CHECKED; n++) {
		*slot = (*slot + 1) % SLOT_COUNT;
		for (size_t i = 0; i < s->places.count; i++) {
			struct place *p = s->places.p[i];

			if (p->spots && p->spots[*slot] && p->spots[*slot]->known)
				p->spots[*slot]->due = true;
		}
	}
}

void looks_suspect(struct rapply *s, int slot)
{
	uint64_t owner = s->spots->owners[slot];

	s->look_due = true;
	for (size_t n = 0; n < s->places.count; n++) {
		struct place *p = s->places.p[n];

		p->list_due |= s->spots->owners[p->home] == owner;
		for (int i = 0; p->spots && i < SLOT_COUNT; i++)
			if (p->spots[i] && p->spots[i]->known && s->spots->owners[i] == owner)
				p->spots[i]->due = true;
	}
}

/* Those of slots that have another server now, or one that was away. */
static void mark_moved(struct rapply *s)
{
	for (int slot = 0; slot < SLOT_COUNT; slot++) {
		uint64_t owner = redis_owner(&s->redis, (unsigned)slot);

		if (owner == s->spots->owners[slot])
			continue;
		s->spots->owners[slot] = owner;
		for (size_t n = 0; n < s->places.count; n++) {
			struct place *p = s->places.p[n];

			if (p->spots && p->spots[slot] && p->spots[slot]->known)
				p->spots[slot]->due = true;
			if (p->home == slot)
				p->list_due = true;
		}
	}
}

static void put_due(struct rapply *s, struct place *p)
{
	if (!p->known || p->asked) {
		put_all(s, p);
		return;
	}
	if (p->list_due)
		put_look(s, p, -1);
	for (int slot = 0; p->spots && slot < SLOT_COUNT; slot++)
		if (p->spots[slot] && p->spots[slot]->due)
			put_look(s, p, slot);
}

bool looks_send(struct rapply *s)
{
	struct spots *sp = s->spots;
	bool is_time = s->now_ms - s->look_ms >= LOOK_MS;

	if (!s->places.count || (!s->look_due && !is_time))
		return false;
	mark_moved(s);
	if (is_time) {
		mark_last(s);
		mark_some(s);
	}
	s->look_due = false;
	if (is_time)
		s->look_ms = s->now_ms;
	sp->looks_count = 0;
	for (size_t n = 0; n < s->places.count; n++)
		put_due(s, s->places.p[n]);
	if (is_time)
		looks_advance(s, ADVANCED);
	for (size_t i = 0; i < sp->looks_count; i++) {
		struct look *l = &sp->looks[i];
		struct span key =
			l->slot < 0 ? spots_list_key(s, l->place) : spots_key(s, l->place, l->slot);
		struct buf *out = redis_begin(&s->redis, key);

		request_begin(out, 2, "GET");
		request_word(out, key);
		redis_commit(&s->redis, TAG_LOOK + i);
	}
	sp->round = ROUND_LOOK;
	sp->out = sp->looks_count;
	return sp->out;
}

/* ---- what they are ---- */

static bool has_bit(const struct place *p, int slot)
{
	size_t byte = (size_t)slot / 8;

	return byte < p->list.len && (unsigned char)p->list.p[byte] >> (7 - slot % 8) & 1;
}

void looks_take(struct rapply *s, size_t i, struct span text)
{
	struct look *l = &s->spots->looks[i];

	if (l->slot >= 0) {
		if (text.p || (l->place->spots && l->place->spots[l->slot]))
			spots_found(s, spots_at(s, l->place, l->slot), text);
		return;
	}
	buf_clear(&l->place->list);
	buf_span(&l->place->list, text);
	l->place->has_list = text.p;
	l->place->list_due = false;
	l->place->list_new = true;
}

/* The list of slots has come. */
static void compare_list(struct place *p)
{
	for (int slot = 0; p->spots && slot < SLOT_COUNT; slot++)
		if (p->spots[slot])
			p->spots[slot]->used = has_bit(p, slot);
	p->list_new = false;
}

/* A slot in use without a position has lost it; so may have any, where there is no list, or one
 * that was begun anew without a position beside it. */
static int64_t lowest(const struct place *p, bool *lost, int64_t *ts)
{
	const struct spot *home = p->spots ? p->spots[p->home] : NULL;
	int64_t least = INT64_MAX;
	bool any = p->has_list;

	for (int slot = 0; slot < SLOT_COUNT; slot++) {
		const struct spot *spot = p->spots ? p->spots[slot] : NULL;

		if (spot && spot->known) {
			any = true;
			if (spot->applied >= least)
				continue;
			least = spot->applied;
			*ts = spot->applied_ts;
		} else if (has_bit(p, slot)) {
			*lost = true;
		}
	}
	*lost |= any && !(p->has_list && home && home->known);
	return *lost || least == INT64_MAX ? -1 : least;
}

static void on_all(struct place *p)
{
	bool lost = false;
	int64_t ts = -1, least = lowest(p, &lost, &ts);

	if (!p->known) {
		p->known = true;
		p->applied = least;
		p->applied_ts = ts;
		p->is_new = least < 0 && !lost && spots_top(p) < 0;
		if (lost && p->assigned)
			msg_warn(
				"%s: redis has lost the positions of some slots; beginning at offset %" PRId64,
				places_name(p), p->low);
	} else if (lost && p->lost == PLACE_LOST_NONE) {
		p->lost = -1;
	}
}

/* Slots in use whose positions are lost: looks_advance writes them again. */
static void make_lost(struct rapply *s, struct place *p)
{
	for (int slot = 0; slot < SLOT_COUNT; slot++)
		if (has_bit(p, slot))
			spots_at(s, p, slot)->used = true;
}

void looks_end(struct rapply *s)
{
	for (size_t n = 0; n < s->places.count; n++) {
		struct place *p = s->places.p[n];

		if (p->list_new)
			compare_list(p);
		if (p->all_due) {
			on_all(p);
			make_lost(s, p);
		}
	}
}

/* ---- positions that lag ---- */

/* One that redis has lost gets a position again, or each start would begin at the beginning; the
 * list may have lost it. */
static bool is_behind(const struct place *p, const struct spot *spot)
{
	return spot->known ? spot->applied < p->applied || !spot->used : has_bit(p, spot->slot);
}

bool looks_advance(struct rapply *s, size_t count)
{
	struct spots *sp = s->spots;
	size_t found = 0;

	for (int tried = 0; tried < SLOT_COUNT && found < count; tried++) {
		sp->turn = (sp->turn + 1) % SLOT_COUNT;
		for (size_t n = 0; n < s->places.count; n++) {
			struct place *p = s->places.p[n];
			struct spot *spot = p->spots ? p->spots[sp->turn] : NULL;

			if (!spot || p->backs || !is_behind(p, spot))
				continue;
			spots_touch(s, spot);
			found++;
		}
	}
	return found > 0;
}
