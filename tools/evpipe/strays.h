/* SPDX-License-Identifier: ISC */
/* Processes that the members of a run have left behind outside their process groups. */
#ifndef EVPIPE_STRAYS_H
#define EVPIPE_STRAYS_H

#include "evpipe/evpipe.h"

/* Before any member is started. */
void strays_open(void);
/* Once all members and their groups have ended: ends what is left. Returns true when nothing is, or
 * cannot be ended; false: call again within STRAYS_LOOK_MS. Names what it ends. */
bool strays_ended(struct evpipe *e, int64_t now_ms);
enum { STRAYS_LOOK_MS = 20 };

#endif
