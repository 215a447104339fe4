/* SPDX-License-Identifier: ISC */
/* Preloaded: the name servers are silent. Says "asked for NAME" of each. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <unistd.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
	if (hints->ai_flags & AI_NUMERICHOST)
		return ((lookup *)dlsym(RTLD_NEXT, "getaddrinfo"))(node, service, hints, res);
	dprintf(STDERR_FILENO, "asked for %s\n", node);
	for (;;)
		pause();
}
