/* SPDX-License-Identifier: ISC */
/* The labels of records (evpipe-ack(7)) as filters and sinks carry them, and lists of them as a
 * report or a question has them. */
#ifndef EVPIPE_ACK_LIST_H
#define EVPIPE_ACK_LIST_H

#include "base/buf.h"

#include <stdint.h>

/* The label of a record on its way through a program. */
struct ack_label {
	uint64_t number; /* a single number; 0: see text */
	/* A label that is not a single number, as it stands in its line (maybe with JSON's escapes:
	 * only the functions here and in client.h read it). p NULL: no label. */
	struct span text;
};

/* Labels, separated by spaces; consecutive numbers are a range. All zero: empty. */
struct ack_list {
	struct buf text;
	uint64_t from, to; /* the last range, not yet in text; from 0: none */
};
/* Adds a label behind the others; nothing when @label is none. Dies when a label holds half of a
 * surrogate pair. */
void ack_list_add(struct ack_list *l, const struct ack_label *label);
/* The whole list. Valid until the next call; more labels can be added. */
struct span ack_list_text(struct ack_list *l);
void ack_list_clear(struct ack_list *l);
void ack_list_free(struct ack_list *l);

#endif
