/* SPDX-License-Identifier: ISC */
/* Requests that wait, in their instance's list and in a heap by their time. */
#include "khttp/instance.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

static void heap_set(struct consumers *all, size_t at, struct wait *w)
{
	all->heap[at] = w;
	w->heap = at + 1;
}

static void heap_up(struct consumers *all, size_t at, struct wait *w)
{
	for (; at && all->heap[(at - 1) / 2]->until_ms > w->until_ms; at = (at - 1) / 2)
		heap_set(all, at, all->heap[(at - 1) / 2]);
	heap_set(all, at, w);
}

static void heap_down(struct consumers *all, size_t at, struct wait *w)
{
	for (size_t child; (child = 2 * at + 1) < all->heap_count; at = child) {
		if (child + 1 < all->heap_count &&
			all->heap[child + 1]->until_ms < all->heap[child]->until_ms)
			child++;
		if (all->heap[child]->until_ms >= w->until_ms)
			break;
		heap_set(all, at, all->heap[child]);
	}
	heap_set(all, at, w);
}

void wait_until(struct wait *w, int64_t until_ms)
{
	struct consumers *all = w->all;
	size_t at = w->heap;

	if (at) {
		struct wait *last = all->heap[--all->heap_count];

		w->heap = 0;
		if (last != w) {
			heap_up(all, at - 1, last);
			heap_down(all, last->heap - 1, last);
		}
	}
	w->until_ms = until_ms;
	if (until_ms < 0)
		return;
	if (all->heap_count == all->heap_room) {
		all->heap_room = all->heap_room ? 2 * all->heap_room : 64;
		all->heap = mem_realloc(all->heap, all->heap_room * sizeof(struct wait *));
	}
	heap_up(all, all->heap_count++, w);
}

void wait_answered(struct wait *w)
{
	w->answered = true;
	wait_until(w, -1);
}

void wait_unlink(struct wait *w)
{
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	w->instance = NULL;
}

void consumers_free(struct consumers *all)
{
	if (!all->closed || all->wait_count)
		return;
	free(all->heap);
	free(all);
}

static void on_done(struct http_request *r, bool whole)
{
	struct wait *w = r->user;

	if (w->instance) {
		struct instance *i = w->instance;

		if (i->out_to == w)
			poll_written(w, whole);
		wait_unlink(w);
		i->used_ms = w->all->now_ms;
		if (i->read)
			instance_close(i, false);
		else
			poll_go_on(i);
	}
	wait_until(w, -1);
	w->all->wait_count--;
	consumers_free(w->all);
	stream_free(w->stream);
	if (w->places)
		rd_kafka_topic_partition_list_destroy(w->places);
	free(w);
}

struct wait *wait_open(
	struct instance *i, struct http_request *r, enum wait_kind kind, int64_t until_ms)
{
	struct wait *w;

	/* A commit, and an end, do not last. */
	if (kind != WAIT_COMMIT && kind != WAIT_CLOSE &&
		i->all->wait_count >= i->all->k->max_waits) {
		error_unavailable(
			r, "%" PRIu64 " requests wait for records: no more", i->all->k->max_waits);
		return NULL;
	}
	w = mem_alloc(sizeof(*w));
	*w = (struct wait){.kind = kind,
		.all = i->all,
		.instance = i,
		.request = r,
		.link = &i->waits,
		.until_ms = -1};
	while (*w->link)
		w->link = &(*w->link)->next;
	*w->link = w;
	r->user = w;
	r->done = on_done;
	i->all->wait_count++;
	wait_until(w, until_ms);
	return w;
}
