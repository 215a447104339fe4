/* SPDX-License-Identifier: ISC */
/* The heads that a log has signed, FILE.tlog/heads, in order, and the keys that signed them: from
 * the first key to the present one by the log's own entries. */
#ifndef EVPIPE_EVCHAIN_HEADS_H
#define EVPIPE_EVCHAIN_HEADS_H

#include "base/line.h"
#include "evchain/note.h"

struct heads {
	/* Keys that were followed: [0] is the one that the reader was given. */
	struct vkey *keys;
	size_t key_count;
	bool has_signed; /* the present key has signed a head */
	uint64_t covers; /* the largest size that the present key has signed */
	uint64_t others; /* heads of keys before the first one that is known */
	/* The next head; its size is UINT64_MAX at the end. */
	struct head next;
	uint64_t number; /* of its line */
	bool is_damaged; /* that line is no record of a head */
	bool is_torn; /* the last line has no end */
	/* internal */
	int fd;
	struct line line;
	struct buf note;
	bool has_change; /* an entry names the next key */
	struct vkey change;
	uint64_t change_n;
};

/* @key NULL: signatures are not looked at. Dies with 111 when the file cannot be read. */
void heads_open(struct heads *h, int dir, const struct vkey *key);
/* Reads the next one. */
void heads_next(struct heads *h);
/* An entry that names a new key. */
void heads_change(struct heads *h, uint64_t n, const struct vkey *key);
/* Whether a key of the log has signed the head, in the order of heads. Returns NULL, or why not. */
const char *heads_judge(struct heads *h, const struct head *head);
/* The same for a head out of order: any key that was followed. */
const char *heads_judge_any(const struct heads *h, const struct head *head);
void heads_close(struct heads *h);

#endif
