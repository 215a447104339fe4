/* SPDX-License-Identifier: ISC */
/* The scanner, and the three loops that see every byte of a text: finding a string's end, taking
 * escapes out, putting them in.
 *
 * DESIGN
 * A JSON payload inside a JSON string has an escaped quote every six bytes, so a scanner that skips
 * to the next interesting byte stops all the time. The loops take 64 bytes at once instead, turn
 * them into bit masks (one bit a byte: is a quote, is a backslash) and walk the set bits. A block
 * may reach behind the end of the text, never further than BUF_SLACK, and what is found there does
 * not count. Without SSE2 (or with JSON_NO_SIMD) plain loops over a table do the same; the tests
 * hold the two against each other. (JSON_NO_COMPRESS leaves out what needs AVX-512, JSON_NO_SHUFFLE
 * all that is newer than SSE2.)
 *
 * An error is judged by where it is: at or behind the end of the text, whatever was found, the
 * reason is "unexpected end". */
#include "json.h"

#if defined(__SSE2__) && !defined(JSON_NO_SIMD)
#define SIMD 1
#include <immintrin.h>
#else
#define SIMD 0
#endif
#ifdef JSON_NO_COMPRESS
#define NO_COMPRESS 1
#else
#define NO_COMPRESS 0
#endif
#ifdef JSON_NO_SHUFFLE
#define NO_SHUFFLE 1
#else
#define NO_SHUFFLE 0
#endif

/* Whether what is read behind an allocation passes unseen. */
#define CAREFREE SIMD
#ifdef __SANITIZE_ADDRESS__
#undef CAREFREE
#define CAREFREE 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#undef CAREFREE
#define CAREFREE 0
#endif
#endif

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

__attribute__((cold, noinline)) static const char *fail(
	struct json *j, const char *p, const char *why)
{
	j->p = p < j->end ? p : j->end;
	j->why = p < j->end ? why : "unexpected end";
	return NULL;
}

/* ---- UTF-8 ---- */

/* Length of the character at @p (its first byte is no ASCII), or 0. */
static inline size_t utf8_length(const unsigned char *p, size_t left)
{
	unsigned char c = p[0], low = 0x80, high = 0xbf;
	size_t n;

	if (c < 0xc2 || c > 0xf4)
		return 0;
	n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (n > left)
		return 0;
	if (c == 0xe0)
		low = 0xa0; /* overlong */
	else if (c == 0xed)
		high = 0x9f; /* surrogates */
	else if (c == 0xf0)
		low = 0x90; /* overlong */
	else if (c == 0xf4)
		high = 0x8f; /* above U+10FFFF */
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static inline const char *skip_ascii(const char *p, const char *end)
{
#if SIMD
	for (; end - p >= 16; p += 16) {
		int high = _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)p));

		if (high)
			return p + __builtin_ctz((unsigned)high);
	}
#endif
	for (uint64_t w; end - p >= 8; p += 8) {
		memcpy(&w, p, 8);
		if (w & 0x8080808080808080)
			break;
	}
	while (p < end && !(*p & 0x80))
		p++;
	return p;
}

/* The first byte that begins no character; NULL when there is none. */
static const char *utf8_bad(const char *p, const char *end)
{
	while ((p = skip_ascii(p, end)) < end) {
		do {
			size_t n = utf8_length((const unsigned char *)p, (size_t)(end - p));

			if (!n)
				return p;
			p += n;
		} while (p < end && *p & 0x80);
	}
	return NULL;
}

bool json_utf8(struct span s)
{
	return !s.len || !utf8_bad(s.p, s.p + s.len);
}

/* ---- escapes, one at a time ---- */

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

/* What the character behind a backslash stands for; 0 is no escape, 'u' is told apart before. */
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

/* Judges the escape whose character (behind the backslash) is at @p. @low is where the second half
 * of a surrogate pair was seen to be, when it was. */
static bool escape_valid(const char *p, const char **low, struct json_value *v)
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

/* Writes the escape of a control character. */
static char *encode_control(char *d, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char letter[32] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

	*d++ = '\\';
	if (letter[c]) {
		*d++ = letter[c];
		return d;
	}
	memcpy(d, "u00", 3);
	d[3] = hex[c >> 4];
	d[4] = hex[c & 15];
	return d + 5;
}

/* ---- the block loops ---- */

/* They write this much more than what counts, at most. (Callers of record_header count on 64.) */
enum { UNESCAPE_SPILL = 64, ESCAPE_SPILL = 80 };

#if SIMD

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

/* Putting a backslash before some of eight bytes, or leaving some out, is a shuffle of bytes, which
 * SSSE3 has (every amd64 processor since 2008; on others the runs between are copied one by one).
 * Unlike a walk over the set bits it takes no branch that depends on the text. */
static struct {
	bool usable;
	uint8_t set[256]; /* how many bits are */
	uint8_t insert[256][16]; /* a backslash, byte 8, before each byte whose bit is set */
	uint8_t drop[256][8]; /* all but the bytes whose bit is set */
} shuffle;

/* What has AVX-512 VBMI2 (servers since 2019, AMD's since 2022) does the same to 64 bytes at once. */
static bool compress_usable;

__attribute__((constructor)) static void shuffle_init(void)
{
	for (unsigned mask = 0; mask < 256; mask++) {
		unsigned inserted = 0, kept = 0;

		for (uint8_t i = 0; i < 8; i++) {
			if (mask >> i & 1)
				shuffle.insert[mask][inserted++] = 8;
			else
				shuffle.drop[mask][kept++] = i;
			shuffle.insert[mask][inserted++] = i;
		}
		shuffle.set[mask] = (uint8_t)(8 - kept);
	}
	__builtin_cpu_init();
	shuffle.usable = !NO_SHUFFLE && __builtin_cpu_supports("ssse3");
	compress_usable = !NO_SHUFFLE && !NO_COMPRESS && __builtin_cpu_supports("avx512bw") &&
		__builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("bmi2");
}

#define COMPRESS __attribute__((target("avx512bw,avx512vbmi2,bmi2,popcnt")))

COMPRESS static char *compress_insert(char *d, const char *p, uint64_t mask)
{
	const uint64_t odd = 0xaaaaaaaaaaaaaaaa;

#pragma GCC unroll 2
	for (int i = 0; i < 64; i += 32) {
		/* Each byte behind a backslash, then without those that are not wanted. */
		__m512i x = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(p + i)));
		uint64_t keep = odd | _pdep_u64(mask >> i, ~odd);

		x = _mm512_or_si512(_mm512_slli_epi16(x, 8), _mm512_set1_epi16('\\'));
		_mm512_storeu_si512(d, _mm512_maskz_compress_epi8(keep, x));
		d += __builtin_popcountll(keep);
	}
	return d;
}

COMPRESS static char *compress_drop(char *d, const char *p, uint64_t mask)
{
	_mm512_storeu_si512(d, _mm512_maskz_compress_epi8(~mask, _mm512_loadu_si512(p)));
	return d + 64 - __builtin_popcountll(mask);
}

/* Copies 64 bytes with a backslash before those whose bit is set. */
__attribute__((target("ssse3"))) static char *shuffle_insert(char *d, const char *p, uint64_t mask)
{
	const __m128i backslash = _mm_set1_epi8('\\');

#pragma GCC unroll 8
	for (int i = 0; i < 8; i++) {
		unsigned m = mask >> 8 * i & 0xff;
		__m128i x = _mm_loadl_epi64((const __m128i *)(p + 8 * i));

		x = _mm_unpacklo_epi64(x, backslash);
		store16(d, _mm_shuffle_epi8(x, load16((const char *)shuffle.insert[m])));
		d += 8 + shuffle.set[m];
	}
	return d;
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

__attribute__((noinline)) static const char *scan_long_string(
	struct json *j, const char *p, struct json_value *v)
{
	const char *start = p, *low = NULL, *high = NULL, *bad;
	uint64_t carry = 0, any_escaped = 0;

	for (; p < j->end; p += 64) {
		struct block b = block_load(p);
		uint64_t quotes = block_equal(b, '"'), quote = quotes;
		uint64_t backslash = block_equal(b, '\\'), escaped = 0, before, odd;

		if (backslash | carry) {
			escaped = block_escaped(backslash, &carry);
			quote &= ~escaped;
		}
		before = (quote & -quote) - 1;
		if (unlikely(block_high(b)) && !high)
			high = p;
		if (unlikely(block_any_control(b))) {
			odd = block_control(b) & before;
			if (odd)
				return fail(j, p + __builtin_ctzll(odd),
					"control character in a string");
		}
		escaped &= before;
		any_escaped |= escaped;
		if (escaped) {
			odd = escaped & ~(quotes | backslash);
			for (; unlikely(odd != 0); odd &= odd - 1) {
				const char *at = p + __builtin_ctzll(odd);

				if (at >= j->end || !escape_valid(at, &low, v))
					return fail(j, at, "unknown escape");
			}
		}
		if (!quote)
			continue;
		p += __builtin_ctzll(quote);
		if (p >= j->end)
			break;
		if (high && high < p && (bad = utf8_bad(high, p)))
			return fail(j, bad, "invalid UTF-8");
		v->escaped = any_escaped != 0;
		v->text = (struct span){start, (size_t)(p - start)};
		return p + 1;
	}
	return fail(j, j->end, NULL);
}

/* @p is behind the opening quote. Returns the place behind the closing one. Most strings are names
 * and short words: they end within 16 bytes with nothing unusual before. */
static inline const char *scan_string(struct json *j, const char *p, struct json_value *v)
{
	__m128i b = _mm_loadu_si128((const __m128i *)p), control = _mm_set1_epi8(0x1f);
	__m128i stop = _mm_or_si128(
		_mm_cmpeq_epi8(b, _mm_set1_epi8('"')), _mm_cmpeq_epi8(b, _mm_set1_epi8('\\')));
	unsigned stops, n;

	stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_max_epu8(b, control), control));
	/* A byte above ASCII has its highest bit set by itself. */
	stops = (unsigned)_mm_movemask_epi8(_mm_or_si128(stop, b));
	if (unlikely(!stops))
		return scan_long_string(j, p, v);
	n = (unsigned)__builtin_ctz(stops);
	if (unlikely(p[n] != '"' || p + n >= j->end))
		return scan_long_string(j, p, v);
	v->text = (struct span){p, n};
	return p + n + 1;
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

/* Returns the end of what was written, which needs room for the text and UNESCAPE_SPILL more. */
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

/* The bytes up to its last block's end and 15 more must be readable. Needs room for six times the length
 * and ESCAPE_SPILL more. */
static char *escape(char *d, const char *p, size_t len, int *high)
{
	for (size_t n; len; p += n, len -= n) {
		struct block b = block_load(p);
		uint64_t control = 0, mask;
		size_t from = 0;

		n = len < 64 ? len : 64;
		if (block_high(b) && block_bits(b.a, b.b, b.c, b.d) & bits_below(n))
			*high = 1;
		mask = block_equal(b, '"') | block_equal(b, '\\');
		if (unlikely(block_any_control(b)))
			control = block_control(b) & bits_below(n);
		mask = (mask | control) & bits_below(n);
		if (!mask) {
			block_store(d, b);
			d += n;
			continue;
		}
		if (likely(!control && shuffle.usable)) {
			d = compress_usable ? compress_insert(d, p, mask)
					    : shuffle_insert(d, p, mask);
			d -= 64 - n;
			continue;
		}
		/* Byte i of the block goes to d[i]; with each backslash put in, d moves on. */
		for (; mask; mask &= mask - 1) {
			size_t i = (size_t)__builtin_ctzll(mask);

			copy_run(d + from, p + from, i - from);
			from = i;
			if (unlikely(control >> i & 1)) {
				d = encode_control(d + i, (unsigned char)p[i]) - (i + 1);
				from++;
			} else {
				d++[i] = '\\';
			}
		}
		copy_run(d + from, p + from, n - from);
		d += n;
	}
	return d;
}

/* @n is not 0. */
static bool holds(const char *p, const char *end, const char *plain, size_t n)
{
	const __m128i first = _mm_set1_epi8(plain[0]), last = _mm_set1_epi8(plain[n - 1]);

	for (; (size_t)(end - p) >= n; p += end - p < 16 ? end - p : 16) {
		__m128i both = _mm_and_si128(
			_mm_cmpeq_epi8(load16(p), first), _mm_cmpeq_epi8(load16(p + n - 1), last));
		unsigned mask = (unsigned)_mm_movemask_epi8(both);

		for (; unlikely(mask != 0); mask &= mask - 1) {
			const char *at = p + __builtin_ctz(mask);

			if ((size_t)(end - at) >= n && at < end && memcmp(at, plain, n) == 0)
				return true;
		}
	}
	return false;
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

#else /* plain loops over a table */

/* What ends a run of ordinary bytes. */
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

static const char *scan_string(struct json *j, const char *p, struct json_value *v)
{
	const char *start = p, *low = NULL, *bad;
	bool high = false;

	for (; p < j->end; p++) {
		switch (kind_of(*p)) {
		case CONTROL:
			return fail(j, p, "control character in a string");
		case HIGH:
			high = true;
			break;
		case BACKSLASH:
			v->escaped = true;
			p++;
			if (p >= j->end || !escape_valid(p, &low, v))
				return fail(j, p, "unknown escape");
			break;
		case QUOTE:
			if (high && (bad = utf8_bad(start, p)))
				return fail(j, bad, "invalid UTF-8");
			v->text = (struct span){start, (size_t)(p - start)};
			return p + 1;
		}
	}
	return fail(j, j->end, NULL);
}

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

static char *escape(char *d, const char *p, size_t len, int *high)
{
	for (; len; p++, len--) {
		switch (kind_of(*p)) {
		case CONTROL:
			d = encode_control(d, (unsigned char)*p);
			continue;
		case QUOTE:
		case BACKSLASH:
			*d++ = '\\';
			break;
		case HIGH:
			*high = 1;
			break;
		}
		*d++ = *p;
	}
	return d;
}

static bool holds(const char *p, const char *end, const char *plain, size_t n)
{
	for (; (size_t)(end - p) >= n; p++)
		if (memcmp(p, plain, n) == 0)
			return true;
	return false;
}

static const char *seek(const char *p, const char *end, size_t *decoded)
{
	(void)end;
	(void)decoded;
	return p;
}

#endif

/* ---- text between quotes ---- */

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

/* Whether the byte at @p being there, so are @n in all: a page is there as a whole. */
static inline bool in_page(const char *p, size_t n)
{
	return CAREFREE && ((uintptr_t)p & 4095) + n <= 4096;
}

bool json_escape(struct buf *b, struct span s)
{
	enum { STEP = 1024, TAIL = 64 + 16 };
	char tail[TAIL + 64];
	int high = 0;

	/* In steps, so that little room is asked for in advance. Nothing may be read behind the last
	 * bytes that is not sure to be there: seldom, they go through a copy. */
	while (s.len) {
		size_t n = s.len < STEP ? s.len : STEP;
		char *to = buf_room(b, 6 * n + ESCAPE_SPILL);
		const char *from = s.p;

		if (s.len < n + TAIL && !in_page(s.p + n - 1, TAIL)) {
			if (n >= TAIL) {
				n = (n - 16) & ~(size_t)63;
			} else {
				memcpy(tail, s.p, n);
				from = tail;
			}
		}
		b->len += (size_t)(escape(to, from, n, &high) - to);
		s.p += n;
		s.len -= n;
	}
	return !high;
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

bool json_may_hold(struct span text, struct span plain)
{
	const char *end = text.p + text.len;

	for (size_t i = 0; i < plain.len; i++) {
		unsigned char c = (unsigned char)plain.p[i];

		if (c < 0x20 || c == '"' || c == '\\' || c == '/')
			return true; /* it has shorter escapes */
	}
	return !plain.len || holds(text.p, end, plain.p, plain.len) || holds(text.p, end, "\\u", 2);
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

/* ---- values ---- */

__attribute__((noinline)) static const char *skip_spaces(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

static inline const char *skip_space(const char *p, const char *end)
{
	return likely((unsigned char)*p > ' ') ? p : skip_spaces(p, end);
}

static inline const char *skip_digits(struct json *j, const char *p)
{
	const char *start = p;

	while (p < j->end && *p >= '0' && *p <= '9')
		p++;
	return p > start ? p : fail(j, p, "unexpected character");
}

static inline const char *scan_number(struct json *j, const char *p, struct json_value *v)
{
	if (*p == '-')
		p++;
	if (p < j->end && *p == '0')
		p++;
	else if (!(p = skip_digits(j, p)))
		return NULL;
	v->integer = true;
	if (likely(p >= j->end || (*p != '.' && *p != 'e' && *p != 'E')))
		return p;
	v->integer = false;
	if (*p == '.' && !(p = skip_digits(j, p + 1)))
		return NULL;
	if (p < j->end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < j->end && (*p == '+' || *p == '-'))
			p++;
		return skip_digits(j, p);
	}
	return p;
}

__attribute__((noinline)) static const char *scan_word(
	struct json *j, const char *p, struct json_value *v)
{
	const char *word;

	switch (*p) {
	case 't':
		v->type = JSON_TRUE;
		word = "true";
		break;
	case 'f':
		v->type = JSON_FALSE;
		word = "false";
		break;
	case 'n':
		v->type = JSON_NULL;
		word = "null";
		break;
	default:
		return fail(j, p, "unexpected character");
	}
	for (v->text.p = p; *word; p++, word++)
		if (p >= j->end || *p != *word)
			return fail(j, p, "unexpected character");
	v->text.len = (size_t)(p - v->text.p);
	return p;
}

/* A value that is no container; @p is before its end. */
static inline const char *scan_scalar(struct json *j, const char *p, struct json_value *v)
{
	v->escaped = v->lone = false;
	if (likely(*p == '"')) {
		v->type = JSON_STRING;
		return scan_string(j, p + 1, v);
	}
	if (*p == '-' || (*p >= '0' && *p <= '9')) {
		v->type = JSON_NUMBER;
		v->text.p = p;
		p = scan_number(j, p, v);
		if (likely(p != NULL))
			v->text.len = (size_t)(p - v->text.p);
		return p;
	}
	return scan_word(j, p, v);
}

/* `"name" :` up to the value's first byte. */
static inline const char *scan_name(struct json *j, const char *p, struct json_value *key)
{
	if (p >= j->end || *p != '"')
		return fail(j, p, "expected a member's name");
	key->type = JSON_STRING;
	p = scan_string(j, p + 1, key);
	if (!p)
		return NULL;
	p = skip_space(p, j->end);
	if (p >= j->end || *p != ':')
		return fail(j, p, "expected a colon");
	return skip_space(p + 1, j->end);
}

/* A container with all in it; @p is at its bracket. No recursion: one bit a level says which
 * bracket closes it. */
__attribute__((noinline)) static const char *scan_container(struct json *j, const char *p)
{
	uint64_t objects[JSON_DEPTH_MAX / 64];
	struct json_value v = {0};
	unsigned depth = 0;
	bool object = false, first;

	for (;;) {
		/* At a value. */
		if (p < j->end && (*p == '{' || *p == '[')) {
			uint64_t bit = (uint64_t)1 << depth % 64;

			if (j->depth + depth >= JSON_DEPTH_MAX) {
				j->deep = true;
				return fail(j, p, "nested too deep");
			}
			object = *p == '{';
			objects[depth / 64] = (objects[depth / 64] & ~bit) | (object ? bit : 0);
			depth++;
			p = skip_space(p + 1, j->end);
			first = true;
		} else {
			if (p >= j->end)
				return fail(j, p, NULL);
			p = scan_scalar(j, p, &v);
			if (!p)
				return NULL;
			p = skip_space(p, j->end);
			first = false;
		}
		/* Behind a value or an opening bracket: close what is closed here. */
		while (p < j->end && *p == (object ? '}' : ']')) {
			if (--depth == 0)
				return p + 1;
			object = objects[(depth - 1) / 64] >> (depth - 1) % 64 & 1;
			p = skip_space(p + 1, j->end);
			first = false;
		}
		if (!first) {
			if (p >= j->end || *p != ',')
				return fail(j, p, "unexpected character");
			p = skip_space(p + 1, j->end);
		}
		if (object && !(p = scan_name(j, p, &v)))
			return NULL;
	}
}

static inline const char *scan_value(struct json *j, const char *p, struct json_value *v)
{
	if (unlikely(p >= j->end))
		return fail(j, p, NULL);
	if (likely(*p == '"' || (*p != '{' && *p != '[')))
		return scan_scalar(j, p, v);
	v->type = *p == '{' ? JSON_OBJECT : JSON_ARRAY;
	v->escaped = v->lone = false;
	v->text.p = p;
	p = scan_container(j, p);
	if (likely(p != NULL))
		v->text.len = (size_t)(p - v->text.p);
	return p;
}

/* ---- the walk ---- */

void json_init(struct json *j, struct span text)
{
	*j = (struct json){.p = text.p, .start = text.p, .end = text.p + text.len};
}

char json_peek(struct json *j)
{
	j->p = skip_space(j->p, j->end);
	return j->p < j->end ? *j->p : 0;
}

int json_value(struct json *j, struct json_value *v)
{
	const char *p = scan_value(j, skip_space(j->p, j->end), v);

	if (!p)
		return -1;
	j->p = p;
	return 0;
}

int json_done(struct json *j)
{
	j->p = skip_space(j->p, j->end);
	if (j->p == j->end)
		return 0;
	fail(j, j->p, "unexpected character");
	return -1;
}

int json_parse(struct span text, struct json_value *v, struct json *why)
{
	struct json j;
	int ret;

	json_init(&j, text);
	ret = json_value(&j, v) < 0 || json_done(&j) < 0 ? -1 : 0;
	if (why)
		*why = j;
	return ret;
}

int json_enter(struct json *j, char bracket)
{
	if (json_peek(j) != bracket) {
		fail(j, j->p, "unexpected character");
		return -1;
	}
	if (j->depth >= JSON_DEPTH_MAX) {
		j->deep = true;
		fail(j, j->p, "nested too deep");
		return -1;
	}
	j->depth++;
	j->p++;
	j->first = true;
	return 0;
}

int json_next(struct json *j, char close)
{
	const char *p = j->p;

	if (likely(*p == ',' && p < j->end && !j->first)) {
		j->p = skip_space(p + 1, j->end);
		return 1;
	}
	p = skip_space(p, j->end);
	if (p < j->end && *p == close) {
		j->p = p + 1;
		j->first = false;
		j->depth--;
		return 0;
	}
	if (!j->first) {
		if (p >= j->end || *p != ',') {
			fail(j, p, "unexpected character");
			return -1;
		}
		p = skip_space(p + 1, j->end);
	}
	j->first = false;
	j->p = p;
	return 1;
}

int json_name(struct json *j, struct json_value *key)
{
	const char *p;

	key->escaped = key->lone = false;
	p = scan_name(j, j->p, key);
	if (!p)
		return -1;
	j->p = p;
	return 0;
}

int json_key(struct json *j, struct json_value *key)
{
	int ret = json_next(j, '}');

	return ret == 1 && json_name(j, key) < 0 ? -1 : ret;
}

int json_member(struct json *j, struct json_value *key, struct json_value *value)
{
	int ret = json_key(j, key);

	if (ret != 1)
		return ret;
	return json_value(j, value) < 0 ? -1 : 1;
}

int json_member_named(struct json *j, struct span name)
{
	const char *p = j->p;
	struct json_value v;

	for (bool first = j->first;; first = false) {
		p = skip_space(p, j->end);
		if (p < j->end && *p == '}') {
			j->p = p + 1;
			j->first = false;
			j->depth--;
			return 0;
		}
		if (!first) {
			if (p >= j->end || *p != ',') {
				fail(j, p, "unexpected character");
				return -1;
			}
			p = skip_space(p + 1, j->end);
		}
		v.escaped = v.lone = false;
		p = scan_name(j, p, &v);
		if (unlikely(!p))
			return -1;
		if (unlikely(v.escaped ? json_equals(&v, name)
				       : v.text.len == name.len &&
					    memcmp(v.text.p, name.p, name.len) == 0)) {
			j->first = false;
			j->p = p;
			return 1;
		}
		p = scan_value(j, p, &v);
		if (unlikely(!p))
			return -1;
	}
}

int json_element(struct json *j, struct json_value *value)
{
	int ret = json_next(j, ']');

	if (ret != 1)
		return ret;
	return json_value(j, value) < 0 ? -1 : 1;
}
