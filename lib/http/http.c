/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "http/http.h"

#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECTIONS = 128, CONNECTION_TIMEOUT_S = 10 };

struct http {
	struct MHD_Daemon *daemon;
	int fd;
	http_fn *answer;
	void *self;
	char address[256];
	char *path; /* of the Unix socket */
};

/* ---- the listening socket ---- */

static _Noreturn void refuse(const char *address, const char *why)
{
	die(EXIT_PERM, "cannot listen on '%s': %s", address, why);
}

static bool nobody_listens(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool refused = fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) &&
		errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return refused;
}

static int listen_unix(struct http *h, const char *address, const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	struct stat st;
	int fd;

	if (!*path || strlen(path) >= sizeof(sa.sun_path))
		refuse(address, "the path is empty or longer than 107 bytes");
	strcpy(sa.sun_path, path);
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && nobody_listens(&sa))
		unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		die(EXIT_TEMP, "cannot make a socket: %s", strerror(errno));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)))
		refuse(address, errno == EADDRINUSE ? "the path is in use" : strerror(errno));
	h->path = mem_dup(path);
	snprintf(h->address, sizeof(h->address), "unix:%s", path);
	return fd;
}

/* Returns a bound socket, or -1 with errno. */
static int bind_to(const struct addrinfo *a)
{
	static const int on = 1, off = 0;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), saved;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, a->ai_addr, a->ai_addrlen) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static void name_address(struct http *h, int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[128] = "", port[16] = "";

	if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
		getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(h->address, sizeof(h->address), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
		port);
}

static int listen_tcp(struct http *h, const char *address)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
	const char *colon = strrchr(address, ':');
	char host[256];
	int fd = -1, err;

	if (!colon || !colon[1] || (size_t)(colon - address) >= sizeof(host) ||
		colon[1 + strspn(colon + 1, "0123456789")] || atol(colon + 1) > 65535)
		refuse(address, "an address is HOST:PORT, :PORT or unix:PATH");
	snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		memmove(host, host + 1, strlen(host));
	}
	/* All addresses: the IPv6 socket takes IPv4 too, where there is IPv6. */
	hints.ai_family = host[0] ? AF_UNSPEC : AF_INET6;
	err = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &list);
	for (int turn = 0; turn < 2 && fd < 0; turn++) {
		if (err)
			refuse(address, gai_strerror(err));
		fd = bind_to(list);
		err = fd < 0 ? errno : 0;
		freeaddrinfo(list);
		if (fd >= 0 || host[0] || err == EADDRINUSE || err == EACCES || turn)
			break;
		hints.ai_family = AF_INET;
		err = getaddrinfo(NULL, colon + 1, &hints, &list);
	}
	if (fd < 0)
		refuse(address, err == EADDRINUSE ? "the port is in use" : strerror(err));
	name_address(h, fd);
	return fd;
}

/* ---- requests ---- */

static enum MHD_Result reply(
	struct MHD_Connection *c, int status, struct buf *body, const char *type)
{
	struct MHD_Response *r =
		MHD_create_response_from_buffer(body->len, body->p, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result = MHD_NO;

	if (r) {
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
		MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
		if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
			MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
		result = MHD_queue_response(c, (unsigned)status, r);
		MHD_destroy_response(r);
	}
	return result;
}

static enum MHD_Result on_request(void *self, struct MHD_Connection *c, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_size,
	void **state)
{
	struct http *h = self;
	struct buf body = {0};
	const char *type = "text/plain; charset=utf-8";
	enum MHD_Result result;
	int status;

	(void)version;
	(void)upload;
	/* The first call is before a body, if there is one; it is read and forgotten. */
	if (!*state) {
		*state = h;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, "GET") && strcmp(method, "HEAD")) {
		status = MHD_HTTP_METHOD_NOT_ALLOWED;
		buf_puts(&body, "only GET and HEAD are answered\n");
	} else {
		status = h->answer(h->self, url, &body, &type);
	}
	buf_room(&body, 1);
	result = reply(c, status, &body, type);
	buf_free(&body);
	return result;
}

/* ---- the server ---- */

struct http *http_open(const char *address, http_fn *answer, void *self)
{
	struct http *h = mem_alloc(sizeof(*h));
	const union MHD_DaemonInfo *info;

	*h = (struct http){.answer = answer, .self = self};
	h->fd = strncmp(address, "unix:", 5) == 0 ? listen_unix(h, address, address + 5)
						  : listen_tcp(h, address);
	if (listen(h->fd, 16))
		refuse(address, errno == EADDRINUSE ? "the port is in use" : strerror(errno));
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, h,
		MHD_OPTION_LISTEN_SOCKET, h->fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
	info = h->daemon ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info)
		die(EXIT_TEMP, "cannot start the HTTP server on '%s'", address);
	/* From here on the listening socket is the daemon's. */
	h->fd = info->epoll_fd;
	return h;
}

const char *http_address(const struct http *h)
{
	return h->address;
}

int http_fd(const struct http *h)
{
	return h ? h->fd : -1;
}

int http_timeout_ms(const struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (!h || MHD_get_timeout(h->daemon, &ms) != MHD_YES)
		return -1;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

void http_run(struct http *h)
{
	if (h)
		MHD_run(h->daemon);
}

void http_close(struct http *h)
{
	if (!h)
		return;
	MHD_stop_daemon(h->daemon);
	if (h->path)
		unlink(h->path);
	free(h->path);
	free(h);
}

const char *http_library(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "libmicrohttpd %s", MHD_get_version());
	return text;
}
