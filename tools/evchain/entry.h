/* SPDX-License-Identifier: ISC */
/* An entry of the log: {"n":N,"at":MS,"prev":"HASH"[,"s":1][,"source":"NAME"],"record":RECORD}. */
#ifndef EVPIPE_EVCHAIN_ENTRY_H
#define EVPIPE_EVCHAIN_ENTRY_H

#include "evchain/hash.h"
#include "evchain/note.h"

struct entry {
	uint64_t n;
	int64_t at; /* ms since the epoch */
	struct span prev; /* HASH_TEXT characters */
	bool is_first; /* of a group: everything before it was synced when it was written */
	struct span source; /* text between the quotes, as it stands; SPAN_NONE: none */
	struct span record; /* its bytes */
};

/* Returns 0, or -1 when the line is no entry. Members that it does not know are passed over. @line
 * has BUF_SLACK readable bytes behind it. Of the record no more is looked at than its last
 * bracket. */
int entry_parse(struct span line, struct entry *e);
/* The number and time alone, from the beginning of a line that may be cut short. Returns 0, or
 * -1. */
int entry_begin(struct span line, uint64_t *n, int64_t *at);
/* Appends the line, without its end. */
void entry_print(const struct entry *e, struct buf *out);
/* The record of a key change, {"evchain":"key","vkey":"KEY"}. */
void entry_print_key(const struct vkey *key, struct buf *out);
/* Whether the record is one, and the new key. */
bool entry_is_key(struct span record, struct vkey *key);

#endif
