/* SPDX-License-Identifier: ISC */
/* DESIGN
 * Slots in an array; a hash table of chains of them; a binary heap of their indices, the next
 * time-out on top. Each slot knows its place in the heap. */
#include "evcorr/table.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = UINT32_MAX, FIRST = 64 };

void table_open(struct table *t, uint32_t cap)
{
	size_t chains = 64;

	while (chains < cap)
		chains *= 2;
	*t = (struct table){.cap = cap, .chain_mask = (uint32_t)chains - 1, .free = NONE};
	t->chains = mem_alloc(chains * sizeof(*t->chains));
	memset(t->chains, 0xff, chains * sizeof(*t->chains));
	t->calls = mem_alloc(cap * sizeof(*t->calls));
	t->heap = mem_alloc(cap * sizeof(*t->heap));
}

void table_close(struct table *t)
{
	for (uint32_t i = 0; i < t->used; i++)
		free(t->calls[i].id);
	free(t->calls);
	free(t->chains);
	free(t->heap);
}

static uint32_t *chain_of(const struct table *t, struct span id)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < id.len; i++)
		hash = (hash ^ (unsigned char)id.p[i]) * UINT64_C(0x100000001b3);
	return &t->chains[(hash ^ hash >> 32) & t->chain_mask];
}

/* ---- the heap ---- */

static int64_t due(const struct table *t, uint32_t at)
{
	return t->calls[t->heap[at]].due_ms;
}

static void put(struct table *t, uint32_t at, uint32_t slot)
{
	t->heap[at] = slot;
	t->calls[slot].heap_at = at;
}

static void rise(struct table *t, uint32_t at)
{
	uint32_t slot = t->heap[at];

	for (; at && due(t, (at - 1) / 2) > t->calls[slot].due_ms; at = (at - 1) / 2)
		put(t, at, t->heap[(at - 1) / 2]);
	put(t, at, slot);
}

static void sink(struct table *t, uint32_t at)
{
	uint32_t slot = t->heap[at], child;

	for (; (child = 2 * at + 1) < t->count; at = child) {
		if (child + 1 < t->count && due(t, child + 1) < due(t, child))
			child++;
		if (due(t, child) >= t->calls[slot].due_ms)
			break;
		put(t, at, t->heap[child]);
	}
	put(t, at, slot);
}

struct table_call *table_first(const struct table *t)
{
	return t->count ? &t->calls[t->heap[0]] : NULL;
}

void table_set_due(struct table *t, struct table_call *call, int64_t due_ms)
{
	call->due_ms = due_ms;
	rise(t, call->heap_at);
	sink(t, call->heap_at);
}

/* ---- the calls ---- */

struct table_call *table_find(const struct table *t, struct span id)
{
	for (uint32_t i = *chain_of(t, id); i != NONE; i = t->calls[i].next)
		if (t->calls[i].id_len == id.len && memcmp(t->calls[i].id, id.p, id.len) == 0)
			return &t->calls[i];
	return NULL;
}

struct table_call *table_add(struct table *t, struct span id, int64_t due_ms)
{
	uint32_t slot = t->free, turn, *chain = chain_of(t, id);
	struct table_call *call;

	if (table_find(t, id))
		return NULL;
	if (slot == NONE) {
		slot = t->used++;
		t->calls[slot] = (struct table_call){0};
	} else {
		t->free = t->calls[slot].next;
	}
	call = &t->calls[slot];
	turn = call->turn + 1;
	*call = (struct table_call){.id = span_text(id),
		.id_len = (uint32_t)id.len,
		.turn = turn,
		.next = *chain,
		.due_ms = due_ms};
	*chain = slot;
	put(t, t->count++, slot);
	rise(t, call->heap_at);
	return call;
}

void table_remove(struct table *t, struct table_call *call)
{
	uint32_t slot = (uint32_t)(call - t->calls), at = call->heap_at, last;
	uint32_t *link = chain_of(t, table_id(call));

	while (*link != slot)
		link = &t->calls[*link].next;
	*link = call->next;
	last = t->heap[--t->count];
	if (last != slot) {
		put(t, at, last);
		rise(t, at);
		sink(t, t->calls[last].heap_at);
	}
	free(call->id);
	call->id = NULL;
	call->next = t->free;
	t->free = slot;
}

uint64_t table_number(const struct table *t, const struct table_call *call)
{
	return (uint64_t)(call->turn & 0xffffff) << 32 | ((uint64_t)(call - t->calls) + 1);
}

struct table_call *table_numbered(const struct table *t, uint64_t number)
{
	uint32_t slot = (uint32_t)number - 1;
	struct table_call *call = slot < t->used ? &t->calls[slot] : NULL;

	return call && call->id && (call->turn & 0xffffff) == number >> 32 ? call : NULL;
}

struct table_call *table_each(const struct table *t, uint32_t *at)
{
	while (*at < t->used)
		if (t->calls[(*at)++].id)
			return &t->calls[*at - 1];
	return NULL;
}

void table_push(struct table_ring *r, uint64_t number)
{
	size_t cap = r->cap ? 2 * r->cap : 64;
	uint64_t *p;

	if (r->tail - r->head == r->cap) {
		p = mem_alloc(cap * sizeof(*p));
		for (uint64_t i = r->head; i < r->tail; i++)
			p[i & (cap - 1)] = r->p[i & (r->cap - 1)];
		free(r->p);
		r->p = p;
		r->cap = cap;
	}
	r->p[r->tail++ & (r->cap - 1)] = number;
}
