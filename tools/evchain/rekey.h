/* SPDX-License-Identifier: ISC */
/* The change of keys, --rekey: who breaks in today cannot sign for yesterday.
 *
 * 1. The new key is made, in KEYFILE.new.
 * 2. An entry names its verifier, and the old key signs a head that has this entry.
 * 3. The new key signs a head.
 * 4. KEYFILE.new becomes KEYFILE, and the old key is erased.
 *
 * After a crash the log tells how far it was: before 2 the new key is thrown away, later the change
 * goes on. */
#ifndef EVPIPE_EVCHAIN_REKEY_H
#define EVPIPE_EVCHAIN_REKEY_H

#include "evchain/writer.h"

/* Reads a new key that a crash has left. Returns whether there is one. */
bool rekey_find(const char *file, struct skey *next);
/* When the key was made: ms since the epoch, by the time of its file. */
int64_t rekey_made_ms(const char *file);
/* Step 1, and the entry of step 2, committed. Returns 0, or -1 with errno. */
int rekey_begin(struct writer *w, const char *file, int64_t now_ms);
/* Between heads: the writer signs with the new key from now on. */
void rekey_turn(struct writer *w);
/* Step 4. Returns 0, or -1 with errno. */
int rekey_end(const char *file);
/* Throws a new key away that no entry names. */
void rekey_forget(struct writer *w, const char *file);

#endif
