/* SPDX-License-Identifier: ISC */
/* DESIGN: an epoll descriptor over the listening socket and all peers stands for them in the
 * caller's poll. A peer is read a block at a time; of what is read only an unfinished line is
 * kept. */
#define _GNU_SOURCE
#include "net/peers.h"

#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	READ_BYTES = 64 << 10,
	LOOKS_MAX = 64,
	READS_A_TURN = 8, /* of one peer, so that the program's own work goes on */
};

/* ---- sending ---- */

static bool watch(const struct peers *s, struct peer *p, int op)
{
	struct epoll_event e = {
		.events = EPOLLIN | (p->out.len ? (uint32_t)EPOLLOUT : 0), .data.ptr = p};

	return epoll_ctl(s->fd, op, p->fd, &e) == 0;
}

void peer_flush(const struct peers *s, struct peer *p)
{
	ssize_t n;

	if (!p->out.len || p->closed)
		return;
	n = send(p->fd, p->out.p, p->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0) {
		p->out.len -= (size_t)n;
		memmove(p->out.p, p->out.p + n, p->out.len);
	}
	/* The end of a connection is found by reading, behind the peer's last lines. If send fails
	 * for a live peer (ENOBUFS), close our side: the peer must not believe that it got
	 * everything. */
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
		buf_clear(&p->out);
		shutdown(p->fd, SHUT_WR);
	}
	watch(s, p, EPOLL_CTL_MOD);
}

void peer_tell(const struct peers *s, struct peer *p, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_puts(&p->out, text);
	peer_flush(s, p);
}

/* ---- reading ---- */

static void refuse(struct peers *s, struct peer *p, const char *why)
{
	if (!p->closed)
		s->events->refused(s->ctx, p, why);
	p->closed = true;
}

/* Takes the whole lines of what has come and keeps the rest. @fresh: how much of it is new. */
static void take_lines(struct peers *s, struct peer *p, size_t fresh, int64_t now_us)
{
	size_t at = 0, from = p->in.len - fresh;

	while (!p->closed) {
		const char *lf = memchr(p->in.p + from, '\n', p->in.len - from);
		size_t end;

		if (!lf)
			break;
		end = (size_t)(lf - p->in.p);
		s->events->line(s->ctx, p, (struct span){p->in.p + at, end - at}, now_us);
		at = from = end + 1;
	}
	p->in.len -= at;
	memmove(p->in.p, p->in.p + at, p->in.len);
	if (p->in.len > PEERS_LINE_MAX)
		refuse(s, p, "a line over a megabyte");
	if (p->out.len > PEERS_UNREAD_MAX)
		refuse(s, p, "it does not read what it has asked for");
}

/* Reads what has come, up to a bound above what a socket holds, and lets lines be taken from among
 * it. */
static void look_at(struct peers *s, struct peer *p)
{
	size_t at = 0;
	const char *lf;
	ssize_t n;

	for (int i = 0; i < LOOKS_MAX; i++) {
		n = recv(p->fd, buf_room(&p->in, READ_BYTES), READ_BYTES, MSG_DONTWAIT);
		if (n <= 0)
			break;
		p->in.len += (size_t)n;
		p->fresh += (size_t)n;
	}
	while ((lf = memchr(p->in.p + at, '\n', p->in.len - at))) {
		size_t end = (size_t)(lf - p->in.p) + 1;

		if (!s->events->ahead(s->ctx, p, (struct span){p->in.p + at, end - 1 - at})) {
			at = end;
			continue;
		}
		memmove(p->in.p + at, p->in.p + end, p->in.len - end);
		p->in.len -= end - at;
	}
}

static void look_ahead(struct peers *s, const struct peer *reader)
{
	for (struct peer *p = s->first; p; p = p->next)
		if (p != reader && !p->closed)
			look_at(s, p);
}

static void read_peer(struct peers *s, struct peer *p, int64_t now_us)
{
	if (p->fresh) {
		p->fresh = 0;
		take_lines(s, p, p->in.len, now_us);
	}
	for (int i = 0; i < READS_A_TURN && !p->closed; i++) {
		ssize_t n = recv(p->fd, buf_room(&p->in, READ_BYTES), READ_BYTES, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			p->closed = true;
			return;
		}
		p->in.len += (size_t)n;
		if (s->events->mark && memchr(p->in.p + p->in.len - n, s->events->mark, (size_t)n))
			look_ahead(s, p);
		take_lines(s, p, (size_t)n, now_us);
	}
}

/* ---- connections ---- */

bool peers_trust(int fd, uid_t *uid)
{
	struct ucred other = {.uid = (uid_t)-1};
	socklen_t size = sizeof(other);
	bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &other, &size) == 0;

	*uid = other.uid;
	return known && (other.uid == geteuid() || other.uid == 0);
}

void peers_add(struct peers *s, int fd)
{
	struct peer *p;

	if (s->count >= PEERS_MAX) {
		s->events->refused(s->ctx, NULL, "too many connections");
		close(fd);
		return;
	}
	p = mem_alloc(s->events->size);
	memset(p, 0, s->events->size);
	p->fd = fd;
	/* A peer that cannot be heard must not wait for an answer. */
	if (!watch(s, p, EPOLL_CTL_ADD)) {
		msg_warn("cannot listen to a connection: %s", msg_errno(errno));
		close(fd);
		free(p);
		return;
	}
	p->next = s->first;
	s->first = p;
	s->count++;
	s->events->opened(s->ctx, p);
}

static void accept_all(struct peers *s)
{
	int fd;

	while ((fd = accept4(s->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		peers_add(s, fd);
	if (msg_errno_is_limit(errno) || errno == ENOMEM || errno == ENOBUFS)
		trouble_set(&s->trouble, EXIT_TEMP, "cannot take a connection on '%s': %s",
			s->listener.path, msg_errno(errno));
}

void peers_serve(struct peers *s, int64_t now_us)
{
	struct epoll_event events[16];
	int n = epoll_wait(s->fd, events, 16, 0);

	for (int i = 0; i < n; i++) {
		struct peer *p = events[i].data.ptr;

		if (!p) {
			accept_all(s);
			continue;
		}
		peer_flush(s, p);
		read_peer(s, p, now_us);
	}
	/* What was looked at makes no event any more. */
	for (struct peer *p = s->first; p; p = p->next)
		if (p->fresh && !p->closed)
			read_peer(s, p, now_us);
}

static void free_peer(struct peers *s, struct peer **link)
{
	struct peer *p = *link;

	*link = p->next;
	s->count--;
	s->events->freed(s->ctx, p);
	close(p->fd);
	buf_free(&p->in);
	buf_free(&p->out);
	free(p);
}

void peers_reap(struct peers *s)
{
	struct peer **link = &s->first;

	while (*link)
		if ((*link)->closed)
			free_peer(s, link);
		else
			link = &(*link)->next;
}

/* ---- the whole ---- */

void peers_open(struct peers *s, const struct peers_events *events, void *ctx)
{
	*s = (struct peers){.events = events, .ctx = ctx, .listener.fd = -1};
	s->fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->fd < 0)
		die(EXIT_TEMP, "cannot poll: %s", msg_errno(errno));
}

int peers_listen(struct peers *s, const char *path, mode_t mode, struct trouble *why)
{
	struct epoll_event e = {.events = EPOLLIN};

	if (listen_unix(&s->listener, path, mode, why))
		return -1;
	if (epoll_ctl(s->fd, EPOLL_CTL_ADD, s->listener.fd, &e))
		die(EXIT_TEMP, "cannot poll: %s", msg_errno(errno));
	return 0;
}

void peers_close(struct peers *s)
{
	if (s->fd < 0)
		return;
	while (s->first)
		free_peer(s, &s->first);
	listen_close(&s->listener);
	close(s->fd);
	s->fd = -1;
}
