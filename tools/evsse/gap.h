/* SPDX-License-Identifier: ISC */
/* What a client cannot have it is told of: an event `gap`, with the place from which it lacks
 * events, up to which (null: unknown), and the reason. */
#ifndef EVSSE_GAP_H
#define EVSSE_GAP_H

#include "evsse/stream.h"

/* The client's place in a part is before @first, and there is nothing between them any more. */
void gap_in(struct client *c, struct cursor *cursor, struct own *own, struct place first);
/* The part began anew, at a lower place. */
void gap_anew(struct client *c, struct cursor *cursor, struct own *own, const struct part *p);
/* @from was counted by another process. */
void gap_of_run(struct client *c, const struct topic *t, struct place from);
/* The client's id is none of ours. */
void gap_of_id(struct client *c, const char *id);

#endif
