/* SPDX-License-Identifier: ISC */
/* Listening sockets: TCP and Unix. A socket file of ours that nobody listens on any more is
 * replaced, one that answers or is another user's is not. A socket file is removed by listen_close,
 * or at the exit of the process that made it: a child that exits leaves its parent's. */
#ifndef EVPIPE_NET_LISTEN_H
#define EVPIPE_NET_LISTEN_H

#include "base/trouble.h"

#include <sys/types.h>

struct listener {
	int fd; /* non-blocking, close-on-exec; -1: closed, or taken by a caller who closes it */
	char address[256]; /* HOST:PORT with the real port, [HOST]:PORT, or unix:PATH */
	/* internal */
	char *path; /* of the socket file, NULL: none */
	pid_t maker;
	struct listener *next;
};

/* Listens on HOST:PORT, :PORT (all addresses, IPv6 and IPv4) or unix:PATH; port 0: any free one.
 * @mode: the rights of the socket file, 0600 for instance; 0: the umask's. @l stays where it is
 * until listen_close. Blocks for the resolver and for one connect to a socket file. Returns 0, or
 * -1 with a sentence in @why: EXIT_PERM when the address has none of these forms, cannot be
 * resolved, is not allowed or in use (errno is EADDRINUSE when another process listens there);
 * EXIT_TEMP on other trouble, such as too many open files. */
int listen_open(struct listener *l, const char *address, mode_t mode, struct trouble *why);
/* The same for a socket file at @path. */
int listen_unix(struct listener *l, const char *path, mode_t mode, struct trouble *why);
/* Closes the socket if it is still here, and removes its file. */
void listen_close(struct listener *l);

#endif
