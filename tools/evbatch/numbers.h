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
	struct buf names; /* of sets, with spaces between: their numbers only the source knows */
};

void numbers_add(struct numbers *n, uint64_t from, uint64_t to);
/* A set that has a name. Twice the same, one behind the other, is once. */
void numbers_add_name(struct numbers *n, struct span name);
void numbers_clear(struct numbers *n);
/* Appends the set as labels have it, ascending, ranges that touch merged: "3-5,9". Nothing when it
 * is empty. */
void numbers_text(struct numbers *n, struct buf *out);

#endif
