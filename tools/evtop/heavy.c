/* SPDX-License-Identifier: ISC */
#include "evtop/heavy.h"

#include <stdlib.h>

enum { TABLE = HEAVY_MAX * 4 };

/* Two keys of one hash would count as one: with 64 bits that does not happen among the few that
 * stand here. */
static uint64_t hash_of(struct span s)
{
	uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ s.len, word;
	size_t i = 0;

	for (; i + 8 <= s.len; i += 8) {
		memcpy(&word, s.p + i, 8);
		h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32;
	}
	word = 0;
	if (i < s.len)
		memcpy(&word, s.p + i, s.len - i);
	h = (h ^ word) * UINT64_C(0xc4ceb9fe1a85ec53);
	h ^= h >> 33;
	return (h * UINT64_C(0xff51afd7ed558ccd)) ^ (h >> 29);
}

static uint32_t find(const struct heavy *h, uint64_t hash)
{
	uint32_t slot = (uint32_t)(hash % TABLE);

	while (h->table[slot] && h->keys[h->table[slot] - 1].hash != hash)
		slot = (slot + 1) % TABLE;
	return slot;
}

/* What stands behind in the same run moves up, so that each is found again. */
static void forget(struct heavy *h, uint32_t slot)
{
	uint32_t next = slot;

	h->table[slot] = 0;
	while (h->table[next = (next + 1) % TABLE]) {
		uint32_t home = (uint32_t)(h->keys[h->table[next] - 1].hash % TABLE);

		if ((next - home + TABLE) % TABLE < (next - slot + TABLE) % TABLE)
			continue;
		h->table[slot] = h->table[next];
		h->keys[h->table[slot] - 1].slot = slot;
		h->table[next] = 0;
		slot = next;
	}
}

static void place(struct heavy *h, size_t i, const struct heavy_key *k)
{
	h->keys[i] = *k;
	h->table[k->slot] = (uint16_t)(i + 1);
}

/* The key at @i has become more frequent. */
static void sink(struct heavy *h, size_t i)
{
	struct heavy_key k = h->keys[i];
	size_t child;

	while ((child = 2 * i + 1) < h->count) {
		if (child + 1 < h->count && h->keys[child + 1].count < h->keys[child].count)
			child++;
		if (h->keys[child].count >= k.count)
			break;
		place(h, i, &h->keys[child]);
		i = child;
	}
	place(h, i, &k);
}

static void rise(struct heavy *h, size_t i)
{
	struct heavy_key k = h->keys[i];

	for (; i && h->keys[(i - 1) / 2].count > k.count; i = (i - 1) / 2)
		place(h, i, &h->keys[(i - 1) / 2]);
	place(h, i, &k);
}

void heavy_add(struct heavy *h, struct span key)
{
	uint64_t hash = hash_of(key);
	uint32_t slot = find(h, hash);
	struct heavy_key *k;
	size_t i;

	if (h->table[slot]) {
		i = h->table[slot] - 1u;
		h->keys[i].count++;
		sink(h, i);
		return;
	}
	/* The rarest gives way, and its count is what the new one may have missed. */
	if (h->count == HEAVY_MAX) {
		i = 0;
		forget(h, h->keys[0].slot);
		slot = find(h, hash);
	} else {
		i = h->count++;
		h->keys[i] = (struct heavy_key){0};
	}
	k = &h->keys[i];
	k->hash = hash;
	k->over = k->count++;
	k->cut = key.len > HEAVY_TEXT;
	k->len = (uint8_t)(k->cut ? HEAVY_TEXT : key.len);
	memcpy(k->text, key.p, k->len);
	k->slot = slot;
	h->table[slot] = (uint16_t)(i + 1);
	if (i)
		rise(h, i);
	else
		sink(h, i);
}

static int by_count(const void *a, const void *b)
{
	const struct heavy_key *const *x = a, *const *y = b;

	if ((*x)->count != (*y)->count)
		return (*x)->count < (*y)->count ? 1 : -1;
	return memcmp((*x)->text, (*y)->text, HEAVY_TEXT);
}

size_t heavy_top(const struct heavy *h, const struct heavy_key **top, size_t max)
{
	const struct heavy_key *all[HEAVY_MAX];

	for (size_t i = 0; i < h->count; i++)
		all[i] = &h->keys[i];
	qsort(all, h->count, sizeof(struct heavy_key *), by_count);
	if (max > h->count)
		max = h->count;
	memcpy(top, all, max * sizeof(struct heavy_key *));
	return max;
}
