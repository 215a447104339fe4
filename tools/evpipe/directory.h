/* SPDX-License-Identifier: ISC */
/* The directories of the runs. */
#ifndef EVPIPE_DIRECTORY_H
#define EVPIPE_DIRECTORY_H

#include "evpipe/evpipe.h"

#include "base/trouble.h"

/* Finds the parent of the runs' directories: @parent, which -d gave, or NULL. */
int directory_open(struct evpipe *e, const char *parent, struct trouble *why);
/* Makes the directory of the next run and sets $EVPIPE_DIR and $EVPIPE_ACK. Both return 0, or -1
 * with a sentence in @why; nothing is left half-made. */
int directory_make(struct evpipe *e, struct trouble *why);
/* Makes the directory of this run again when it has been removed. Returns true when it has. */
bool directory_mend(struct evpipe *e, int64_t now_ms);
/* Marks it: a member that ends now ends for a stop signal (wake_stopped). */
void directory_mark_stopping(const struct evpipe *e);
/* Removes it; under -d it stays. */
void directory_leave(struct evpipe *e);

#endif
