/* SPDX-License-Identifier: ISC */
/* Lines out of a descriptor, in big blocks, without a copy a line.
 *
 * LF (or NUL) ends a line; text behind the last line end at EOF is torn and never a line. A sink
 * can keep the lines it has not finished with: their bytes stay, found by their place in the
 * stream, until the sink releases them in order. Of a line over the limit only the first
 * LINE_HEAD_MAX bytes stay; the rest of the line takes no memory and has no place.
 *
 * With `framed` the input has no line ends: four bytes, big endian, are the length of what follows,
 * and -1 that of nothing. "Line" then means such a frame, its length included. */
#ifndef EVPIPE_LINE_H
#define EVPIPE_LINE_H

#include "base/buf.h"

#include <stdbool.h>
#include <sys/types.h>

enum {
	LINE_FRAME = 4, /* bytes of a frame's length */
	LINE_MAX_DEFAULT = 64 << 20,
	LINE_HEAD_MAX = 1 << 20,
};

enum line_status {
	LINE_NONE, /* no whole line yet: read more */
	LINE_WHOLE, /* text is the line without its end */
	/* a line over the limit: text is its first LINE_HEAD_MAX bytes, or all of it; framed:
	 * without the length */
	LINE_LONG,
	LINE_TORN, /* EOF: text is the rest behind the last line end. Returned once */
	LINE_END, /* EOF: nothing is left */
};

struct line {
	int fd;
	char end; /* '\n' or '\0' */
	bool framed; /* set it after line_init */
	size_t max; /* longest line, in bytes, without its end */
	char *p; /* the block; BUF_SLACK bytes behind cap are allocated */
	size_t cap;
	size_t at; /* first byte not handed out */
	size_t seen; /* bytes before this were searched for a line end */
	size_t filled; /* bytes before this were read */
	uint64_t base; /* place in the stream of p[0] */
	uint64_t keep; /* place of the first byte to keep; >= base+at: the caller keeps nothing */
	bool keeping;
	bool over; /* the line that is being read is over the limit */
	uint64_t
		/* bytes of that line which were read and not kept; framed: that are still to
		 * come */
		dropped;
	uint64_t length; /* LINE_LONG: of the whole line, without its end */
	uint64_t left; /* bytes to read at most; line_init: UINT64_MAX, as many as there are */
	bool eof, told_torn;
	uint64_t number; /* of the line handed out last, from 1 */
};

/* The caller keeps @fd and closes it. The block grows up to @max, and above @max while lines are
 * kept. Ends the program with 111 when there is no memory. */
void line_init(struct line *l, int fd, char end, size_t max);
/* One read(2). Does not block after poll has said POLLIN.
 * Returns bytes read, 0 at EOF, -1 with errno (EAGAIN and EINTR included). */
ssize_t line_read(struct line *l);
/* Hands out the next line. text points into the block: valid until the next line_read, or, with
 * keeping, found again with line_at. BUF_SLACK bytes behind it may be loaded. */
enum line_status line_next(struct line *l, struct span *text);
/* What stands behind the length of a frame; SPAN_NONE when that is -1. */
struct span line_frame(struct span frame);
/* Place in the stream of a text that line_next returned. */
uint64_t line_place(const struct line *l, struct span text);
/* The kept bytes at a place. */
const char *line_at(const struct line *l, uint64_t place);
/* From now on, bytes from @place on are kept (a sink calls it with the oldest unfinished line's
 * place, and with UINT64_MAX when none is). */
void line_keep(struct line *l, uint64_t place);
/* Frees the block, and with it every text handed out. */
void line_free(struct line *l);

#endif
