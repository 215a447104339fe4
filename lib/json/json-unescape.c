/* SPDX-License-Identifier: ISC */
/* Decodes the text between quotes: checks, removes, compares and counts escapes. */
#include "json/json-block.h"

static const signed char hex_digit[256] = {
	['0'] = 1,
	['1'] = 2,
	['2'] = 3,
	['3'] = 4,
	['4'] = 5,
	['5'] = 6,
	['6'] = 7,
	['7'] = 8,
	['8'] = 9,
	['9'] = 10,
	['a'] = 11,
	['b'] = 12,
	['c'] = 13,
	['d'] = 14,
	['e'] = 15,
	['f'] = 16,
	['A'] = 11,
	['B'] = 12,
	['C'] = 13,
	['D'] = 14,
	['E'] = 15,
	['F'] = 16,
};

/* The character that an escape stands for, by the one behind the backslash; 0: no escape. The
 * caller handles 'u'. */
static const char escape_for[256] = {
	['"'] = '"',
	['\\'] = '\\',
	['/'] = '/',
	['b'] = '\b',
	['f'] = '\f',
	['n'] = '\n',
	['r'] = '\r',
	['t'] = '\t',
};

/* Four hex digits, or -1. */
static int hex4(const char *p)
{
	int n = 0;

	for (int i = 0; i < 4; i++) {
		int digit = hex_digit[(unsigned char)p[i]] - 1;

		if (digit < 0)
			return -1;
		n = n << 4 | digit;
	}
	return n;
}

bool json_escape_valid(const char *p, const char **low, struct json_value *v)
{
	int u;

	if (escape_for[(unsigned char)*p])
		return true;
	if (*p != 'u' || (u = hex4(p + 1)) < 0)
		return false;
	if ((u & 0xf800) != 0xd800 || p == *low)
		return true;
	if (u < 0xdc00 && p[5] == '\\' && p[6] == 'u' && (hex4(p + 7) & ~0x3ff) == 0xdc00)
		*low = p + 6;
	else
		v->lone = true;
	return true;
}

/* Decodes the valid escape whose backslash is at @p, moves behind it, and returns the number of
 * bytes put into @to (up to 4); 0 for a lone surrogate. */
static int decode_escape(const char **p, const char *end, char *to)
{
	const char *s = *p + 1;
	unsigned u;

	if (*s != 'u') {
		*to = escape_for[(unsigned char)*s];
		*p = s + 1;
		return 1;
	}
	u = (unsigned)hex4(s + 1);
	s += 5;
	if ((u & 0xf800) == 0xd800) {
		int low = u < 0xdc00 && end - s >= 6 && s[0] == '\\' && s[1] == 'u' ? hex4(s + 2)
										    : -1;

		if ((low & ~0x3ff) != 0xdc00)
			return 0;
		u = 0x10000 + ((u & 0x3ff) << 10) + ((unsigned)low & 0x3ff);
		s += 6;
	}
	*p = s;
	if (u < 0x80) {
		to[0] = (char)u;
		return 1;
	}
	if (u < 0x800) {
		to[0] = (char)(0xc0 | u >> 6);
		to[1] = (char)(0x80 | (u & 0x3f));
		return 2;
	}
	if (u < 0x10000) {
		to[0] = (char)(0xe0 | u >> 12);
		to[1] = (char)(0x80 | (u >> 6 & 0x3f));
		to[2] = (char)(0x80 | (u & 0x3f));
		return 3;
	}
	to[0] = (char)(0xf0 | u >> 18);
	to[1] = (char)(0x80 | (u >> 12 & 0x3f));
	to[2] = (char)(0x80 | (u >> 6 & 0x3f));
	to[3] = (char)(0x80 | (u & 0x3f));
	return 4;
}

/* The loops write at most so many bytes behind the end of their output (record_header's contract
 * has it too). */
enum { UNESCAPE_SPILL = 64 };

#if JSON_SIMD

/* Leaving out some of eight bytes is a shuffle, which takes no branch that depends on the text.
 * Where there is none, the runs between are copied one by one. */
static struct {
	bool usable;
	uint8_t set[256]; /* how many bits are */
	uint8_t drop[256][8]; /* all but the bytes whose bit is set */
} shuffle;
static bool compress_usable;

__attribute__((constructor)) static void unescape_init(void)
{
	for (unsigned mask = 0; mask < 256; mask++) {
		unsigned kept = 0;

		for (uint8_t i = 0; i < 8; i++)
			if (!(mask >> i & 1))
				shuffle.drop[mask][kept++] = i;
		shuffle.set[mask] = (uint8_t)(8 - kept);
	}
	__builtin_cpu_init();
	shuffle.usable = block_can_shuffle();
	compress_usable = block_can_compress();
}

BLOCK_COMPRESS static char *compress_drop(char *d, const char *p, uint64_t mask)
{
	_mm512_storeu_si512(d, _mm512_maskz_compress_epi8(~mask, _mm512_loadu_si512(p)));
	return d + 64 - __builtin_popcountll(mask);
}

/* Copies 64 bytes without those whose bit is set. */
__attribute__((target("ssse3"))) static char *shuffle_drop(char *d, const char *p, uint64_t mask)
{
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		unsigned m = mask >> 8 * i & 0xff;
		__m128i x = _mm_loadl_epi64((const __m128i *)(p + 8 * i));

		x = _mm_shuffle_epi8(x, _mm_loadl_epi64((const __m128i *)shuffle.drop[m]));
		_mm_storel_epi64((__m128i *)d, x);
		d += 8 - shuffle.set[m];
	}
	return d;
}

/* Decodes one block that begins outside of an escape, at most @n bytes of it; returns how many were
 * taken, which is more when an escape reaches over its end, or 0 for a lone surrogate. */
static size_t unescape_block(char **to, const char *p, size_t n, uint64_t starts, const char *end)
{
	char *d = *to;
	size_t from = 0;

	while (starts) {
		size_t i = (size_t)__builtin_ctzll(starts);
		const char *s = p + i;
		int bytes;

		copy_run(d, p + from, i - from);
		d += i - from;
		bytes = decode_escape(&s, end, d);
		if (!bytes)
			return 0;
		d += bytes;
		from = (size_t)(s - p);
		starts &= ~bits_below(from);
	}
	if (from < n) {
		copy_run(d, p + from, n - from);
		d += n - from;
		from = n;
	}
	*to = d;
	return from;
}

/* Returns the end of the output. @d needs room for the text and UNESCAPE_SPILL more bytes. */
static char *unescape(char *d, const char *p, const char *end)
{
	uint64_t carry = 0;

	while (p < end) {
		struct block b = block_load(p);
		size_t n = end - p < 64 ? (size_t)(end - p) : 64;
		uint64_t backslash = block_equal(b, '\\') & bits_below(n), starts, escaped, was;

		if (!(backslash | carry)) {
			block_store(d, b);
			d += n;
			p += n;
			continue;
		}
		was = carry;
		escaped = block_escaped(backslash, &carry);
		starts = backslash & ~escaped;
		if (unlikely(escaped & block_letters(b) || !shuffle.usable)) {
			/* An escape that is not its own second character, or no way to be quick. */
			if (was) {
				carry = 0;
				p--;
				n = unescape_block(&d, p, 1, 1, end);
			} else {
				carry = 0;
				n = unescape_block(&d, p, n, starts, end);
			}
			if (!n)
				return NULL;
			p += n;
			continue;
		}
		d = compress_usable ? compress_drop(d, p, starts) : shuffle_drop(d, p, starts);
		d -= 64 - n;
		p += n;
	}
	return d;
}

/* Goes on by whole blocks of a text, as long as they end before the @decoded-th byte it stands for,
 * which is counted down. */
static const char *seek(const char *p, const char *end, size_t *decoded)
{
	while (end - p >= 64 && *decoded >= 64) {
		struct block b = block_load(p);
		uint64_t carry = 0, backslash = block_equal(b, '\\');
		uint64_t escaped = block_escaped(backslash, &carry);

		if (escaped & block_letters(b))
			break;
		/* An escape that reaches over the end belongs to the next block. */
		p += 64 - carry;
		*decoded -= 64 - carry - (size_t)__builtin_popcountll(escaped);
	}
	return p;
}

#else

static char *unescape(char *d, const char *p, const char *end)
{
	while (p < end) {
		int n;

		if (*p != '\\') {
			*d++ = *p++;
			continue;
		}
		n = decode_escape(&p, end, d);
		if (!n)
			return NULL;
		d += n;
	}
	return d;
}

static const char *seek(const char *p, const char *end, size_t *decoded)
{
	(void)end;
	(void)decoded;
	return p;
}

#endif

int json_unescape(struct buf *b, struct span text)
{
	char *to = buf_room(b, text.len + UNESCAPE_SPILL), *end;

	end = unescape(to, text.p, text.p + text.len);
	if (!end)
		return -1;
	b->len += (size_t)(end - to);
	return 0;
}

int json_string(const struct json_value *v, struct buf *b, struct span *out)
{
	size_t at = b->len;

	if (!v->escaped) {
		*out = v->text;
		return 0;
	}
	if (json_unescape(b, v->text) < 0)
		return -1;
	*out = (struct span){b->p + at, b->len - at};
	return 0;
}

bool json_equals(const struct json_value *v, struct span text)
{
	const char *p = v->text.p, *end = p + v->text.len;
	size_t at = 0;

	if (v->type != JSON_STRING)
		return false;
	if (!v->escaped)
		return v->text.len == text.len && memcmp(p, text.p, text.len) == 0;
	while (p < end) {
		char c[4];
		size_t n = 1;

		if (*p != '\\')
			c[0] = *p++;
		else
			n = (size_t)decode_escape(&p, end, c);
		if (!n || text.len - at < n || memcmp(text.p + at, c, n) != 0)
			return false;
		at += n;
	}
	return at == text.len;
}

bool json_is(const struct json_value *v, const char *text)
{
	return json_equals(v, (struct span){text, strlen(text)});
}

const char *json_seek(struct span text, size_t decoded)
{
	const char *end = text.p + text.len, *p = seek(text.p, end, &decoded);

	while (p < end && decoded) {
		char c[4];
		size_t n = 1;

		if (*p != '\\')
			p++;
		else
			n = (size_t)decode_escape(&p, end, c);
		decoded -= n < decoded ? n : decoded;
	}
	return p;
}
