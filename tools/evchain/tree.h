/* SPDX-License-Identifier: ISC */
/* The Merkle tree of RFC 6962 as it grows: its root, and its tiles of C2SP tlog-tiles. Memory is
 * the same for any size. */
#ifndef EVPIPE_EVCHAIN_TREE_H
#define EVPIPE_EVCHAIN_TREE_H

#include "evchain/hash.h"

enum { TILE_WIDTH = 256, TILE_LEVELS = 8 };

/* A tile's place: its level, and its number within the level. */
struct tile {
	unsigned level;
	uint64_t n;
};

struct tree {
	uint64_t size; /* entries */
	struct hash
		peak[64]; /* [k], where bit k of size is set: the complete subtree of 2^k entries */
	struct {
		unsigned width;
		struct hash hash[TILE_WIDTH];
	} last[TILE_LEVELS]; /* the last tile of each level, which is not full */
	/* Takes a tile that is full; NULL: not asked for. */
	void (*full)(void *ctx, struct tile t, const struct hash *hashes);
	void *ctx;
};

void tree_add(struct tree *t, const struct hash *leaf);
void tree_root(const struct tree *t, struct hash *root);
/* The place of the last tile of a level. */
static inline struct tile tree_last(const struct tree *t, unsigned level)
{
	return (struct tile){level, level < 7 ? t->size >> 8 * (level + 1) : 0};
}

#endif
