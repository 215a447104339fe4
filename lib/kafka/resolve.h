/* SPDX-License-Identifier: ISC */
/* --resolve: addresses that stand for HOST:PORT. Threads of clients may ask while the files are
 * read anew. */
#ifndef EVPIPE_KAFKA_RESOLVE_H
#define EVPIPE_KAFKA_RESOLVE_H

#include "base/trouble.h"

#include <stdbool.h>
#include <stddef.h>

struct addrinfo;

/* Never freed: clients read it. Copies share the files. */
struct kafka_resolves {
	struct kafka_resolve *list;
	size_t count;
	struct resolve_file *files; /* NULL: none */
};

/* Adds HOST:PORT:ADDR[:PORT], or @FILE with such lines. Fails with 100. */
int resolve_add(struct kafka_resolves *all, const char *text, struct trouble *why);
static inline bool resolve_is_any(const struct kafka_resolves *all)
{
	return all->count || all->files;
}
/* Reads files that have changed. Returns one that was read, or NULL; with *@why for one that cannot
 * be: it stays as it was. */
const char *resolve_reread(const struct kafka_resolves *all, struct trouble *why);
/* Where HOST:PORT leads by --resolve, or itself: copies, to be freed. Returns whether --resolve
 * names it. */
bool resolve_map(const struct kafka_resolves *resolves, const char *host, const char *port,
	char **to_host, char **to_port);
/* Calls @fn with each HOST:PORT that --resolve names; @files: with those in files, too. */
typedef void resolve_fn(void *ctx, const char *host, const char *port);
void resolve_each(const struct kafka_resolves *all, bool files, resolve_fn *fn, void *ctx);
/* As getaddrinfo, with @resolves before the system's resolver. */
int resolve_ask(const struct kafka_resolves *resolves, const char *node, const char *service,
	const struct addrinfo *hints, struct addrinfo **res);

#endif
