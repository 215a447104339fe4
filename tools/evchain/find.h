/* SPDX-License-Identifier: ISC */
/* Finds an entry in a segment without reading all of it: numbers and times of its lines never
 * fall. */
#ifndef EVPIPE_EVCHAIN_FIND_H
#define EVPIPE_EVCHAIN_FIND_H

#include "evchain/files.h"

#include <stdint.h>

enum find_by { FIND_NUMBER, FIND_TIME };

/* The place of the first line whose number, or time, is not below @value; the size of the file when
 * there is none. Of lines that are no entries it may find another one. -1 with errno. */
int64_t find_line(int fd, enum find_by by, uint64_t value);
/* The same for a number, of which the index says where it may be: @hint, -1 for nothing. */
int64_t find_entry(int fd, int64_t hint, uint64_t n);

/* Appends the line of an entry, without its end. Returns 0, or -1 when it is not here. */
int find_read(const struct files *f, uint64_t n, struct buf *line);

#endif
