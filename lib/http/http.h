/* SPDX-License-Identifier: ISC */
/* An HTTP/1.1 server inside a poll loop (libmicrohttpd, without threads). A handler answers a
 * request when its body is there, or later; an answer is a text, or a stream that lasts. Nothing
 * here blocks.
 *
 * Limits: connections; bytes of a body (413) and of headers (431); ten seconds of silence, but not
 * while a request waits for its answer or a stream for its data; ten seconds until the headers of
 * the next request are there, however they trickle, and ten times as long until its body is. While
 * a request waits, the kernel asks for the client's machine: it has gone when that is silent. A
 * client that ends its side of the connection while it waits counts as closed, though it might
 * still read. */
#ifndef EVPIPE_HTTP_H
#define EVPIPE_HTTP_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct http;

struct http_request {
	const char *method;
	const char *path; /* as it was sent, without its query */
	struct span body;
	void *user; /* the handler's own */
	/* Called once when the request is over, if it is set; @r is freed then. @whole: all of the
	 * answer was given to the kernel; else the client has closed the connection, was cut off,
	 * or the server ends. */
	void (*done)(struct http_request *r, bool whole);
};

/* Handles a request: with http_reply, http_error or a stream, before it returns or later. */
typedef void http_fn(void *self, struct http_request *r);

/* All of it may be 0: the default. */
struct http_conf {
	unsigned max_connections; /* 128 */
	size_t max_body; /* bytes; 1 MiB */
	unsigned idle_s; /* 10 */
	/* A client has gone whose machine has confirmed nothing of what was sent to it for so long,
	 * or whose socket has taken nothing; 0: the kernel's quarter of an hour. */
	unsigned unheard_s;
	/* Bytes a connection, for headers and output, libmicrohttpd's 32 KiB: a request's head has
	 * 64 for each header beside, and leaves 512 for the answer's. */
	size_t memory;
	size_t max_head; /* bytes of a first line and headers; what the memory allows */
	const char *cert,
		/* TLS: texts in PEM, which stay; NULL: none. The certificate has its chain behind
		 * it */
		*key;
	const char *
		/* with TLS: who has signed the certificate that a client must show, else it gets
		 * 403; NULL: none is wanted */
		client_ca;
	bool slash; /* a path with a slash at its end is the one without it */
	/* Called when a request is over, before its `done`: @status is the answer's, 0: there was
	 * none; @us since its first line came. NULL: nobody is told. */
	void (*over)(void *self, const struct http_request *r, int status, bool whole, int64_t us);
	/* Answers with an error of the server's own or of http_error; the default is http_error's
	 * JSON. */
	void (*error)(void *self, struct http_request *r, int status, const char *message);
};

/* Listens on an address as listen_open has them, with the umask's rights. @conf NULL: defaults.
 * Dies with 100 when it cannot listen there or has no use for the certificate, with 111 on other
 * trouble. */
struct http *http_open(const char *address, const struct http_conf *conf, void *self);
/* Where it listens, as text: the port is the real one. */
const char *http_address(const struct http *h);
/* GET is HEAD's too. @pattern: "/topics/{topic}/partitions": a part in braces stands for any one
 * part of the path, which http_param decodes; {name*} at the end for all that is left. A path
 * without a route is answered with 404, a method with 405 and Allow. Both texts stay. Among routes
 * that fit, the first counts. */
void http_route(struct http *h, const char *method, const char *pattern, http_fn *fn);
/* A route for GET alone, not for HEAD: what its answer takes would be lost. */
void http_route_take(struct http *h, const char *pattern, http_fn *fn);

/* How a server program describes its own state. */
struct http_status {
	void (*metrics)(void *self, struct buf *out); /* Prometheus's text format */
	/* One line a cause; nothing appended: well. */
	void (*unhealthy)(void *self, struct buf *causes);
	void (*unready)(void *self, struct buf *causes);
	void (*note)(
		void *self, struct buf *text); /* lines below a healthy one's "ok"; NULL: none */
};
/* Adds GET /metrics, /healthz and /readyz, the last two with 200 or 503. @s stays. */
void http_status_routes(struct http *h, const struct http_status *s);

/* In a loop: poll http_fd for POLLIN, no longer than http_timeout_ms (-1: no limit), and call
 * http_run after each poll. All of them take NULL: then there is no server, and the descriptor is
 * -1. */
int http_fd(const struct http *h);
int http_timeout_ms(const struct http *h);
void http_run(struct http *h);
/* Accepts no more connections, and each that there is ends with its next answer. Returns how many
 * requests are not answered yet: http_close can wait for 0. */
unsigned http_drain(struct http *h);
/* Ends it; open connections are cut, and each request's `done` is called. */
void http_close(struct http *h);

/* "libmicrohttpd 0.9.75", of the library that is loaded. */
const char *http_library(void);

/* ---- requests: texts are valid until `done` ---- */

/* The pattern of the route that was found: the text itself; NULL: none was. */
const char *http_pattern(const struct http_request *r);
/* The part of the path that {name} of the route stands for; NULL: the route has no such name. */
const char *http_param(const struct http_request *r, const char *name);
/* The first of this name, decoded; "" without a value, NULL: none. */
const char *http_query(const struct http_request *r, const char *name);
/* The same of a header, whatever its case. */
const char *http_header(const struct http_request *r, const char *name);
/* The same of one whose value is a list. Several lines are one list (RFC 9110, 5.3): it stands in
 * @joined, which was empty; the caller frees that. */
const char *http_header_list(const struct http_request *r, const char *name, struct buf *joined);
const char *http_cookie(const struct http_request *r, const char *name);
/* Whom the client has asked: the URL's host, if it has sent one, else the header Host (RFC 9112,
 * 3.2.2), as it was sent; p NULL: nobody. */
struct span http_host(const struct http_request *r);
/* Whether Content-Encoding says that the body is compressed, or what else: such are not decoded
 * here. */
bool http_body_is_coded(const struct http_request *r);
/* The body is not needed any more: its memory is freed before the request's end. */
void http_drop_body(struct http_request *r);

/* A body over a MiB stands in a file without a name, in $TMPDIR, /var/tmp or /tmp; where no file
 * can be had, in memory as others. Its text is mapped, so what has been read can be given back, and
 * is there again when it is read again. */
struct http_body;
struct http_body *http_body(const struct http_request *r);
bool http_body_is_large(const struct http_body *b);
/* Its memory up to @to, a place in its text, is given back now and then. Does nothing with a small
 * one, and NULL. */
void http_body_pass(struct http_body *b, const char *to);
/* It is the caller's from now on: its text stays until http_body_free, which takes NULL. */
struct http_body *http_take_body(struct http_request *r);
void http_body_free(struct http_body *b);
/* Calls @each for all of a kind, in order. */
enum http_kind { HTTP_QUERY, HTTP_HEADER };
void http_each(const struct http_request *r, enum http_kind kind,
	void (*each)(void *ctx, const char *name, const char *value), void *ctx);

/* ---- answers: one a request ---- */

/* A header of the answer to come. Cache-Control is no-store if it is not set here. */
void http_set_header(struct http_request *r, const char *name, const char *value);
/* Takes the text out of @body, which is empty afterwards; NULL: none. @type NULL: no
 * Content-Type. */
void http_reply(struct http_request *r, int status, const char *type, struct buf *body);
/* Through conf.error; by default {"error_code":404,"message":"…"}. The message is UTF-8. */
__attribute__((format(printf, 3, 4))) void http_error(
	struct http_request *r, int status, const char *fmt, ...);

/* Whether a client has an answer whose `done` said that it is whole: that means only that the
 * kernel took it. A reset connection is a client that has gone without reading all; behind a proxy
 * (Forwarded, X-Forwarded-*, Via) the proxy is the client, and has read all if its kernel has.
 * HTTP_RESET: its kernel has all, and it does not say that it is a proxy. */
enum http_received {
	HTTP_UNKNOWN, /* bytes are on their way */
	HTTP_CONFIRMED, /* the client's kernel has all; at a Unix socket, the client */
	/* The client has asked for more, or ended the connection in order, or its kernel has had
	 * all for 200 ms. */
	HTTP_RECEIVED,
	HTTP_RESET,
	HTTP_LOST,
};
struct http_receipt;
/* Call in `done`. Free with http_receipt_free, which takes NULL. One a connection: another one
 * takes its place. @handed_on: the client hands the answer on to its own, and asks for something
 * else when that one has it: nothing less says so. */
struct http_receipt *http_receipt(struct http_request *r, bool handed_on);
enum http_received http_received(const struct http_receipt *t);
void http_receipt_free(struct http_receipt *t);

/* A stream with a queue of at most @max_bytes. */
void http_stream(struct http_request *r, int status, const char *type, size_t max_bytes);
/* Returns 0; or -1 when the client is too slow: the queue would grow over its bound, and nothing of
 * @data is taken. */
int http_stream_put(struct http_request *r, struct span data);
/* A stream without a queue: @fill copies up to @max bytes when the client takes some, and returns
 * how many; 0: there is nothing, http_wake will tell. It must not end or cut the stream. */
typedef size_t http_fill(struct http_request *r, char *to, size_t max);
void http_stream_pull(struct http_request *r, int status, const char *type, http_fill *fill);
/* The same for a stream whose end is that of its connection, such as text/event-stream: without
 * chunks, so that a client does not see whether it was cut, and at a fraction of the cost. What its
 * socket did not take of a block, up to 32 KiB, is kept. With TLS it is http_stream_pull. */
void http_stream_direct(struct http_request *r, int status, const char *type, http_fill *fill);
void http_wake(struct http_request *r);
/* Ends a stream when all has been written: when the queue is empty, or @fill has nothing. */
void http_end(struct http_request *r);
/* Cuts the connection, whatever it waits for. */
void http_cut(struct http_request *r);

#endif
