/* SPDX-License-Identifier: ISC */
/* What the parts of lib/redis/client share. */
#ifndef EVPIPE_REDIS_CLIENT_PARTS_H
#define EVPIPE_REDIS_CLIENT_PARTS_H

#include "redis/client.h"

/* All clients of the process are one for the metrics. */
struct redis_all {
	int clients, reachable;
	int unwatched; /* those of which no sentinel answers */
	const struct redis *away; /* the one that was not reachable last; NULL: all are */
	uint64_t outages;
};
extern struct redis_all redis_all;

/* Whether commands go to the nodes of a cluster: a subscriber has one of them, like any server. */
static inline bool redis_serves(const struct redis *r)
{
	return r->cluster && r->rules.use != REDIS_SUBSCRIBER;
}

#endif
