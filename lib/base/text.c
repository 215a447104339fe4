/* SPDX-License-Identifier: ISC */
#include "base/text.h"

#include <stdio.h>

struct range {
	uint32_t first, last;
};

/* Marks, and characters that are not seen. Not all of Unicode's: those that texts of today have. */
static const struct range narrow[] = {{0x300, 0x36f}, {0x483, 0x489}, {0x591, 0x5bd},
	{0x610, 0x61a}, {0x64b, 0x65f}, {0x900, 0x902}, {0x93c, 0x93c}, {0x941, 0x948},
	{0x94d, 0x94d}, {0xe31, 0xe31}, {0xe34, 0xe3a}, {0xe47, 0xe4e}, {0x1ab0, 0x1aff},
	{0x1dc0, 0x1dff}, {0x200b, 0x200d}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f},
	{0xfeff, 0xfeff}, {0x1f3fb, 0x1f3ff}, {0xe0100, 0xe01ef}};
static const struct range wide[] = {{0x1100, 0x115f}, {0x231a, 0x231b}, {0x23e9, 0x23ec},
	{0x2e80, 0x303e}, {0x3041, 0x33ff}, {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xa000, 0xa4cf},
	{0xa960, 0xa97f}, {0xac00, 0xd7a3}, {0xf900, 0xfaff}, {0xfe30, 0xfe6f}, {0xff00, 0xff60},
	{0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
	{0x1fa70, 0x1faff}, {0x20000, 0x3fffd}};

static bool is_in(uint32_t c, const struct range *r, size_t count)
{
	for (size_t i = 0; i < count && r[i].first <= c; i++)
		if (c <= r[i].last)
			return true;
	return false;
}

size_t text_char(const char *p, const char *end, uint32_t *c)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = (unsigned char)*p;
	size_t n = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

	if (n <= 1 || first > 0xf4) {
		*c = first;
		return first > 0xf4 ? 0 : n;
	}
	if ((size_t)(end - p) < n)
		return 0;
	*c = first & (0xff >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | ((unsigned char)p[i] & 0x3f);
	}
	return *c < least[n] || *c > 0x10ffff || (*c & 0x1ff800) == 0xd800 ? 0 : n;
}

/* C1 controls, separators of lines, and marks that turn the direction of text. */
static bool is_obeyed(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
		(c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* Whether one of eight bytes is a control character, DEL or above ASCII. */
static bool any_special(const char *p)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
	uint64_t x, del;

	memcpy(&x, p, sizeof(x));
	del = x ^ ones * 0x7f;
	return ((x - ones * 0x20) | (del - ones) | x) & highs;
}

const char *text_unsafe(struct span s)
{
	const char *p = s.p, *end = s.p + s.len;

	while (p < end) {
		uint32_t c;
		size_t n;

		while (end - p >= 8 && !any_special(p))
			p += 8;
		if (p == end)
			break;
		n = text_char(p, end, &c);
		if (!n || is_obeyed(c))
			break;
		p += n;
	}
	return p;
}

static void put_escape(struct buf *out, uint32_t c)
{
	switch (c) {
	case '\n':
		buf_puts(out, "\\n");
		break;
	case '\r':
		buf_puts(out, "\\r");
		break;
	case '\t':
		buf_puts(out, "\\t");
		break;
	default:
		buf_printf(out, c < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)c);
	}
}

void text_safe(struct buf *out, struct span s)
{
	const char *p = s.p, *end = s.p + s.len;

	while (p < end) {
		const char *stop = text_unsafe((struct span){p, (size_t)(end - p)});
		uint32_t c;
		size_t n;

		buf_put(out, p, (size_t)(stop - p));
		if (stop == end)
			break;
		n = text_char(stop, end, &c);
		if (n)
			put_escape(out, c);
		else
			buf_printf(out, "\\x%02x", (unsigned char)*stop);
		p = stop + (n ? n : 1);
	}
}

static size_t width(uint32_t c)
{
	if (c < 0x300)
		return 1;
	if (is_in(c, narrow, sizeof(narrow) / sizeof(*narrow)))
		return 0;
	return 1 + is_in(c, wide, sizeof(wide) / sizeof(*wide));
}

/* Goes on to the end, or to the first character that does not fit. */
static const char *measure(struct span s, size_t most, size_t *columns)
{
	const char *p = s.p, *end = s.p + s.len;

	*columns = 0;
	while (p < end) {
		uint32_t c;
		size_t n = text_char(p, end, &c), w = n ? width(c) : 1;

		if (*columns + w > most)
			break;
		*columns += w;
		p += n ? n : 1;
	}
	return p;
}

size_t text_columns(struct span s)
{
	size_t columns;

	measure(s, SIZE_MAX, &columns);
	return columns;
}

size_t text_cut(struct span s, size_t columns)
{
	size_t taken;

	return (size_t)(measure(s, columns, &taken) - s.p);
}

void text_put_url(struct buf *out, struct span s, const char *also)
{
	for (const char *p = s.p; p < s.p + s.len; p++)
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			(*p >= '0' && *p <= '9') || (*p && strchr(also, *p)))
			buf_putc(out, *p);
		else
			buf_printf(out, "%%%02X", (unsigned char)*p);
}

size_t text_until(const char *text, const char *ends)
{
	bool quoted = false;
	size_t n = 0;

	for (; text[n] && (quoted || !strchr(ends, text[n])); n++)
		if (text[n] == '"')
			quoted = !quoted;
		else if (quoted && text[n] == '\\' && text[n + 1])
			n++;
	return n;
}
