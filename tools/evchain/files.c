/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evchain/files.h"

#include "base/mem.h"
#include "base/msg.h"
#include "evchain/entry.h"
#include "evchain/tiles.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* "folder/", or "". */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? span_text((struct span){path, (size_t)(slash + 1 - path)}) : mem_dup("");
}

char *file_behind_links(const char *file)
{
	enum { MOST = 40 };
	char *name = mem_dup(file), target[PATH_MAX];
	ssize_t n;

	for (int i = 0; (n = readlink(name, target, sizeof(target))) >= 0; i++) {
		char *folder = target[0] == '/' ? mem_dup("") : folder_of(name);

		free(name);
		name = mem_printf("%s%.*s", folder, (int)n, target);
		free(folder);
		if (i == MOST)
			die(EXIT_PERM, "cannot open '%s': %s", file, strerror(ELOOP));
	}
	return name;
}

/* "FIRST-LAST" of at least 12 digits each. */
static bool is_range(const char *name, uint64_t *first, uint64_t *last)
{
	size_t n = strspn(name, "0123456789"), m;

	if (n < 12 || name[n] != '-')
		return false;
	m = strspn(name + n + 1, "0123456789");
	*first = strtoull(name, NULL, 10);
	*last = strtoull(name + n + 1, NULL, 10);
	return m >= 12 && !name[n + 1 + m] && *last >= *first;
}

void files_refuse_segment(const struct files *f)
{
	const char *dot = strrchr(f->file, '.');
	uint64_t first, last;
	char *log, *dir;

	if (!dot || !is_range(dot + 1, &first, &last))
		return;
	log = span_text((struct span){f->file, (size_t)(dot - f->file)});
	dir = mem_printf("%s.tlog", log);
	if (access(dir, F_OK) == 0)
		die(EXIT_PERM, "'%s' is a closed segment: the log is '%s'", f->file, log);
	free(log);
	free(dir);
}

static void open_folder(struct files *f, const char *dir)
{
	f->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->dir < 0)
		die(msg_errno_status(errno), "cannot open the folder '%s': %s", dir,
			msg_errno(errno));
}

void files_open(struct files *f, const char *file, bool make)
{
	char *dir;

	*f = (struct files){.file = file_behind_links(file)};
	files_refuse_segment(f);
	dir = mem_printf("%s.tlog", f->file);
	if (make && mkdir(dir, 0777) && errno != EEXIST)
		die(errno == ENOSPC || errno == EDQUOT ? EXIT_TEMP : EXIT_PERM,
			"cannot make the folder '%s': %s", dir, strerror(errno));
	open_folder(f, dir);
	free(dir);
}

void files_open_if(struct files *f, const char *file)
{
	char *dir;

	*f = (struct files){.file = file_behind_links(file), .dir = -1};
	dir = mem_printf("%s.tlog", f->file);
	if (access(dir, F_OK) == 0)
		open_folder(f, dir);
	free(dir);
}

static void forget(struct files *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->segments[i].path);
	f->count = 0;
}

static void add(struct files *f, uint64_t first, uint64_t last, char *path)
{
	f->segments = mem_realloc(f->segments, (f->count + 1) * sizeof(*f->segments));
	f->segments[f->count++] = (struct segment){first, last, path};
}

static int compare(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

static void list_closed(struct files *f)
{
	const char *slash = strrchr(f->file, '/'), *name = slash ? slash + 1 : f->file;
	char *folder = folder_of(f->file);
	size_t n = strlen(name);
	uint64_t first, last;
	struct dirent *e;
	DIR *d = opendir(*folder ? folder : ".");

	if (!d)
		die(EXIT_TEMP, "cannot read the folder '%s': %s", *folder ? folder : ".",
			msg_errno(errno));
	while ((e = readdir(d)))
		if (strncmp(e->d_name, name, n) == 0 && e->d_name[n] == '.' &&
			is_range(e->d_name + n + 1, &first, &last))
			add(f, first, last, mem_printf("%s%s", folder, e->d_name));
	closedir(d);
	free(folder);
	if (f->count)
		qsort(f->segments, f->count, sizeof(*f->segments), compare);
}

void files_add_open(struct files *f)
{
	add(f, f->count ? f->segments[f->count - 1].last + 1 : 0, UINT64_MAX, mem_dup(f->file));
}

void files_list(struct files *f)
{
	char head[64];
	uint64_t first;
	int64_t at;
	ssize_t n = 0;
	int fd;

	forget(f);
	/* FILE is looked at first: if it is closed meanwhile, it is listed twice and not left
	 * out. */
	fd = open(f->file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		die(msg_errno_status(errno), "cannot open '%s': %s", f->file, msg_errno(errno));
	list_closed(f);
	if (fd < 0)
		return;
	n = pread(fd, head, sizeof(head), 0);
	close(fd);
	if (n <= 0 || entry_begin((struct span){head, (size_t)n}, &first, &at))
		first = 0;
	files_add_open(f);
	/* The segments before it may be elsewhere. */
	if (first > f->segments[f->count - 1].first)
		f->segments[f->count - 1].first = first;
}

void files_close(struct files *f)
{
	forget(f);
	free(f->segments);
	free(f->file);
	if (f->dir >= 0)
		close(f->dir);
}

char *files_segment_path(const char *file, uint64_t first, uint64_t last)
{
	return mem_printf("%s.%012" PRIu64 "-%012" PRIu64, file, first, last);
}

/* ---- small files ---- */

int file_read(int dir, const char *path, struct buf *out)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC), saved;
	ssize_t n;

	if (fd < 0)
		return -1;
	while ((n = read(fd, buf_room(out, 16 << 10), 16 << 10)) > 0)
		out->len += (size_t)n;
	saved = errno;
	close(fd);
	errno = saved;
	return n < 0 ? -1 : 0;
}

int file_write(int fd, struct span bytes)
{
	while (bytes.len) {
		ssize_t n = write(fd, bytes.p, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		bytes.p += n;
		bytes.len -= (size_t)n;
	}
	return 0;
}

int file_sync_folder(const char *path)
{
	char *folder = folder_of(path);
	int fd = open(*folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd < 0 ? -1 : fsync(fd);

	free(folder);
	if (fd >= 0)
		close(fd);
	return rc;
}

int file_replace(int dir, const char *path, struct span bytes, mode_t mode)
{
	char *tmp = mem_printf("%s~", path);
	int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	int rc = -1;

	if (fd >= 0) {
		rc = file_write(fd, bytes) || fsync(fd) ? -1 : 0;
		rc = close(fd) || rc ? -1 : 0;
	}
	if (rc == 0)
		rc = renameat(dir, tmp, dir, path);
	free(tmp);
	if (rc == 0)
		rc = dir == AT_FDCWD ? file_sync_folder(path) : fsync(dir);
	return rc;
}

/* ---- the index ---- */

static void index_path(uint64_t n, char *path)
{
	char tile[TILE_PATH];

	/* The names of tiles: "tile/0/x001/234". */
	tile_path((struct tile){0, n / TILE_WIDTH}, tile);
	snprintf(path, TILE_PATH, "index/%s", tile + strlen("tile/0/"));
}

int64_t index_find(int dir, uint64_t n)
{
	char path[TILE_PATH];
	uint64_t place;
	ssize_t got;
	int fd;

	index_path(n, path);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	got = pread(fd, &place, sizeof(place), (off_t)(n % TILE_WIDTH * sizeof(place)));
	close(fd);
	return got == sizeof(place) ? (int64_t)(le64toh(place) & INT64_MAX) : -1;
}

int index_write(int dir, uint64_t n, const uint64_t *places, size_t count)
{
	uint64_t little[TILE_WIDTH];
	char path[TILE_PATH];
	size_t size = count * sizeof(*little);
	ssize_t put;
	int fd;

	for (size_t i = 0; i < count; i++)
		little[i] = htole64(places[i]);
	index_path(n, path);
	fd = tile_create(dir, path, O_WRONLY);
	if (fd < 0)
		return -1;
	put = pwrite(fd, little, size, (off_t)(n % TILE_WIDTH * sizeof(*little)));
	close(fd);
	return put == (ssize_t)size ? 0 : -1;
}
