/* SPDX-License-Identifier: ISC */
/* The keyboard. Members are process groups of their own, and only the terminal's foreground group
 * can read from it: a member that tries is stopped by the kernel, as a pager is, and gets the
 * terminal then. */
#ifndef EVPIPE_TERMINAL_H
#define EVPIPE_TERMINAL_H

#include "evpipe/evpipe.h"

/* A member was stopped by a signal. */
void terminal_member_stopped(struct member *m, int sig);
/* A member has ended: the terminal is ours again. */
void terminal_member_ended(const struct member *m);
/* Gives the terminal to a member that waits for it, if it is ours to give. Returns whether one goes
 * on waiting. */
bool terminal_serve(struct evpipe *e);

#endif
