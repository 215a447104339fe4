/* SPDX-License-Identifier: ISC */
/* A record's `seq` is RUN ":" LABEL (evpipe-ack(7)). RUN: 16 lower-case hex digits, the same for a
 * source's lifetime. LABEL: a number, or a set of numbers "3-5,9" if records were folded into one,
 * or "#ID", a name that a program has given to a set on the socket; behind it ".I/P" if the record
 * is part I of P that were made of one input. */
#ifndef EVPIPE_LABEL_H
#define EVPIPE_LABEL_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	LABEL_RUN_LEN = 16,
	LABEL_PARTS_MAX = 1 << 20,
	LABEL_NAME_MAX = 32, /* bytes of a name, with its # */
	LABEL_MAX = 64, /* bytes of a label in a record, but for old programs' */
};

struct label {
	struct span set; /* the text of the set, without parts; or its name, with the # */
	bool is_name; /* then first and last are 0 */
	uint64_t first, last; /* its lowest and highest number */
	bool single; /* one number alone */
	uint32_t part, parts; /* 1…parts; 0 and 0: whole */
};

/* The seq of a number, "RUN:NUMBER"; .size 0: none yet. */
struct label_text {
	char text[LABEL_RUN_LEN + 1 + 20];
	size_t size;
	uint64_t number;
};

/* Makes it that of @number, which costs next to nothing when it is the next one. @run:
 * LABEL_RUN_LEN bytes. */
void label_text_render(struct label_text *t, const char *run, uint64_t number);
static inline void label_text_set(struct label_text *t, const char *run, uint64_t number)
{
	if (!t->size || number != t->number + 1 || t->text[t->size - 1] == '9') {
		label_text_render(t, run, number);
		return;
	}
	t->text[t->size - 1]++;
	t->number = number;
}

/* Checks the whole text: numbers from 1 below 2^63 without leading zeros, the ranges of a set
 * ascending and not touching backwards, 1 ≤ I ≤ P ≤ LABEL_PARTS_MAX. Returns 0 or -1. @l points
 * into @text. */
int label_parse(struct label *l, struct span text);
/* Walks the ranges of the set, ascending. Start with *@rest = l->set. false: no more. */
bool label_range(struct span *rest, uint64_t *from, uint64_t *to);
/* Splits a seq. Returns 0, or -1 if the text is no seq. The label is not checked. */
int label_split(struct span seq, struct span *run, struct span *label);

#endif
