/* SPDX-License-Identifier: ISC */
/* Who may read: a file of tokens. A line is a token, and patterns of topics that it is for; without
 * one, all. "#" begins a comment. A client shows its token as the header "Authorization: Bearer
 * TOKEN", as the cookie or in the query "token". The file is read again when it has changed;
 * streams that are open stay. */
#ifndef EVSSE_ACCESS_H
#define EVSSE_ACCESS_H

#include "http/http.h"

struct access;

/* NULL path: NULL, and all may read. Dies with 100 when the file cannot be read. */
struct access *access_open(const char *path, const char *cookie);
void access_close(struct access *a);
/* Whether the request may read anything. *@patterns: of its topics, each NUL-ended, an empty one
 * behind the last, valid until the next call; NULL: all. */
bool access_check(struct access *a, const struct http_request *r, const char **patterns);

#endif
