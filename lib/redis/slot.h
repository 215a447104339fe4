/* SPDX-License-Identifier: ISC */
/* Slots of a Redis Cluster (redis.io/docs/reference/cluster-spec): the slot of a key, what CLUSTER
 * SLOT_COUNT answers, and the redirections MOVED and ASK. Nothing is copied; nothing here trusts
 * the server. */
#ifndef EVPIPE_REDIS_SLOT_H
#define EVPIPE_REDIS_SLOT_H

#include "redis/resp.h"

enum { SLOT_COUNT = 16384 };

/* CRC16 of the key, or of what its first { } holds, if that is not empty. */
unsigned slot_of(struct span key);

struct slot_range {
	unsigned from, to; /* both are of it; at most SLOT_COUNT - 1 */
	struct span host; /* of the primary; empty: the host that was asked */
	int port;
};
/* The next range out of the elements of CLUSTER SLOT_COUNT' answer. Returns 1, or -1 when the
 * element has another form. The caller counts the elements. */
int slot_range_next(struct resp *c, struct slot_range *range);

struct slot_redirect {
	bool is_ask;
	unsigned slot;
	struct span host; /* empty: that of the server which said so */
	int port;
};
/* Whether the error is a redirection, well formed. */
bool slot_redirect(struct span error, struct slot_redirect *to);

#endif
