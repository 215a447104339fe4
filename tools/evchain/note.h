/* SPDX-License-Identifier: ISC */
/* Keys and heads: C2SP signed-note with Ed25519, keys in the text form of Go's note package, and
 * the note that is a head of the log (C2SP tlog-checkpoint). */
#ifndef EVPIPE_EVCHAIN_NOTE_H
#define EVPIPE_EVCHAIN_NOTE_H

#include "evchain/hash.h"

#include <stddef.h>

enum { KEY_NAME_MAX = 255, KEY_BYTES = 32, SIGNATURE_BYTES = 64 };

/* A verifier key: NAME+ID+KEY. */
struct vkey {
	char name[KEY_NAME_MAX + 1];
	uint32_t id;
	uint8_t public[KEY_BYTES];
};
/* A private key, PRIVATE+KEY+NAME+ID+KEY, with its verifier. */
struct skey {
	struct vkey verifier;
	uint8_t seed[KEY_BYTES];
};

/* Whether a key may have this name: UTF-8, not empty, no white space, no '+'. */
bool key_name_is_good(struct span name);
/* Returns 0, or -1 when the text is no such key. A line end behind it is left out. */
int vkey_parse(struct span text, struct vkey *key);
int skey_parse(struct span text, struct skey *key);
void vkey_print(const struct vkey *key, struct buf *out);
void skey_print(const struct skey *key, struct buf *out);
/* A new key. Dies with 111 when the system has no random bytes. */
void skey_make(const char *name, struct skey *key);
static inline bool vkey_equal(const struct vkey *a, const struct vkey *b)
{
	return a->id == b->id && strcmp(a->name, b->name) == 0 &&
		memcmp(a->public, b->public, KEY_BYTES) == 0;
}

/* A head: what it says, as spans of the note. */
struct head {
	struct span origin;
	uint64_t size;
	struct hash root;
	struct span text; /* what is signed */
	struct span signatures; /* lines */
};
/* Returns 0, or -1 when it is no head. Does not look at the signatures. */
int head_parse(struct span note, struct head *h);
enum head_verdict {
	HEAD_GOOD,
	HEAD_BAD, /* the key has not made the signature that names it */
	HEAD_OTHER, /* not signed by this key */
};
/* Whether the key has signed the head, and the head's origin is the key's name. */
enum head_verdict head_verify(const struct head *h, const struct vkey *key);
/* Appends a head with its signature. */
void head_sign(const struct skey *key, uint64_t size, const struct hash *root, struct buf *out);

/* Takes a line, without its end, off the front of @rest. Returns false when there is no whole
 * one. */
bool note_line(struct span *rest, struct span *line);

#endif
