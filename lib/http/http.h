/* SPDX-License-Identifier: ISC */
/* A small HTTP server for GET and HEAD inside a poll loop (libmicrohttpd, without threads): metrics,
 * health, readiness. At most 128 connections; one that is silent for ten seconds is cut. */
#ifndef EVPIPE_HTTP_H
#define EVPIPE_HTTP_H

#include "base/buf.h"

struct http;

/* Answers a GET of @path (without its query): appends to @body and returns the HTTP status. *@type is
 * text/plain in UTF-8 if it is left alone. */
typedef int http_fn(void *self, const char *path, struct buf *body, const char **type);

/* Listens on HOST:PORT, :PORT (all addresses) or unix:PATH; port 0: any. A socket file that nobody
 * listens on any more is replaced. Dies with 100 when the address is of none of these forms, cannot
 * be resolved or is in use, with 111 on other trouble. */
struct http *http_open(const char *address, http_fn *answer, void *self);
/* Where it listens, as text: the port is the real one. */
const char *http_address(const struct http *h);
/* In a loop: poll http_fd for POLLIN, no longer than http_timeout_ms (-1: no limit), and call http_run
 * after each poll; it does not block. All of them take NULL: then there is no server, and the
 * descriptor is -1. */
int http_fd(const struct http *h);
int http_timeout_ms(const struct http *h);
void http_run(struct http *h);
/* Ends it; open connections are cut. */
void http_close(struct http *h);

/* "libmicrohttpd 0.9.75", of the library that is loaded. */
const char *http_library(void);

#endif
