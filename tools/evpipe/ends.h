/* SPDX-License-Identifier: ISC */
/* How the members of a run have ended, in terms of our exit statuses, and which of them is the
 * cause. */
#ifndef EVPIPE_ENDS_H
#define EVPIPE_ENDS_H

#include "evpipe/evpipe.h"

bool member_failed(const struct member *m);
/* Whether something outside has sent it SIGKILL, or, by a shell's status, what it ran. */
bool ends_killed(const struct member *m);
/* By itself, and with nothing left undone: not by a signal, though it was asked to. */
bool member_ended_well(const struct member *m);
/* "exit 111, temporary trouble". */
void member_describe(const struct member *m, char *text, size_t size);
/* The status of the run which has ended: that of the member that failed first; sets e->cause, fills
 * e->why with a sentence about it, and prints the table. */
int members_verdict(struct evpipe *e);

#endif
