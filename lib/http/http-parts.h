/* SPDX-License-Identifier: ISC */
/* What the parts of lib/http share. */
#ifndef EVPIPE_HTTP_PARTS_H
#define EVPIPE_HTTP_PARTS_H

#include "http/http.h"
#include "net/listen.h"

#include <microhttpd.h>

enum { HTTP_PARAMS_MAX = 8, HTTP_ROUTES_MAX = 64, HTTP_HEADERS_MAX = 16 };

struct http_route {
	const char *method, *pattern;
	http_fn *fn;
	bool takes; /* not for HEAD */
};

struct http {
	struct MHD_Daemon *daemon;
	int fd; /* epoll: the daemon's descriptor, and the connections of those that wait */
	struct listener listener;
	struct http_conf conf;
	void *self;
	struct http_route routes[HTTP_ROUTES_MAX];
	size_t route_count;
	const struct http_status *status;
	bool blind, told; /* a client waits that cannot be accepted; it was said once */
	struct http_client *clients;
	struct http_receipt *receipts; /* of which nothing is known yet */
	unsigned requests; /* with an answer that is not whole yet */
	bool resumed; /* a request goes on in the next http_run */
	struct http_direct *direct, **direct_end; /* streams that are to be written to */
	size_t direct_count;
	bool closing, draining;
	int64_t sweep_us; /* when slow clients are looked for next */
};

/* A connection. */
struct http_client {
	struct http *http;
	int fd;
	bool watched; /* for its end: in the server's epoll set */
	bool closed; /* by the client */
	int64_t since_us; /* it connected, or its last request was over */
	struct http_request_inner *request; /* NULL: between two */
	struct http_receipt *receipt; /* of its last answer, if somebody waits for that */
	struct http_client *next, **link;
};

struct http_param {
	struct span name;
	char *value;
};

struct http_answer_header {
	char *name, *value;
};

/* Ten thousand may wait at a time: what few of them need has memory of its own. */
struct http_request_inner {
	struct http_request pub; /* first */
	struct http_client *client;
	struct MHD_Connection *connection;
	char *path;
	const char *uri, *uri_end; /* the library's text */
	struct http_body *body; /* NULL: none */
	int64_t begun_us;
	size_t thrown_away; /* bytes of a body that is not wanted */
	http_fn *fn;
	const char *pattern;
	struct http_param *params;
	size_t param_count;
	char *allow; /* what the path takes, for 405; NULL */
	size_t room; /* of the connection's memory, for the answer's head */
	int refused; /* the status, when no handler is called */
	const char *why; /* of that; NULL: the status has a sentence of its own */
	bool begun, handled, suspended, cut;
	bool is_old; /* HTTP/1.0 */
	bool has_blank, has_nul; /* the URL; has_nul: its query has %00 */
	char *query; /* decoded: "name\0value\0name\0value\0"; NULL */
	size_t query_len;
	/* The answer. */
	struct http_answer_header *headers;
	size_t header_count;
	size_t head_bytes; /* at most */
	unsigned status;
	struct MHD_Response *response; /* not queued yet */
	bool answered;
	/* A stream. */
	struct MHD_Response *begun_stream; /* of which nothing was sent; the connection's */
	http_fill *fill;
	struct http_direct *direct; /* NULL: the daemon writes it */
	bool ended;
	struct buf queue;
	size_t head, queue_max;
};

static inline struct http_request_inner *http_inner(const struct http_request *r)
{
	return (struct http_request_inner *)(uintptr_t)r;
}

/* ---- http.c ---- */
/* Lets the connection go on in the next http_run, if it waits. */
void http_resume(struct http_request_inner *r);
/* Has it wait, and sees when the client closes it. */
void http_suspend(struct http_request_inner *r);

/* ---- http-body.c ---- */
/* Appends to a body, which is made for its first piece. Returns 0; or -1 when it is lost: its file
 * does not work. */
int body_put(struct http_body **b, struct span piece);
/* It is whole: *@text is all of it, until http_body_free. Takes NULL. Returns 0 or -1, as
 * body_put. */
int body_end(struct http_body *b, struct span *text);
size_t body_len(const struct http_body *b);

/* ---- http-head.c ---- */
/* Returns false with r->refused when it is not known for sure what is asked, or where the body
 * ends. The connection must end with the answer: nothing says where the next request begins.
 * @version: the library's text. */
bool http_head_is_sound(struct http_request_inner *r, const char *version);
/* Sets r->room. Returns whether an answer fits into it, and the head is no longer than it may be.
 */
bool http_head_fits(struct http_request_inner *r);
/* The library takes the last blank for the end of the URL, others may take the first; and so with
 * controls. */
bool http_has_blank(const char *uri);
/* Of "http://host/path", which clients send to proxies, too, the path with what follows. */
const char *http_path_of(const char *uri);

/* ---- http-route.c ---- */
/* Finds the handler and the parameters, or r->refused and, for 405, r->allow. */
void http_find_route(struct http *h, struct http_request_inner *r);
/* @uri: the library's text from the query on, "" or "?…", which it has no more afterwards. */
void http_take_query(struct http_request_inner *r, const char *uri);
void http_each_query(const struct http_request_inner *r,
	void (*each)(void *ctx, const char *name, const char *value), void *ctx);

/* ---- http-tls.c ---- */
/* Whether the client may ask: a certificate that conf.client_ca has signed, if there is one. */
bool http_is_certified(const struct http_request_inner *r);
/* What is wrong with a certificate and its key, both PEM; NULL: they go together. *@of_key: with
 * the key. */
const char *http_pair_flaw(const char *cert, const char *key, bool *of_key);
bool http_has_certs(const char *text);
/* Past the daemon, which then must close the connection. */
void http_send_last(const struct http_request_inner *r, const char *text, size_t len);

/* ---- http-receipt.c ---- */
/* Looks for connections that were reset. Afterwards the daemon may close them, and all ends look
 * alike. */
void http_receipts_look(struct http *h);
/* The client has sent its next request; its connection ends. */
void http_receipt_next(struct http_client *c);
void http_receipt_closed(struct http_client *c);

/* ---- http-reply.c ---- */
void http_drop_headers(struct http_request_inner *r);
/* The answer's, whose first bytes were sent. */
void http_forget_headers(struct http_request_inner *r);
/* Takes the response, NULL: the connection is cut. */
void http_answer(
	struct http_request_inner *r, int status, const char *type, struct MHD_Response *response);
void http_refuse(struct http_request_inner *r, int status);
/* The connection ends: what it has still sent. */
void http_pass_over(const struct http_client *c);
/* Hands the answer to the daemon. */
enum MHD_Result http_queue(struct http_request_inner *r);

/* ---- http-direct.c ---- */
/* Writes to those that have something, or have room again. */
void http_direct_run(struct http *h);
/* There is something to write; the socket has room. */
void http_direct_wake(struct http_direct *d);
void http_direct_room(struct http_direct *d);
/* Takes NULL. */
void http_direct_free(struct http_direct *d);

#endif
