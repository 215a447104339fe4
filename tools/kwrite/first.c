/* SPDX-License-Identifier: ISC */
#include "kwrite/first.h"

#include "base/mem.h"

#include <string.h>

enum {
	HOUR_MS = 3600 * 1000,
	PARTITIONS_MAX = 200000, /* a record of -p keep may name any number */
};

/* In `hours`: the partition's first record is on its way. */
#define OUT UINT32_MAX

void firsts_tick(struct firsts *f, int64_t now_ms)
{
	f->hour = (uint32_t)(now_ms / HOUR_MS) + 2;
}

/* Where the partition's hour stands; NULL: no topic has so many. */
static uint32_t *find(struct firsts *f, const struct topic *topic, int32_t partition)
{
	size_t number = ((const struct partition_state *)topic->own)->number, count;
	size_t i = (size_t)(partition + 1);
	struct firsts_topic *t;

	if (i > PARTITIONS_MAX)
		return NULL;
	if (number >= f->count) {
		count = number * 2 + 1;
		f->topics = mem_realloc(f->topics, count * sizeof(*t));
		memset(f->topics + f->count, 0, (count - f->count) * sizeof(*t));
		f->count = count;
	}
	t = &f->topics[number];
	if (i >= t->count) {
		count = i * 2 + 1;
		t->hours = mem_realloc(t->hours, count * sizeof(*t->hours));
		memset(t->hours + t->count, 0, (count - t->count) * sizeof(*t->hours));
		t->count = count;
	}
	return &t->hours[i];
}

bool firsts_begin(struct firsts *f, struct delivery *d, int32_t partition, bool careful)
{
	uint32_t *hour = find(f, d->topic, partition);

	/* librdkafka may have had no room for it. */
	if (d->is_first || !hour)
		return true;
	/* A record of the topic is out to a partition that is not known. */
	if (*hour == OUT || firsts_hour(f, d->topic->own, -1) == OUT)
		return false;
	if (!careful)
		return true;
	*hour = OUT;
	((struct partition_state *)d->topic->own)->firsts_out++;
	d->is_first = true;
	d->partition = partition;
	return true;
}

void firsts_moved(struct firsts *f, struct delivery *d, int32_t partition)
{
	uint32_t *hour = find(f, d->topic, partition);

	if (!d->is_first || d->partition < 0 || !hour || *hour)
		return;
	*hour = OUT;
	*find(f, d->topic, d->partition) = 0;
	d->partition = partition;
}

void firsts_note(struct firsts *f, struct delivery *d, int32_t partition, bool is_written)
{
	uint32_t *hour;

	if (d->is_first) {
		*find(f, d->topic, d->partition) = 0;
		((struct partition_state *)d->topic->own)->firsts_out--;
	}
	d->is_first = false;
	hour = is_written ? find(f, d->topic, partition) : NULL;
	if (hour)
		*hour = f->hour;
}
