/* SPDX-License-Identifier: ISC */
#include "khttp/handles.h"

#include "base/mem.h"
#include "base/sorted.h"

#include <stdlib.h>
#include <string.h>

enum { HANDLES_MAX = 1000 };

struct handle {
	char *name;
	rd_kafka_topic_t *rkt;
};

void handles_open(struct handles *hs, struct kafka *k)
{
	*hs = (struct handles){.kafka = k};
	hs->list = mem_alloc((HANDLES_MAX + 1) * sizeof(*hs->list));
}

static int compare(const void *name, const void *handle)
{
	const struct handle *h = handle;

	return strcmp(name, h->name);
}

/* The place of a name, or where it belongs. */
static size_t place_of(const struct handles *hs, const char *name, bool *found)
{
	size_t i = sorted_place(hs->list, hs->count, sizeof(*hs->list), compare, name);

	*found = i < hs->count && compare(name, &hs->list[i]) == 0;
	return i;
}

static void drop(struct handles *hs, size_t i)
{
	rd_kafka_topic_destroy(hs->list[i].rkt);
	free(hs->list[i].name);
	memmove(&hs->list[i], &hs->list[i + 1], (--hs->count - i) * sizeof(*hs->list));
}

rd_kafka_topic_t *handles_get(struct handles *hs, const char *name)
{
	bool found;
	size_t i = place_of(hs, name, &found);
	rd_kafka_topic_t *rkt;

	if (found)
		return hs->list[i].rkt;
	rkt = rd_kafka_topic_new(hs->kafka->rk, name, NULL);
	if (!rkt)
		return NULL;
	if (hs->count == HANDLES_MAX) {
		while (hs->count)
			drop(hs, hs->count - 1);
		i = 0;
	}
	memmove(&hs->list[i + 1], &hs->list[i], (hs->count++ - i) * sizeof(*hs->list));
	hs->list[i] = (struct handle){mem_dup(name), rkt};
	return rkt;
}

void handles_forget(struct handles *hs, const char *name)
{
	bool found;
	size_t i = place_of(hs, name, &found);

	if (found)
		drop(hs, i);
}

void handles_close(struct handles *hs)
{
	while (hs->count)
		drop(hs, hs->count - 1);
	free(hs->list);
}
