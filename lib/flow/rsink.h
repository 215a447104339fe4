/* SPDX-License-Identifier: ISC */
/* A sink whose server is Redis: what is the same in each turn of its loop. A turn waits, steps,
 * takes replies, serves the sink (sink_serve, sink_server), takes lines, and flushes. */
#ifndef EVPIPE_FLOW_RSINK_H
#define EVPIPE_FLOW_RSINK_H

#include "flow/sink.h"
#include "redis/client.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

enum { RSINK_FDS = SINK_FDS + REDIS_FDS };

/* Waits for what comes first: input, Redis, a signal, or @timeout_ms (-1: for ever). @takes: lines
 * can be taken now. @p has room for RSINK_FDS, the sink's first. Returns false when poll
 * failed, and was told: the turn is over. */
bool rsink_wait(struct sink *s, struct redis *r, struct pollfd *p, bool takes, int timeout_ms);
/* Serves the connection. Ready is what a connection makes the program; Redis' trouble ends it. */
enum redis_news rsink_step(struct sink *s, struct redis *r, const struct pollfd *p, int64_t now_ms);
/* Writes what the turn has made, to all sides. */
void rsink_flush(struct sink *s, struct redis *r, int64_t now_ms);

#endif
