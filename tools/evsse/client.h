/* SPDX-License-Identifier: ISC */
/* A client: where it is in each of its topics, and the bytes that it gets. */
#ifndef EVSSE_CLIENT_H
#define EVSSE_CLIENT_H

#include "evsse/evsse.h"
#include "evsse/where.h"

/* What a client has asked for. */
struct wish {
	/* names and patterns, each NUL-ended, an empty one behind the last; the client's then */
	char *topics;
	char *allowed; /* patterns, like topics; NULL: all; the client's then */
	const char *last_id; /* NULL: it has none */
	struct where *where; /* the client's then */
	bool as_record;
	bool unnamed; /* its events have no names */
	uint64_t last; /* without an id: so many of the latest events of each topic */
};

/* Answers the request with a stream, which lasts until the client goes. */
void client_open(struct evsse *s, struct http_request *r, const struct wish *w);
/* A topic has its first event. */
void clients_see_topic(struct evsse *s, struct topic *t);
/* For replays_serve. */
struct replay;
void clients_wake_replayed(struct evsse *s, const struct replay *r);
/* For ring_tell. */
void client_wake(struct cursor *c);
/* Once in a while, see client_tick_ms: comments to silent streams; those that take nothing are
 * cut. */
void clients_tick(struct evsse *s);
int clients_tick_ms(const struct evsse *s);
/* Streams of which all was taken end, with word when to come again. */
void clients_leave(struct evsse *s);
/* A time to come back, in ms, between half of @ms and one and a half. */
int64_t client_retry_ms(int64_t ms);
/* Whether a name has characters of a pattern. */
bool client_is_pattern(const char *name);
/* Whether a topic is among names and patterns, each NUL-ended, an empty one behind the last. */
bool client_names(const char *names, const char *topic);

#endif
