/* SPDX-License-Identifier: ISC */
/* Ids: how they are made, and how they stand in Redis and on a command line. */
#include "evcorr/ident.h"

#include "base/wake.h"

#include <string.h>

enum { COUNT_MAX = 1 << 12 }; /* ids of a millisecond */

static void put_u32(unsigned char *p, uint32_t n)
{
	for (int k = 0; k < 4; k++)
		p[k] = (unsigned char)(n >> (24 - 8 * k));
}

static void make_uuid(struct ident *i, unsigned char *u)
{
	uint64_t ms = (uint64_t)wake_epoch_ms();

	/* The order stays when the clock is set back, and when a millisecond has more ids than it
	 * can count. */
	if (ms > i->last_ms) {
		i->last_ms = ms;
		i->count = 0;
	} else if (++i->count == COUNT_MAX) {
		i->last_ms++;
		i->count = 0;
	}
	put_u32(u, (uint32_t)(i->last_ms >> 16));
	u[4] = (unsigned char)(i->last_ms >> 8);
	u[5] = (unsigned char)i->last_ms;
	u[6] = (unsigned char)(0x70 | i->count >> 8);
	u[7] = (unsigned char)i->count;
	put_u32(u + 8, 0x80000000 | i->run);
	put_u32(u + 12, i->node);
}

static void put_hex(struct buf *b, const void *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = bytes;
	char *to = buf_room(b, 2 * n);

	for (size_t k = 0; k < n; k++) {
		*to++ = digits[p[k] >> 4];
		*to++ = digits[p[k] & 15];
	}
	b->len += 2 * n;
}

void ident_make(struct ident *i, struct buf *b)
{
	static const size_t groups[] = {4, 2, 2, 2, 6};
	unsigned char u[IDENT_UUID], *p = u;

	make_uuid(i, u);
	if (i->raw_id) {
		buf_put(b, u, sizeof(u));
		return;
	}
	for (size_t g = 0; g < 5; p += groups[g++]) {
		if (g)
			buf_putc(b, '-');
		put_hex(b, p, groups[g]);
	}
}

/* ---- in Redis, and on a command line ---- */

void ident_put_key(struct span id, struct buf *b)
{
	buf_puts(b, "evcorr:{");
	put_hex(b, id.p, id.len);
	buf_putc(b, '}');
}

void ident_put_mark(struct span id, struct buf *b)
{
	ident_put_key(id, b);
	buf_puts(b, ":late");
}

void ident_put_hex(struct span id, struct buf *b)
{
	put_hex(b, id.p, id.len);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'    ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : -1;
}

/* A UUID as text, in lower or upper case. */
static bool read_uuid(struct span id, unsigned char *u)
{
	const char *p = id.p;

	if (id.len != 36)
		return false;
	for (size_t n = 0; n < IDENT_UUID; n++) {
		int high, low;

		if (n == 4 || n == 6 || n == 8 || n == 10)
			if (*p++ != '-')
				return false;
		high = hex_digit(*p++);
		low = hex_digit(*p++);
		if (high < 0 || low < 0)
			return false;
		u[n] = (unsigned char)(high << 4 | low);
	}
	return true;
}

/* The node of a UUID of version 7, as text or as 16 bytes. Returns false when it is none. */
static bool node_of(struct span id, uint32_t *node)
{
	unsigned char u[IDENT_UUID];

	if (id.len == IDENT_UUID)
		memcpy(u, id.p, IDENT_UUID);
	else if (!read_uuid(id, u))
		return false;
	*node = (uint32_t)u[12] << 24 | (uint32_t)u[13] << 16 | (uint32_t)u[14] << 8 | u[15];
	return u[6] >> 4 == 7 && u[8] >> 6 == 2;
}

static void put_node_channel(uint32_t node, struct buf *b)
{
	unsigned char bytes[4];

	put_u32(bytes, node);
	buf_puts(b, "evcorr:node:");
	put_hex(b, bytes, sizeof(bytes));
}

void ident_put_channel(struct span id, struct buf *b)
{
	uint32_t node;

	if (node_of(id, &node)) {
		put_node_channel(node, b);
	} else {
		buf_puts(b, IDENT_OF_ID);
		put_hex(b, id.p, id.len);
	}
}

void ident_put_own_channel(const struct ident *i, struct buf *b)
{
	put_node_channel(i->node, b);
}

bool ident_is_own(const struct ident *i, struct span id)
{
	uint32_t node;

	return node_of(id, &node) && node == i->node;
}

int ident_parse_hex(struct span digits, struct buf *id)
{
	if (!digits.len || digits.len % 2 || digits.len > 2 * IDENT_MAX)
		return -1;
	for (const char *p = digits.p; p < digits.p + digits.len; p += 2) {
		int high = hex_digit(p[0]), low = hex_digit(p[1]);

		if (high < 0 || low < 0)
			return -1;
		buf_putc(id, (char)(high << 4 | low));
	}
	return 0;
}

int ident_parse(const char *text, struct buf *id)
{
	size_t len = strlen(text);

	if (strncmp(text, "hex:", 4) == 0)
		return ident_parse_hex((struct span){text + 4, len - 4}, id);
	buf_put(id, text, len);
	return len && len <= IDENT_MAX ? 0 : -1;
}

void ident_print(struct span id, struct buf *b)
{
	bool plain = json_utf8(id) && !span_starts(id, "hex:");

	for (size_t n = 0; n < id.len && plain; n++)
		plain = (unsigned char)id.p[n] >= ' ' && id.p[n] != 0x7f;
	if (plain) {
		buf_span(b, id);
	} else {
		buf_puts(b, "hex:");
		put_hex(b, id.p, id.len);
	}
}
