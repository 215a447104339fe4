/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "redis/url.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/num.h"
#include "redis/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

const struct opt_hint redis_hints[] = {
	{"", "the server is -u URL; what a sink sends comes by standard input"},
	{"-h -p", "the server is -u redis://HOST:PORT"},
	{"-s", "a server's socket is -u unix:PATH"},
	{"-n", "a database is in the URL: -u redis://HOST:PORT/N"},
	{"-c --cluster", "a cluster is -u redis+cluster://HOST:PORT"},
	{"-a --askpass --no-auth-warning",
		"a password is in --password-file FILE or $REDISCLI_AUTH"},
	{"--tls", "a server with TLS is -u rediss://HOST:PORT"},
	{"--insecure",
		"a server's certificate is always checked: --cacert FILE says by which authority"},
	{"--user", "a user is in the URL: -u redis://USER@HOST:PORT"},
	{"-x -X --pipe -d", "what is sent comes by standard input, a line each"},
	{"-r", "a count is a source's: rsub -c COUNT"},
	{"--json", "records are JSON, a line each"},
	{"--csv", "evfmt prints in a format: evfmt -f FORMAT"},
	{"-2 -3", "the protocol is chosen by itself"},
	{"--block", "a stream is waited for; --idle-exit TIME ends the waiting"},
	{0},
};

void redis_opts(struct redis_opts *o)
{
	o->url = arg_str0("u", "url", "URL",
		"redis://[user[:password]@]host[:port][/db], rediss:// for TLS, unix:/path[?db=N], or "
		"redis+sentinel://host[:port][,…]/master[/db], redis+cluster://host[:port][,…]");
	o->password_file = arg_file0(NULL, "password-file", "FILE",
		"the password is the first line of FILE, read at each login");
	o->ca = arg_file0(NULL, "cacert", "FILE", "TLS: trust these CA certificates alone");
	o->cert = arg_file0(NULL, "cert", "FILE", "TLS: our certificate");
	o->key = arg_file0(NULL, "key", "FILE", "TLS: its key");
	o->sni = arg_str0(
		NULL, "sni", "NAME", "TLS: the name that certificates must be for, not the host");
	o->sentinel_user = arg_str0(NULL, "sentinel-user", "USER", "the user at the sentinels");
	o->sentinel_password_file =
		arg_file0(NULL, "sentinel-password-file", "FILE", "the password at the sentinels");
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

static void set_port(struct redis_at *at, const char *s, size_t n)
{
	int64_t port;

	at->port = strndup(s, n);
	if (num_i64(at->port, &port) || port < 1 || port > 65535)
		opt_bad("the redis URL has a bad port");
}

static void set_address(struct redis_url *u, const char *s, size_t n, const char *port)
{
	const char *colon = memrchr(s, ':', n), *close = memrchr(s, ']', n);
	struct redis_at *at = &u->at[u->count++];
	size_t host = n;

	if (colon && (!close || colon > close)) {
		set_port(at, colon + 1, (size_t)(s + n - colon - 1));
		host = (size_t)(colon - s);
	} else {
		at->port = mem_dup(port);
	}
	if (host >= 2 && s[0] == '[' && s[host - 1] == ']')
		at->host = percent(s + 1, host - 2, "host");
	else if (memchr(s, ':', host))
		opt_bad("the redis URL has a bad host: an IPv6 address stands in [ ]");
	else
		at->host = percent(s, host, "host");
	if (!at->host[0]) {
		free(at->host);
		at->host = mem_dup("127.0.0.1");
	}
}

bool redis_at_is(const struct redis_at *a, const char *host, const char *port)
{
	return a->host && host && strcmp(a->host, host) == 0 && strcmp(a->port, port) == 0;
}

char *redis_at_name(const char *host, const char *port)
{
	return mem_printf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static void set_addresses(struct redis_url *u, const char *s, size_t n)
{
	const char *port = u->kind == REDIS_SENTINELS ? "26379" : "6379", *end = s + n;

	for (;;) {
		const char *comma = memchr(s, ',', (size_t)(end - s)), *stop = comma ? comma : end;

		if (comma && u->kind == REDIS_SERVER)
			opt_bad("a redis:// URL has one host; redis+sentinel:// and "
				"redis+cluster:// have several");
		if (u->count == REDIS_AT_MAX)
			opt_bad("the redis URL has more than %d hosts", REDIS_AT_MAX);
		set_address(u, s, (size_t)(stop - s), port);
		if (!comma)
			break;
		s = comma + 1;
	}
	u->name = redis_at_name(u->at[0].host, u->at[0].port);
}

static void set_path(struct redis_url *u, const char *s, bool mask)
{
	struct redis_at *at = &u->at[u->count++];
	const char *login;
	size_t n;

	if (strncmp(s, "//", 2) == 0)
		s += 2;
	login = *s == '/' ? NULL : strstr(s, "@/");
	if (login) {
		set_login(u, s, (size_t)(login - s), mask);
		s = login + 1;
	}
	n = strcspn(s, "?");
	at->host = percent(s, n, "path");
	if (!at->host[0] || strlen(at->host) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		opt_bad("the redis URL has a socket path that is empty or too long");
	set_query(u, s[n] ? s + n : NULL);
	u->name = mem_printf("unix:%s", at->host);
}

/* "MASTER[/DB]" or "[DB]"; returns what is behind it. */
static const char *set_place(struct redis_url *u, const char *s)
{
	size_t n;

	if (u->kind == REDIS_SENTINELS) {
		n = *s == '/' ? strcspn(++s, "/?") : 0;
		if (!n)
			opt_bad("the redis URL names no master: "
				"redis+sentinel://HOST[:PORT][,…]/MASTER");
		u->master = percent(s, n, "master");
		s += n;
	}
	if (*s == '/') {
		n = strcspn(++s, "?");
		if (n)
			set_db(u, s, n);
		s += n;
	}
	return s;
}

#define HOST_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]"

static const char *set_scheme(struct redis_url *u, const char *url)
{
	static const struct {
		const char *text;
		enum redis_kind kind;
		bool tls, sentinel_tls;
	} schemes[] = {
		{"redis://", REDIS_SERVER, false, false},
		{"rediss://", REDIS_SERVER, true, false},
		{"redis+sentinel://", REDIS_SENTINELS, false, false},
		{"rediss+sentinel://", REDIS_SENTINELS, true, false},
		{"redis+sentinels://", REDIS_SENTINELS, false, true},
		{"rediss+sentinels://", REDIS_SENTINELS, true, true},
		{"redis+cluster://", REDIS_CLUSTER, false, false},
		{"rediss+cluster://", REDIS_CLUSTER, true, false},
	};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		size_t n = strlen(schemes[i].text);

		if (strncmp(url, schemes[i].text, n))
			continue;
		u->kind = schemes[i].kind;
		u->tls = schemes[i].tls;
		u->sentinel_tls = schemes[i].sentinel_tls;
		return url + n;
	}
	/* What may hold a password is not repeated. */
	if (*url && !url[strspn(url, HOST_CHARS)])
		opt_bad("'%s' has no scheme: redis://%s", url, url);
	opt_bad("the redis URL begins with none of redis://, rediss://, unix:, redis+sentinel://, "
		"redis+cluster://, rediss+sentinel:// and the like");
}

static void set_url(struct redis_url *u, const char *url, bool mask)
{
	const char *s, *at;
	size_t n;

	if (strncmp(url, "unix:", 5) == 0) {
		set_path(u, url + 5, mask);
		return;
	}
	s = set_scheme(u, url);
	/* A raw '/' in a password is common, and no part of a host. */
	at = memrchr(s, '@', strcspn(s, "?"));
	if (at) {
		set_login(u, s, (size_t)(at - s), mask);
		s = at + 1;
	}
	n = strcspn(s, "/?");
	set_addresses(u, s, n);
	s = set_place(u, s + n);
	set_query(u, *s ? s : NULL);
	if (u->kind == REDIS_CLUSTER && u->db)
		opt_bad("the redis URL has a database number: a cluster has database 0 alone");
}

/* A file that cannot be read now will hardly be there at the first login. */
static void check_password_file(const char *file)
{
	struct trouble why = {0};
	char *text = file ? link_password(file, &why) : NULL;

	if (!file)
		return;
	if (!text)
		die(why.status, "%s", why.text);
	explicit_bzero(text, strlen(text));
	free(text);
}

static void take_login(struct redis_url *u, const struct redis_opts *o)
{
	const char *auth = getenv("REDISCLI_AUTH");

	u->password_file = opt_file(o->password_file, "--password-file");
	check_password_file(u->password_file);
	if (u->password_file) {
		free(u->password);
		u->password = NULL;
	} else if (!u->password && auth && *auth) {
		u->password = mem_dup(auth);
	}
	if (u->user && !u->password && !u->password_file)
		opt_bad("the redis URL names a user and there is no password; one without a user "
			"is redis://:PASSWORD@HOST");
	u->sentinel_user = opt_text(o->sentinel_user, "--sentinel-user");
	u->sentinel_password_file = opt_file(o->sentinel_password_file, "--sentinel-password-file");
	check_password_file(u->sentinel_password_file);
	if ((u->sentinel_user || u->sentinel_password_file) && u->kind != REDIS_SENTINELS)
		opt_bad("--sentinel-user and --sentinel-password-file are of use with a "
			"redis+sentinel:// URL alone");
	if (u->sentinel_user && !u->sentinel_password_file)
		opt_bad("--sentinel-user goes with --sentinel-password-file");
}

static void take_tls(struct redis_url *u, const struct redis_opts *o)
{
	u->tls_config = (struct tls_config){.ca_file = opt_file(o->ca, "--cacert"),
		.cert_file = opt_file(o->cert, "--cert"),
		.key_file = opt_file(o->key, "--key"),
		.name = opt_text(o->sni, "--sni")};
	if (!u->tls && !u->sentinel_tls &&
		(u->tls_config.ca_file || u->tls_config.cert_file || u->tls_config.key_file ||
			u->tls_config.name))
		opt_bad("--cacert, --cert, --key and --sni are of use with TLS alone: rediss://");
}

void redis_url_read(struct redis_url *u, const struct redis_opts *o)
{
	const char *url = opt_text(o->url, "--url"), *env = getenv("REDIS_URL");

	if (url) {
		/* The options may be read again, by a second client. */
		o->url->sval[0] = mem_dup(url);
		set_url(u, url, true);
	} else {
		set_url(u, env && *env ? env : "redis://127.0.0.1:6379", false);
	}
	take_login(u, o);
	take_tls(u, o);
}

static char *copy(const char *s)
{
	return s ? mem_dup(s) : NULL;
}

struct redis_url redis_url_copy(const struct redis_url *u)
{
	struct redis_url c = *u;

	c.name = copy(u->name);
	for (int i = 0; i < u->count; i++)
		c.at[i] = (struct redis_at){copy(u->at[i].host), copy(u->at[i].port)};
	c.master = copy(u->master);
	c.user = copy(u->user);
	c.password = copy(u->password);
	return c;
}

void redis_url_free(struct redis_url *u)
{
	free(u->name);
	for (int i = 0; i < u->count; i++) {
		free(u->at[i].host);
		free(u->at[i].port);
	}
	free(u->master);
	free(u->user);
	free(u->password);
	*u = (struct redis_url){0};
}
