/* SPDX-License-Identifier: ISC */
/* A thread of a library waits where it would spin.
 *
 * The program has poll() itself, in place of libc's, for its libraries too. It is libc's, but in a
 * thread that is known to spin a poll without waiting that follows on two others without an event
 * waits: 200 us, and longer each time, up to a millisecond. An event ends the wait at once; what
 * the thread had to do at a certain time is late by the rest of it. */
#ifndef EVPIPE_SPIN_H
#define EVPIPE_SPIN_H

/* The calling thread spins no more. */
void spin_end(void);

#endif
