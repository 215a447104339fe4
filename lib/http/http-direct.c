/* SPDX-License-Identifier: ISC */
/* Streams that end with their connection, such as text/event-stream. DESIGN: when the headers are
 * sent the daemon's part is suspended until the stream ends, and its bytes are written here. So a
 * piece for one of many clients costs one send(): no change of an epoll set, and no memory of the
 * connection's own, so that blocks can be large. What a socket does not take is kept, and no more
 * is asked for until it has room again, which our epoll set tells once (edge-triggered). */
#define _GNU_SOURCE
#include "http/http-parts.h"

#include "base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
	BLOCK_BYTES = 32 << 10,
	DAEMON_BYTES = 16, /* of a block of the daemon's, which stays empty */
};

struct http_direct {
	struct http_request_inner *request;
	struct http_direct *next,
		**link; /* of those that are to be written to; link NULL: it is not among them */
	struct buf rest; /* that the socket did not take, from @at on */
	size_t at;
	bool over; /* all was written */
};

/* ---- those that are to be written to ---- */

static void put_in_line(struct http_direct *d)
{
	struct http *h = d->request->client->http;

	if (d->link)
		return;
	if (!h->direct)
		h->direct_end = &h->direct;
	d->link = h->direct_end;
	d->next = NULL;
	*d->link = d;
	h->direct_end = &d->next;
	h->direct_count++;
}

static void take_out(struct http_direct *d)
{
	struct http *h = d->request->client->http;

	if (!d->link)
		return;
	*d->link = d->next;
	if (d->next)
		d->next->link = d->link;
	else
		h->direct_end = d->link;
	d->link = NULL;
	h->direct_count--;
}

/* ---- writing ---- */

/* Returns how many bytes the socket took; -1: the client has gone. */
static ssize_t give(struct http_client *c, const char *p, size_t n)
{
	ssize_t sent = send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent >= 0 || errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
		return sent < 0 ? 0 : sent;
	return -1;
}

/* The daemon ends the stream, or its connection. */
static void hand_back(struct http_direct *d)
{
	http_resume(d->request);
}

static void lose(struct http_direct *d)
{
	d->request->client->closed = true;
	hand_back(d);
}

/* Returns 0 when nothing is left of it. */
static int write_rest(struct http_direct *d)
{
	ssize_t n;

	if (!d->rest.len)
		return 0;
	n = give(d->request->client, d->rest.p + d->at, d->rest.len - d->at);
	if (n < 0)
		lose(d);
	if (n <= 0)
		return -1;
	d->at += (size_t)n;
	if (d->at < d->rest.len)
		return -1;
	buf_free(&d->rest);
	d->at = 0;
	return 0;
}

/* One large block a turn, so that all clients get their share. */
static void write_on(struct http_direct *d)
{
	static char block[BLOCK_BYTES];
	struct http_request_inner *r = d->request;
	size_t n;

	if (r->cut || r->client->closed || write_rest(d))
		return;
	while ((n = r->fill(&r->pub, block, sizeof(block)))) {
		ssize_t sent = give(r->client, block, n);

		if (sent < 0) {
			lose(d);
			return;
		}
		if ((size_t)sent < n) {
			buf_put(&d->rest, block + sent, n - (size_t)sent);
			return;
		}
		if (n == sizeof(block)) {
			put_in_line(d);
			return;
		}
	}
	d->over = r->ended;
	if (d->over)
		hand_back(d);
}

void http_direct_run(struct http *h)
{
	for (size_t n = h->direct_count; n && h->direct; n--) {
		struct http_direct *d = h->direct;

		take_out(d);
		write_on(d);
	}
}

void http_direct_wake(struct http_direct *d)
{
	/* It waits for its socket, and then asks for more by itself. */
	if (!d->rest.len)
		put_in_line(d);
}

void http_direct_room(struct http_direct *d)
{
	if (d->rest.len)
		put_in_line(d);
}

void http_direct_free(struct http_direct *d)
{
	if (!d)
		return;
	take_out(d);
	buf_free(&d->rest);
	free(d);
}

/* ---- the daemon's part ---- */

/* The headers are sent. Returns 0, or -1 when the socket's room would not be heard of. */
static int begin(struct http_request_inner *r)
{
	struct http_client *c = r->client;
	struct epoll_event e = {.events = EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
	int on = 1;

	http_forget_headers(r);
	/* Of a Unix socket it is none; there nothing waits for company. */
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (epoll_ctl(c->http->fd, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e))
		return -1;
	c->watched = true;
	r->direct = mem_alloc(sizeof(*r->direct));
	*r->direct = (struct http_direct){.request = r};
	put_in_line(r->direct);
	return 0;
}

static ssize_t on_room(void *cls, uint64_t at, char *to, size_t max)
{
	struct http_request_inner *r = cls;

	(void)at;
	(void)to;
	(void)max;
	if (r->cut || r->client->closed || r->client->http->closing)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (r->direct && r->direct->over)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!r->direct && begin(r))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	http_suspend(r);
	return 0;
}

void http_stream_direct(struct http_request *r, int status, const char *type, http_fill *fill)
{
	struct http_request_inner *inner = http_inner(r);
	struct MHD_Response *response;

	if (inner->client->http->conf.cert) {
		http_stream_pull(r, status, type, fill);
		return;
	}
	if (inner->answered)
		return;
	inner->fill = fill;
	response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, DAEMON_BYTES, on_room, inner, NULL);
	/* No chunks. */
	if (response)
		MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
	http_answer(inner, status, type, response);
}
