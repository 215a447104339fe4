/* SPDX-License-Identifier: ISC */
/* Pub/sub: one connection to Redis that subscribes to channels and patterns, and prints each
 * message as a record of a source. Never blocks. See rsub.c for the design. */
#ifndef EVPIPE_PUBSUB_H
#define EVPIPE_PUBSUB_H

#include "base/buf.h"
#include "base/errclass.h"
#include "flow/source.h"
#include "redis/subscribe.h"
#include "rsub/names.h"
#include "rsub/whole.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pubsub {
	/* to be set before pubsub_open */
	struct whole *whole;
	struct source *source; /* the whole's, opened */
	struct names channels, patterns; /* sharded ones of a cluster: of one slot */
	bool shard; /* the channels are sharded ones */
	bool raw;
	char end; /* of a line */
	size_t max_line;

	/* internal */
	struct redis redis;
	struct buf head, channel,
		pattern; /* the beginning of records of this channel and pattern */
	int64_t now_us;
	int unconfirmed; /* subscriptions */
	bool has_gap;
	bool is_restart; /* the gap is between the last run and this one */
	bool is_ready;
	int64_t gap_since_ms;
	int64_t served_ms; /* the last turn */
	/* how long messages waited for standard output since all had been read */
	int64_t rested_ms;
	bool was_slow; /* when the connection was lost */
	uint64_t shown[CLASS_COUNT];
	bool is_behind; /* messages were read that are not yet printed */
	bool rests, rested; /* the connection is left alone in this turn, was in the last */
};

/* Connects nothing yet. Dies with 100. */
void pubsub_open(struct pubsub *s, const struct redis_url *url);
/* Fills in at most REDIS_FDS entries, which pubsub_serve takes, and returns how many. While output
 * is pending, and after READING, the connection is left alone, and its silence is our own. */
int pubsub_poll(struct pubsub *s, struct pollfd *p);
/* -1: never. Call after pubsub_poll. */
int pubsub_timeout_ms(const struct pubsub *s, int64_t now_ms);
void pubsub_serve(struct pubsub *s, const struct pollfd *p, int64_t now_ms);
/* Closes the connection, and reports a gap that is still open. */
void pubsub_close(struct pubsub *s);

#endif
