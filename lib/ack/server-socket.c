/* SPDX-License-Identifier: ISC */
/* The path of the socket. */
#include "ack/server-parts.h"

#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void address(struct sockaddr_un *a, const char *path)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(a->sun_path))
		die(EXIT_PERM, "'%s' is too long for a socket: %zu bytes, and %zu are the limit",
			path, strlen(path), sizeof(a->sun_path) - 1);
	memcpy(a->sun_path, path, strlen(path));
}

/* Makes way for a new socket: what is there must be a socket that nobody listens on. */
static void clear_path(const struct sockaddr_un *a)
{
	struct stat st;
	int fd;

	if (lstat(a->sun_path, &st))
		return;
	if (!S_ISSOCK(st.st_mode))
		die(EXIT_PERM, "cannot listen on '%s': it is there and no socket", a->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		die(EXIT_TEMP, "cannot make a socket: %s", strerror(errno));
	/* EAGAIN: its queue is full, so somebody listens. */
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN)
		die(EXIT_PERM,
			"another source listens on '%s': a pipeline has one source; run two pipelines",
			a->sun_path);
	close(fd);
	if (unlink(a->sun_path) && errno != ENOENT)
		die(EXIT_PERM, "cannot replace the dead socket '%s': %s", a->sun_path,
			strerror(errno));
}

/* What dies later leaves no dead socket; a child that exits leaves its parent's. */
static struct {
	const char *path;
	pid_t pid;
} listening;

static void at_exit(void)
{
	if (listening.path && listening.pid == getpid())
		unlink(listening.path);
}

void ack_server_listen(struct ack_server *d, const char *path)
{
	struct epoll_event e = {.events = EPOLLIN};
	struct sockaddr_un a;
	mode_t mask;
	int ret;

	address(&a, path);
	clear_path(&a);
	d->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->listen_fd < 0)
		die(EXIT_TEMP, "cannot make a socket: %s", strerror(errno));
	mask = umask(0177);
	ret = bind(d->listen_fd, (const struct sockaddr *)&a, sizeof(a));
	umask(mask);
	if (ret || listen(d->listen_fd, 64))
		die(EXIT_PERM, "cannot listen on '%s': %s", path, strerror(errno));
	d->path = mem_dup(path);
	listening.path = d->path;
	if (!listening.pid)
		atexit(at_exit);
	listening.pid = getpid();
	if (epoll_ctl(d->fd, EPOLL_CTL_ADD, d->listen_fd, &e))
		die(EXIT_TEMP, "cannot poll: %s", strerror(errno));
}

void ack_server_unlisten(struct ack_server *d)
{
	if (d->path) {
		unlink(d->path);
		listening.path = NULL;
	}
	if (d->listen_fd >= 0)
		close(d->listen_fd);
	free(d->path);
	d->path = NULL;
	d->listen_fd = -1;
}
