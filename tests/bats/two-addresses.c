/* SPDX-License-Identifier: ISC */
/* Preloaded: every name has the addresses 127.0.0.2 and 127.0.0.1, in this order. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
	lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");

	if (hints->ai_flags & AI_NUMERICHOST)
		return real(node, service, hints, res);
	if (real("127.0.0.2", service, hints, res) ||
		real("127.0.0.1", service, hints, &(*res)->ai_next))
		return EAI_FAIL;
	return 0;
}
