/* SPDX-License-Identifier: ISC */
/* What evchain verify knows; see verify.c for the design. */
#ifndef EVPIPE_EVCHAIN_VERIFY_H
#define EVPIPE_EVCHAIN_VERIFY_H

#include "evchain/entry.h"
#include "evchain/files.h"
#include "evchain/finding.h"
#include "evchain/heads.h"
#include "evchain/tiles.h"

/* A head that the log is held against. */
struct kept {
	bool is_there;
	struct buf note;
	struct head head;
	bool is_reached; /* the log has so many entries */
	bool is_tiles,
		/* the root of the tree of tiles' hashes, of lines' hashes, is the head's */
		is_lines;
};

struct verify {
	struct files files;
	struct tiles tiles;
	struct tree tree; /* of tiles' hashes where a line differs */
	struct tree lines; /* of lines' hashes, while is_forked */
	bool is_forked;
	struct hash last[2]; /* of the last entry: its line's, its tile's */
	bool is_known; /* there is a last entry */
	int64_t at; /* its time */
	bool is_broken; /* an entry is missing and no tile has its hash: no root can be computed */
	bool has_junk; /* the last line is no entry: the next one tells whether it was one … */
	struct hash junk; /* … and this is its hash */
	uint64_t lines_count; /* entries whose lines are here */
	uint64_t absent; /* entries of segments that are not here … */
	uint64_t absent_from; /* … the last stretch of them */
	struct kept newest, given; /* FILE.tlog/checkpoint; --head */
	struct heads heads;
	uint64_t heads_count; /* that are good */
	uint64_t good_size,
		/* the last head whose root is right, the first whose root is not; UINT64_MAX:
		 * none */
		bad_size;
	bool is_torn; /* the last line has no end */
	struct findings found;
	struct buf ranges; /* sentences: which entries are not here */
};

/* Reads all segments, from v->files. */
void verify_lines(struct verify *v);
/* The entries up to this one should be there, and are not. */
void verify_missing(struct verify *v, uint64_t upto);

#endif
