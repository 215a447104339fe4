/* SPDX-License-Identifier: ISC */
/* Proofs of RFC 6962, section 2.1: that an entry is in a tree, and that a tree has grown from an
 * older one. They are made of tiles alone. */
#ifndef EVPIPE_EVCHAIN_PROOF_H
#define EVPIPE_EVCHAIN_PROOF_H

#include "evchain/tiles.h"

enum { PROOF_MAX = 64 };

struct proof {
	unsigned count;
	struct hash hash[PROOF_MAX];
};

/* The path of entry @n in the tree of @size entries, @n < @size. Returns 0, or -1 when a tile is
 * missing. */
int proof_inclusion(struct tiles *s, uint64_t n, uint64_t size, struct proof *p);
/* The proof from the tree of @old entries to that of @size, @old <= @size. Empty when @old is 0 or
 * @size. */
int proof_consistency(struct tiles *s, uint64_t old, uint64_t size, struct proof *p);
/* Whether the path leads from the entry's hash to the root. */
bool proof_includes(const struct proof *p, uint64_t n, uint64_t size, const struct hash *leaf,
	const struct hash *root);
/* Whether the proof leads from the old root to the new one. */
bool proof_is_consistent(const struct proof *p, uint64_t old, uint64_t size,
	const struct hash *old_root, const struct hash *root);

/* A proof of inclusion as text, C2SP tlog-proof: the head is behind it. Appends. */
void proof_print(const struct proof *p, uint64_t n, struct span head, struct buf *out);
/* Returns 0, or -1 when it is no such text. @head is a span of it. */
int proof_parse(struct span text, struct proof *p, uint64_t *n, struct span *head);
/* Appends the hashes, a line each. */
void proof_put_hashes(const struct proof *p, struct buf *out);

#endif
