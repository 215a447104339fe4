/* SPDX-License-Identifier: ISC */
/* The way to a server, for a poll loop: a name is resolved without blocking, to IPv4 and IPv6; its
 * addresses are tried one after the other, each for at most DIAL_MS, beginning behind one that
 * connected but proved to be of no use; a further attempt begins after a back-off. A Unix socket is
 * reached the same way. One dial is one attempt at a time; a process has as many as it likes. */
#ifndef EVPIPE_NET_DIAL_H
#define EVPIPE_NET_DIAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
	DIAL_MS = 5000, /* for the name, and for each address */
	DIAL_BACKOFF_MIN_MS = 100,
	DIAL_BACKOFF_MAX_MS = 2000,
};

enum dial_state {
	DIAL_IDLE,
	DIAL_WAITING, /* for the end of a back-off */
	DIAL_RESOLVING,
	DIAL_CONNECTING,
	DIAL_CONNECTED, /* take the descriptor */
	DIAL_FAILED, /* for the reason `why`; call dial_retry or dial_start */
};

struct dial {
	enum dial_state state;
	char *host, *port; /* or host alone: the path of a Unix socket */
	char why[128];
	int error; /* errno's value for it; 0: it has none */
	/* internal */
	int fd;
	struct addrinfo *addrs, *addr;
	struct resolve *request; /* for the name */
	struct sockaddr_storage last; /* the address that was connected last */
	bool is_bad; /* … and it has not proved to be of use */
	int64_t until_ms, backoff_ms;
};

/* Sets where to: a name or an address and a port's number; @port NULL: @host is the path of a Unix
 * socket, which must fit into sun_path. Both are copied. @d is all zero, or has been set before:
 * then an attempt under way ends. */
void dial_set(struct dial *d, const char *host, const char *port);
/* Ends an attempt under way and frees all. */
void dial_free(struct dial *d);

/* Begins an attempt now. A connect that needs no waiting ends it at once. */
void dial_start(struct dial *d, int64_t now_ms);
/* Begins one after a back-off, which doubles each time from DIAL_BACKOFF_MIN_MS to
 * DIAL_BACKOFF_MAX_MS. */
void dial_retry(struct dial *d, int64_t now_ms);
/* The next back-off is the shortest again, and the next attempt begins at the first address: call
 * when the server has proved to be of use. */
void dial_reset(struct dial *d);
/* The next attempt begins behind the address that was connected last: call when its server is of no
 * use any more. */
void dial_blame(struct dial *d);
/* Ends an attempt under way; the state is DIAL_IDLE then. */
void dial_stop(struct dial *d);

/* For the loop's pollfd (-1: nothing to wait for) and its timeout in milliseconds (-1: none). */
int dial_fd(const struct dial *d);
short dial_events(const struct dial *d);
int dial_timeout_ms(const struct dial *d, int64_t now_ms);
/* Goes on with what is due. Call when the descriptor has events or the timeout is over. */
enum dial_state dial_step(struct dial *d, short revents, int64_t now_ms);
/* The connected descriptor, non-blocking, which belongs to the caller then. The state is
 * DIAL_IDLE. */
int dial_take(struct dial *d);

#endif
