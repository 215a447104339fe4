/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "net/dial.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "net/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void fail(struct dial *d, const char *why)
{
	d->error = 0;
	snprintf(d->why, sizeof(d->why), "%s", why);
	d->state = DIAL_FAILED;
}

static void fail_errno(struct dial *d, int error)
{
	fail(d, msg_errno(error));
	d->error = error;
}

static void close_fd(struct dial *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

/* ---- the name ---- */

static void drop_request(struct dial *d)
{
	resolve_drop(d->request);
	d->request = NULL;
}

static void drop_addrs(struct dial *d)
{
	if (d->addrs)
		freeaddrinfo(d->addrs);
	d->addrs = d->addr = NULL;
}

/* ---- the addresses ---- */

/* Puts the addresses up to a bad one behind the others. */
static void begin_behind_bad(struct dial *d)
{
	struct addrinfo *a = d->addrs, *tail;

	while (a && (!d->is_bad || memcmp(a->ai_addr, &d->last, a->ai_addrlen) != 0))
		a = a->ai_next;
	if (!a || !a->ai_next)
		return;
	for (tail = a->ai_next; tail->ai_next; tail = tail->ai_next)
		;
	tail->ai_next = d->addrs;
	d->addrs = d->addr = a->ai_next;
	a->ai_next = NULL;
}

static void connect_next(struct dial *d, int err, int64_t now_ms)
{
	int on = 1;

	for (; d->addr; d->addr = d->addr->ai_next) {
		d->fd = socket(d->addr->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (d->fd < 0) {
			err = errno;
			continue;
		}
		setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (connect(d->fd, d->addr->ai_addr, d->addr->ai_addrlen) == 0) {
			d->state = DIAL_CONNECTED;
			return;
		}
		err = errno;
		if (err == EINPROGRESS) {
			d->state = DIAL_CONNECTING;
			d->until_ms = now_ms + DIAL_MS;
			return;
		}
		close_fd(d);
	}
	fail_errno(d, err);
}

static void connect_unix(struct dial *d)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", d->host);
	d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (d->fd >= 0 && connect(d->fd, (struct sockaddr *)&sun, sizeof(sun)) == 0) {
		d->state = DIAL_CONNECTED;
		return;
	}
	fail_errno(d, errno);
	close_fd(d);
}

static void on_connecting(struct dial *d, short revents, int64_t now_ms)
{
	int err = ETIMEDOUT;
	socklen_t size = sizeof(err);

	if (revents && getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &err, &size))
		err = errno;
	if (!err) {
		d->state = DIAL_CONNECTED;
	} else if (revents || now_ms >= d->until_ms) {
		close_fd(d);
		d->addr = d->addr->ai_next;
		connect_next(d, err, now_ms);
	}
}

static void on_resolving(struct dial *d, int64_t now_ms)
{
	int err = resolve_take(d->request, &d->addrs);

	if (err == EAI_INPROGRESS) {
		/* The request is kept: a further attempt goes on waiting for the same one. */
		if (now_ms >= d->until_ms)
			fail(d, "the name servers do not answer");
		return;
	}
	d->addr = d->addrs;
	drop_request(d);
	if (err)
		fail(d, gai_strerror(err));
	else {
		begin_behind_bad(d);
		connect_next(d, 0, now_ms);
	}
}

/* ---- the whole ---- */

void dial_stop(struct dial *d)
{
	close_fd(d);
	drop_addrs(d);
	d->state = DIAL_IDLE;
}

void dial_set(struct dial *d, const char *host, const char *port)
{
	char *new_host = mem_dup(host), *new_port = port ? mem_dup(port) : NULL;

	if (!d->host)
		d->fd = -1;
	dial_free(d);
	d->host = new_host;
	d->port = new_port;
}

void dial_free(struct dial *d)
{
	if (!d->host)
		return;
	dial_stop(d);
	drop_request(d);
	free(d->host);
	free(d->port);
	*d = (struct dial){.fd = -1};
}

void dial_start(struct dial *d, int64_t now_ms)
{
	static const struct addrinfo numeric = {
		.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};

	dial_stop(d);
	d->error = 0;
	if (!d->port) {
		connect_unix(d);
		return;
	}
	if (!d->request && getaddrinfo(d->host, d->port, &numeric, &d->addrs) == 0) {
		d->addr = d->addrs;
		connect_next(d, 0, now_ms);
		return;
	}
	if (!d->request)
		d->request = resolve_start(d->host, d->port);
	if (!d->request) {
		if (msg_errno_is_limit(errno))
			fail_errno(d, errno);
		else
			fail(d, "its name cannot be resolved");
		return;
	}
	d->state = DIAL_RESOLVING;
	d->until_ms = now_ms + DIAL_MS;
}

void dial_retry(struct dial *d, int64_t now_ms)
{
	dial_stop(d);
	d->state = DIAL_WAITING;
	d->until_ms =
		now_ms + wake_backoff_ms(&d->backoff_ms, DIAL_BACKOFF_MIN_MS, DIAL_BACKOFF_MAX_MS);
}

void dial_reset(struct dial *d)
{
	d->backoff_ms = 0;
	d->is_bad = false;
}

void dial_blame(struct dial *d)
{
	d->is_bad = true;
}

int dial_fd(const struct dial *d)
{
	return d->state == DIAL_RESOLVING     ? resolve_fd(d->request)
		: d->state == DIAL_CONNECTING ? d->fd
					      : -1;
}

short dial_events(const struct dial *d)
{
	return d->state == DIAL_RESOLVING ? POLLIN : POLLOUT;
}

int dial_timeout_ms(const struct dial *d, int64_t now_ms)
{
	switch (d->state) {
	case DIAL_WAITING:
	case DIAL_RESOLVING:
	case DIAL_CONNECTING:
		return d->until_ms > now_ms ? (int)(d->until_ms - now_ms) : 0;
	default:
		return d->state == DIAL_IDLE ? -1 : 0;
	}
}

enum dial_state dial_step(struct dial *d, short revents, int64_t now_ms)
{
	if (d->state == DIAL_WAITING && now_ms >= d->until_ms)
		dial_start(d, now_ms);
	else if (d->state == DIAL_RESOLVING)
		on_resolving(d, now_ms);
	else if (d->state == DIAL_CONNECTING)
		on_connecting(d, revents, now_ms);
	return d->state;
}

int dial_take(struct dial *d)
{
	int fd = d->fd;

	if (d->addr)
		memcpy(&d->last, d->addr->ai_addr, d->addr->ai_addrlen);
	d->is_bad = true;
	d->fd = -1;
	dial_stop(d);
	return fd;
}
