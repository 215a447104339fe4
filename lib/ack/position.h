/* SPDX-License-Identifier: ISC */
/* The words of a sink that keeps positions (evpipe-ack(7)): where reading begins is decided by what
 * it has stored with its data, not by what the source has committed. */
#ifndef EVPIPE_ACK_POSITION_H
#define EVPIPE_ACK_POSITION_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* `assigned`: the source has a partition, and waits to be told where to begin. */
struct ack_assigned {
	struct span topic;
	int32_t partition;
	int64_t low, high; /* the first offset that is kept, and the one behind the last */
	int64_t committed; /* -1: none */
	struct span cluster; /* the cluster's id; "-": not known */
};

/* Takes "TOPIC PARTITION" off the front of *@line. Returns whether it was there. */
bool ack_place_take(struct span *line, struct span *topic, int32_t *partition);
/* Takes a number from 0 off the front, or "-" for -1. */
bool ack_offset_take(struct span *line, int64_t *offset);
void ack_offset_put(struct buf *b, int64_t offset);

#endif
