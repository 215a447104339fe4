/* SPDX-License-Identifier: ISC */
/* evpipe's processes: started, waited for, and ended in order. */
#ifndef EVPIPE_MEMBERS_H
#define EVPIPE_MEMBERS_H

#include "evpipe/evpipe.h"

/* Sets up signals; returns the descriptor of wake_open, which wakes for an ended child too. */
int members_open(void);
/* Looks all programs up, then starts them, the source last. Returns 0, or the status to end with
 * when one cannot be started; what was started then ends by members_step. */
int members_start(struct evpipe *e);
/* Waits for members that have ended; begins to stop the others when one has failed. */
void members_reap(struct evpipe *e, int64_t now_ms);
/* Begins the end of the run at a time, unless an earlier one is set. */
void members_stop(struct evpipe *e, int64_t at_ms);
/* Does what is due of the stop order. */
void members_step(struct evpipe *e, int64_t now_ms);
/* No process of the run is left. */
bool members_all_ended(const struct evpipe *e);

#endif
