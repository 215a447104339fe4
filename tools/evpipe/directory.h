/* SPDX-License-Identifier: ISC */
/* The directories of the runs. */
#ifndef EVPIPE_DIRECTORY_H
#define EVPIPE_DIRECTORY_H

#include "evpipe/evpipe.h"

/* Finds the parent of the runs' directories: @parent, which -d gave, or NULL. Dies. */
void directory_open(struct evpipe *e, const char *parent);
/* Makes the directory of the next run and sets $EVPIPE_DIR and $EVPIPE_ACK. Dies. */
void directory_make(struct evpipe *e);
/* Removes it; under -d it stays. */
void directory_leave(struct evpipe *e);

#endif
