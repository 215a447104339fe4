/* SPDX-License-Identifier: ISC */
/* Where Redis is and how to log in, from a program's options and its environment. */
#ifndef EVPIPE_REDIS_URL_H
#define EVPIPE_REDIS_URL_H

#include "base/opt.h"

struct redis_opts {
	struct arg_str *url;
	struct arg_file *password_file;
};
void redis_opts(struct redis_opts *o);
#define REDIS_ENTRIES(o) (o).url, (o).password_file

struct redis_url {
	char *name; /* "HOST:PORT" or "unix:/path", for messages */
	char *host, *port; /* port NULL: host is the path of a Unix socket */
	char *user, *password; /* NULL: none */
	int db;
};
/* Reads the options and the environment. Dies with 100 when they are wrong; a password is never in the
 * message, and gone from argv. */
void redis_url_read(struct redis_url *url, const struct redis_opts *o);
void redis_url_free(struct redis_url *url);

#endif
