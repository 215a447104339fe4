/* SPDX-License-Identifier: ISC */
#include "rsub/xack.h"

#include "base/mem.h"
#include "redis/request.h"

#include <stdlib.h>

enum { IDS = 1000 }; /* in one command */

void xack_add(struct xack *a, struct id id)
{
	if (a->tail - a->head == a->cap) {
		size_t cap = a->cap ? 2 * a->cap : 64;
		struct id *ids = mem_alloc(cap * sizeof(*ids));

		for (uint64_t i = a->head; i < a->tail; i++)
			ids[i & (cap - 1)] = a->ids[i & (a->cap - 1)];
		free(a->ids);
		a->ids = ids;
		a->cap = cap;
	}
	a->ids[a->tail++ & (a->cap - 1)] = id;
}

uint64_t xack_due(const struct xack *a)
{
	uint64_t count = a->ready - a->sent;

	return count < IDS ? count : IDS;
}

void xack_put(struct xack *a, uint64_t count, struct buf *out)
{
	for (; count; count--)
		request_id(out, a->ids[a->sent++ & (a->cap - 1)]);
}

void xack_again(struct xack *a)
{
	a->sent = a->head;
	a->round++;
}
