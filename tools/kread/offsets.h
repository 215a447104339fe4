/* SPDX-License-Identifier: ISC */
/* A resume list, --offsets FILE: where reading goes on in each partition that it names. A line is a
 * record, which was read, so that reading goes on behind it; or a place,
 * {"topic":"x","partition":0,"offset":17} without a payload, or x:0:17, at which it goes on. Of
 * several lines of a partition the furthest counts. */
#ifndef EVPIPE_KREAD_OFFSETS_H
#define EVPIPE_KREAD_OFFSETS_H

#include "base/buf.h"

#include <stdint.h>

struct offsets_place {
	struct span topic; /* owned; ends with NUL */
	int32_t partition;
	int64_t next;
};

struct offsets {
	struct offsets_place *places; /* by topic and partition */
	size_t count, room;
};

/* Reads @file; "-" is standard input. Dies with 100 on what is no such line, and where @file cannot
 * be opened. */
void offsets_load(struct offsets *o, const char *file);
/* Where reading goes on; -1: the list does not name the partition. */
int64_t offsets_find(const struct offsets *o, const char *topic, int32_t partition);
/* Puts into *@topics the names of the topics, which are the list's, and returns how many there
 * are. */
int offsets_topics(const struct offsets *o, const char ***topics);

#endif
