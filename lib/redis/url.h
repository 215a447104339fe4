/* SPDX-License-Identifier: ISC */
/* Where Redis is and how to log in, from a program's options and its environment. */
#ifndef EVPIPE_REDIS_URL_H
#define EVPIPE_REDIS_URL_H

#include "base/opt.h"
#include "net/tls.h"

/* The options of all programs that talk to Redis. */
struct redis_opts {
	struct arg_str *url, *sni, *sentinel_user;
	struct arg_file *password_file, *ca, *cert, *key, *sentinel_password_file;
};
void redis_opts(struct redis_opts *o);
/* Options of redis-cli, and how it is written here. For opt_page. */
extern const struct opt_hint redis_hints[];
#define REDIS_ENTRIES(o)                                                                           \
	(o).url, (o).password_file, (o).ca, (o).cert, (o).key, (o).sni, (o).sentinel_user,         \
		(o).sentinel_password_file

enum redis_kind {
	REDIS_SERVER, /* one, that is named */
	REDIS_SENTINELS, /* one, that sentinels name */
	REDIS_CLUSTER,
};

enum { REDIS_AT_MAX = 16 };

struct redis_at {
	char *host, *port; /* port NULL: host is the path of a Unix socket */
};

struct redis_url {
	enum redis_kind kind;
	bool tls, sentinel_tls;
	char *name; /* "HOST:PORT", the first one, or "unix:/path", for messages */
	struct redis_at at[REDIS_AT_MAX]; /* the server, sentinels, or nodes of the cluster */
	int count;
	char *master; /* as the sentinels call it */
	char *user, *password; /* NULL: none */
	const char *password_file; /* in place of password; read at each login */
	const char *sentinel_user, *sentinel_password_file; /* NULL: none */
	int db;
	struct tls_config tls_config;
};
/* Reads the options and the environment; may be called again. Dies with 100 when they are wrong; a
 * password is never in the message, and gone from argv. */
void redis_url_read(struct redis_url *url, const struct redis_opts *o);
/* A copy, to be freed by itself. */
struct redis_url redis_url_copy(const struct redis_url *url);
void redis_url_free(struct redis_url *url);
/* Whether the address is that; false where one of them is NULL. */
bool redis_at_is(const struct redis_at *a, const char *host, const char *port);
/* "HOST:PORT", or "[HOST]:PORT" for an IPv6 address; the caller frees it. */
char *redis_at_name(const char *host, const char *port);

#endif
