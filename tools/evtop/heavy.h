/* SPDX-License-Identifier: ISC */
/* The most frequent keys of a stream in bounded memory: space-saving (Metwally, Agrawal, El Abbadi
 * 2005). A key that makes up more than 1/HEAVY_MAX of the stream is always among them, and its
 * count is too high by no more than `over`. */
#ifndef EVPIPE_EVTOP_HEAVY_H
#define EVPIPE_EVTOP_HEAVY_H

#include "base/buf.h"

enum { HEAVY_MAX = 512, HEAVY_TEXT = 64 };

struct heavy_key {
	uint64_t hash, count;
	uint64_t over; /* what it may have too much */
	uint8_t len; /* of the text; the beginning of a longer key */
	bool cut;
	char text[HEAVY_TEXT];
	uint32_t slot; /* internal: its place in the table */
};

struct heavy {
	size_t count;
	struct heavy_key keys[HEAVY_MAX]; /* internal: a heap, the rarest on top */
	uint16_t table[HEAVY_MAX * 4]; /* internal: by hash; place in keys and 1 */
};

/* @h is all zero at first. */
void heavy_add(struct heavy *h, struct span key);
/* Fills in the most frequent, at most @max of them, in descending order. Returns how many. */
size_t heavy_top(const struct heavy *h, const struct heavy_key **top, size_t max);

#endif
