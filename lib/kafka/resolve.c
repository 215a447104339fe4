/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/resolve.h"

#include "base/mem.h"
#include "base/msg.h"
#include "kafka/bootstrap.h"
#include "kafka/secrets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct kafka_resolve {
	char *memory; /* all texts are in it */
	char *host, *port, *to, *to_port;
};

struct resolve_list {
	struct kafka_resolve *list;
	size_t count;
};

struct resolve_file {
	struct resolve_file *next;
	char *path;
	uint64_t stamp; /* when it was read last */
	pthread_mutex_t lock;
	struct resolve_list lines; /* under the lock */
};

/* Splits "a:b:c" at its first colon outside brackets; takes the brackets off. NULL: nothing is
 * left. */
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

static bool is_port(const char *text)
{
	return bootstrap_is_port((struct span){text, strlen(text)});
}

/* "9092" would be an address, too: 0.0.35.132. */
static bool is_address(const char *text)
{
	struct in_addr v4;
	struct addrinfo *res;

	if ((!strchr(text, ':') && inet_pton(AF_INET, text, &v4) != 1) || numeric(text, "1", &res))
		return false;
	freeaddrinfo(res);
	return true;
}

/* NULL: nothing is wrong. Else what the error's sentence says besides; "": nothing. */
static const char *flaw(const struct kafka_resolve *r, const char *rest, const char *text)
{
	int colons = 0;

	for (const char *s = text; (s = strchr(s, ':')); s++)
		colons++;
	if (colons > 3 && !strchr(text, '['))
		return "; an IPv6 address has brackets: [ADDRESS]";
	if (!r->to || rest || !*r->host)
		return "";
	if (strpbrk(r->host, "*?{}+,/"))
		return "; HOST is one name: each has a --resolve of its own, or a line in @FILE";
	if (!is_port(r->port) || !is_port(r->to_port))
		return "; a port is a number from 1 to 65535";
	return is_address(r->to) ? NULL : "";
}

static int parse(struct kafka_resolve *r, const char *text, struct trouble *why)
{
	char *rest = mem_dup(text);
	const char *why_not;

	*r = (struct kafka_resolve){.memory = rest};
	r->host = split(&rest);
	r->port = split(&rest);
	r->to = split(&rest);
	r->to_port = rest ? split(&rest) : r->port;
	why_not = flaw(r, rest, text);
	if (!why_not)
		return 0;
	free(r->memory);
	return trouble_set(why, EXIT_PERM,
		"--resolve takes HOST:PORT:ADDR[:PORT], ADDR being an address, not '%s'%s", text,
		why_not);
}

static void append(struct resolve_list *l, struct kafka_resolve r)
{
	l->list = mem_realloc(l->list, (l->count + 1) * sizeof(*l->list));
	l->list[l->count++] = r;
}

/* ---- files ---- */

static int read_lines(FILE *f, const char *path, struct resolve_list *lines, struct trouble *why)
{
	struct trouble bad = {0};
	struct kafka_resolve r;
	char *line = NULL;
	size_t size = 0;

	for (int n = 1; !bad.status && getline(&line, &size, f) >= 0; n++) {
		char *text = line + strspn(line, " \t");

		text[strcspn(text, " \t\r\n")] = '\0';
		if (!*text || *text == '#')
			continue;
		if (parse(&r, text, &bad))
			trouble_set(why, EXIT_PERM, "%s, line %d: %s", path, n, bad.text);
		else
			append(lines, r);
	}
	free(line);
	return bad.status ? -1 : 0;
}

static void free_lines(struct resolve_list *lines)
{
	for (size_t i = 0; i < lines->count; i++)
		free(lines->list[i].memory);
	free(lines->list);
}

static int read_file(struct resolve_file *file, struct trouble *why)
{
	uint64_t stamp = secrets_file_stamp(file->path);
	struct resolve_list lines = {0}, old;
	FILE *f = fopen(file->path, "re");

	if (!f)
		return trouble_set(why, msg_errno_status(errno), "cannot open '%s': %s", file->path,
			msg_errno(errno));
	file->stamp = stamp;
	if (read_lines(f, file->path, &lines, why)) {
		free_lines(&lines);
		fclose(f);
		return -1;
	}
	fclose(f);
	pthread_mutex_lock(&file->lock);
	old = file->lines;
	file->lines = lines;
	pthread_mutex_unlock(&file->lock);
	free_lines(&old);
	return 0;
}

const char *resolve_reread(const struct kafka_resolves *all, struct trouble *why)
{
	const char *read = NULL;

	for (struct resolve_file *f = all->files; f; f = f->next) {
		uint64_t stamp = secrets_file_stamp(f->path);

		/* While it is put in its place there may be none. */
		if (stamp && stamp != f->stamp && read_file(f, why) == 0)
			read = f->path;
	}
	return read;
}

int resolve_add(struct kafka_resolves *all, const char *text, struct trouble *why)
{
	struct resolve_list list = {all->list, all->count};
	struct resolve_file *f, **end = &all->files;
	struct trouble bad = {0};
	struct kafka_resolve r;

	if (*text != '@') {
		if (parse(&r, text, &bad))
			return trouble_set(
				why, EXIT_PERM, "%s; try '%s --help'", bad.text, msg_prog());
		append(&list, r);
		all->list = list.list;
		all->count = list.count;
		return 0;
	}
	f = mem_alloc(sizeof(*f));
	*f = (struct resolve_file){.path = mem_dup(text + 1)};
	pthread_mutex_init(&f->lock, NULL);
	while (*end)
		end = &(*end)->next;
	*end = f;
	return read_file(f, why);
}

/* ---- questions ---- */

static const struct kafka_resolve *find(
	const struct resolve_list *lines, const char *host, const char *port)
{
	for (size_t i = 0; i < lines->count; i++)
		if (strcasecmp(lines->list[i].host, host) == 0 &&
			strcmp(lines->list[i].port, port) == 0)
			return &lines->list[i];
	return NULL;
}

static bool take(const struct resolve_list *lines, const char *host, const char *port,
	char **to_host, char **to_port)
{
	const struct kafka_resolve *r = find(lines, host, port);

	if (!r)
		return false;
	*to_host = mem_dup(r->to);
	*to_port = mem_dup(r->to_port);
	return true;
}

bool resolve_map(const struct kafka_resolves *resolves, const char *host, const char *port,
	char **to_host, char **to_port)
{
	struct resolve_list own = {resolves->list, resolves->count};
	bool found = take(&own, host, port, to_host, to_port);

	for (struct resolve_file *f = resolves->files; f && !found; f = f->next) {
		pthread_mutex_lock(&f->lock);
		found = take(&f->lines, host, port, to_host, to_port);
		pthread_mutex_unlock(&f->lock);
	}
	if (!found) {
		*to_host = mem_dup(host);
		*to_port = mem_dup(port);
	}
	return found;
}

void resolve_each(const struct kafka_resolves *all, bool files, resolve_fn *fn, void *ctx)
{
	for (size_t i = 0; i < all->count; i++)
		fn(ctx, all->list[i].host, all->list[i].port);
	for (struct resolve_file *f = files ? all->files : NULL; f; f = f->next) {
		pthread_mutex_lock(&f->lock);
		for (size_t i = 0; i < f->lines.count; i++)
			fn(ctx, f->lines.list[i].host, f->lines.list[i].port);
		pthread_mutex_unlock(&f->lock);
	}
}

int resolve_ask(const struct kafka_resolves *resolves, const char *node, const char *service,
	const struct addrinfo *hints, struct addrinfo **res)
{
	char *host, *port;
	bool found = resolve_map(resolves, node, service, &host, &port);
	int error = found ? numeric(host, port, res) : getaddrinfo(node, service, hints, res);

	free(host);
	free(port);
	return error;
}
