/* SPDX-License-Identifier: ISC */
/* Between the parts of move.h: what the map says. */
#ifndef EVPIPE_KREAD_MOVED_H
#define EVPIPE_KREAD_MOVED_H

#include "base/buf.h"
#include "kread/move.h"

/* Takes a message of the map. What is none is passed over, with a warning. */
void move_take(struct move *m, struct span value);
/* The group's position in the old cluster; -1: none. */
void move_at(struct move *m, const char *topic, int32_t partition, int64_t position);
/* The group's positions are those that the map has. */
void move_use_noted(struct move *m);

#endif
