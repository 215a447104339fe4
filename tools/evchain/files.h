/* SPDX-License-Identifier: ISC */
/* The files of a log: FILE, the open segment; FILE.FIRST-LAST, those that are closed; and the
 * folder FILE.tlog. */
#ifndef EVPIPE_EVCHAIN_FILES_H
#define EVPIPE_EVCHAIN_FILES_H

#include "base/buf.h"

#include <stddef.h>
#include <sys/types.h>

struct segment {
	uint64_t first, last; /* entries; of FILE itself last is UINT64_MAX */
	char *path;
};

struct files {
	char *file; /* where the symbolic link leads to, when the user named one */
	int dir; /* FILE.tlog */
	struct segment *segments; /* in order; FILE itself is the last, if it is there */
	size_t count;
};

/* Opens FILE.tlog, and makes it if @make. A symbolic link is another name of the log that it leads
 * to: one lock, one folder. Dies with 100 when the folder is not there or cannot be opened. */
void files_open(struct files *f, const char *file, bool make);
/* The same for a reader: dir is -1 when the folder is not there. */
void files_open_if(struct files *f, const char *file);
/* Dies with 100 when FILE is a closed segment of a log that stands there. */
void files_refuse_segment(const struct files *f);
/* Lists the segments; FILE's first entry is looked up in it, 0 or behind the last closed segment
 * when it is empty. Dies with 111 when the folder cannot be read. */
void files_list(struct files *f);
/* Adds FILE to the list, though it is not there yet. */
void files_add_open(struct files *f);
void files_close(struct files *f);
/* "FILE.000000000000-000000000999", to be freed. */
char *files_segment_path(const char *file, uint64_t first, uint64_t last);
/* The name behind all symbolic links, to be freed; it may be of a file that is not there yet. */
char *file_behind_links(const char *file);
/* A whole small file below FILE.tlog, or of any name with @dir AT_FDCWD: appended to @out. Returns
 * 0, or -1 with errno. */
int file_read(int dir, const char *path, struct buf *out);
/* Replaces a file: written, synced, renamed, and the folder synced. Returns 0, or -1 with errno. */
int file_replace(int dir, const char *path, struct span bytes, mode_t mode);
/* Syncs the folder that holds @path. Returns 0, or -1 with errno. */
int file_sync_folder(const char *path);
/* All of @bytes at the end of the descriptor. Returns 0, or -1 with errno. */
int file_write(int fd, struct span bytes);

/* The place in its segment of an entry, as the index has it; -1: the index has nothing. Is not to
 * be trusted. */
int64_t index_find(int dir, uint64_t n);
/* Notes places of entries that follow each other, within one block of 256 entries. Returns 0, or -1
 * with errno. */
int index_write(int dir, uint64_t n, const uint64_t *places, size_t count);

#endif
