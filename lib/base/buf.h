/* SPDX-License-Identifier: ISC */
/* Spans (bytes that another object owns) and a growable byte buffer. Every function that appends
 * makes its own room, and ends the program with 111 when there is no memory: no append can fail. */
#ifndef EVPIPE_BUF_H
#define EVPIPE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes that another object owns; p == NULL means "not there", which is not the same as empty. */
struct span {
	const char *p;
	size_t len;
};

#define SPAN_NONE ((struct span){0})
#define SPAN(lit) ((struct span){(lit), sizeof(lit) - 1})

static inline bool span_is(struct span s, const char *text)
{
	size_t n = strlen(text);
	return s.p && s.len == n && memcmp(s.p, text, n) == 0;
}

static inline bool span_starts(struct span s, const char *with)
{
	size_t n = strlen(with);
	return s.p && s.len >= n && memcmp(s.p, with, n) == 0;
}

/* A copy with a NUL behind it, to be freed. */
char *span_text(struct span s);

/* Takes the next word, which ends at a space or at the end, and the space off the front of
 * *@rest. */
static inline struct span span_word(struct span *rest)
{
	const char *space = rest->len ? (const char *)memchr(rest->p, ' ', rest->len) : NULL;
	struct span word = {rest->p, space ? (size_t)(space - rest->p) : rest->len};
	size_t n = word.len + (space != NULL);

	rest->p += n;
	rest->len -= n;
	return word;
}

/* A scanner may load, but must not use, up to this many bytes behind a buffer's end. */
enum { BUF_SLACK = 64 };

/* cap does not count the slack: BUF_SLACK bytes behind cap are always allocated. All zero is
 * empty. */
struct buf {
	char *p;
	size_t len, cap;
};

/* The slow path of buf_room. */
char *buf_grow(struct buf *b, size_t n);
/* Makes room for @n more bytes and returns where they go; len stays. */
static inline char *buf_room(struct buf *b, size_t n)
{
	return b->cap - b->len < n || !b->p ? buf_grow(b, n) : b->p + b->len;
}

static inline void buf_put(struct buf *b, const void *p, size_t n)
{
	char *to = buf_room(b, n);

	if (n)
		memcpy(to, p, n);
	b->len += n;
}

static inline void buf_puts(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

static inline void buf_span(struct buf *b, struct span s)
{
	buf_put(b, s.p, s.len);
}

/* Decimal digits, with a minus sign before a negative number. */
void buf_int(struct buf *b, int64_t n);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Standard alphabet, padded (RFC 4648 section 4). */
void buf_base64(struct buf *b, const void *p, size_t n);
/* Whether @s is canonical: padded, and the bits that the padding leaves over are zero. */
bool buf_is_base64(struct span s);
/* Appends the bytes that @s stands for. Returns 0, or -1 and leaves @b as it was when @s is not
 * canonical padded base64. */
int buf_unbase64(struct buf *b, struct span s);
/* Frees the bytes; @b is empty then and can be used again. */
void buf_free(struct buf *b);

/* Empty, but keeps its room. */
static inline void buf_clear(struct buf *b)
{
	b->len = 0;
}

static inline void buf_putc(struct buf *b, char c)
{
	*buf_room(b, 1) = c;
	b->len++;
}

/* All that is in it; valid until the next append. Empty is "", not SPAN_NONE. */
static inline struct span buf_as_span(const struct buf *b)
{
	return (struct span){b->p ? b->p : "", b->len};
}

#endif
