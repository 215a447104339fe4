/* SPDX-License-Identifier: ISC */
/* The tiles of a log as files: FILE.tlog/tile/LEVEL/N, and N.p/WIDTH of a tile that is not full
 * (C2SP tlog-tiles). */
#ifndef EVPIPE_EVCHAIN_TILES_H
#define EVPIPE_EVCHAIN_TILES_H

#include "evchain/tree.h"

enum { TILE_BYTES = TILE_WIDTH * HASH_BYTES, TILE_PATH = 64 };

/* Tiles that are read, with the last one of each level kept. */
struct tiles {
	int dir; /* FILE.tlog */
	uint64_t bytes; /* read from files */
	char missing
		/* after a call that failed: the tile that was not there, or was too short */
		[TILE_PATH];
	struct {
		bool is_there;
		uint64_t n;
		unsigned width;
		struct hash hash[TILE_WIDTH];
	} kept[TILE_LEVELS];
};

/* Prints "tile/0/x001/234" to @path, TILE_PATH bytes. */
void tile_path(struct tile t, char *path);
/* Reads the tile, at least @width hashes of it. Returns how many hashes there are, 0 when there are
 * fewer. The hashes are valid until the next call for the level. */
unsigned tiles_read(struct tiles *s, struct tile t, unsigned width, const struct hash **hashes);
/* The hash of the complete subtree of the entries [@i << @k, (@i + 1) << @k). Returns 0, or -1. */
int tiles_subtree(struct tiles *s, unsigned k, uint64_t i, struct hash *h);
/* The root of the first @size entries. Returns 0, or -1. */
int tiles_root(struct tiles *s, uint64_t size, struct hash *root);
/* Makes @t the tree of the first @size entries; but for its full and ctx. Returns 0, or -1. */
int tiles_tree(struct tiles *s, uint64_t size, struct tree *t);
/* Writes a tile by rename; one that is not full replaces its narrower ones. Does not sync a full
 * one: a tile that is too short counts as missing, and is made anew from the entries. Returns 0, or
 * -1 with errno. */
int tile_write(int dir, struct tile t, const struct hash *hashes, unsigned width);
/* Opens a file below @dir for writing, makes the folders of its path. Returns a descriptor, or -1
 * with errno. */
int tile_create(int dir, const char *path, int flags);

#endif
