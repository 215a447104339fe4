/* SPDX-License-Identifier: ISC */
#include "kwrite/first.h"

#include "base/mem.h"

#include <string.h>

enum {
	HOUR_MS = 3600 * 1000,
	PARTITIONS_MAX = 200000, /* a record of -p keep may name any number */
};

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

bool firsts_begin(struct firsts *f, struct delivery *d, int32_t partition)
{
	struct partition_state *s = d->topic->own;
	uint32_t *hour = find(f, d->topic, partition);

	/* librdkafka may have had no room for it. */
	if (d->is_first || !hour)
		return true;
	/* A record of the topic is out to a partition that is not known. */
	if (*hour == FIRSTS_OUT || firsts_hour(f, d->topic->own, -1) == FIRSTS_OUT)
		return false;
	*hour = FIRSTS_OUT;
	s->firsts_out++;
	d->is_first = true;
	d->partition = partition;
	if (partition < 0) {
		s->first_at = -1;
		s->first = d;
		f->topics[s->number].unplaced = s;
		f->unplaced++;
	}
	return true;
}

/* Nothing waits for the first record any more where it is. */
static void take_back(struct firsts *f, const struct delivery *d)
{
	struct partition_state *s = d->topic->own;

	*find(f, d->topic, d->partition) = 0;
	f->answers++;
	if (d->partition >= 0)
		return;
	s->first = NULL;
	f->topics[s->number].unplaced = NULL;
	f->unplaced--;
}

static void move(struct firsts *f, struct delivery *d, int32_t partition)
{
	take_back(f, d);
	*find(f, d->topic, partition) = FIRSTS_OUT;
	d->partition = partition;
}

void firsts_moved(struct firsts *f, struct delivery *d, int32_t partition)
{
	const uint32_t *hour = find(f, d->topic, partition);

	if (d->is_first && d->partition >= 0 && hour && *hour == 0)
		move(f, d, partition);
}

void firsts_place(struct firsts *f)
{
	for (size_t i = 0; f->unplaced && i < f->count; i++) {
		struct partition_state *s = f->topics[i].unplaced;
		int32_t partition = s ? s->first_at : -1;

		/* Behind another first record it keeps the topic waiting. So it does while keys
		 * still go to an unknown partition. */
		if (partition >= 0 && partition_count(s) &&
			firsts_hour(f, s, partition) != FIRSTS_OUT)
			move(f, s->first, partition);
	}
}

void firsts_note(struct firsts *f, struct delivery *d, int32_t partition, bool is_written)
{
	uint32_t *hour;

	if (d->is_first) {
		take_back(f, d);
		((struct partition_state *)d->topic->own)->firsts_out--;
	}
	d->is_first = false;
	hour = is_written ? find(f, d->topic, partition) : NULL;
	/* An older record may be answered while those behind a first one wait: later ones must not
	 * pass these. */
	if (hour && *hour != FIRSTS_OUT)
		*hour = f->hour;
}
