/* SPDX-License-Identifier: ISC */
/* The writer of a log: entries in groups, each durable as a whole; tiles; heads.
 *
 * A turn: writer_add for each entry, writer_commit, and then what was added is durable. writer_head
 * signs for what was committed. There is one writer: it holds a lock. */
#ifndef EVPIPE_EVCHAIN_WRITER_H
#define EVPIPE_EVCHAIN_WRITER_H

#include "evchain/files.h"
#include "evchain/note.h"
#include "evchain/tiles.h"

struct writer {
	struct files files;
	struct tree tree; /* of the entries that are committed, and of those in the group */
	uint64_t first; /* entry of FILE */
	uint64_t bytes; /* of FILE that are committed */
	int64_t at,
		first_at; /* time of the last entry, and of FILE's first one; -1: there is none */
	struct hash prev; /* of the last entry; all zero: there is none */
	bool has_key;
	struct skey key;
	bool has_next; /* --rekey: a key that a crash has left on its way … */
	struct skey next;
	bool is_named; /* … and the last entry names it */
	bool has_turned; /* … and it has signed the newest head: key is that one */
	/* Of the newest head, or without a key of the tiles; UINT64_MAX: there is none. */
	uint64_t head_size;
	/* internal */
	int fd, lock;
	mode_t mode; /* of a new segment */
	struct buf group; /* lines */
	struct buf full; /* tiles that are full, and are written once their entries are synced */
	uint64_t places[TILE_WIDTH]; /* of entries in the index's block … */
	uint64_t place_from; /* … from this one on */
	struct tile written[TILE_LEVELS]; /* partial tiles as files … */
	unsigned width[TILE_LEVELS]; /* … and their widths */
};

/* Opens the log, makes it when it is not there, and repairs what a crash has left: see recover.c.
 * @key NULL: heads are not signed. @next: a key that a change of keys has left, or NULL. Dies with
 * 100 when another writer has it or it is damaged, with 111 when the system fails. */
void writer_open(
	struct writer *w, const char *file, const struct skey *key, const struct skey *next);
/* The next entry of the group. @source: as JSON has it between the quotes; SPAN_NONE: none. */
void writer_add(struct writer *w, struct span source, struct span record, int64_t now_ms);
/* Writes the group and syncs it, if there is one. Returns 0; or -1 with errno, and FILE is as it
 * was before. The writer is not to be used any more then. */
int writer_commit(struct writer *w);
/* Whether there are entries that no head covers. Not while some are in the group alone: a head
 * would sign for what a program that ends then does not write. */
static inline bool writer_has_unsigned(const struct writer *w)
{
	return !w->group.len && w->tree.size != w->head_size;
}
/* Signs a head for all that was committed, and makes it durable with its tiles. Appends the head's
 * record, a line, to @record. Without a key it writes the tiles alone. Returns 0, or -1 with errno;
 * ESTALE: FILE was changed by another program. */
int writer_head(struct writer *w, int64_t now_ms, struct buf *record);
/* Closes FILE as a segment of its own and begins the next one; sign a head before. Returns 0, or -1
 * with errno. */
int writer_rotate(struct writer *w);
void writer_close(struct writer *w);

/* ---- for recover.c ---- */
void writer_tile(void *writer, struct tile t, const struct hash *hashes);
int writer_put_tiles(struct writer *w);
void writer_place(struct writer *w, uint64_t n, uint64_t place);

#endif
