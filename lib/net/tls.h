/* SPDX-License-Identifier: ISC */
/* A connected socket's bytes, plain or through TLS (OpenSSL), for a poll loop: nothing blocks. Above it stands
 * a buffer that dials, shakes hands and logs in; this has read, write, want, pending and close alone.
 *
 * Through TLS the loop has two duties. It polls for tls_want, since a handshake, or a read, may wait for either
 * direction. And it calls tls_read without a poll while tls_pending: bytes that OpenSSL has taken from the
 * socket wake no poll. The process ignores SIGPIPE (wake_open does it). */
#ifndef EVPIPE_NET_TLS_H
#define EVPIPE_NET_TLS_H

#include "base/trouble.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

/* ---- what the connections of a client have in common ---- */

struct tls_config {
	const char *ca_file; /* of certificates that are trusted; NULL: the system's */
	const char *cert_file, *key_file; /* ours, PEM; NULL: none. The key is not encrypted */
	const char
		*name; /* what the server's certificate must be for, in place of the host; NULL */
};
/* Reads the files. NULL when that fails: *@why has the sentence and EXIT_PERM. Free with tls_client_free, once
 * all connections are closed. */
struct tls_client *tls_client_open(const struct tls_config *config, struct trouble *why);
void tls_client_free(struct tls_client *client);

/* ---- one connection ---- */

struct tls {
	int fd; /* -1: closed */
	/* Why the handshake, a read or a write failed. EXIT_PERM: a certificate, ours or the server's, or a
	 * server that speaks no TLS; else EXIT_TEMP. */
	struct trouble trouble;
	/* internal */
	struct ssl_st *ssl; /* NULL: plain */
	const char *host;
	short read_want, write_want;
	bool more, broken;
};

/* Takes over a connected descriptor, which does not block, for plain bytes. */
void tls_plain(struct tls *t, int fd);
/* The same for TLS. The certificate must be for @host, a name or an address, which must live on; the server is
 * told a name, never an address. */
void tls_start(struct tls *t, int fd, struct tls_client *client, const char *host);
/* Goes on with the handshake. 1: done (plain: at once); 0: poll for tls_want and call again; -1: failed.
 * In TLS 1.3 a server that wants a client certificate says so only at the first read. */
int tls_shake(struct tls *t);

/* As read(2) and write(2) on a descriptor that does not block: -1 with errno EAGAIN: poll for tls_want. On any
 * other error `trouble` is set too. A write may be repeated from another place, with the same bytes. After a
 * write has failed nothing more can be written, and the peer sees the end of our bytes: what would be sent
 * later must not arrive without this. What the peer sent before can still be read. */
ssize_t tls_read(struct tls *t, void *p, size_t n);
ssize_t tls_write(struct tls *t, const void *p, size_t n);
/* For poll. @output: there are bytes to write. */
static inline short tls_want(const struct tls *t, bool output)
{
	return (short)(t->read_want | (output ? t->write_want : 0));
}
/* What poll has found: a read, or a write, may get on. */
static inline bool tls_can_read(const struct tls *t, short revents)
{
	return (revents & (t->read_want | POLLERR | POLLHUP | POLLNVAL)) || t->more;
}
static inline bool tls_can_write(const struct tls *t, short revents)
{
	return revents & t->write_want;
}
/* Bytes may be had without a poll. */
static inline bool tls_pending(const struct tls *t)
{
	return t->more;
}
/* Closes the descriptor; tells the peer when that needs no waiting. May be called again. */
void tls_close(struct tls *t);

#endif
