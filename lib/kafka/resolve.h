/* SPDX-License-Identifier: ISC */
/* --resolve: addresses that stand for HOST:PORT. */
#ifndef EVPIPE_KAFKA_RESOLVE_H
#define EVPIPE_KAFKA_RESOLVE_H

#include "base/trouble.h"

#include <stdbool.h>
#include <stddef.h>

struct addrinfo;

/* The list is never freed: clients read it. */
struct kafka_resolves {
	struct kafka_resolve *list;
	size_t count;
};

/* Adds HOST:PORT:ADDR[:PORT]. Fails with 100. */
int resolve_add(struct kafka_resolves *all, const char *text, struct trouble *why);
/* Where HOST:PORT leads by --resolve, or itself: copies, to be freed. Returns whether --resolve names it. */
bool resolve_map(const struct kafka_resolves *resolves, const char *host, const char *port,
	char **to_host, char **to_port);
/* As getaddrinfo, with @resolves before the system's resolver. */
int resolve_ask(const struct kafka_resolves *resolves, const char *node, const char *service,
	const struct addrinfo *hints, struct addrinfo **res);

#endif
