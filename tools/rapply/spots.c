/* SPDX-License-Identifier: ISC */
/* The table of positions in a cluster. */
#include "rapply/spots.h"

#include "base/mem.h"
#include "base/msg.h"
#include "rapply/rapply.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The least number that is of the slot, for each. */
static void make_tags(struct spots *sp)
{
	char text[SPOT_TAG];
	unsigned left = SLOT_COUNT;

	sp->tags = mem_alloc(SLOT_COUNT * sizeof(*sp->tags));
	memset(sp->tags, 0, SLOT_COUNT * sizeof(*sp->tags));
	for (unsigned n = 0; left; n++) {
		size_t len = (size_t)snprintf(text, sizeof(text), "%u", n);
		unsigned slot = slot_of((struct span){text, len});

		if (sp->tags[slot][0])
			continue;
		memcpy(sp->tags[slot], text, len + 1);
		left--;
	}
}

void spots_open(struct rapply *s)
{
	if (s->position && strchr(s->position, '{'))
		die(EXIT_PERM,
			"--position '%s' has a '{': in a cluster rapply itself chooses the slots of the positions",
			s->position);
	s->spots = mem_alloc(sizeof(*s->spots));
	memset(s->spots, 0, sizeof(*s->spots));
	make_tags(s->spots);
}

static void free_table(struct spot **table)
{
	for (int i = 0; table && i < SLOT_COUNT; i++)
		free(table[i]);
}

void spots_free(struct rapply *s)
{
	struct spots *sp = s->spots;

	if (!sp)
		return;
	for (size_t i = 0; i < s->places.count; i++) {
		free_table(s->places.p[i]->spots);
		free(s->places.p[i]->spots);
	}
	free_table(sp->bare);
	free(sp->tags);
	free(sp->touched);
	free(sp->sent);
	free(sp->looks);
	keys_free(&sp->keys);
	buf_free(&sp->key);
	free(sp);
}

struct spot *spots_at(struct rapply *s, struct place *p, int slot)
{
	struct spot **table = s->spots->bare;

	if (p && !p->spots) {
		p->spots = mem_alloc(SLOT_COUNT * sizeof(*p->spots));
		memset(p->spots, 0, SLOT_COUNT * sizeof(*p->spots));
	}
	if (p)
		table = p->spots;
	if (!table[slot]) {
		table[slot] = mem_alloc(sizeof(*table[slot]));
		*table[slot] = (struct spot){.place = p,
			.slot = slot,
			.applied = -1,
			.next = -1,
			.flight = -1,
			.applied_ts = -1};
	}
	return table[slot];
}

/* The tag stands in front: a topic of another source than Kafka may hold a '{'. */
struct span spots_key(struct rapply *s, const struct place *p, int slot)
{
	struct buf *key = &s->spots->key;

	buf_clear(key);
	if (p)
		buf_puts(key, s->position);
	buf_puts(key, p ? ":{" : "{");
	buf_puts(key, s->spots->tags[slot]);
	buf_puts(key, "}");
	if (p) {
		buf_putc(key, ':');
		buf_puts(key, p->topic);
		buf_putc(key, ':');
		buf_int(key, p->partition);
	}
	return buf_as_span(key);
}

struct span spots_list_key(struct rapply *s, const struct place *p)
{
	struct buf *key = &s->spots->key;

	buf_clear(key);
	buf_puts(key, s->position);
	buf_puts(key, ":slots:");
	buf_puts(key, p->topic);
	buf_putc(key, ':');
	buf_int(key, p->partition);
	return buf_as_span(key);
}

int spots_home(struct rapply *s, const struct place *p)
{
	return p ? (int)slot_of(spots_list_key(s, p)) : 0;
}

void spots_touch(struct rapply *s, struct spot *spot)
{
	struct spots *sp = s->spots;

	if (spot->touched)
		return;
	if (sp->touched_count == sp->touched_cap) {
		sp->touched_cap = sp->touched_cap ? 2 * sp->touched_cap : 64;
		sp->touched = mem_realloc(sp->touched, sp->touched_cap * sizeof(struct spot *));
	}
	sp->touched[sp->touched_count++] = spot;
	spot->touched = true;
	spot->records = 0;
	spot->words = spot->keys = 0;
}

static void touch_home(struct rapply *s, struct place *p)
{
	struct spot *home = spots_at(s, p, p->home);

	if (!home->known || !home->used)
		spots_touch(s, home);
	else
		p->adopts = false;
}

/* In the slot of the list there is a position before there is a list. When the server of that slot
 * has lost both, and others write the list anew, from which the slots of that server are missing,
 * this position still says how far all of them are: without it a start would take the others'
 * positions for those of all. It also is the group's position, where that was taken over. */
void spots_touch_homes(struct rapply *s)
{
	for (size_t i = 0; i < s->places.count; i++)
		if (s->places.p[i]->adopts)
			touch_home(s, s->places.p[i]);
	for (size_t i = 0, count = s->spots->touched_count; i < count; i++) {
		struct spot *spot = s->spots->touched[i];

		if (spot->place && (!spot->known || !spot->used))
			touch_home(s, spot->place);
	}
}

int64_t spots_top(const struct place *p)
{
	int64_t top = p->applied;

	for (int i = 0; p->spots && i < SLOT_COUNT; i++)
		if (p->spots[i] && p->spots[i]->known && p->spots[i]->applied > top)
			top = p->spots[i]->applied;
	return top;
}

void spots_found(struct rapply *s, struct spot *spot, struct span text)
{
	struct place *p = spot->place;
	bool was_known = spot->known;
	int64_t has = -1, ts = -1, had = spot->applied;

	if (text.p)
		places_read(s, p, text, &has, &ts);
	spot->known = text.p;
	spot->due = false;
	spot->applied = has;
	spot->applied_ts = ts;
	if (was_known && (!text.p || has < had)) {
		looks_suspect(s, spot->slot);
		if (p->lost == PLACE_LOST_NONE || has < p->lost)
			p->lost = has;
		if (!text.p)
			spot->used = false;
	} else if (was_known && has > had) {
		msg_info("%s: redis has offset %" PRId64
			 " in slot %d, applied by another process or before an answer was lost",
			places_name(p), has, spot->slot);
	}
	if (!was_known || has != had)
		s->spots->differs = true;
}
