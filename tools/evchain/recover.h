/* SPDX-License-Identifier: ISC */
#ifndef EVPIPE_EVCHAIN_RECOVER_H
#define EVPIPE_EVCHAIN_RECOVER_H

#include "evchain/writer.h"

/* Makes the writer's state from the files. Dies with 100 when the log is damaged, and has changed
 * nothing then; with 111 when the system fails. */
void recover(struct writer *w);

#endif
