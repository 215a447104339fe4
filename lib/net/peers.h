/* SPDX-License-Identifier: ISC */
/* A server of lines inside a poll loop: it accepts, reads whole lines, and queues what is sent.
 * Nothing blocks. A peer that does not read holds up nobody: it is cut off when too much waits for
 * it, as is one whose line is too long. Users put their own state of a peer behind struct peer. */
#ifndef EVPIPE_NET_PEERS_H
#define EVPIPE_NET_PEERS_H

#include "base/buf.h"
#include "base/trouble.h"
#include "net/listen.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	PEERS_LINE_MAX = 1 << 20, /* bytes of a line */
	PEERS_UNREAD_MAX = 16 << 20, /* bytes that wait for a peer */
	PEERS_MAX = 256,
};

/* A connection. The first member of a user's struct, of which all else is zero at first. */
struct peer {
	int fd;
	bool closed; /* nothing is read from it or sent to it any more; peers_reap frees it */
	/* internal */
	struct buf in, out;
	size_t fresh; /* bytes of in that were read to look ahead, and not taken */
	struct peer *next;
};

struct peers {
	int fd; /* for poll: POLLIN; -1: closed */
	struct peer *first; /* then next */
	unsigned count;
	struct trouble trouble; /* no further connection can be taken: too many open files */
	/* internal */
	struct listener listener;
	const struct peers_events *events;
	void *ctx;
};

struct peers_events {
	size_t size; /* of the user's struct */
	void (*opened)(void *ctx, struct peer *p); /* a greeting can be sent */
	/* One line without its LF. */
	void (*line)(void *ctx, struct peer *p, struct span line, int64_t now_us);
	/* Before a block in which @mark stands is taken from a peer, all that has come from the
	 * others is read, and their whole lines are given to @ahead; true: it has taken the line,
	 * which goes. @mark 0: none of this. */
	char mark;
	bool (*ahead)(void *ctx, struct peer *p, struct span line);
	/* @why: a line over PEERS_LINE_MAX, or more than PEERS_UNREAD_MAX unread; the peer may be
	 * sent a last line, and is closed then. @p NULL: a connection beyond PEERS_MAX. */
	void (*refused)(void *ctx, struct peer *p, const char *why);
	void (*freed)(void *ctx,
		struct peer *p); /* its connection has ended; for the user's own memory */
};

/* Whether the process at the other end of a Unix socket, at the time of its connect or listen, was
 * of our user or root's. *@uid: whose it was. */
bool peers_trust(int fd, uid_t *uid);

/* @events and what it points to stay. Dies with 111. */
void peers_open(struct peers *s, const struct peers_events *events, void *ctx);
/* Listens on a socket file, as listen_unix. Once. */
int peers_listen(struct peers *s, const char *path, mode_t mode, struct trouble *why);
/* Takes a connected stream socket over, as if it had been accepted. */
void peers_add(struct peers *s, int fd);
/* Accepts, reads and sends. Call when fd is readable, and in any case once a second. */
void peers_serve(struct peers *s, int64_t now_us);
/* Frees the closed ones. Peers stay where they are until then. */
void peers_reap(struct peers *s);
/* Closes all and removes the socket file. */
void peers_close(struct peers *s);

/* Appends to what is sent; peer_flush sends what the socket takes, the rest leaves in
 * peers_serve. */
static inline struct buf *peer_out(struct peer *p)
{
	return &p->out;
}
void peer_flush(const struct peers *s, struct peer *p);
/* Both: queues a text, and sends. */
__attribute__((format(printf, 3, 4))) void peer_tell(
	const struct peers *s, struct peer *p, const char *fmt, ...);
/* Whether something waits to be sent. */
static inline bool peer_is_behind(const struct peer *p)
{
	return p->out.len > 0;
}

#endif
