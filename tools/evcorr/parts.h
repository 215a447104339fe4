/* SPDX-License-Identifier: ISC */
/* What the files of calls.h do for each other. */
#ifndef EVPIPE_EVCORR_PARTS_H
#define EVPIPE_EVCORR_PARTS_H

#include "evcorr/calls.h"

enum { CALLS_FILLING_MAX = 1 << 20 }; /* bytes of requests that CMD has not read */

/* ---- calls.c ---- */
/* A reply has come. The call may have ended by it. */
void calls_give(struct calls *c, struct table_call *call, struct span line);
void calls_time_out(struct calls *c, struct table_call *call);

/* ---- keys.c ---- */
/* Reads the call's key; at once, or when Redis is there again. */
void keys_look(struct calls *c, const struct table_call *call);
void keys_look_at_all(struct calls *c);
/* `evcorr store` sees by it that a reply is late. */
void keys_leave_mark(struct calls *c, const struct table_call *call);
void keys_serve(struct calls *c, const struct pollfd *p);

/* ---- ears.c ---- */
/* Asks for the channel of the call, whose key is read once that is confirmed. The ears are
 * REDIS_UP. */
void ears_listen(struct calls *c, const struct table_call *call);
void ears_stop(struct calls *c, const struct table_call *call);
void ears_serve(struct calls *c, const struct pollfd *p);

/* ---- command.c ---- */
void command_start(struct calls *c, const struct calls_opts *o);
void command_serve(struct calls *c, const struct pollfd *p);
/* Gives it what it has room for, and the end of its input. */
void command_feed(struct calls *c);

#endif
