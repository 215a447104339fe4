/* SPDX-License-Identifier: ISC */
#include "kafka/tries.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SLOW_MS = 1000,
	TRIES_MAX = 32, /* of further ones nothing is known */
};

struct tries_one *tries_find(const struct tries *t, const char *name)
{
	for (int i = 0; i < t->count; i++)
		if (strcmp(t->list[i].name, name) == 0)
			return &t->list[i];
	return NULL;
}

void tries_begin(struct tries *t, int64_t now_ms, const char *name)
{
	struct tries_one *y;

	if (tries_find(t, name) || t->count == TRIES_MAX)
		return;
	if (t->count == t->room) {
		t->room++;
		t->list = mem_realloc(t->list, (size_t)t->room * sizeof(*t->list));
	}
	y = &t->list[t->count++];
	*y = (struct tries_one){.since_ms = now_ms};
	snprintf(y->name, sizeof(y->name), "%s", name);
}

void tries_end(struct tries *t, const char *name)
{
	struct tries_one *y = tries_find(t, name);

	if (y)
		*y = t->list[--t->count];
}

bool tries_is_slow(const struct tries_one *y, int64_t now_ms)
{
	return now_ms - y->since_ms >= SLOW_MS;
}

void tries_free(struct tries *t)
{
	free(t->list);
}
