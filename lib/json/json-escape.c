/* SPDX-License-Identifier: ISC */
/* Any text made ready to stand between quotes. */
#include "json/json-block.h"

/* Whether a read behind the end of an allocation goes unnoticed: not under AddressSanitizer. */
#define CAREFREE JSON_SIMD
#ifdef __SANITIZE_ADDRESS__
#undef CAREFREE
#define CAREFREE 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#undef CAREFREE
#define CAREFREE 0
#endif
#endif

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

/* The loops write at most so many bytes behind the end of their output. */
enum { ESCAPE_SPILL = 80 };

#if JSON_SIMD

/* Putting a backslash before some of eight bytes is a shuffle, which takes no branch that depends
 * on the text. Where there is none, the runs between are copied one by one. */
static struct {
	bool usable;
	uint8_t set[256]; /* how many bits are */
	uint8_t insert[256][16]; /* a backslash, byte 8, before each byte whose bit is set */
} shuffle;
static bool compress_usable;

__attribute__((constructor)) static void escape_init(void)
{
	for (unsigned mask = 0; mask < 256; mask++) {
		unsigned inserted = 0;

		for (uint8_t i = 0; i < 8; i++) {
			if (mask >> i & 1)
				shuffle.insert[mask][inserted++] = 8;
			shuffle.insert[mask][inserted++] = i;
		}
		shuffle.set[mask] = (uint8_t)(inserted - 8);
	}
	__builtin_cpu_init();
	shuffle.usable = block_can_shuffle();
	compress_usable = block_can_compress();
}

BLOCK_COMPRESS static char *compress_insert(char *d, const char *p, uint64_t mask)
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

/* The bytes up to its last block's end and 15 more must be readable. Needs room for six times the
 * length and ESCAPE_SPILL more. */
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

#else

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

#endif

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

	/* In steps, so that little room is reserved in advance. The loop reads behind the last
	 * bytes: when those are near the end of a page, which is rare, they go through a copy. */
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
