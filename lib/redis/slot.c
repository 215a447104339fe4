/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "redis/slot.h"

/* CRC-16/XMODEM: polynomial 0x1021, nothing reflected, from 0. */
static unsigned crc16(struct span s)
{
	static const uint16_t of_nibble[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5,
		0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
	unsigned crc = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned c = (unsigned char)s.p[i];

		crc = (crc << 4 & 0xffff) ^ of_nibble[(crc >> 12 ^ c >> 4) & 15];
		crc = (crc << 4 & 0xffff) ^ of_nibble[(crc >> 12 ^ c) & 15];
	}
	return crc;
}

unsigned slot_of(struct span key)
{
	const char *open = key.len ? memchr(key.p, '{', key.len) : NULL, *close = NULL;

	if (open)
		close = memchr(open + 1, '}', (size_t)(key.p + key.len - open) - 1);
	if (close && close > open + 1)
		key = (struct span){open + 1, (size_t)(close - open) - 1};
	return crc16(key) & (SLOT_COUNT - 1);
}

/* "?" stands for a name that the server does not know. */
static struct span host_of(struct span host)
{
	return span_is(host, "?") ? SPAN("") : host;
}

/* [host, port, …], with @n elements. Returns 1 or -1. */
static int take_node(struct resp *c, int64_t n, struct slot_range *range)
{
	struct resp_value host, port;
	uint64_t left = (uint64_t)n - 2;

	if (n < 2)
		return -1;
	resp_next(c, &host);
	if ((host.type != RESP_STRING && host.type != RESP_NIL) ||
		resp_next(c, &port) != RESP_INTEGER || port.n < 1 || port.n > 65535)
		return -1;
	range->host = host.type == RESP_NIL ? SPAN("") : host_of(host.text);
	range->port = (int)port.n;
	return resp_skip(c, &left) == RESP_NIL ? 1 : -1;
}

int slot_range_next(struct resp *c, struct slot_range *range)
{
	struct resp_value v, from, to;
	uint64_t left;

	if (resp_next(c, &v) != RESP_ARRAY || v.n < 3)
		return -1;
	left = (uint64_t)v.n - 3;
	if (resp_next(c, &from) != RESP_INTEGER || resp_next(c, &to) != RESP_INTEGER ||
		from.n < 0 || to.n < from.n || to.n >= SLOT_COUNT)
		return -1;
	range->from = (unsigned)from.n;
	range->to = (unsigned)to.n;
	if (resp_next(c, &v) != RESP_ARRAY || take_node(c, v.n, range) < 0)
		return -1;
	return resp_skip(c, &left) == RESP_NIL ? 1 : -1;
}

/* Digits alone, up to @most. Returns -1 when it is none. */
static int number(struct span s, int most)
{
	int n = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		n = 10 * n + s.p[i] - '0';
		if (n > most)
			return -1;
	}
	return s.len ? n : -1;
}

bool slot_redirect(struct span error, struct slot_redirect *to)
{
	struct span rest = error, word = span_word(&rest), slot = span_word(&rest), at;
	const char *colon;

	to->is_ask = span_is(word, "ASK");
	if (!to->is_ask && !span_is(word, "MOVED"))
		return false;
	at = span_word(&rest);
	colon = at.len ? memrchr(at.p, ':', at.len) : NULL;
	if (number(slot, SLOT_COUNT - 1) < 0 || !colon)
		return false;
	to->slot = (unsigned)number(slot, SLOT_COUNT - 1);
	to->host = host_of((struct span){at.p, (size_t)(colon - at.p)});
	to->port = number((struct span){colon + 1, (size_t)(at.p + at.len - colon) - 1}, 65535);
	return to->port > 0;
}
