/* SPDX-License-Identifier: ISC */
/*
 * DESIGN: an epoll descriptor over the listening socket and all peers stands for them in the caller's
 * poll. A peer is read a block at a time; of what is read only an unfinished line is kept. What is to be
 * sent is little (a greeting, an end, the answer to one question at a time), so a peer that does not
 * read is found by what waits for it.
 *
 * A report is a fact about records, whoever sends it and however late: what stood before garbage on a
 * line has counted.
 *
 * Files: server.c connections; server-message.c what peers say; server-socket.c the socket's path.
 */
#define _GNU_SOURCE
#include "ack/server-parts.h"

#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LINE_MAX_BYTES = 1 << 20,
	SEND_MAX_BYTES = 16 << 20,
	READ_BYTES = 64 << 10,
	READS_A_TURN = 8, /* of one peer, so that the source's own work goes on */
	PEERS_MAX = 256,
};

/* ---- sending ---- */

static bool watch(struct ack_server *d, struct ack_peer *p, int op)
{
	struct epoll_event e = {
		.events = EPOLLIN | (p->out.len ? (uint32_t)EPOLLOUT : 0), .data.ptr = p};

	return epoll_ctl(d->fd, op, p->fd, &e) == 0;
}

static void flush(struct ack_server *d, struct ack_peer *p)
{
	ssize_t n;

	if (!p->out.len || p->gone)
		return;
	n = send(p->fd, p->out.p, p->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0) {
		p->out.len -= (size_t)n;
		memmove(p->out.p, p->out.p + n, p->out.len);
	}
	/* Who has gone is found out by reading, after what it has left behind. Who has not (no memory for
	 * a socket's buffer is no end of it) is to see that something is missing from here on. */
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
		buf_clear(&p->out);
		shutdown(p->fd, SHUT_WR);
	}
	watch(d, p, EPOLL_CTL_MOD);
}

void ack_server_tell(struct ack_server *d, struct ack_peer *p, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	buf_puts(&p->out, line);
	flush(d, p);
}

/* ---- reading ---- */

/* Takes the whole lines of what has come and keeps the rest. @fresh: how much of it is new. */
static void take_lines(struct ack_server *d, struct ack_peer *p, size_t fresh, int64_t now_us)
{
	size_t at = 0, from = p->in.len - fresh;

	while (!p->gone) {
		const char *lf = memchr(p->in.p + from, '\n', p->in.len - from);
		size_t end;

		if (!lf)
			break;
		end = (size_t)(lf - p->in.p);
		ack_server_take(d, p, (struct span){p->in.p + at, end - at}, now_us);
		at = from = end + 1;
	}
	p->in.len -= at;
	memmove(p->in.p, p->in.p + at, p->in.len);
	if (p->in.len > LINE_MAX_BYTES)
		ack_server_garbage(d, p, "a line over a megabyte");
	if (p->out.len > SEND_MAX_BYTES)
		ack_server_garbage(d, p, "it does not read what it has asked for");
}

static void read_peer(struct ack_server *d, struct ack_peer *p, int64_t now_us)
{
	for (int i = 0; i < READS_A_TURN && !p->gone; i++) {
		ssize_t n = recv(p->fd, buf_room(&p->in, READ_BYTES), READ_BYTES, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			p->gone = true;
			return;
		}
		p->in.len += (size_t)n;
		take_lines(d, p, (size_t)n, now_us);
	}
}

/* ---- connections ---- */

static void drop_peer(struct ack_server *d, struct ack_peer **link)
{
	struct ack_peer *p = *link;
	bool counted = p->role != NOBODY && p->role != REFUSED;

	if (counted)
		d->connections--;
	if (p->role == SINK || p->role == TXN) {
		d->has_sink = false;
		d->sink_lost = d->sink_lost || !p->bye;
	}
	*link = p->next;
	d->peer_count--;
	close(p->fd);
	buf_free(&p->in);
	buf_free(&p->out);
	buf_free(&p->question);
	free(p);
}

void ack_server_add(struct ack_server *d, int fd)
{
	struct ack_peer *p;

	if (d->peer_count >= PEERS_MAX) {
		d->garbage++;
		close(fd);
		return;
	}
	p = mem_alloc(sizeof(*p));
	*p = (struct ack_peer){.fd = fd, .next = d->peers};
	/* Who could not be heard is not to wait for an answer. */
	if (!watch(d, p, EPOLL_CTL_ADD)) {
		msg_warn("cannot listen to a program of the pipeline: %s", strerror(errno));
		close(fd);
		free(p);
		return;
	}
	d->peers = p;
	d->peer_count++;
	ack_server_tell(d, p, "run %s\n", d->run);
	if (d->ended)
		ack_server_tell(
			d, p, "end %s %llu\n", d->run, (unsigned long long)ledger_last(d->ledger));
}

static void accept_all(struct ack_server *d)
{
	int fd;

	while ((fd = accept4(d->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		ack_server_add(d, fd);
}

void ack_server_serve(struct ack_server *d, int64_t now_us)
{
	struct epoll_event events[16];
	struct ack_peer **link = &d->peers;
	int n;

	if (d->fd < 0)
		return;
	n = epoll_wait(d->fd, events, 16, 0);
	for (int i = 0; i < n; i++) {
		struct ack_peer *p = events[i].data.ptr;

		if (!p) {
			accept_all(d);
			continue;
		}
		flush(d, p);
		read_peer(d, p, now_us);
	}
	if (d->asked) {
		d->asked = false;
		for (struct ack_peer *p = d->peers; p; p = p->next)
			if (p->asks && !p->gone)
				ack_server_answer(d, p);
	}
	while (*link)
		if ((*link)->gone)
			drop_peer(d, link);
		else
			link = &(*link)->next;
}

void ack_server_end(struct ack_server *d)
{
	if (d->fd < 0 || d->ended)
		return;
	d->ended = true;
	for (struct ack_peer *p = d->peers; p; p = p->next)
		if (p->role != REFUSED)
			ack_server_tell(d, p, "end %s %llu\n", d->run,
				(unsigned long long)ledger_last(d->ledger));
}

bool ack_server_flushed(const struct ack_server *d)
{
	for (const struct ack_peer *p = d->peers; p; p = p->next)
		if (p->out.len && p->role != NOBODY && p->role != REFUSED)
			return false;
	return true;
}

void ack_server_stop(struct ack_server *d, const char *reason)
{
	for (struct ack_peer *p = d->peers; p; p = p->next)
		if (p->role != REFUSED)
			ack_server_tell(d, p, "stop %s\n", reason);
}

void ack_server_filters(const struct ack_server *d, struct buf *names)
{
	for (const struct ack_peer *p = d->peers; p; p = p->next)
		if (p->role == FILTER)
			buf_printf(names, "%s%s", names->len ? ", " : "", p->name);
}

/* ---- the whole ---- */

void ack_server_open(struct ack_server *d, const char *path, struct ledger *l)
{
	unsigned char random[LABEL_RUN_LEN / 2];

	*d = (struct ack_server){.ledger = l, .listen_fd = -1};
	if (getentropy(random, sizeof(random)))
		die(EXIT_TEMP, "cannot get random numbers: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(d->run + 2 * i, 3, "%02x", random[i]);
	d->fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->fd < 0)
		die(EXIT_TEMP, "cannot poll: %s", strerror(errno));
	if (path)
		ack_server_listen(d, path);
}

void ack_server_on_txn(
	struct ack_server *d, void (*metadata)(void *ctx, struct buf *out), void *ctx)
{
	d->metadata = metadata;
	d->ctx = ctx;
}

void ack_server_close(struct ack_server *d)
{
	if (d->fd < 0)
		return;
	while (d->peers)
		drop_peer(d, &d->peers);
	ack_server_unlisten(d);
	close(d->fd);
	d->fd = -1;
}
