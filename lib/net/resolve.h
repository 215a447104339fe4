/* SPDX-License-Identifier: ISC */
/* The addresses of a name, for a poll loop. getaddrinfo blocks for as long as the name servers
 * please, so it runs in a thread of its own. A request that is under way cannot be taken back:
 * whoever no longer wants it leaves it to that thread, which the end of the program does not wait
 * for. */
#ifndef EVPIPE_NET_RESOLVE_H
#define EVPIPE_NET_RESOLVE_H

#include <netdb.h>

struct resolve;

/* Asks for the addresses of a name, IPv4 and IPv6, for a port's number. Both are copied. NULL with
 * errno when that is not possible: EMFILE, or EAGAIN when the system gives no thread. */
struct resolve *resolve_start(const char *host, const char *port);
/* For poll: POLLIN once the answer is there. */
int resolve_fd(const struct resolve *q);
/* Takes the answer, once: 0 and *@addrs, which is freed with freeaddrinfo; EAI_INPROGRESS: it has
 * not come; or another error of getaddrinfo. */
int resolve_take(struct resolve *q, struct addrinfo **addrs);
/* Ends the request. NULL: does nothing. */
void resolve_drop(struct resolve *q);

#endif
