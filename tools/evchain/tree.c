/* SPDX-License-Identifier: ISC */
#include "evchain/tree.h"

/* @index: of the entry that completes the subtree of this hash. */
static void put(struct tree *t, unsigned level, uint64_t index, const struct hash *h)
{
	if (level >= TILE_LEVELS)
		return;
	t->last[level].hash[t->last[level].width++] = *h;
	if (t->last[level].width < TILE_WIDTH)
		return;
	if (t->full)
		t->full(t->ctx, (struct tile){level, index >> 8 * (level + 1)},
			t->last[level].hash);
	t->last[level].width = 0;
}

void tree_add(struct tree *t, const struct hash *leaf)
{
	uint64_t index = t->size++;
	struct hash h = *leaf;
	unsigned k = 0;

	put(t, 0, index, &h);
	for (; index >> k & 1; k++) {
		hash_node(&t->peak[k], &h, &h);
		if ((k + 1) % 8 == 0)
			put(t, (k + 1) / 8, index, &h);
	}
	t->peak[k] = h;
}

void tree_root(const struct tree *t, struct hash *root)
{
	bool first = true;

	if (!t->size)
		hash_bytes(SPAN(""), root);
	for (unsigned k = 0; k < 64; k++) {
		if (!(t->size >> k & 1))
			continue;
		if (first)
			*root = t->peak[k];
		else
			hash_node(&t->peak[k], root, root);
		first = false;
	}
}
