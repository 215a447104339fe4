/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evchain/tiles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void tile_path(struct tile t, char *path)
{
	uint64_t unit = 1;
	int at = snprintf(path, TILE_PATH, "tile/%u", t.level);

	while (t.n / unit >= 1000)
		unit *= 1000;
	for (; unit; unit /= 1000)
		at += snprintf(path + at, (size_t)(TILE_PATH - at), "/%s%03u", unit > 1 ? "x" : "",
			(unsigned)(t.n / unit % 1000));
}

/* ---- reading ---- */

static unsigned read_hashes(struct tiles *s, const char *path, struct hash *hashes)
{
	int fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = pread(fd, hashes, TILE_BYTES, 0);
	close(fd);
	if (n > 0)
		s->bytes += (uint64_t)n;
	return n > 0 ? (unsigned)n / HASH_BYTES : 0;
}

/* The next partial file of a folder "N.p": its width; 0 at the end. */
static unsigned next_partial(DIR *d)
{
	struct dirent *e;

	while (d && (e = readdir(d))) {
		unsigned long n = strtoul(e->d_name, NULL, 10);

		if (n && n < TILE_WIDTH && !strchr(e->d_name, '~'))
			return (unsigned)n;
	}
	return 0;
}

static DIR *open_partials(int dir, const char *path)
{
	char partial[TILE_PATH + 4];
	int fd;
	DIR *d;

	snprintf(partial, sizeof(partial), "%s.p", path);
	fd = openat(dir, partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	d = fdopendir(fd);
	if (!d)
		close(fd);
	return d;
}

/* The widest of the tile's partial files; 0: there is none. */
static unsigned widest(int dir, const char *path)
{
	DIR *d = open_partials(dir, path);
	unsigned width = 0, w;

	while ((w = next_partial(d)))
		width = w > width ? w : width;
	if (d)
		closedir(d);
	return width;
}

unsigned tiles_read(struct tiles *s, struct tile t, unsigned width, const struct hash **hashes)
{
	char path[TILE_PATH], partial[TILE_PATH + 16];
	struct hash *to = s->kept[t.level].hash;
	unsigned n, wide;

	*hashes = to;
	if (s->kept[t.level].is_there && s->kept[t.level].n == t.n &&
		s->kept[t.level].width >= width)
		return s->kept[t.level].width;
	tile_path(t, path);
	n = read_hashes(s, path, to);
	if (n < TILE_WIDTH) {
		n = 0;
		wide = widest(s->dir, path);
		snprintf(partial, sizeof(partial), "%s.p/%u", path, wide);
		if (wide >= width)
			n = read_hashes(s, partial, to);
	}
	s->kept[t.level].is_there = n >= width;
	s->kept[t.level].n = t.n;
	s->kept[t.level].width = n;
	if (n >= width)
		return n;
	memcpy(s->missing, path, sizeof(path));
	return 0;
}

static void fold(const struct hash *hashes, unsigned count, struct hash *out)
{
	struct hash h[TILE_WIDTH];

	memcpy(h, hashes, count * sizeof(*h));
	for (; count > 1; count /= 2)
		for (unsigned i = 0; i < count / 2; i++)
			hash_node(&h[2 * i], &h[2 * i + 1], &h[i]);
	*out = h[0];
}

int tiles_subtree(struct tiles *s, unsigned k, uint64_t i, struct hash *h)
{
	unsigned level = k / 8, count = 1U << k % 8;
	uint64_t first = i << k % 8;
	const struct hash *hashes;

	if (!tiles_read(s, (struct tile){level, first / TILE_WIDTH}, first % TILE_WIDTH + count,
		    &hashes))
		return -1;
	fold(hashes + first % TILE_WIDTH, count, h);
	return 0;
}

static int read_peaks(struct tiles *s, uint64_t size, struct tree *t)
{
	t->size = size;
	for (unsigned k = 0; k < 64; k++)
		if (size >> k & 1 && tiles_subtree(s, k, (size >> k) - 1, &t->peak[k]))
			return -1;
	return 0;
}

int tiles_root(struct tiles *s, uint64_t size, struct hash *root)
{
	struct tree t;

	t.full = NULL;
	if (read_peaks(s, size, &t))
		return -1;
	tree_root(&t, root);
	return 0;
}

int tiles_tree(struct tiles *s, uint64_t size, struct tree *t)
{
	const struct hash *hashes;

	if (read_peaks(s, size, t))
		return -1;
	for (unsigned level = 0; level < TILE_LEVELS; level++) {
		unsigned width = (unsigned)(size >> 8 * level) % TILE_WIDTH;

		t->last[level].width = width;
		if (width && !tiles_read(s, tree_last(t, level), width, &hashes))
			return -1;
		if (width)
			memcpy(t->last[level].hash, hashes, width * sizeof(*hashes));
	}
	return 0;
}

/* ---- writing ---- */

int tile_create(int dir, const char *path, int flags)
{
	char folder[TILE_PATH + 16];
	int fd = openat(dir, path, flags | O_CREAT | O_CLOEXEC, 0666);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
		if (mkdirat(dir, folder, 0777) && errno != EEXIST)
			return -1;
	}
	return openat(dir, path, flags | O_CREAT | O_CLOEXEC, 0666);
}

/* Removes the tile's partial files but for the one of @width, and the folder when the tile is
 * full. */
static void remove_partials(int dir, const char *path, unsigned width)
{
	char partial[TILE_PATH + 16];
	DIR *d = open_partials(dir, path);

	if (!d)
		return;
	for (unsigned w; (w = next_partial(d));) {
		snprintf(partial, sizeof(partial), "%u", w);
		if (w != width)
			unlinkat(dirfd(d), partial, 0);
	}
	closedir(d);
	snprintf(partial, sizeof(partial), "%s.p", path);
	if (width == TILE_WIDTH)
		unlinkat(dir, partial, AT_REMOVEDIR);
}

static int write_hashes(int dir, const char *path, const struct hash *hashes, unsigned width)
{
	size_t size = width * sizeof(*hashes);
	int fd = tile_create(dir, path, O_WRONLY | O_TRUNC), saved;
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, hashes, size);
	if (n >= 0 && (size_t)n < size)
		errno = ENOSPC;
	if ((size_t)n != size || (width < TILE_WIDTH && fdatasync(fd))) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return close(fd);
}

int tile_write(int dir, struct tile t, const struct hash *hashes, unsigned width)
{
	char path[TILE_PATH], to[TILE_PATH + 16], tmp[TILE_PATH + 20];

	tile_path(t, path);
	if (width < TILE_WIDTH)
		snprintf(to, sizeof(to), "%s.p/%u", path, width);
	else
		snprintf(to, sizeof(to), "%s", path);
	snprintf(tmp, sizeof(tmp), "%s~", to);
	if (write_hashes(dir, tmp, hashes, width) || renameat(dir, tmp, dir, to))
		return -1;
	remove_partials(dir, path, width);
	return 0;
}
