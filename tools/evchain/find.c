/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evchain/find.h"

#include "evchain/entry.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 16 << 10, HEAD = 64 };

/* The place behind the first line end at or behind @from; @size when there is none. */
static int64_t next_line(int fd, int64_t from, int64_t size)
{
	char block[BLOCK];
	const char *end;
	ssize_t n;

	for (; from < size; from += n) {
		n = pread(fd, block, sizeof(block), from);
		if (n <= 0)
			return n < 0 ? -1 : size;
		end = memchr(block, '\n', (size_t)n);
		if (end)
			return from + (end - block) + 1;
	}
	return size;
}

/* Whether the line there is below the value; a line that is no entry is not. */
static bool is_below(int fd, int64_t place, enum find_by by, uint64_t value)
{
	char head[HEAD];
	ssize_t got = pread(fd, head, sizeof(head), place);
	uint64_t n;
	int64_t at;

	if (got <= 0 || entry_begin((struct span){head, (size_t)got}, &n, &at))
		return false;
	return (by == FIND_NUMBER ? n : (uint64_t)at) < value;
}

int64_t find_line(int fd, enum find_by by, uint64_t value)
{
	int64_t low = 0, high, size, line;
	struct stat st;

	if (fstat(fd, &st))
		return -1;
	size = high = st.st_size;
	/* The line at low is below the value, or is the first; none behind high is. */
	while (high - low > BLOCK) {
		int64_t middle = low + (high - low) / 2;

		line = next_line(fd, middle, size);
		if (line < 0)
			return -1;
		if (line < high && is_below(fd, line, by, value))
			low = line;
		else
			high = middle;
	}
	for (line = low; line < size && is_below(fd, line, by, value);) {
		line = next_line(fd, line, size);
		if (line < 0)
			return -1;
	}
	return line;
}

int64_t find_entry(int fd, int64_t hint, uint64_t n)
{
	char head[HEAD];
	ssize_t got = hint < 0 ? 0 : pread(fd, head, sizeof(head), hint ? hint - 1 : 0);
	struct span line = {head + (hint != 0), (size_t)(got - (hint != 0))};
	uint64_t number;
	int64_t at;

	if (got > 1 && (!hint || head[0] == '\n') && entry_begin(line, &number, &at) == 0 &&
		number == n)
		return hint;
	return find_line(fd, FIND_NUMBER, n);
}

/* The line there, up to its end. */
static int read_line(int fd, int64_t place, struct buf *line)
{
	for (;;) {
		char *to = buf_room(line, BLOCK), *end;
		ssize_t n = pread(fd, to, BLOCK, place);

		if (n <= 0)
			return -1;
		end = memchr(to, '\n', (size_t)n);
		line->len += end ? (size_t)(end - to) : (size_t)n;
		if (end)
			return 0;
		place += n;
	}
}

int find_read(const struct files *f, uint64_t n, struct buf *line)
{
	for (size_t i = f->count; i--;) {
		const struct segment *s = &f->segments[i];
		int64_t place;
		int fd, rc;

		if (n < s->first || n > s->last)
			continue;
		fd = open(s->path, O_RDONLY | O_CLOEXEC);
		place = fd < 0 ? -1 : find_entry(fd, index_find(f->dir, n), n);
		rc = place < 0 ? -1 : read_line(fd, place, line);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	return -1;
}
