/* SPDX-License-Identifier: ISC */
/* DESIGN
 * DOWN, RESOLVING, CONNECTING (redis-connect.c), HANDSHAKE (redis-login.c), UP: redis_step takes one
 * step from where it stands, and from each of them the way back is redis_drop, which waits a
 * little longer each time. REFUSED has no way out.
 *
 * A loss is noticed wherever bytes are moved, but told by redis_step alone: what came before it is
 * still in `in`, and the caller reads that first. */
#define _GNU_SOURCE
#include "redis/redis-parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/metrics.h"
#include "base/wake.h"

#include <errno.h>
#include <hiredis.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
	ASK_MS = 5000, /* of silence */
	ANSWER_MS = 1000, /* after that it is not up */
	LOST_MS = 20000, /* of silence */
	BACKOFF_MIN_MS = 100,
	BACKOFF_MAX_MS = 2000,
	BLOCK = 64 << 10, /* read at once */
	LARGE = 1 << 20, /* buffers over this are given back when empty */
	BULK_MAX = 64 << 20,
};

void redis_open(struct redis *r, const struct redis_opts *o, bool publisher)
{
	*r = (struct redis){.fd = -1, .publisher = publisher, .max_bulk = BULK_MAX};
	redis_read_opts(r, o);
	r->client = mem_dup(msg_prog());
	r->transport = r->path ? &redis_unix : &redis_tcp;
	metrics.peer = "redis";
	metrics.up = 0;
}

void redis_close(struct redis *r)
{
	char **texts[] = {&r->name, &r->trouble, &r->host, &r->port, &r->path, &r->user,
		&r->password, &r->client};

	r->transport->close(r);
	redis_free_reply(r);
	redis_drop_addrs(r);
	buf_free(&r->in);
	buf_free(&r->out);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		free(*texts[i]);
		*texts[i] = NULL;
	}
}

/* ---- losing and refusing ---- */

void redis_drop(struct redis *r)
{
	r->transport->close(r);
	if (r->state == REDIS_UP) {
		r->news = REDIS_WENT;
		r->away_ms = r->now_ms;
		r->backoff_ms = 0;
	}
	r->retry_ms = r->now_ms + wake_backoff_ms(&r->backoff_ms, BACKOFF_MIN_MS, BACKOFF_MAX_MS);
	r->state = REDIS_DOWN;
	metrics.up = 0;
}

void redis_give_up(struct redis *r, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (!r->said)
		msg_warn("%s redis at %s: %s; trying again",
			r->state == REDIS_UP ? "lost" : "cannot reach", r->name, why);
	r->said = true;
	redis_drop(r);
}

void redis_lose(struct redis *r, struct span why)
{
	if (r->state == REDIS_UP || r->state == REDIS_HANDSHAKE)
		redis_give_up(r, "%.*s", (int)(why.len < 200 ? why.len : 200), why.p);
}

void redis_refuse(struct redis *r, const char *fmt, ...)
{
	va_list ap;

	r->transport->close(r);
	r->state = REDIS_REFUSED;
	r->news = REDIS_FAILED;
	metrics.up = 0;
	va_start(ap, fmt);
	if (vasprintf(&r->trouble, fmt, ap) < 0)
		r->trouble = NULL;
	va_end(ap);
}

/* ---- bytes ---- */

static bool read_some(struct redis *r)
{
	ssize_t n;
	size_t skip;

	if (r->at == r->in.len) {
		r->at = 0;
		buf_clear(&r->in);
		if (r->in.cap > LARGE)
			buf_free(&r->in);
	} else if (r->in.cap - r->in.len < BLOCK && r->at) {
		memmove(r->in.p, r->in.p + r->at, r->in.len - r->at);
		r->in.len -= r->at;
		r->at = 0;
	}
	if (r->in.cap - r->in.len < BLOCK / 4)
		buf_room(&r->in, BLOCK);
	n = r->transport->read(r, r->in.p + r->in.len, r->in.cap - r->in.len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		redis_give_up(r, "%s", n ? strerror(errno) : "the server closed the connection");
		return false;
	}
	r->in.len += (size_t)n;
	r->heard_ms = r->now_ms;
	skip = r->in.len - r->at < r->skip ? r->in.len - r->at : r->skip;
	r->at += skip;
	r->skip -= skip;
	return true;
}

bool redis_read(struct redis *r)
{
	return r->state == REDIS_UP && read_some(r);
}

/* Moves what is left to the front when that costs no more than was sent. */
static void compact_out(struct redis *r)
{
	if (r->head < r->out.len / 2)
		return;
	memmove(r->out.p, r->out.p + r->head, redis_pending(r));
	r->out.len -= r->head;
	r->head = 0;
	if (!r->out.len && r->out.cap > LARGE)
		buf_free(&r->out);
}

void redis_flush(struct redis *r)
{
	size_t n = redis_pending(r);
	ssize_t sent;

	if (!n || (r->state != REDIS_UP && r->state != REDIS_HANDSHAKE))
		return;
	do
		sent = r->transport->write(r, r->out.p + r->head, n);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno == EAGAIN)
		return;
	/* On another error the server has closed it, or is told now that we have, lest what comes later
	 * arrives and this does not: what it said before is still to be read, up to the end, which the next
	 * poll tells of. */
	if (sent < 0)
		shutdown(r->fd, SHUT_WR);
	r->head += sent < 0 ? n : (size_t)sent;
	compact_out(r);
}

void redis_heard(struct redis *r, int64_t now_ms)
{
	r->heard_ms = now_ms;
}

void redis_command(struct redis *r, int argc, const char *const *argv)
{
	char *text;
	/* hiredis has char ** where it means const. */
	int n = redisFormatCommandArgv(&text, argc, (const char **)(uintptr_t)argv, NULL);

	if (n < 0)
		die(EXIT_TEMP, "out of memory");
	buf_put(&r->out, text, (size_t)n);
	explicit_bzero(text, (size_t)n);
	redisFreeCommand(text);
}

/* ---- the loop ---- */

/* When silence, so far, means something new. */
static int64_t silent_until_ms(const struct redis *r)
{
	if (r->mute_ms <= r->heard_ms)
		return r->heard_ms + ASK_MS;
	return metrics.up ? r->mute_ms + ANSWER_MS : r->heard_ms + LOST_MS;
}

static void on_up(struct redis *r, short revents)
{
	if (revents & ~POLLOUT && read_some(r))
		metrics.up = 1;
	if (r->state == REDIS_UP && revents & POLLOUT)
		redis_flush(r);
	if (r->state != REDIS_UP || r->heard_ms == r->now_ms || r->now_ms < silent_until_ms(r))
		return;
	if (r->mute_ms <= r->heard_ms) {
		r->mute_ms = r->now_ms;
		r->news = REDIS_MUTE;
	} else if (metrics.up) {
		metrics.up = 0;
	} else {
		redis_give_up(r, "no answer for %d s", LOST_MS / 1000);
	}
}

enum redis_news redis_step(struct redis *r, short revents, int64_t now_ms)
{
	enum redis_news news;
	bool late = now_ms >= r->deadline_ms;

	r->now_ms = now_ms;
	if (!r->away_ms)
		r->away_ms = now_ms;
	switch (r->state) {
	case REDIS_DOWN:
		/* What a caller lost between two steps is told first. */
		if (r->news == REDIS_SAME && now_ms >= r->retry_ms)
			redis_resolve(r);
		break;
	case REDIS_RESOLVING:
		redis_on_resolving(r);
		break;
	case REDIS_CONNECTING:
		if (revents || late)
			redis_go_on_connecting(r, late && !revents);
		break;
	case REDIS_HANDSHAKE:
		if (revents & POLLOUT)
			redis_flush(r);
		if (revents & ~POLLOUT && read_some(r))
			redis_on_login(r);
		else if (late && r->state == REDIS_HANDSHAKE)
			redis_give_up(r, "no answer within %d s", REDIS_CONNECT_MS / 1000);
		break;
	case REDIS_UP:
		on_up(r, revents);
		break;
	case REDIS_REFUSED:
		break;
	}
	news = r->news;
	r->news = REDIS_SAME;
	return news;
}

int redis_fd(const struct redis *r)
{
	return r->fd;
}

short redis_events(const struct redis *r)
{
	if (r->state == REDIS_CONNECTING)
		return POLLOUT;
	return redis_pending(r) ? POLLIN | POLLOUT : POLLIN;
}

int redis_timeout_ms(const struct redis *r, int64_t now_ms)
{
	int64_t at = r->deadline_ms;

	if (r->news != REDIS_SAME)
		return 0;
	switch (r->state) {
	case REDIS_DOWN:
		at = r->retry_ms;
		break;
	case REDIS_UP:
		at = silent_until_ms(r);
		break;
	case REDIS_REFUSED:
		return -1;
	default:
		break;
	}
	return at > now_ms ? (int)(at - now_ms) : 0;
}
