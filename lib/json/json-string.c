/* SPDX-License-Identifier: ISC */
/* Finding a string's end: quotes, escapes and UTF-8 are judged on the way. And searching a text for
 * bytes, without parsing it. */
#include "json/json-block.h"

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
#if JSON_SIMD
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

#if JSON_SIMD

const char *json_long_string(struct json *j, const char *p, struct json_value *v)
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
				return json_fail(j, p + __builtin_ctzll(odd),
					"control character in a string");
		}
		escaped &= before;
		any_escaped |= escaped;
		if (escaped) {
			odd = escaped & ~(quotes | backslash);
			for (; unlikely(odd != 0); odd &= odd - 1) {
				const char *at = p + __builtin_ctzll(odd);

				if (at >= j->end || !json_escape_valid(at, &low, v))
					return json_fail(j, at, "unknown escape");
			}
		}
		if (!quote)
			continue;
		p += __builtin_ctzll(quote);
		if (p >= j->end)
			break;
		if (high && high < p && (bad = utf8_bad(high, p)))
			return json_fail(j, bad, "invalid UTF-8");
		v->escaped = any_escaped != 0;
		v->text = (struct span){start, (size_t)(p - start)};
		return p + 1;
	}
	return json_fail(j, j->end, NULL);
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

#else

const char *json_long_string(struct json *j, const char *p, struct json_value *v)
{
	const char *start = p, *low = NULL, *bad;
	bool high = false;

	for (; p < j->end; p++) {
		switch (kind_of(*p)) {
		case CONTROL:
			return json_fail(j, p, "control character in a string");
		case HIGH:
			high = true;
			break;
		case BACKSLASH:
			v->escaped = true;
			p++;
			if (p >= j->end || !json_escape_valid(p, &low, v))
				return json_fail(j, p, "unknown escape");
			break;
		case QUOTE:
			if (high && (bad = utf8_bad(start, p)))
				return json_fail(j, bad, "invalid UTF-8");
			v->text = (struct span){start, (size_t)(p - start)};
			return p + 1;
		}
	}
	return json_fail(j, j->end, NULL);
}

static bool holds(const char *p, const char *end, const char *plain, size_t n)
{
	for (; (size_t)(end - p) >= n; p++)
		if (memcmp(p, plain, n) == 0)
			return true;
	return false;
}

#endif

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
