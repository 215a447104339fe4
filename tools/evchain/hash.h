/* SPDX-License-Identifier: ISC */
/* The hashes of RFC 6962, section 2.1, and their text: 44 characters of standard base64. */
#ifndef EVPIPE_EVCHAIN_HASH_H
#define EVPIPE_EVCHAIN_HASH_H

#include "base/buf.h"

#include <stdint.h>

enum { HASH_BYTES = 32, HASH_TEXT = 44 };

struct hash {
	uint8_t b[HASH_BYTES];
};

/* SHA-256(0x00, line): the hash of an entry. */
void hash_leaf(struct span line, struct hash *out);
/* SHA-256(0x01, left, right). @out may be one of them. */
void hash_node(const struct hash *left, const struct hash *right, struct hash *out);
/* SHA-256 of plain bytes: of none, the root of a tree without entries. */
void hash_bytes(struct span bytes, struct hash *out);
static inline bool hash_equal(const struct hash *a, const struct hash *b)
{
	return memcmp(a->b, b->b, HASH_BYTES) == 0;
}
/* Writes HASH_TEXT characters, without a NUL. */
void hash_print(const struct hash *h, char *text);
/* Returns 0, or -1 when @text is no hash in canonical base64. */
int hash_parse(struct span text, struct hash *h);

#endif
