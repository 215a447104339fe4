/* SPDX-License-Identifier: ISC */
/* What the members' files in $EVPIPE_DIR say of metrics, health and readiness. */
#ifndef EVPIPE_HEALTH_H
#define EVPIPE_HEALTH_H

#include "evpipe/evpipe.h"

#include "base/buf.h"

void health_open(struct evpipe *e);
/* A run has begun, or has ended: forgets the files of the last one. */
void health_run(struct evpipe *e);
/* Reads the members' metrics. */
void health_scan(struct evpipe *e, int64_t now_ms);
/* Appends one line a cause; nothing when all is well. */
void health_causes(const struct evpipe *e, int64_t now_ms, struct buf *causes);
/* Why members cannot write their files, as far as health_causes has found out last; "" when they
 * can. */
const char *health_disk(const struct evpipe *e);
/* Appends one line a program that is not ready: members of ours, and programs of ours in a
 * script. */
void health_unready(const struct evpipe *e, int64_t now_ms, struct buf *who);
/* Whether all members of ours are ready; true without one. */
bool health_members_ready(const struct evpipe *e);
/* Appends the metrics of all members as one exposition. */
void health_metrics(const struct evpipe *e, struct buf *out);

#endif
