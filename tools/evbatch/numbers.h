/* SPDX-License-Identifier: ISC */
/* The numbers of a batch, as ranges. All zero: none. */
#ifndef EVBATCH_NUMBERS_H
#define EVBATCH_NUMBERS_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

struct numbers_range {
	uint64_t from, to;
};

struct numbers {
	struct numbers_range *ranges;
	size_t count, cap;
};

void numbers_add(struct numbers *n, uint64_t from, uint64_t to);
/* Appends the set as labels have it, ascending, ranges that touch merged: "3-5,9". Nothing when it is empty. */
void numbers_text(struct numbers *n, struct buf *out);

#endif
