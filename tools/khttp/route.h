/* SPDX-License-Identifier: ISC */
/* Which part answers a request, and what is looked at before it does: the origin, who asks, the
 * body's type, and whether it is JSON. */
#ifndef KHTTP_ROUTE_H
#define KHTTP_ROUTE_H

#include "json/json.h"
#include "khttp/khttp.h"
#include "khttp/media.h"

/* A request that has come so far. */
struct call {
	struct khttp *k;
	struct http_request *r;
	enum media type; /* of the body; MEDIA_NONE: there is no body */
	struct json_value body; /* validated; JSON_ABSENT: there is none, or it is lines */
};

/* Adds the routes to k->api, and to k->management if there is one. */
void route_all(struct khttp *k);

/* media_choose for the request's Accept, whose lines are one list; @exact: its first line. */
enum media route_accept(const struct http_request *r, const enum media *offered, bool exact);

/* Looks at the header Origin, and sets headers of the answer. Returns whether the request is
 * answered: 403, or 204 for a preflight, whose method has no route: @status 405. */
bool route_cors(struct khttp *k, struct http_request *r, int status);

/* Appends where the client has reached us: "http://host:port", and @path, or what X-Forwarded-Path
 * says. Returns 0, or -1 when it has answered with 500: the protocol that Forwarded names is none
 * of HTTP's. */
int route_base(struct khttp *k, struct http_request *r, const char *path, struct buf *out);

#endif
