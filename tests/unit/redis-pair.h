/* SPDX-License-Identifier: ISC */
/* A link, or a client's, over a socket pair whose other end is the test's. */
#ifndef EVPIPE_REDIS_PAIR_H
#define EVPIPE_REDIS_PAIR_H

#include "redis/client.h"
#include "test.h"

#include <sys/socket.h>
#include <unistd.h>

static const struct link_login pair_login = {.what = "redis", .client = "test"};

/* @l is up, as if it had dialled and logged in at 0. Returns the server's end. */
static inline int pair_up(struct link *l)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	if (!l->name)
		link_open(l, "test", "/no/such/socket", NULL, &pair_login);
	bytes_open(&l->bytes, fds[0], NULL, NULL);
	l->state = LINK_UP;
	l->answers = true;
	return fds[1];
}

static inline int pair_client(struct redis *r, enum redis_use use)
{
	bool publishes = use == REDIS_PUBLISHER;

	*r = (struct redis){.state = REDIS_UP,
		.reported_away = true,
		.rules = {.use = use, .asks_role = publishes, .confirms = publishes},
		.node = {.up = true, .rules = &r->rules, .replicas = -1},
		.target = &r->node};
	return pair_up(&r->node.link);
}

static inline enum redis_news pair_step(struct redis *r, short revents, int64_t now_ms)
{
	const struct pollfd p = {.revents = revents};

	return redis_step(r, &p, now_ms);
}

static inline void pair_say(int fd, const char *bytes, size_t n)
{
	assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

/* What the server has been sent. */
static inline const char *pair_heard(int fd)
{
	static char bytes[4096];
	ssize_t n = recv(fd, bytes, sizeof(bytes) - 1, MSG_DONTWAIT);

	bytes[n > 0 ? n : 0] = '\0';
	return bytes;
}

#endif
