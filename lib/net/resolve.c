/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "net/resolve.h"

#include "base/mem.h"
#include "base/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct resolve {
	atomic_int holders; /* the user and the thread; the last one frees it */
	int fd; /* an eventfd: readable once the answer is there */
	atomic_int error; /* EAI_INPROGRESS: the thread writes the addresses */
	struct addrinfo *addrs;
	char *host, *port;
};

static void release(struct resolve *q)
{
	if (atomic_fetch_sub(&q->holders, 1) > 1)
		return;
	if (q->addrs)
		freeaddrinfo(q->addrs);
	close(q->fd);
	free(q->host);
	free(q->port);
	free(q);
}

static void *run(void *arg)
{
	static const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
	struct resolve *q = arg;

	atomic_store(&q->error, getaddrinfo(q->host, q->port, &hints, &q->addrs));
	eventfd_write(q->fd, 1);
	release(q);
	return NULL;
}

struct resolve *resolve_start(const char *host, const char *port)
{
	struct resolve *q = mem_alloc(sizeof(*q));
	pthread_t thread;
	int saved;

	*q = (struct resolve){.holders = 2,
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.error = EAI_INPROGRESS,
		.host = mem_dup(host),
		.port = mem_dup(port)};
	if (q->fd >= 0 && thread_start(&thread, run, q)) {
		pthread_detach(thread);
		return q;
	}
	saved = errno;
	q->holders = 1;
	release(q);
	errno = saved;
	return NULL;
}

int resolve_fd(const struct resolve *q)
{
	return q->fd;
}

int resolve_take(struct resolve *q, struct addrinfo **addrs)
{
	int error = atomic_load(&q->error);

	if (error != EAI_INPROGRESS) {
		*addrs = q->addrs;
		q->addrs = NULL;
	}
	return error;
}

void resolve_drop(struct resolve *q)
{
	if (q)
		release(q);
}
