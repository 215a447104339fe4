/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "redis/url.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/num.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

void redis_opts(struct redis_opts *o)
{
	o->url = arg_str0("u", "url", "URL",
		"redis://[user[:password]@]host[:port][/db] or unix:/path[?db=N]");
	o->password_file =
		arg_file0(NULL, "password-file", "FILE", "the password is the first line of FILE");
}

/* %XX decoded. @what is named when it is malformed. */
static char *percent(const char *s, size_t n, const char *what)
{
	char *text = mem_alloc(n + 1), *to = text;

	for (size_t i = 0; i < n; i++) {
		char hex[3] = "";
		char *stop = hex;

		if (s[i] != '%') {
			*to++ = s[i];
			continue;
		}
		if (n - i > 2) {
			memcpy(hex, s + i + 1, 2);
			*to++ = (char)strtoul(hex, &stop, 16);
		}
		if (stop != hex + 2 || !to[-1])
			opt_bad("the redis URL has a bad %% escape in its %s", what);
		i += 2;
	}
	*to = '\0';
	return text;
}

static void set_db(struct redis_url *u, const char *s, size_t n)
{
	char text[16] = "";
	int64_t db = -1;

	if (n < sizeof(text))
		memcpy(text, s, n);
	if (num_i64(text, &db) || db < 0 || db > INT32_MAX)
		opt_bad("the redis URL has a bad database number");
	u->db = (int)db;
}

static void set_query(struct redis_url *u, const char *query)
{
	if (!query)
		return;
	if (strncmp(query, "?db=", 4))
		opt_bad("the redis URL has a query other than ?db=N");
	set_db(u, query + 4, strlen(query + 4));
}

/* @mask: the URL stands in argv, where ps shows it. */
static void set_login(struct redis_url *u, const char *s, size_t n, bool mask)
{
	const char *colon = memchr(s, ':', n);
	size_t user = colon ? (size_t)(colon - s) : n;

	if (user)
		u->user = percent(s, user, "user");
	if (!colon)
		return;
	u->password = percent(colon + 1, n - user - 1, "password");
	if (mask)
		memset((char *)(uintptr_t)(colon + 1), '*', n - user - 1);
}

static void set_address(struct redis_url *u, const char *s, size_t n)
{
	const char *colon = memrchr(s, ':', n), *close = memrchr(s, ']', n);
	size_t host = n;

	if (colon && (!close || colon > close)) {
		int64_t port;

		u->port = strndup(colon + 1, (size_t)(s + n - colon - 1));
		if (num_i64(u->port, &port) || port < 1 || port > 65535)
			opt_bad("the redis URL has a bad port");
		host = (size_t)(colon - s);
	} else {
		u->port = mem_dup("6379");
	}
	if (host >= 2 && s[0] == '[' && s[host - 1] == ']')
		u->host = percent(s + 1, host - 2, "host");
	else if (memchr(s, ':', host))
		opt_bad("the redis URL has a bad host: an IPv6 address stands in [ ]");
	else
		u->host = percent(s, host, "host");
	if (!u->host[0]) {
		free(u->host);
		u->host = mem_dup("127.0.0.1");
	}
	u->name = mem_printf(strchr(u->host, ':') ? "[%s]:%s" : "%s:%s", u->host, u->port);
}

static void set_path(struct redis_url *u, const char *s)
{
	size_t n;

	if (strncmp(s, "//", 2) == 0)
		s += 2;
	n = strcspn(s, "?");
	u->host = percent(s, n, "path");
	if (!u->host[0] || strlen(u->host) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		opt_bad("the redis URL has a socket path that is empty or too long");
	set_query(u, s[n] ? s + n : NULL);
	u->name = mem_printf("unix:%s", u->host);
}

static void set_url(struct redis_url *u, const char *url, bool mask)
{
	static const char *const later[] = {"rediss:", "redis+", "redis-", "rediss+", "valkey"};
	const char *s, *at;
	size_t n;

	for (size_t i = 0; i < sizeof(later) / sizeof(*later); i++)
		if (strncmp(url, later[i], strlen(later[i])) == 0)
			die(EXIT_PERM, "%.*s URLs are not supported by this version",
				(int)strcspn(url, ":"), url);
	if (strncmp(url, "unix:", 5) == 0) {
		set_path(u, url + 5);
		return;
	}
	if (strncmp(url, "redis://", 8))
		opt_bad("the redis URL begins neither with redis:// nor with unix:");
	s = url + 8;
	n = strcspn(s, "/?");
	/* A raw '/' in a password is common, and no part of a host. */
	at = memrchr(s, '@', strcspn(s, "?"));
	if (at) {
		set_login(u, s, (size_t)(at - s), mask);
		s = at + 1;
		n = strcspn(s, "/?");
	}
	set_address(u, s, n);
	s += n;
	if (*s == '/') {
		n = strcspn(++s, "?");
		if (n)
			set_db(u, s, n);
		s += n;
	}
	set_query(u, *s ? s : NULL);
}

static char *read_password(const char *file)
{
	char *text = NULL;
	size_t cap = 0;
	FILE *f = fopen(file, "re");
	ssize_t n;

	if (!f)
		die(EXIT_PERM, "cannot open the password file '%s': %s", file, strerror(errno));
	n = getline(&text, &cap, f);
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		text[--n] = '\0';
	if (n <= 0)
		die(EXIT_PERM, "the password file '%s' has no first line", file);
	fclose(f);
	return text;
}

void redis_url_read(struct redis_url *u, const struct redis_opts *o)
{
	const char *url = opt_text(o->url, "--url"), *env = getenv("REDIS_URL");
	const char *file = opt_file(o->password_file, "--password-file");
	const char *auth = getenv("REDISCLI_AUTH");

	if (url)
		set_url(u, url, true);
	else
		set_url(u, env && *env ? env : "redis://127.0.0.1:6379", false);
	if (file) {
		free(u->password);
		u->password = read_password(file);
	} else if (!u->password && auth && *auth) {
		u->password = mem_dup(auth);
	}
	if (u->user && !u->password)
		opt_bad("the redis URL names a user and there is no password; one without a user "
			"is redis://:PASSWORD@HOST");
}

void redis_url_free(struct redis_url *u)
{
	free(u->name);
	free(u->host);
	free(u->port);
	free(u->user);
	free(u->password);
	*u = (struct redis_url){0};
}
