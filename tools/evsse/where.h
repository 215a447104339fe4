/* SPDX-License-Identifier: ISC */
/* Which events a client wants: ?key=K (any of several) and ?where=CONDITION (all of several).
 *
 * 	.a.b=VALUE		the payload's value at that path; also != < <= > >=
 * 	.a.b			it is there, and neither null nor false
 * 	header:NAME=VALUE	the last header of that name
 *
 * Two numbers are compared as numbers, all else as text: a string's characters, or the value as it
 * stands. VALUE may stand in double quotes. What is not there, or a payload that is not JSON, is
 * equal to nothing: != holds, and nothing else does. */
#ifndef EVSSE_WHERE_H
#define EVSSE_WHERE_H

#include "evsse/ring.h"
#include "http/http.h"

struct where;

/* The query's conditions; *@where is NULL when there are none. Clients with the same ones share
 * them. Returns 0, or -1 with a sentence. Free with where_drop, also NULL. */
int where_take(const struct http_request *r, struct where **where, char *why, size_t why_size);
void where_drop(struct where *w);
/* Whether the client wants the event. */
bool where_holds(struct where *w, const struct entry *e);

#endif
