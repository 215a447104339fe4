/* SPDX-License-Identifier: ISC */
/* Who may ask: those who know a token of a file, one a line; lines that are empty, and comments
 * behind '#', are none. The file may be replaced while we run: one that has changed is read anew;
 * one that cannot be read, or is empty, leaves the old tokens valid. Comparing takes as long
 * whatever the texts have in common. */
#ifndef EVPIPE_HTTP_TOKENS_H
#define EVPIPE_HTTP_TOKENS_H

#include "base/buf.h"

#include <stdbool.h>
#include <sys/stat.h>

struct tokens {
	const char *path; /* NULL: whoever connects may ask */
	struct buf text; /* the file as it was read last */
	struct stat stat;
};

/* Reads the file; dies with 100 when that cannot be, or no token is in it. @path stays; NULL:
 * none. */
void tokens_open(struct tokens *t, const char *path);
/* Whether the header Authorization, which may be NULL, is "Bearer" and one of the tokens; true
 * without a file. */
bool tokens_allow(struct tokens *t, const char *authorization);
/* The same for "Basic" and lines that are NAME:PASSWORD. */
bool tokens_allow_basic(struct tokens *t, const char *authorization);

#endif
