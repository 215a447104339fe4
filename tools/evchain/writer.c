/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evchain/writer.h"

#include "base/mem.h"
#include "base/msg.h"
#include "evchain/entry.h"
#include "evchain/recover.h"
#include "json/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- entries ---- */

void writer_place(struct writer *w, uint64_t n, uint64_t place)
{
	if (n % TILE_WIDTH == 0)
		w->place_from = n;
	w->places[n % TILE_WIDTH] = place;
	/* The index is a cache: what cannot be written there is found without it. What is recovered
	 * is mostly there. */
	if (n % TILE_WIDTH == TILE_WIDTH - 1 &&
		(w->tree.full == writer_tile || index_find(w->files.dir, n) != (int64_t)place))
		index_write(w->files.dir, w->place_from, &w->places[w->place_from % TILE_WIDTH],
			(size_t)(n + 1 - w->place_from));
}

void writer_add(struct writer *w, struct span source, struct span record, int64_t now_ms)
{
	char prev[HASH_TEXT];
	size_t from = w->group.len;
	struct entry e = {.n = w->tree.size,
		.at = now_ms > w->at ? now_ms : w->at,
		.prev = {prev, HASH_TEXT},
		.is_first = !from,
		.source = source,
		.record = record};

	hash_print(&w->prev, prev);
	entry_print(&e, &w->group);
	hash_leaf((struct span){w->group.p + from, w->group.len - from}, &w->prev);
	buf_putc(&w->group, '\n');
	writer_place(w, e.n, w->bytes + from);
	tree_add(&w->tree, &w->prev);
	w->at = e.at;
	if (w->first_at < 0)
		w->first_at = e.at;
}

void writer_tile(void *writer, struct tile t, const struct hash *hashes)
{
	struct writer *w = writer;

	buf_put(&w->full, &t, sizeof(t));
	buf_put(&w->full, hashes, TILE_BYTES);
}

int writer_put_tiles(struct writer *w)
{
	struct hash hashes[TILE_WIDTH];
	struct tile t;

	for (size_t at = 0; at < w->full.len; at += sizeof(t) + TILE_BYTES) {
		memcpy(&t, w->full.p + at, sizeof(t));
		memcpy(hashes, w->full.p + at + sizeof(t), TILE_BYTES);
		if (tile_write(w->files.dir, t, hashes, TILE_WIDTH))
			return -1;
	}
	buf_clear(&w->full);
	return 0;
}

/* Takes a group back that is not whole: none of it was acknowledged. */
static int take_back(struct writer *w)
{
	int saved = errno;

	if (ftruncate(w->fd, (off_t)w->bytes))
		msg_error("cannot take an unfinished group out of '%s': %s; the next start does it",
			w->files.file, strerror(errno));
	errno = saved;
	return -1;
}

int writer_commit(struct writer *w)
{
	enum { KEPT = 4 << 20 };

	if (!w->group.len)
		return 0;
	if (file_write(w->fd, buf_as_span(&w->group)) || fdatasync(w->fd))
		return take_back(w);
	w->bytes += w->group.len;
	if (w->group.cap > KEPT)
		buf_free(&w->group);
	buf_clear(&w->group);
	return writer_put_tiles(w);
}

/* ---- heads ---- */

static int put_partial_tiles(struct writer *w)
{
	for (unsigned level = 0; level < TILE_LEVELS; level++) {
		struct tile t = tree_last(&w->tree, level);
		unsigned width = w->tree.last[level].width;

		if (!width || (w->width[level] == width && w->written[level].n == t.n))
			continue;
		if (tile_write(w->files.dir, t, w->tree.last[level].hash, width))
			return -1;
		w->written[level] = t;
		w->width[level] = width;
	}
	if (w->tree.size > w->place_from)
		index_write(w->files.dir, w->place_from, &w->places[w->place_from % TILE_WIDTH],
			(size_t)((w->tree.size - 1) % TILE_WIDTH + 1 - w->place_from % TILE_WIDTH));
	return 0;
}

/* Another program that changes FILE makes nothing of what is signed true. */
static int check_file(const struct writer *w)
{
	struct stat named, open;

	if (stat(w->files.file, &named) == 0 && fstat(w->fd, &open) == 0 &&
		named.st_ino == open.st_ino && named.st_dev == open.st_dev &&
		open.st_size == (off_t)w->bytes)
		return 0;
	errno = ESTALE;
	return -1;
}

static int add_to_heads(const struct writer *w, struct span record)
{
	int fd = openat(w->files.dir, "heads", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	int rc = fd < 0 || file_write(fd, record) || fdatasync(fd) ? -1 : 0;
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return rc;
}

/* The first key stays there: later ones stand in entries. */
static int put_key(const struct writer *w)
{
	struct buf b = {0};
	int rc;

	if (faccessat(w->files.dir, "key.pub", F_OK, 0) == 0)
		return 0;
	vkey_print(&w->key.verifier, &b);
	buf_putc(&b, '\n');
	rc = file_replace(w->files.dir, "key.pub", buf_as_span(&b), 0666);
	buf_free(&b);
	return rc;
}

int writer_head(struct writer *w, int64_t now_ms, struct buf *record)
{
	struct buf note = {0};
	size_t from = record->len;
	struct hash root;
	int rc = 0;

	if (check_file(w) || put_partial_tiles(w))
		return -1;
	if (w->has_key) {
		tree_root(&w->tree, &root);
		head_sign(&w->key, w->tree.size, &root, &note);
		buf_printf(record, "{\"ts\":%" PRId64 ",", now_ms);
		json_put_member(record, "key",
			(struct span){w->key.verifier.name, strlen(w->key.verifier.name)});
		buf_putc(record, ',');
		json_put_member(record, "payload", buf_as_span(&note));
		buf_puts(record, "}\n");
		rc = file_replace(w->files.dir, "checkpoint", buf_as_span(&note), 0666);
		if (rc == 0)
			rc = add_to_heads(w, (struct span){record->p + from, record->len - from});
		if (rc == 0 && w->head_size == UINT64_MAX)
			rc = put_key(w);
		buf_free(&note);
	}
	if (rc == 0)
		w->head_size = w->tree.size;
	return rc;
}

/* ---- segments ---- */

static int open_segment(struct writer *w)
{
	w->fd = open(w->files.file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, w->mode);
	return w->fd < 0 ? -1 : 0;
}

int writer_rotate(struct writer *w)
{
	char *path = files_segment_path(w->files.file, w->first, w->tree.size - 1);
	int rc = rename(w->files.file, path);

	free(path);
	if (rc)
		return -1;
	close(w->fd);
	w->first = w->tree.size;
	w->first_at = -1;
	w->bytes = 0;
	if (open_segment(w))
		return -1;
	files_list(&w->files);
	return file_sync_folder(w->files.file);
}

/* ---- the log ---- */

static void take_lock(struct writer *w)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	w->lock = openat(w->files.dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (w->lock < 0)
		die(errno == ENOSPC || errno == EDQUOT || msg_errno_status(errno),
			"cannot open '%s.tlog/lock': %s", w->files.file, msg_errno(errno));
	if (fcntl(w->lock, F_OFD_SETLK, &lock) == 0)
		return;
	/* In a unit it may be that of a run that was killed, and ends with its input. */
	if (errno == EAGAIN || errno == EACCES)
		die(getenv("EVPIPE_RUN") ? EXIT_TEMP : EXIT_PERM,
			"another program appends to '%s': a log has one writer", w->files.file);
	die(EXIT_TEMP, "cannot lock '%s.tlog/lock': %s", w->files.file, strerror(errno));
}

void writer_open(
	struct writer *w, const char *file, const struct skey *key, const struct skey *next)
{
	struct stat st;

	*w = (struct writer){.at = -1, .first_at = -1, .head_size = UINT64_MAX};
	if (stat(file, &st) == 0 && !S_ISREG(st.st_mode))
		die(EXIT_PERM, "'%s' is no file", file);
	files_open(&w->files, file, true);
	file = w->files.file;
	take_lock(w);
	if (key) {
		w->has_key = true;
		w->key = *key;
	}
	if (next) {
		w->has_next = true;
		w->next = *next;
	}
	recover(w);
	w->tree.full = writer_tile;
	w->tree.ctx = w;
	w->mode = stat(file, &st) == 0 ? st.st_mode & 0777 : 0600;
	if (open_segment(w) || file_sync_folder(file))
		die(errno == EACCES || errno == EROFS ? EXIT_PERM : EXIT_TEMP,
			"cannot open '%s': %s", file, msg_errno(errno));
}

void writer_close(struct writer *w)
{
	close(w->fd);
	close(w->lock);
	files_close(&w->files);
	buf_free(&w->group);
	buf_free(&w->full);
	explicit_bzero(&w->key, sizeof(w->key));
}
