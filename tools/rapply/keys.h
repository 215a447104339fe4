/* SPDX-License-Identifier: ISC */
/* Which words of a Redis command are keys (redis.io/docs/reference/key-specs), and the slot of a
 * cluster that they are of. */
#ifndef EVPIPE_RAPPLY_KEYS_H
#define EVPIPE_RAPPLY_KEYS_H

#include "base/buf.h"

enum { KEYS_NO_SLOT = -1, KEYS_SEVERAL_SLOTS = -2 };

struct keys_list { /* of words */
	struct span *p;
	size_t count, cap;
};

struct keys {
	struct keys_list words; /* of the command */
	struct keys_list keys; /* that are among them */
};

/* Takes the command that @rest begins with, one of our own in RESP, off its front. Spans are valid
 * as long as its bytes. A command that is not known has its key, like most, in the first word
 * behind its name. */
void keys_take(struct keys *k, struct span *rest);
/* The slot of all keys, or one of the two above. */
int keys_slot(const struct keys *k);
void keys_free(struct keys *k);

#endif
