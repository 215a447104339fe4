/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/line.h"

#include "base/mem.h"

#include <stdlib.h>
#include <unistd.h>

enum { BLOCK = 128 << 10, LARGE = 64 * BLOCK, READ_MAX = 8 * BLOCK };

void line_init(struct line *l, int fd, char end, size_t max)
{
	*l = (struct line){.fd = fd, .end = end, .max = max, .cap = BLOCK, .left = UINT64_MAX};
	l->p = mem_alloc(l->cap + BUF_SLACK);
}

void line_free(struct line *l)
{
	free(l->p);
	l->p = NULL;
}

/* Makes room for a read that is worth its system call. Moves the bytes in use to the front; grows
 * the block instead when that would free less than half of it, so that each byte is moved about
 * once. */
static void make_room(struct line *l)
{
	size_t from = l->at;

	if (l->keeping && l->keep < l->base + from)
		from = (size_t)(l->keep - l->base);
	if (from == l->filled) {
		l->base += from;
		l->at = l->seen = l->filled = 0;
		if (l->cap > LARGE) {
			/* The block grew for a long line: give that memory back. */
			free(l->p);
			l->cap = BLOCK;
			l->p = mem_alloc(l->cap + BUF_SLACK);
		}
		return;
	}
	if (l->cap - l->filled >= BLOCK / 4)
		return;
	if (from >= l->cap / 2) {
		memmove(l->p, l->p + from, l->filled - from);
		l->base += from;
		l->at -= from;
		l->seen -= from;
		l->filled -= from;
	} else {
		l->p = mem_realloc(l->p, l->cap * 2 + BUF_SLACK);
		l->cap *= 2;
	}
}

ssize_t line_read(struct line *l)
{
	ssize_t n;
	size_t room;

	make_room(l);
	room = l->cap - l->filled;
	/* A block that a long line has made big would be filled from a file to its end. */
	if (room > READ_MAX)
		room = READ_MAX;
	if (room > l->left)
		room = (size_t)l->left;
	n = read(l->fd, l->p + l->filled, room);
	if (n > 0) {
		l->filled += (size_t)n;
		l->left -= l->left == UINT64_MAX ? 0 : (uint64_t)n;
	} else if (n == 0)
		l->eof = true;
	return n;
}

static enum line_status hand_out(
	struct line *l, size_t upto, size_t next, struct span *text, enum line_status status)
{
	*text = (struct span){l->p + l->at, upto - l->at};
	l->at = l->seen = next;
	return status;
}

/* Of a line over the limit the beginning stays. */
static void drop_rest(struct line *l)
{
	size_t n = l->filled - l->at;

	if (n <= LINE_HEAD_MAX)
		return;
	l->dropped += n - LINE_HEAD_MAX;
	l->filled = l->at + LINE_HEAD_MAX;
}

static enum line_status at_end(struct line *l, struct span *text)
{
	bool is_counted = l->framed && l->dropped;

	if (l->told_torn || (l->at == l->filled && !l->dropped))
		return LINE_END;
	l->told_torn = true;
	l->number += !is_counted;
	return hand_out(l, l->filled, l->filled, text, LINE_TORN);
}

/* ---- frames ---- */

static uint32_t frame_length(const char *p)
{
	const unsigned char *b = (const unsigned char *)p;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

struct span line_frame(struct span frame)
{
	if (frame_length(frame.p) == UINT32_MAX)
		return SPAN_NONE;
	return (struct span){frame.p + LINE_FRAME, frame.len - LINE_FRAME};
}

/* Passes what is left of a frame over the limit. */
static void pass_rest(struct line *l)
{
	size_t n = l->filled - l->at;

	n = n < l->dropped ? n : (size_t)l->dropped;
	l->at += n;
	l->dropped -= n;
}

static enum line_status next_frame(struct line *l, struct span *text)
{
	size_t have, n = 0, head;

	pass_rest(l);
	have = l->filled - l->at;
	if (have >= LINE_FRAME)
		n = frame_length(l->p + l->at);
	n = n == UINT32_MAX ? 0 : n;
	head = n > l->max && n > LINE_HEAD_MAX ? LINE_HEAD_MAX : n;
	if (have >= LINE_FRAME + head) {
		l->number++;
		if (n <= l->max)
			return hand_out(l, l->at + LINE_FRAME + n, l->at + LINE_FRAME + n, text,
				LINE_WHOLE);
		l->at += LINE_FRAME;
		l->length = n;
		l->dropped = n - head;
		return hand_out(l, l->at + head, l->at + head, text, LINE_LONG);
	}
	*text = (struct span){l->p + l->at, 0};
	l->seen = l->filled;
	return l->eof ? at_end(l, text) : LINE_NONE;
}

/* ---- lines ---- */

static enum line_status next_line(struct line *l, struct span *text)
{
	const char *end = memchr(l->p + l->seen, l->end, l->filled - l->seen);
	size_t upto = end ? (size_t)(end - l->p) : l->filled;
	size_t n = upto - l->at;

	l->over = l->over || n > l->max;
	if (end) {
		l->number++;
		if (!l->over)
			return hand_out(l, upto, upto + 1, text, LINE_WHOLE);
		l->length = l->dropped + n;
		l->dropped = 0;
		l->over = false;
		return hand_out(l, l->at + (n < LINE_HEAD_MAX ? n : LINE_HEAD_MAX), upto + 1, text,
			LINE_LONG);
	}
	if (l->over)
		drop_rest(l);
	*text = (struct span){l->p + l->at, 0};
	l->seen = l->filled;
	return l->eof ? at_end(l, text) : LINE_NONE;
}

enum line_status line_next(struct line *l, struct span *text)
{
	return l->framed ? next_frame(l, text) : next_line(l, text);
}

uint64_t line_place(const struct line *l, struct span text)
{
	return l->base + (uint64_t)(text.p - l->p);
}

const char *line_at(const struct line *l, uint64_t place)
{
	return l->p + (place - l->base);
}

void line_keep(struct line *l, uint64_t place)
{
	l->keep = place;
	l->keeping = place != UINT64_MAX;
}
