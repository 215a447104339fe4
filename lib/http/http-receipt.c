/* SPDX-License-Identifier: ISC */
/* Whether a client has what it was sent: more than that the kernel took it. */
#include "http/http-parts.h"

#include "base/mem.h"
#include "base/wake.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
	CLOSED = 7, /* TCP_CLOSE of netinet/tcp.h, whose struct tcp_info is shorter */
	STALLED_MS = 1000,
	CONFIRMED_MS = 200, /* after so long a client has read what its kernel has */
};

struct http_receipt {
	struct http_client *client; /* NULL: it has told, or gone; then it is not in the list */
	struct http_receipt *next, **link;
	enum http_received state;
	bool by_proxy, handed_on;
	int64_t begun_ms;
};

/* A proxy ends its connections to servers by a reset as a matter of course, so as not to run out of
 * ports. */
static bool is_by_proxy(const struct http_request *r)
{
	static const char *const names[] = {
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Via"};

	for (size_t n = 0; n < sizeof(names) / sizeof(*names); n++)
		if (http_header(r, names[n]))
			return true;
	return false;
}

static void detach(struct http_receipt *t, enum http_received state)
{
	t->client->receipt = NULL;
	t->client = NULL;
	t->state = state;
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
}

struct http_receipt *http_receipt(struct http_request *r, bool handed_on)
{
	struct http_client *c = http_inner(r)->client;
	struct http_receipt *t = mem_alloc(sizeof(*t));

	if (c->receipt)
		detach(c->receipt, HTTP_RECEIVED);
	*t = (struct http_receipt){.client = c,
		.state = HTTP_UNKNOWN,
		.by_proxy = !handed_on && is_by_proxy(r),
		.handed_on = handed_on,
		.begun_ms = wake_now_ms(),
		.next = c->http->receipts,
		.link = &c->http->receipts};
	if (t->next)
		t->next->link = &t->next;
	c->http->receipts = t;
	c->receipt = t;
	return t;
}

/* A connection that was closed in order from both ends comes to the same state, but its peer has
 * confirmed our end, which counts as a byte. The error of a reset says less: it is told once, to
 * who asks first, and that may be the library. */
static bool is_reset(int fd)
{
	struct tcp_info i;
	socklen_t size = sizeof(i), error_size = sizeof(int);
	int error = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &size) || i.tcpi_state != CLOSED)
		return false;
	/* Linux before 4.19. */
	if (size < offsetof(struct tcp_info, tcpi_dsack_dups))
		return !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) && error;
	return i.tcpi_bytes_acked <= i.tcpi_bytes_sent - i.tcpi_bytes_retrans;
}

/* Bytes that the peer's kernel has not confirmed; at a Unix socket, that the peer has not read. */
static bool is_behind(int fd)
{
	int left = 0;

	return ioctl(fd, SIOCOUTQ, &left) == 0 && left > 0;
}

/* The client's next request is there, or some of it. */
static bool has_asked(int fd)
{
	int unread = 0;

	return ioctl(fd, FIONREAD, &unread) == 0 && unread > 0;
}

/* What a reset says: a client that has not read all, or a proxy that has. */
static enum http_received after_reset(const struct http_receipt *t)
{
	if (is_behind(t->client->fd))
		return HTTP_LOST;
	return t->by_proxy ? HTTP_RECEIVED : HTTP_RESET;
}

void http_receipts_look(struct http *h)
{
	struct http_receipt *next;

	for (struct http_receipt *t = h->receipts; t; t = next) {
		next = t->next;
		if (is_reset(t->client->fd))
			detach(t, after_reset(t));
	}
}

void http_receipt_next(struct http_client *c)
{
	if (c->receipt)
		detach(c->receipt, HTTP_RECEIVED);
}

void http_receipt_closed(struct http_client *c)
{
	struct http_receipt *t = c->receipt;

	if (!t)
		return;
	if (t->handed_on)
		detach(t, HTTP_LOST);
	else if (is_reset(c->fd))
		detach(t, after_reset(t));
	/* We close after some answers ourselves, before they are confirmed. */
	else
		detach(t,
			is_behind(c->fd) && wake_now_ms() - t->begun_ms >= STALLED_MS
				? HTTP_LOST
				: HTTP_RECEIVED);
}

enum http_received http_received(const struct http_receipt *t)
{
	if (!t->client)
		return t->state;
	if (is_reset(t->client->fd))
		return after_reset(t);
	if (t->handed_on)
		return has_asked(t->client->fd) ? HTTP_RECEIVED : HTTP_UNKNOWN;
	if (is_behind(t->client->fd))
		return HTTP_UNKNOWN;
	return wake_now_ms() - t->begun_ms >= CONFIRMED_MS ? HTTP_RECEIVED : HTTP_CONFIRMED;
}

void http_receipt_free(struct http_receipt *t)
{
	if (t && t->client)
		detach(t, HTTP_RECEIVED);
	free(t);
}
