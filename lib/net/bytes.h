/* SPDX-License-Identifier: ISC */
/* A connected socket's bytes, plain or through TLS (tls.h), for a poll loop: nothing blocks. Above
 * it stands a buffer that dials, shakes hands and logs in; this has read, write, want, pending and
 * close alone.
 *
 * Through TLS the loop has two duties. It polls for bytes_want, since a handshake, or a read, may
 * wait for either direction. And it reads without a poll while bytes_pending: what TLS has taken
 * from the socket wakes no poll. */
#ifndef EVPIPE_NET_BYTES_H
#define EVPIPE_NET_BYTES_H

#include "base/trouble.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

struct bytes {
	int fd; /* -1: closed */
	/* Why the handshake, a read or a write failed. EXIT_PERM: a certificate, ours or the
	 * server's, or a server that speaks no TLS; else EXIT_TEMP. */
	struct trouble trouble;
	bool is_tls; /* the peer speaks TLS, whether or not the handshake succeeds */
	/* internal */
	const struct bytes_layer *layer; /* NULL: plain */
	void *state; /* the layer's */
	const char *host;
	short read_want, write_want;
	bool more, broken;
};

/* A layer between a connection and its socket. */
struct bytes_layer {
	int (*shake)(struct bytes *b);
	ssize_t (*read)(struct bytes *b, void *p, size_t n);
	ssize_t (*write)(struct bytes *b, const void *p, size_t n);
	void (*close)(struct bytes *b); /* not the descriptor */
};

/* The part that all connections of a client share: the layer's own members follow it. */
struct bytes_client {
	void (*start)(struct bytes_client *client, struct bytes *b);
};

/* Takes over a connected descriptor, which does not block. @client NULL: plain. @host, which must
 * live on, is what a certificate must be for. */
void bytes_open(struct bytes *b, int fd, struct bytes_client *client, const char *host);
/* Goes on with the handshake. 1: done (plain: at once); 0: poll for bytes_want and call again; -1:
 * failed. In TLS 1.3 a server that wants a client certificate says so only at the first read. */
int bytes_shake(struct bytes *b);

/* As read(2) and write(2) on a descriptor that does not block: -1 with errno EAGAIN: poll for
 * bytes_want. On any other error `trouble` is set too. A write may be repeated from another place,
 * with the same bytes. After a write has failed nothing more can be written, and the peer sees the
 * end of our bytes: what would be sent later must not arrive without this. What the peer sent
 * before can still be read. */
ssize_t bytes_read(struct bytes *b, void *p, size_t n);
ssize_t bytes_write(struct bytes *b, const void *p, size_t n);
/* For poll. @output: there are bytes to write. */
static inline short bytes_want(const struct bytes *b, bool output)
{
	return (short)(b->read_want | (output ? b->write_want : 0));
}
/* By poll's revents: a read, or a write, may make progress. */
static inline bool bytes_can_read(const struct bytes *b, short revents)
{
	return (revents & (b->read_want | POLLERR | POLLHUP | POLLNVAL)) || b->more;
}
static inline bool bytes_can_write(const struct bytes *b, short revents)
{
	return revents & b->write_want;
}
/* Bytes may be had without a poll. */
static inline bool bytes_pending(const struct bytes *b)
{
	return b->more;
}
/* Closes the descriptor, after TLS's close_notify where that needs no waiting. May be called
 * again. */
void bytes_close(struct bytes *b);

#endif
