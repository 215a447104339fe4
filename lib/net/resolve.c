/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "net/resolve.h"

#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct resolve {
	atomic_int holders; /* the user and the resolver's thread; the last one frees it */
	int fd; /* an eventfd: readable once the answer is there */
	struct gaicb cb;
	char *host, *port;
};

static void release(struct resolve *q)
{
	if (atomic_fetch_sub(&q->holders, 1) > 1)
		return;
	if (q->cb.ar_result)
		freeaddrinfo(q->cb.ar_result);
	close(q->fd);
	free(q->host);
	free(q->port);
	free(q);
}

/* In the resolver's thread. */
static void on_answer(union sigval v)
{
	struct resolve *q = v.sival_ptr;

	eventfd_write(q->fd, 1);
	release(q);
}

struct resolve *resolve_start(const char *host, const char *port)
{
	static const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
	struct resolve *q = mem_alloc(sizeof(*q));
	struct gaicb *list[] = {&q->cb};
	struct sigevent sev = {.sigev_notify = SIGEV_THREAD,
		.sigev_notify_function = on_answer,
		.sigev_value.sival_ptr = q};
	int saved;

	*q = (struct resolve){.holders = 2,
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.host = mem_dup(host),
		.port = mem_dup(port)};
	q->cb = (struct gaicb){.ar_name = q->host, .ar_service = q->port, .ar_request = &hints};
	if (q->fd >= 0 && getaddrinfo_a(GAI_NOWAIT, list, 1, &sev) == 0)
		return q;
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
	int err = gai_error(&q->cb);

	if (err != EAI_INPROGRESS) {
		*addrs = q->cb.ar_result;
		q->cb.ar_result = NULL;
	}
	return err;
}

void resolve_drop(struct resolve *q)
{
	if (q)
		release(q);
}
