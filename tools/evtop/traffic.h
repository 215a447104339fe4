/* SPDX-License-Identifier: ISC */
/* What flows through standard input: counts, sizes, times, places and keys of records. Memory is
 * bounded. */
#ifndef EVPIPE_EVTOP_TRAFFIC_H
#define EVPIPE_EVTOP_TRAFFIC_H

#include "evtop/figures.h"
#include "evtop/heavy.h"
#include "evtop/table.h"
#include "record/record.h"

enum { PLACES_MAX = 256 };

/* A partition, a channel or a stream. The last one stands for all that have no room. */
struct place {
	char *name;
	size_t len;
	uint64_t records;
	int64_t offset; /* of its last record; -1: it has none */
	int64_t ms; /* time of its last record; -1: it has none */
	struct rate rate;
};

struct traffic {
	uint64_t records, bytes, tombstones, without_key, undated;
	struct spread sizes, delays; /* since the start; since the last table */
	struct heavy keys;
	struct place places[PLACES_MAX];
	size_t place_count, last_place;
	struct rate record_rate, byte_rate;
	struct buf scratch, name;
	int64_t now_ms; /* since the epoch, when input was read */
};

/* Counts a record, which came at @now_ms since the epoch. */
void traffic_add(struct traffic *t, const struct record *r, int64_t now_ms);
/* Takes the rates: @seconds since the last time. */
void traffic_take(struct traffic *t, double seconds);
/* Appends the tables, with up to @rows keys and as many places. */
void traffic_print(struct traffic *t, struct table *table, size_t rows, bool utf8, struct buf *out);

#endif
