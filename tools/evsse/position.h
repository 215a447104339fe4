/* SPDX-License-Identifier: ISC */
/* Positions, and the ids of events, which are all positions of a stream as text:
 *
 * 	orders/0=12,1=7,payments/0=3	Kafka: of each partition the last offset
 * 	feed/id=1526919030474-55	a Redis stream: the last entry's id
 * 	news/r5f3a9c01=17		a record without an offset: this process's name, and its own
 *  count
 * 	-				nothing came yet
 *
 * A topic stands before the first of its parts. Of its bytes all but letters, digits and ".", "_",
 * "-" are written as %XX, so that an id is short, one line, and needs no preflight. */
#ifndef EVSSE_POSITION_H
#define EVSSE_POSITION_H

#include "base/buf.h"
#include "record/record.h"

#include <stdbool.h>
#include <stdint.h>

/* A place in a part: an offset or a count (in lo), or an id of Redis. */
struct place {
	uint64_t hi, lo;
};

enum part_kind { PART_KAFKA, PART_STREAM, PART_COUNT };

/* What has a position of its own: a partition, a stream, or the records that a process has
 * counted. */
struct part_name {
	enum part_kind kind;
	uint32_t number; /* the partition, or the process's name */
};

static inline bool part_is(struct part_name a, struct part_name b)
{
	return a.kind == b.kind && a.number == b.number;
}
static inline int place_compare(struct place a, struct place b)
{
	if (a.hi != b.hi)
		return a.hi < b.hi ? -1 : 1;
	return a.lo < b.lo ? -1 : a.lo > b.lo;
}
static inline struct place place_after(struct place p)
{
	p.lo++;
	p.hi += p.lo == 0;
	return p;
}
static inline struct place place_before(struct place p)
{
	p.hi -= p.lo == 0;
	p.lo--;
	return p;
}
static inline bool place_is_first(struct place p)
{
	return !p.hi && !p.lo;
}

/* What the record says of its place, for an event of @topic. false: nothing, or it is another
 * topic's: it is to be counted. */
bool position_of(
	const struct record *r, struct span topic, struct part_name *name, struct place *place);

/* Both append. */
void position_put_name(struct buf *b, struct part_name name);
void position_put_place(struct buf *b, enum part_kind kind, struct place place);
/* Appends a topic as ids have it. */
void position_put_topic(struct buf *b, struct span topic);

/* The walk over an id: *@rest is the id at first, and @topic, which must be empty then, holds the
 * part's topic. Returns 1 with a part, 0 at the end, -1: no id. "-" and "" have no parts. */
int position_next(
	struct span *rest, struct buf *topic, struct part_name *name, struct place *place);

#endif
