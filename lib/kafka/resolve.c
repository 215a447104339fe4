/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/resolve.h"

#include "base/mem.h"
#include "base/msg.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

struct kafka_resolve {
	char *host, *port, *to, *to_port;
};

/* Splits "a:b:c" at its first colon outside brackets; takes the brackets off. NULL: nothing is left. */
static char *split(char **rest)
{
	char *s = *rest, *end;

	if (!s)
		return NULL;
	if (*s == '[' && (end = strchr(s, ']')) && (!end[1] || end[1] == ':')) {
		*end = '\0';
		*rest = end[1] ? end + 2 : NULL;
		return s + 1;
	}
	end = strchr(s, ':');
	*rest = end ? end + 1 : NULL;
	if (end)
		*end = '\0';
	return s;
}

static int numeric(const char *host, const char *port, struct addrinfo **res)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM,
		.ai_protocol = IPPROTO_TCP};

	return getaddrinfo(host, port, &hints, res);
}

int resolve_add(struct kafka_resolves *all, const char *text, struct trouble *why)
{
	char *rest = mem_dup(text);
	struct kafka_resolve r = {.host = split(&rest)};
	struct addrinfo *res;

	r.port = split(&rest);
	r.to = split(&rest);
	r.to_port = rest ? split(&rest) : r.port;
	if (!r.to || rest || !*r.host || numeric(r.to, r.to_port, &res))
		return trouble_set(why, EXIT_PERM,
			"--resolve takes HOST:PORT:ADDR[:PORT], ADDR being an address, not '%s'; try '%s --help'",
			text, msg_prog());
	freeaddrinfo(res);
	all->list = mem_realloc(all->list, (all->count + 1) * sizeof(*all->list));
	all->list[all->count++] = r;
	return 0;
}

static const struct kafka_resolve *find(
	const struct kafka_resolves *resolves, const char *host, const char *port)
{
	for (size_t i = 0; i < resolves->count; i++)
		if (strcasecmp(resolves->list[i].host, host) == 0 &&
			strcmp(resolves->list[i].port, port) == 0)
			return &resolves->list[i];
	return NULL;
}

bool resolve_map(const struct kafka_resolves *resolves, const char *host, const char *port,
	char **to_host, char **to_port)
{
	const struct kafka_resolve *r = find(resolves, host, port);

	*to_host = mem_dup(r ? r->to : host);
	*to_port = mem_dup(r ? r->to_port : port);
	return r != NULL;
}

int resolve_ask(const struct kafka_resolves *resolves, const char *node, const char *service,
	const struct addrinfo *hints, struct addrinfo **res)
{
	const struct kafka_resolve *r = find(resolves, node, service);

	return r ? numeric(r->to, r->to_port, res) : getaddrinfo(node, service, hints, res);
}
