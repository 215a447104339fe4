/* SPDX-License-Identifier: ISC */
/* A request that is handed on to other bridges: its connection, and the answer that goes back
 * through us. */
#ifndef KHTTP_FORWARD_H
#define KHTTP_FORWARD_H

#include "khttp/khttp.h"
#include "net/bytes.h"
#include "net/dial.h"

enum { FORWARD_WHY = 400 };

/* Another bridge. */
struct peer {
	char *host, *port, *address; /* "host:port" */
	bool tls;
	bool has_answered;
	char told[FORWARD_WHY]; /* what was said of it, since it has answered last; "" */
	int64_t told_ms;
};

enum forward_state {
	FORWARD_DIAL,
	FORWARD_SHAKE,
	FORWARD_SEND,
	FORWARD_HEAD,
	FORWARD_BODY,
	/* the answer is on its way to the client: the peer hears whether it arrives */
	FORWARD_HELD,
	FORWARD_OVER,
};

/* All of them, and how they are asked. */
struct peer_set {
	struct khttp *k;
	struct peer *list;
	size_t count;
	struct bytes_client *tls; /* NULL: no peer speaks it */
	int epoll; /* that the loop polls */
	int64_t timeout_ms; /* for an answer, beyond the time that the request names */
};

/* How far a body in chunks is. */
enum chunk { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER };

struct forward {
	struct forward *next, **link;
	const struct peer_set *set;
	struct khttp *k;
	struct http_request *r; /* NULL: over, or its client has gone */
	struct http_receipt *receipt;
	size_t peer, left; /* which one; so many more may be asked */
	enum forward_state state;
	struct dial dial;
	struct bytes bytes;
	struct buf line, rest; /* the request: around the header Host */
	struct buf out, in; /* to the peer, and from it */
	size_t sent, used;
	/* the answer */
	int status;
	char *type;
	bool unknown; /* it says that the instance is not there */
	bool refuses; /* it has not let us in */
	bool streams, chunked, ended;
	int64_t length; /* of the body; -1: to the end of the connection */
	enum chunk chunk;
	int64_t chunk_left;
	struct buf body;
	size_t given;
	int64_t until_ms; /* -1: no limit */
	unsigned char *hint; /* where to note the peer that has answered; NULL */
	char why[FORWARD_WHY]; /* why a peer could not be asked; "" */
};

/* Hands @r on to peer @first, and to @more others when that one does not know the instance. */
struct forward *forward_open(
	const struct peer_set *set, struct http_request *r, size_t first, size_t more);
void forward_step(struct forward *f, short revents);
/* Looks whether the client has its answer, and ends the connection to the peer, so that this one
 * knows. @asked: a request for the same instance has come since, so what the client's kernel has
 * the client has. */
void forward_settle(struct forward *f, bool asked);
/* Looks at the time, and whether the client has its answer. Call some times a second. */
void forward_tick(struct forward *f);
/* Ends it with an answer, if there was none. */
void forward_leave(struct forward *f);
/* What its connection is polled for has changed. */
void forward_watch(struct forward *f);
void forward_free(struct forward *f);

/* ---- forward-why.c ---- */

/* Puts "HOST:PORT: cause: remedy"; a warning says it, once until the peer answers. */
void forward_why(const struct forward *f, const char *cause, char *why, size_t size);
/* The peer has. */
void forward_answered(const struct forward *f);

/* ---- forward-answer.c ---- */

/* Reads what has come. Returns 0; -1: it is no HTTP. */
int answer_read(struct forward *f);
/* The peer has ended the connection. Returns whether the answer is whole. */
bool answer_ends(struct forward *f);
/* So much is kept for a slow client that no more is read. */
bool answer_is_full(const struct forward *f);

#endif
