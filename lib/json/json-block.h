/* SPDX-License-Identifier: ISC */
/* The bytes of a text, 64 at once as bit masks (one bit a byte: is a quote, is a backslash), or
 * without SSE2 one by one. A block may reach behind the end of the text, never further than
 * BUF_SLACK; bits from behind the end do not count. */
#ifndef EVPIPE_JSON_BLOCK_H
#define EVPIPE_JSON_BLOCK_H

#include "json/json-parts.h"

#if JSON_SIMD
#include <immintrin.h>

/* 64 bytes. */
struct block {
	__m128i a, b, c, d;
};

static inline __m128i load16(const char *p)
{
	return _mm_loadu_si128((const __m128i *)p);
}

static inline void store16(char *p, __m128i x)
{
	_mm_storeu_si128((__m128i *)p, x);
}

static inline struct block block_load(const char *p)
{
	return (struct block){load16(p), load16(p + 16), load16(p + 32), load16(p + 48)};
}

static inline void block_store(char *p, struct block b)
{
	store16(p, b.a);
	store16(p + 16, b.b);
	store16(p + 32, b.c);
	store16(p + 48, b.d);
}

/* The highest bit of each byte. */
static inline uint64_t block_bits(__m128i a, __m128i b, __m128i c, __m128i d)
{
	uint64_t low = (unsigned)_mm_movemask_epi8(a) | (unsigned)_mm_movemask_epi8(b) << 16;
	uint64_t high = (unsigned)_mm_movemask_epi8(c) | (unsigned)_mm_movemask_epi8(d) << 16;

	return low | high << 32;
}

static inline uint64_t block_equal(struct block b, char c)
{
	__m128i x = _mm_set1_epi8(c);

	return block_bits(_mm_cmpeq_epi8(b.a, x), _mm_cmpeq_epi8(b.b, x), _mm_cmpeq_epi8(b.c, x),
		_mm_cmpeq_epi8(b.d, x));
}

/* Control characters: unsigned <= 0x1f. */
static inline __m128i is_control(__m128i x)
{
	__m128i last = _mm_set1_epi8(0x1f);

	return _mm_cmpeq_epi8(_mm_max_epu8(x, last), last);
}

static inline uint64_t block_control(struct block b)
{
	return block_bits(is_control(b.a), is_control(b.b), is_control(b.c), is_control(b.d));
}

static inline bool block_any_control(struct block b)
{
	__m128i least = _mm_min_epu8(_mm_min_epu8(b.a, b.b), _mm_min_epu8(b.c, b.d));

	return _mm_movemask_epi8(is_control(least)) != 0;
}

/* Bytes from 0x60 to 0x7f: of the escaped ones, those that do not stand for themselves. */
static inline uint64_t block_letters(struct block b)
{
	__m128i x = _mm_set1_epi8(0x5f);

	return block_bits(_mm_cmpgt_epi8(b.a, x), _mm_cmpgt_epi8(b.b, x), _mm_cmpgt_epi8(b.c, x),
		_mm_cmpgt_epi8(b.d, x));
}

static inline int block_high(struct block b)
{
	return _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(b.a, b.b), _mm_or_si128(b.c, b.d)));
}

/* The characters behind an unescaped backslash. @carry: whether the byte before the block was one,
 * then whether its last is. A run of backslashes escapes its every second; a run's bits, added to
 * its start, carry out of its end, and whether start and end are both even tells its parity. */
static inline uint64_t block_escaped(uint64_t backslash, uint64_t *carry)
{
	const uint64_t even = 0x5555555555555555;
	uint64_t follows, odd_starts, runs;

	backslash &= ~*carry;
	follows = backslash << 1 | *carry;
	odd_starts = backslash & ~even & ~follows;
	*carry = __builtin_add_overflow(odd_starts, backslash, &runs);
	return (even ^ runs << 1) & follows;
}

static inline uint64_t bits_below(size_t n)
{
	return n < 64 ? ((uint64_t)1 << n) - 1 : ~(uint64_t)0;
}

/* Copies up to 64 bytes, 16 at a time: up to 15 bytes too many are read and written. */
static inline void copy_run(char *to, const char *from, size_t n)
{
	store16(to, load16(from));
	for (size_t i = 16; unlikely(i < n); i += 16)
		store16(to + i, load16(from + i));
}

/* A processor with SSSE3 (every amd64 one since 2008) can shuffle bytes. */
static inline bool block_can_shuffle(void)
{
#ifdef JSON_NO_SHUFFLE
	return false;
#else
	return __builtin_cpu_supports("ssse3");
#endif
}

/* A processor with AVX-512 VBMI2 (servers since 2019, AMD's since 2022) can pick from 64 bytes at
 * once: 2 to 8 % of evkey's and evstamp's CPU time on records whose payload is JSON in a string. */
static inline bool block_can_compress(void)
{
#if defined(JSON_NO_SHUFFLE) || defined(JSON_NO_COMPRESS)
	return false;
#else
	return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2") &&
		__builtin_cpu_supports("bmi2");
#endif
}

#define BLOCK_COMPRESS __attribute__((target("avx512bw,avx512vbmi2,bmi2,popcnt")))

#else

/* The kinds of bytes; all but PLAIN end a run of ordinary bytes. */
enum { PLAIN, HIGH, QUOTE, BACKSLASH, CONTROL };

static inline int kind_of(char ch)
{
	unsigned char c = (unsigned char)ch;

	return c == '"'	    ? QUOTE
		: c == '\\' ? BACKSLASH
		: c < 0x20  ? CONTROL
		: c & 0x80  ? HIGH
			    : PLAIN;
}

#endif

#endif
