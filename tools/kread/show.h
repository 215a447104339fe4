/* SPDX-License-Identifier: ISC */
/* What kread knows of its way, for base/progress: where it is, how much is left, what it waits
 * for. */
#ifndef EVPIPE_KREAD_SHOW_H
#define EVPIPE_KREAD_SHOW_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* A progress_fn; @parts is a struct parts. */
bool show_parts(void *parts, struct buf *text, uint64_t per_second);

#endif
