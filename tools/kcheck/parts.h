/* SPDX-License-Identifier: ISC */
/* What the parts behind views.h share. */
#ifndef EVPIPE_KCHECK_PARTS_H
#define EVPIPE_KCHECK_PARTS_H

#include "kcheck/views.h"

/* A conversation with any broker; NULL: none can be used. */
struct talk *views_via(const struct views *v);
/* The status of what cannot be looked at, since no broker can be used. */
int views_status(const struct views *v);
/* Sends the request that was begun on @t, and waits. */
bool views_ask(struct views *v, struct talk *t);
/* Asks for the metadata of these topics; NULL: of all. Returns whether there is an answer; free it
 * in both cases. */
bool views_metadata(struct views *v, const char *const *names, struct proto_metadata *m);
/* Asks the broker for the offset at the time of each place; it stays -1 where there is no
 * answer. */
void views_offsets(struct views *v, int32_t broker, struct query_places *places);

#endif
