/* SPDX-License-Identifier: ISC */
/* The way to a server: its addresses, then a socket. */
#define _GNU_SOURCE
#include "redis/redis-parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- transports ---- */

static int tcp_connect(struct redis *r, bool late)
{
	int err = ETIMEDOUT, on = 1;

	if (r->fd >= 0) {
		socklen_t size = sizeof(err);

		if (!late && getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &err, &size) == 0 && !err)
			return 0;
		r->transport->close(r);
		r->addr = r->addr->ai_next;
	}
	for (; r->addr; r->addr = r->addr->ai_next) {
		r->fd = socket(r->addr->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (r->fd < 0) {
			err = errno;
			continue;
		}
		setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (connect(r->fd, r->addr->ai_addr, r->addr->ai_addrlen) == 0)
			return 0;
		err = errno;
		if (err == EINPROGRESS)
			return 1;
		r->transport->close(r);
	}
	errno = err;
	return -1;
}

static int unix_connect(struct redis *r, bool late)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int err = ETIMEDOUT;

	memcpy(sun.sun_path, r->path, strlen(r->path) + 1);
	r->fd = late ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (r->fd >= 0 && connect(r->fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return 0;
	if (!late)
		err = errno;
	r->transport->close(r);
	errno = err;
	return -1;
}

static ssize_t socket_read(struct redis *r, void *p, size_t n)
{
	return read(r->fd, p, n);
}

static ssize_t socket_write(struct redis *r, const void *p, size_t n)
{
	return send(r->fd, p, n, MSG_NOSIGNAL);
}

static void socket_close(struct redis *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

const struct redis_transport redis_tcp = {
	tcp_connect,
	socket_read,
	socket_write,
	socket_close,
};
const struct redis_transport redis_unix = {
	unix_connect,
	socket_read,
	socket_write,
	socket_close,
};

/* ---- reaching the server ---- */

void redis_go_on_connecting(struct redis *r, bool late)
{
	int got;

	r->state = REDIS_CONNECTING;
	r->deadline_ms = r->now_ms + REDIS_CONNECT_MS;
	got = r->transport->connect(r, late);
	if (got < 0)
		redis_give_up(r, "%s", strerror(errno));
	else if (got == 0)
		redis_begin_login(r);
}

void redis_drop_addrs(struct redis *r)
{
	if (r->addrs)
		freeaddrinfo(r->addrs);
	r->addrs = r->addr = NULL;
}

static void on_resolved(union sigval v)
{
	(void)v;
	wake_poke();
}

void redis_resolve(struct redis *r)
{
	static const struct addrinfo numeric = {
		.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	static const struct addrinfo any = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
	struct sigevent sev = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_resolved};

	redis_drop_addrs(r);
	if (r->path || getaddrinfo(r->host, r->port, &numeric, &r->addrs) == 0) {
		r->addr = r->addrs;
		redis_go_on_connecting(r, false);
		return;
	}
	/* getaddrinfo blocks for as long as the name servers please: it has a thread of its own. */
	r->resolving = mem_alloc(sizeof(*r->resolving));
	*r->resolving =
		(struct gaicb){.ar_name = r->host, .ar_service = r->port, .ar_request = &any};
	r->state = REDIS_RESOLVING;
	r->deadline_ms = r->now_ms + REDIS_CONNECT_MS;
	if (getaddrinfo_a(GAI_NOWAIT, &r->resolving, 1, &sev)) {
		free(r->resolving);
		r->resolving = NULL;
		redis_give_up(r, "cannot resolve '%s'", r->host);
	}
}

void redis_on_resolving(struct redis *r)
{
	int err = gai_error(r->resolving);

	if (err == EAI_INPROGRESS) {
		/* A request under way cannot be taken back, so the next attempt is the same one. */
		if (r->now_ms >= r->deadline_ms) {
			if (!r->said)
				msg_warn("cannot reach redis at %s: the name servers do not "
					 "answer; waiting",
					r->name);
			r->said = true;
			r->deadline_ms = r->now_ms + REDIS_CONNECT_MS;
		}
		return;
	}
	r->addrs = r->addr = r->resolving->ar_result;
	free(r->resolving);
	r->resolving = NULL;
	if (err)
		redis_give_up(r, "%s", gai_strerror(err));
	else
		redis_go_on_connecting(r, false);
}
