/* SPDX-License-Identifier: ISC */
/* Bodies: kept in memory up to IN_MEMORY_BYTES, a longer one in a file without a name, which is
 * mapped when it is whole. */
#define _GNU_SOURCE
#include "http/http-parts.h"

#include "base/mem.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	IN_MEMORY_BYTES = 1 << 20,
	AROUND_BYTES = 64 << 10, /* that the kernel maps around a byte that is read */
};

struct http_body {
	struct buf tail; /* what the file does not have */
	int fd; /* -1: none, and all is in the tail */
	bool memory_only; /* no file can be had */
	size_t in_file;
	char *map;
	size_t map_bytes;
	const char *passed; /* memory up to here was given back */
};

static int open_file(void)
{
	const char *const dirs[] = {getenv("TMPDIR"), "/var/tmp", "/tmp"};
	int fd = -1;

	for (size_t i = 0; fd < 0 && i < sizeof(dirs) / sizeof(*dirs); i++) {
		char *name = dirs[i] ? mem_printf("%s/evpipe-XXXXXX", dirs[i]) : NULL;

		fd = name ? mkostemp(name, O_CLOEXEC) : -1;
		if (fd >= 0)
			unlink(name);
		free(name);
	}
	return fd;
}

/* Returns 0 or -1. */
static int write_tail(struct http_body *b)
{
	for (size_t at = 0; at < b->tail.len;) {
		ssize_t n =
			pwrite(b->fd, b->tail.p + at, b->tail.len - at, (off_t)(b->in_file + at));

		if (n <= 0)
			return -1;
		at += (size_t)n;
	}
	b->in_file += b->tail.len;
	buf_clear(&b->tail);
	return 0;
}

/* The file cannot have all: it comes back to memory. Returns 0 or -1. */
static int read_back(struct http_body *b)
{
	struct buf all = {0};

	buf_room(&all, b->in_file + b->tail.len);
	while (all.len < b->in_file) {
		ssize_t n = pread(b->fd, all.p + all.len, b->in_file - all.len, (off_t)all.len);

		if (n <= 0) {
			buf_free(&all);
			return -1;
		}
		all.len += (size_t)n;
	}
	buf_span(&all, buf_as_span(&b->tail));
	buf_free(&b->tail);
	b->tail = all;
	close(b->fd);
	b->fd = -1;
	b->in_file = 0;
	b->memory_only = true;
	return 0;
}

int body_put(struct http_body **body, struct span piece)
{
	struct http_body *b = *body;

	if (!b) {
		b = *body = mem_alloc(sizeof(*b));
		*b = (struct http_body){.fd = -1};
	}
	buf_span(&b->tail, piece);
	if (b->tail.len <= IN_MEMORY_BYTES || b->memory_only)
		return 0;
	if (b->fd < 0)
		b->fd = open_file();
	if (b->fd < 0) {
		b->memory_only = true;
		return 0;
	}
	return write_tail(b) ? read_back(b) : 0;
}

int body_end(struct http_body *b, struct span *text)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *map;

	*text = SPAN("");
	if (!b)
		return 0;
	if (b->fd >= 0 && write_tail(b) && read_back(b))
		return -1;
	*text = buf_as_span(&b->tail);
	if (b->fd < 0)
		return 0;
	buf_free(&b->tail);
	/* A scanner may read some bytes behind the end. */
	b->map_bytes = (b->in_file + BUF_SLACK + page - 1) / page * page;
	map = ftruncate(b->fd, (off_t)b->map_bytes)
		? MAP_FAILED
		: mmap(NULL, b->map_bytes, PROT_READ, MAP_SHARED, b->fd, 0);
	if (map == MAP_FAILED) {
		b->map_bytes = 0;
		if (read_back(b))
			return -1;
		*text = buf_as_span(&b->tail);
		return 0;
	}
	b->map = map;
	b->passed = b->map;
	*text = (struct span){b->map, b->in_file};
	return 0;
}

size_t body_len(const struct http_body *b)
{
	return b ? b->in_file + b->tail.len : 0;
}

bool http_body_is_large(const struct http_body *b)
{
	return b && b->map;
}

void http_body_pass(struct http_body *b, const char *to)
{
	const char *end = (const char *)((uintptr_t)to & ~(uintptr_t)(AROUND_BYTES - 1));

	if (!http_body_is_large(b))
		return;
	/* It is read once more from its beginning. */
	if (to < b->passed)
		b->passed = b->map;
	if (end < b->passed + IN_MEMORY_BYTES)
		return;
	madvise((void *)(uintptr_t)b->passed, (size_t)(end - b->passed), MADV_DONTNEED);
	b->passed = end;
}

void http_body_free(struct http_body *b)
{
	if (!b)
		return;
	if (b->map)
		munmap(b->map, b->map_bytes);
	if (b->fd >= 0)
		close(b->fd);
	buf_free(&b->tail);
	free(b);
}

struct http_body *http_body(const struct http_request *r)
{
	return http_inner(r)->body;
}

struct http_body *http_take_body(struct http_request *r)
{
	struct http_body *b = http_inner(r)->body;

	http_inner(r)->body = NULL;
	r->body = SPAN_NONE;
	return b;
}

void http_drop_body(struct http_request *r)
{
	http_body_free(http_take_body(r));
}
