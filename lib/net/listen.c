/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "net/listen.h"

#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128 };

static int refuse(struct trouble *why, const char *address, const char *reason, int error)
{
	trouble_set(why, msg_errno_status(error), "cannot listen on '%s': %s", address, reason);
	errno = error;
	return -1;
}

/* ---- files that a sudden end would leave ---- */

static struct listener *with_files;

static void remove_files(void)
{
	for (const struct listener *l = with_files; l; l = l->next)
		if (l->maker == getpid())
			unlink(l->path);
}

static void keep_file(struct listener *l, const char *path)
{
	static bool at_exit;

	if (!at_exit)
		atexit(remove_files);
	at_exit = true;
	l->path = mem_dup(path);
	l->maker = getpid();
	l->next = with_files;
	with_files = l;
}

static void remove_file(struct listener *l)
{
	struct listener **link = &with_files;

	while (*link != l)
		link = &(*link)->next;
	*link = l->next;
	if (l->maker == getpid())
		unlink(l->path);
	free(l->path);
	l->path = NULL;
}

/* ---- Unix ---- */

static int make_socket(int family, struct trouble *why)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		trouble_set(why, EXIT_TEMP, "cannot make a socket: %s", msg_errno(errno));
	return fd;
}

/* Makes way for a new socket: a file that is there must be a socket that nobody listens on. */
static int clear_path(const struct sockaddr_un *a, const char *address, struct trouble *why)
{
	struct stat st;
	bool answers;
	int fd;

	if (lstat(a->sun_path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return refuse(why, address, "the path is in use, by what is no socket", EEXIST);
	if (st.st_uid != geteuid()) {
		char reason[100];

		snprintf(reason, sizeof(reason),
			"the path is another user's socket (uid %ld): use a directory of your own",
			(long)st.st_uid);
		return refuse(why, address, reason, EPERM);
	}
	fd = make_socket(AF_UNIX, why);
	if (fd < 0)
		return -1;
	/* EAGAIN: its queue is full, so a process listens. */
	answers = connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN;
	close(fd);
	if (answers)
		return refuse(why, address, "the path is in use", EADDRINUSE);
	if (unlink(a->sun_path) && errno != ENOENT)
		return trouble_set(why, EXIT_PERM, "cannot replace the dead socket '%s': %s",
			a->sun_path, msg_errno(errno));
	return 0;
}

static int bind_file(int fd, const struct sockaddr_un *a, mode_t mode)
{
	mode_t mask = mode ? umask(~mode & 0777) : 0;
	int ret = bind(fd, (const struct sockaddr *)a, sizeof(*a)), saved = errno;

	if (mode)
		umask(mask);
	errno = saved;
	return ret;
}

static int open_unix(
	struct listener *l, const char *address, const char *path, mode_t mode, struct trouble *why)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	*l = (struct listener){.fd = -1};
	if (!*path)
		return refuse(why, address, "the path is empty", EINVAL);
	if (strlen(path) >= sizeof(a.sun_path)) {
		char reason[100];

		snprintf(reason, sizeof(reason),
			"the path is too long for a socket: %zu bytes, and %zu are the limit",
			strlen(path), sizeof(a.sun_path) - 1);
		return refuse(why, address, reason, ENAMETOOLONG);
	}
	memcpy(a.sun_path, path, strlen(path));
	if (clear_path(&a, address, why))
		return -1;
	l->fd = make_socket(AF_UNIX, why);
	if (l->fd < 0)
		return -1;
	if (bind_file(l->fd, &a, mode) || listen(l->fd, BACKLOG)) {
		int error = errno;

		close(l->fd);
		l->fd = -1;
		return refuse(why, address, msg_errno(error), error);
	}
	keep_file(l, path);
	snprintf(l->address, sizeof(l->address), "unix:%s", path);
	return 0;
}

int listen_unix(struct listener *l, const char *path, mode_t mode, struct trouble *why)
{
	return open_unix(l, path, path, mode, why);
}

/* ---- TCP ---- */

/* Returns a listening socket, or -1 with errno. */
static int listen_on(const struct addrinfo *a)
{
	static const int on = 1, off = 0;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), saved;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static void name_address(struct listener *l)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	char host[128] = "", port[16] = "";

	if (getsockname(l->fd, (struct sockaddr *)&a, &len) == 0)
		getnameinfo((struct sockaddr *)&a, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(l->address, sizeof(l->address), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
		port);
}

/* Splits HOST:PORT, [HOST]:PORT or :PORT. Returns the port, or NULL when it is none of these. */
static const char *split_address(const char *address, char *host, size_t size)
{
	const char *colon = strrchr(address, ':');

	if (!colon || !colon[1] || (size_t)(colon - address) >= size ||
		colon[1 + strspn(colon + 1, "0123456789")] || atol(colon + 1) > 65535)
		return NULL;
	snprintf(host, size, "%.*s", (int)(colon - address), address);
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		memmove(host, host + 1, strlen(host));
	}
	return colon + 1;
}

/* The resolver says that there is no such name when it cannot open its files. */
static bool lacks_descriptors(void)
{
	int fds[4], count = 0;
	bool lacks;

	while (count < 4 && (fds[count] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) >= 0)
		count++;
	lacks = count < 4 && msg_errno_is_limit(errno);
	while (count)
		close(fds[--count]);
	return lacks;
}

/* Resolves and listens. Returns 0; or -1 with a reason, or NULL for errno's. */
static int try_family(
	struct listener *l, int family, const char *host, const char *port, const char **reason)
{
	struct addrinfo hints = {
		.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *list;
	int err = getaddrinfo(host, port, &hints, &list), saved;

	*reason = err ? gai_strerror(err) : NULL;
	if (err && lacks_descriptors()) {
		*reason = NULL;
		errno = EMFILE;
	}
	if (err)
		return -1;
	l->fd = listen_on(list);
	saved = errno;
	freeaddrinfo(list);
	errno = saved;
	return l->fd < 0 ? -1 : 0;
}

static int listen_tcp(struct listener *l, const char *address, struct trouble *why)
{
	char host[sizeof(l->address)];
	const char *port = split_address(address, host, sizeof(host)), *reason;
	int ret;

	if (!port)
		return refuse(why, address, "an address is HOST:PORT, :PORT or unix:PATH", EINVAL);
	/* All addresses: the IPv6 socket takes IPv4 too, where there is IPv6. */
	ret = try_family(l, host[0] ? AF_UNSPEC : AF_INET6, host[0] ? host : NULL, port, &reason);
	if (ret && !reason && !host[0] && errno != EADDRINUSE && errno != EACCES)
		ret = try_family(l, AF_INET, NULL, port, &reason);
	if (ret && reason)
		return refuse(why, address, reason, EINVAL);
	if (ret)
		return refuse(why, address,
			errno == EADDRINUSE ? "the port is in use" : msg_errno(errno), errno);
	name_address(l);
	return 0;
}

int listen_open(struct listener *l, const char *address, mode_t mode, struct trouble *why)
{
	*l = (struct listener){.fd = -1};
	if (strncmp(address, "unix:", 5) == 0)
		return open_unix(l, address, address + 5, mode, why);
	return listen_tcp(l, address, why);
}

void listen_close(struct listener *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	if (l->path)
		remove_file(l);
}
