/* SPDX-License-Identifier: ISC */
#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

char *span_text(struct span s)
{
	char *text = mem_alloc(s.len + 1);

	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	return text;
}

char *buf_grow(struct buf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 256;

	while (cap - b->len < n)
		cap *= 2;
	b->p = mem_realloc(b->p, cap + BUF_SLACK);
	b->cap = cap;
	return b->p + b->len;
}

static const char pairs[] =
	"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445"
	"46474849505152535455565758596061626364656667686970717273747576777879808182838485868788899091"
	"9293949596979899";

/* How many digits a number has. */
static unsigned digits_of(uint64_t u)
{
	static const uint64_t powers[] = {0, 10, 100, 1000, 10000, 100000, 1000000, 10000000,
		100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000,
		100000000000000, 1000000000000000, 10000000000000000, 100000000000000000,
		1000000000000000000, 10000000000000000000u};
	/* The binary logarithm times log10(2), which is too large by one at most. */
	unsigned n = (64 - (unsigned)__builtin_clzll(u | 1)) * 1233 >> 12;

	return n + (u >= powers[n]);
}

void buf_int(struct buf *b, int64_t n)
{
	enum { INT_MAX_LEN = 20 };
	char *p = buf_room(b, INT_MAX_LEN);
	uint64_t u = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
	uint32_t low;

	if (n < 0)
		*p++ = '-';
	p += digits_of(u);
	b->len = (size_t)(p - b->p);
	for (; u >= 10000; u /= 10000) {
		uint32_t four = (uint32_t)(u % 10000);

		memcpy(p -= 2, pairs + four % 100 * 2, 2);
		memcpy(p -= 2, pairs + four / 100 * 2, 2);
	}
	low = (uint32_t)u;
	if (low >= 100) {
		memcpy(p -= 2, pairs + low % 100 * 2, 2);
		low /= 100;
	}
	if (low >= 10)
		memcpy(p - 2, pairs + low * 2, 2);
	else
		p[-1] = (char)('0' + low);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	buf_room(b, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(b->p + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void buf_base64(struct buf *b, const void *p, size_t n)
{
	const unsigned char *s = p;
	char *o = buf_room(b, (n + 2) / 3 * 4);

	for (; n >= 3; n -= 3, s += 3) {
		*o++ = alphabet[s[0] >> 2];
		*o++ = alphabet[(s[0] & 3) << 4 | s[1] >> 4];
		*o++ = alphabet[(s[1] & 15) << 2 | s[2] >> 6];
		*o++ = alphabet[s[2] & 63];
	}
	if (n) {
		unsigned second = n == 2 ? s[1] : 0;

		*o++ = alphabet[s[0] >> 2];
		*o++ = alphabet[(s[0] & 3) << 4 | second >> 4];
		*o++ = n == 2 ? alphabet[(second & 15) << 2] : '=';
		*o++ = '=';
	}
	b->len = (size_t)(o - b->p);
}

/* The 6 bits of a letter, 64 and more for one that is none. */
static unsigned sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a' + 26);
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0' + 52);
	return c == '+' ? 62 : c == '/' ? 63 : 64;
}

bool buf_is_base64(struct span s)
{
	size_t pad = 0;

	if (s.len % 4)
		return false;
	if (s.len && s.p[s.len - 1] == '=')
		pad = s.p[s.len - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < s.len - pad; i++)
		if (sextet(s.p[i]) > 63)
			return false;
	return !pad || !(sextet(s.p[s.len - pad - 1]) & (pad == 2 ? 0x0f : 0x03));
}

int buf_unbase64(struct buf *b, struct span s)
{
	size_t pad;
	char *o;

	if (s.len % 4)
		return -1;
	if (s.len == 0)
		return 0;
	pad = s.p[s.len - 1] != '=' ? 0 : s.p[s.len - 2] != '=' ? 1 : 2;
	o = buf_room(b, s.len / 4 * 3);
	for (size_t i = 0; i < s.len; i += 4) {
		size_t n = i + 4 == s.len ? 4 - pad : 4;
		unsigned q[4] = {0}, bits;

		for (size_t k = 0; k < n; k++)
			if ((q[k] = sextet(s.p[i + k])) > 63)
				return -1;
		bits = q[0] << 18 | q[1] << 12 | q[2] << 6 | q[3];
		/* Canonical: the bits that the padding leaves over are zero. */
		if ((n == 3 && bits & 0xff) || (n == 2 && bits & 0xffff))
			return -1;
		*o++ = (char)(bits >> 16);
		if (n > 2)
			*o++ = (char)(bits >> 8);
		if (n > 3)
			*o++ = (char)bits;
	}
	b->len = (size_t)(o - b->p);
	return 0;
}

void buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){0};
}
