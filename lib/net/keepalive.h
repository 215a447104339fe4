/* SPDX-License-Identifier: ISC */
/* A peer whose machine has gone without a word: the kernel alone can tell. */
#ifndef EVPIPE_KEEPALIVE_H
#define EVPIPE_KEEPALIVE_H

/* The connection ends, with ETIMEDOUT, when it was quiet for @quiet_s seconds and the peer's
 * machine has not answered the kernel's questions in them; and when that has not confirmed, or had
 * no room for, what was sent for @unheard_s; 0: the system's quarter of an hour. A few seconds are
 * added where the times are short. At a Unix socket it does nothing. */
void keepalive_set(int fd, unsigned quiet_s, unsigned unheard_s);

#endif
