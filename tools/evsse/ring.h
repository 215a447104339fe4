/* SPDX-License-Identifier: ISC */
/* The events of the last while, of each topic at most so many: one copy of each, which all clients
 * read at cursors of their own. An event stands here as the bytes that are sent.
 *
 * A cursor is in step when its client has, or has passed, all that came before it: then the ids of
 * the events are the client's as well, and it waits in a list at the event that is its next. When
 * the ring drops that event, or when the client has come with an id, the cursor strays: it has
 * positions of its own. */
#ifndef EVSSE_RING_H
#define EVSSE_RING_H

#include "evsse/position.h"

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct entry {
	unsigned refs;
	unsigned part; /* in its topic's parts */
	uint64_t seq; /* over all topics */
	struct place place;
	struct topic *topic; /* NULL: it came from a replay */
	struct entry *older, *newer; /* in the ring */
	/* Of text, in bytes: "id: …\n", "event: …\n", "data: …\n" for each line of the payload and
	 * "\n", and the record as data, "data: {…}\n\n", which is the first data where an event
	 * cannot carry the payload. */
	size_t id_end, data_at, data_end, record_at, record_end;
	char text[]; /* BUF_SLACK bytes behind it */
};

struct part {
	struct part_name name;
	struct place origin; /* the first that came */
	struct place first; /* from here on the ring has all that came */
	struct place next; /* behind the last that came */
	int64_t ts; /* the latest time of its records */
	bool anew; /* it began again: its topic was deleted and made anew */
};

/* Where a client is in a part, by its own account. */
struct own {
	struct part_name name;
	struct place next;
	bool anew; /* the part began anew behind it */
	/* What the ring has not, from elsewhere: */
	struct replay *replay; /* NULL: none is under way */
	size_t at; /* in its entries */
	bool refused; /* there was none to be had */
	bool to_end; /* all was had that there was before the ring had any of the part */
};

struct own_places {
	size_t count, cap;
	bool check; /* a part may have lost what the client has not had */
	struct own at[];
};

struct cursor {
	void *user;
	struct topic *topic;
	uint64_t next; /* the event; a stray's may have been dropped already */
	struct own_places *own; /* NULL: in step */
	struct cursor *beside, **link; /* internal; link NULL: it is on its way */
};

struct slot {
	struct entry *entry;
	struct cursor *waiting;
};

struct topic {
	struct span name;
	struct part *parts;
	size_t part_count;
	struct slot *slots;
	uint64_t cap; /* a power of 2, above tail - head */
	uint64_t head, tail;
	struct cursor *strays;
	size_t cursors;
	uint64_t fresh; /* what came from here on was not told to the cursors */
	struct topic *next_fresh, *next; /* internal */
	bool is_fresh, came; /* came: it had an event */
	struct buf id; /* its positions, as an id has them */
};

struct ring {
	size_t keep; /* events of a topic */
	size_t max_bytes, bytes;
	uint32_t run; /* this process's name in ids */
	uint64_t seq; /* of the next event */
	uint64_t count; /* of records without a place */
	struct topic **table;
	size_t table_size, topic_count; /* a power of 2 */
	struct entry *oldest, *newest;
	struct topic *fresh;
	uint64_t entries, repeated;
};

void ring_open(struct ring *r, size_t keep, size_t max_bytes);
void ring_close(struct ring *r);

/* The topic of this name, made when it is not there; topic_find: NULL. */
struct topic *ring_topic(struct ring *r, struct span name);
struct topic *ring_find(const struct ring *r, struct span name);
/* Frees it if nothing is left of it and no cursor is in it. */
void ring_drop_topic(struct ring *r, struct topic *t);
void ring_each_topic(const struct ring *r, void (*each)(void *ctx, struct topic *t), void *ctx);

enum ring_put { RING_PUT, RING_REPEATED };
/* Puts an event in. @payload.p NULL: an event cannot carry it. @line is the record, @ts its time in
 * ms, or -1. A place that the part has had already is a record that came again, and is dropped. */
enum ring_put ring_put(struct ring *r, struct topic *t, struct part_name name, struct place place,
	struct span payload, struct span line, int64_t ts);
/* The next place of a record that has none. */
struct place ring_count(struct ring *r, struct part_name *name);
/* Calls @wake for each cursor that has not had what came since the last call. */
void ring_tell(struct ring *r, void (*wake)(struct cursor *c));

/* An event that is not in the ring; its id is only a place, its own. */
struct entry *entry_make(struct span id, struct span topic, struct span payload, struct span line);
/* Whether an event can carry the payload: UTF-8 without CR. */
bool entry_carries(struct span payload);
static inline struct entry *entry_hold(struct entry *e)
{
	e->refs++;
	return e;
}
void entry_drop(struct entry *e);

/* ---- cursors ---- */

/* Puts a cursor before the @next-th event of the topic. */
void cursor_open(struct cursor *c, struct topic *t, uint64_t next);
void cursor_close(struct cursor *c);
/* Puts it before the next event. Call cursor_rest behind the last step: before that the ring must
 * not change. */
void cursor_step(struct cursor *c);
void cursor_rest(struct cursor *c);
/* Makes it stray, with no positions yet if it was not one already. */
void cursor_stray(struct cursor *c);
/* In step again, where it is. */
void cursor_settle(struct cursor *c);
/* Its position in a part: added, at @next, when it has none. NULL: that, and @next NULL. */
struct own *cursor_own(struct cursor *c, struct part_name name, const struct place *next);
/* The event of a cursor in step, or of a stray; NULL: it has had all. */
static inline struct entry *cursor_entry(struct cursor *c)
{
	struct topic *t = c->topic;

	if (c->next < t->head) {
		c->next = t->head;
		c->own->check = true;
	}
	return c->next == t->tail ? NULL : t->slots[c->next & (t->cap - 1)].entry;
}
/* Appends the cursor's positions as an id has them, with its topic; nothing when there are none. */
void cursor_put_id(const struct cursor *c, struct buf *id);
struct part *topic_part(const struct topic *t, struct part_name name);

#endif
