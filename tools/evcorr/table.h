/* SPDX-License-Identifier: ISC */
/* The calls on their way, found by id, and in the order of their time-outs. */
#ifndef EVPIPE_EVCORR_TABLE_H
#define EVPIPE_EVCORR_TABLE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct table_call {
	char *id; /* NULL: the slot is free */
	uint32_t id_len;
	uint32_t turn; /* how many calls the slot has had */
	uint32_t next; /* in its chain, or of the free ones */
	uint32_t heap_at;
	int64_t due_ms; /* when it times out (monotonic) */
	int64_t given_ms; /* the time that it was given */
	void *user;
	unsigned had; /* replies */
	bool is_sent; /* by us: false: calls_wait */
	bool is_foreign; /* its channel is not the node's own */
	bool is_last_look; /* its time is over, and its key is being read */
	bool is_unreadable; /* its key holds no list, which has been told */
};

struct table {
	struct table_call *calls;
	uint32_t *chains, *heap;
	uint32_t cap, chain_mask, free, used; /* used: slots that were ever in use */
	uint32_t count;
};

/* @cap: most calls at a time. Memory is taken as it is needed. */
void table_open(struct table *t, uint32_t cap);
void table_close(struct table *t);
static inline bool table_is_full(const struct table *t)
{
	return t->count == t->cap;
}

/* Adds a call; NULL: the id is there already. The table is not full. */
struct table_call *table_add(struct table *t, struct span id, int64_t due_ms);
struct table_call *table_find(const struct table *t, struct span id);
void table_remove(struct table *t, struct table_call *call);
/* The call that times out next; NULL: there is none. */
struct table_call *table_first(const struct table *t);
/* Changes when it times out. */
void table_set_due(struct table *t, struct table_call *call, int64_t due_ms);

/* A number of the call, above 0 and below 2^56, which no other call gets soon; and the call with
 * it, NULL: it has ended. */
uint64_t table_number(const struct table *t, const struct table_call *call);
struct table_call *table_numbered(const struct table *t, uint64_t number);
static inline struct span table_id(const struct table_call *call)
{
	return (struct span){call->id, call->id_len};
}
/* One call after the other, from *@at = 0 on: NULL behind the last one. Calls may be removed
 * meanwhile. */
struct table_call *table_each(const struct table *t, uint32_t *at);

/* Numbers, first in first out; all zero is empty. */
struct table_ring {
	uint64_t *p;
	size_t cap; /* a power of 2 */
	uint64_t head, tail;
};
void table_push(struct table_ring *r, uint64_t number);
static inline bool table_is_empty(const struct table_ring *r)
{
	return r->head == r->tail;
}
static inline uint64_t table_pop(struct table_ring *r)
{
	return r->p[r->head++ & (r->cap - 1)];
}

#endif
