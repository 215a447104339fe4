/* SPDX-License-Identifier: ISC */
/* Where a range begins or ends: what -o and --until take. */
#ifndef EVPIPE_KREAD_PLACE_H
#define EVPIPE_KREAD_PLACE_H

#include <stdbool.h>
#include <stdint.h>

/* AT_FIRST and AT_LAST: so many records behind the beginning, before the end. AT_TIME:
 * milliseconds. */
struct kread_place {
	enum { AT_FIRST, AT_LAST, AT_OFFSET, AT_TIME } kind;
	int64_t n;
};

/* "beginning end N -N +N @TIME" and the words of kcat and rpk. Dies with 100. */
struct kread_place place_parse(const char *option, const char *text);
/* Whether a range from @from to @until surely ends before it begins. */
bool place_is_before(struct kread_place until, struct kread_place from);
/* The offset in a partition whose log goes from @low to @high; @timed: that of the first record at
 * or after the time, -1: none. */
int64_t place_offset(struct kread_place at, int64_t low, int64_t high, int64_t timed);

/* The ranges that end before they begin, though their places look right: the first of them, and how
 * many. Zeroed there is none. */
struct place_crossed {
	const char *topic; /* the caller's */
	int32_t partition;
	int64_t begin, end;
	int count;
};
/* Counts a range from @begin to @end, if it is one of them. One without a record is none. */
void place_cross(
	struct place_crossed *c, const char *topic, int32_t partition, int64_t begin, int64_t end);
/* Says on standard error that nothing is read of them. */
void place_tell_crossed(const struct place_crossed *c);

#endif
