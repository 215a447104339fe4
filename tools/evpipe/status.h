/* SPDX-License-Identifier: ISC */
/* Metrics, health and readiness of the members, and who is told of them. */
#ifndef EVPIPE_STATUS_H
#define EVPIPE_STATUS_H

#include "evpipe/evpipe.h"

/* Opens what --listen, --ready-fd, --metrics and $NOTIFY_SOCKET ask for. Dies. */
void status_open(struct evpipe *e, bool ready_fd, bool metrics_file);
/* A stop signal has come. */
void status_stopping(struct evpipe *e);
/* A run has begun, or has ended. */
void status_run(struct evpipe *e);
/* For poll: the servers' and the directory's descriptors, -1 for none. */
int status_http_fd(const struct evpipe *e);
int status_ready_fd(const struct evpipe *e);
/* Serves requests and scans the members' files when that is due. Returns ms until the next call,
 * -1: no limit. */
int status_serve(struct evpipe *e, int64_t now_ms);
void status_close(struct evpipe *e);

#endif
