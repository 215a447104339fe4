/* SPDX-License-Identifier: ISC */
/* DESIGN: the daemon's epoll descriptor stands in one of ours. A request without an answer is
 * suspended, and so is a stream without data: the daemon then neither polls the connection nor
 * counts its silence. So that we hear of a client that goes meanwhile, its connection joins our
 * epoll set, edge-triggered, when it is suspended for the first time.
 *
 * 	on_uri -> on_request (headers) -> on_request (pieces of the body) … -> on_request (all): the
 *  handler
 * 	  -> answered: queued at once; else suspended -> http_resume -> on_request again: queued, or
 *    closed
 * 	-> on_completed
 *
 * Files: http.c connections and requests; http-head.c what is wrong with a head; http-body.c
 * bodies; http-route.c which handler; http-reply.c answers, streams; http-direct.c streams that end
 * with their connection. */
#define _GNU_SOURCE
#include "http/http-parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "net/keepalive.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CONNECTIONS = 128,
	IDLE_S = 10,
	BODY_MAX_BYTES = 1 << 20,
	EARLY_BYTES = 64 << 10, /* a longer body is not read when its request is refused */
	THROW_AWAY_MAX_BYTES = 16 << 20,
	BLIND_MS = 100,
	SWEEP_US = 1000000,
	BODY_TIMES = 10, /* the time for a whole request, in times of silence */
	BACKLOG = 4096,
};

/* ---- waiting ---- */

void http_suspend(struct http_request_inner *r)
{
	struct http_client *c = r->client;
	struct epoll_event e = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = c};

	if (!c->watched && epoll_ctl(c->http->fd, EPOLL_CTL_ADD, c->fd, &e) == 0)
		c->watched = true;
	MHD_suspend_connection(r->connection);
	r->suspended = true;
}

void http_resume(struct http_request_inner *r)
{
	if (!r->suspended)
		return;
	r->suspended = false;
	r->client->http->resumed = true;
	MHD_resume_connection(r->connection);
}

/* ---- requests ---- */

static void *on_uri(void *self, const char *whole_uri, struct MHD_Connection *connection)
{
	const char *uri = http_path_of(whole_uri);
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct http_request_inner *r = mem_alloc(sizeof(*r));
	size_t n = strcspn(uri, "?");

	(void)self;
	*r = (struct http_request_inner){.client = info->socket_context,
		.connection = connection,
		.path = mem_alloc(n + 1),
		.uri = whole_uri,
		.uri_end = whole_uri + strlen(whole_uri),
		.has_blank = http_has_blank(whole_uri),
		.begun_us = wake_now_us()};
	memcpy(r->path, uri, n);
	http_take_query(r, whole_uri + strcspn(whole_uri, "?"));
	if (r->client->http->conf.slash && n > 1 && r->path[n - 1] == '/')
		n--;
	r->path[n] = '\0';
	r->pub.path = r->path;
	http_receipt_next(r->client);
	r->client->request = r;
	r->client->http->requests++;
	return r;
}

static bool is_long(const struct http_request_inner *r, size_t limit)
{
	const char *length = http_header(&r->pub, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return length && strtoull(length, NULL, 10) > limit;
}

/* The headers are there. A body that is not wanted is not waited for when it is long: then the
 * connection ends with the answer. */
static enum MHD_Result begin(
	struct http *h, struct http_request_inner *r, const char *method, const char *version)
{
	r->begun = true;
	r->is_old = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
	r->pub.method = method;
	http_find_route(h, r);
	if (!http_is_certified(r))
		r->refused = MHD_HTTP_FORBIDDEN;
	if (!r->refused && is_long(r, h->conf.max_body))
		r->refused = MHD_HTTP_CONTENT_TOO_LARGE;
	if (!http_head_fits(r))
		r->refused = MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
	if (http_head_is_sound(r, version) && (!r->refused || !is_long(r, EARLY_BYTES)))
		return MHD_YES;
	http_refuse(r, r->refused);
	return http_queue(r);
}

static enum MHD_Result take_body(
	struct http *h, struct http_request_inner *r, const char *data, size_t *size)
{
	struct span piece = {data, *size};

	*size = 0;
	if (!r->refused && body_len(r->body) + piece.len > h->conf.max_body) {
		r->refused = MHD_HTTP_CONTENT_TOO_LARGE;
		http_drop_body(&r->pub);
	}
	if (!r->refused && body_put(&r->body, piece))
		return MHD_NO;
	if (r->refused)
		r->thrown_away += piece.len;
	return r->thrown_away > THROW_AWAY_MAX_BYTES ? MHD_NO : MHD_YES;
}

static enum MHD_Result on_request(void *self, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_size,
	void **state)
{
	struct http_request_inner *r = *state;
	struct http *h = self;

	(void)connection;
	(void)url;
	if (!r->begun)
		return begin(h, r, method, version);
	if (*upload_size)
		return take_body(h, r, upload, upload_size);
	if (r->cut || h->closing || (r->handled && r->client->closed && !r->answered))
		return MHD_NO;
	if (!r->handled) {
		r->handled = true;
		if (body_end(r->body, &r->pub.body))
			return MHD_NO;
		if (r->refused)
			http_refuse(r, r->refused);
		else
			r->fn(h->self, &r->pub);
	}
	if (r->answered)
		return http_queue(r);
	http_suspend(r);
	return MHD_YES;
}

static void on_completed(void *self, struct MHD_Connection *connection, void **state,
	enum MHD_RequestTerminationCode how)
{
	struct http_request_inner *r = *state;
	struct http *h = self;

	if (!r)
		return;
	*state = NULL;
	r->suspended = false;
	if (h->conf.over)
		h->conf.over(h->self, &r->pub, (int)r->status,
			how == MHD_REQUEST_TERMINATED_COMPLETED_OK, wake_now_us() - r->begun_us);
	if (r->pub.done)
		r->pub.done(&r->pub, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
	if (r->fill)
		MHD_set_connection_option(
			connection, MHD_CONNECTION_OPTION_TIMEOUT, h->conf.idle_s);
	if (r->response)
		MHD_destroy_response(r->response);
	http_drop_headers(r);
	while (r->param_count)
		free(r->params[--r->param_count].value);
	free(r->params);
	http_body_free(r->body);
	buf_free(&r->queue);
	http_direct_free(r->direct);
	free(r->query);
	free(r->path);
	free(r->allow);
	r->client->request = NULL;
	r->client->since_us = wake_now_us();
	h->requests--;
	free(r);
}

const char *http_header(const struct http_request *r, const char *name)
{
	return MHD_lookup_connection_value(http_inner(r)->connection, MHD_HEADER_KIND, name);
}

const char *http_cookie(const struct http_request *r, const char *name)
{
	return MHD_lookup_connection_value(http_inner(r)->connection, MHD_COOKIE_KIND, name);
}

struct each {
	void (*fn)(void *ctx, const char *name, const char *value);
	void *ctx;
};

static enum MHD_Result on_value(
	void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	const struct each *each = cls;

	(void)kind;
	each->fn(each->ctx, name, value ? value : "");
	return MHD_YES;
}

void http_each(const struct http_request *r, enum http_kind kind,
	void (*each)(void *ctx, const char *name, const char *value), void *ctx)
{
	struct each both = {each, ctx};

	if (kind == HTTP_QUERY)
		http_each_query(http_inner(r), each, ctx);
	else
		MHD_get_connection_values(
			http_inner(r)->connection, MHD_HEADER_KIND, on_value, &both);
}

/* ---- connections ---- */

static void on_connection(void *self, struct MHD_Connection *connection, void **context,
	enum MHD_ConnectionNotificationCode what)
{
	struct http_client *c = *context;
	struct http *h = self;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		c = mem_alloc(sizeof(*c));
		*c = (struct http_client){.http = h,
			.next = h->clients,
			.link = &h->clients,
			.since_us = wake_now_us()};
		if (c->next)
			c->next->link = &c->next;
		c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)
				->connect_fd;
		keepalive_set(c->fd, h->conf.idle_s, h->conf.unheard_s);
		h->clients = c;
		*context = c;
		return;
	}
	http_receipt_closed(c);
	if (c->watched)
		epoll_ctl(h->fd, EPOLL_CTL_DEL, c->fd, NULL);
	http_pass_over(c);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	free(c);
}

/* ---- the server ---- */

static void set_conf(struct http *h, const struct http_conf *conf)
{
	if (conf)
		h->conf = *conf;
	if (!h->conf.max_connections)
		h->conf.max_connections = CONNECTIONS;
	if (!h->conf.max_body)
		h->conf.max_body = BODY_MAX_BYTES;
	if (!h->conf.idle_s)
		h->conf.idle_s = IDLE_S;
	if (!h->conf.memory)
		h->conf.memory = 32 << 10;
	if (!h->conf.max_head)
		h->conf.max_head = h->conf.memory;
}

static void start(struct http *h)
{
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)h->conf.cert},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)h->conf.key},
		{MHD_OPTION_HTTPS_MEM_TRUST, 0, (void *)(uintptr_t)h->conf.client_ca},
		{MHD_OPTION_END, 0, NULL},
	};

	if (!h->conf.client_ca)
		tls[2].option = MHD_OPTION_END;
	if (!h->conf.cert)
		tls[0].option = MHD_OPTION_END;
	h->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (h->conf.cert ? MHD_USE_TLS : 0), 0,
		NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, h->listener.fd,
		MHD_OPTION_CONNECTION_LIMIT, h->conf.max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
		h->conf.idle_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, h->conf.memory,
		MHD_OPTION_URI_LOG_CALLBACK, on_uri, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
		h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

struct http *http_open(const char *address, const struct http_conf *conf, void *self)
{
	struct http *h = mem_alloc(sizeof(*h));
	const union MHD_DaemonInfo *info;
	struct epoll_event e = {.events = EPOLLIN};
	struct trouble why = {0};

	*h = (struct http){.self = self};
	set_conf(h, conf);
	if (listen_open(&h->listener, address, 0, &why))
		die(why.status, "%s", why.text);
	/* Clients that come all at once are not made to try again a second later. */
	listen(h->listener.fd, BACKLOG);
	start(h);
	if (!h->daemon && h->conf.cert)
		die(EXIT_PERM, "cannot use the certificate%s for '%s'",
			h->conf.client_ca ? ", its key or the clients' CA" : " and its key",
			address);
	info = h->daemon ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	h->fd = epoll_create1(EPOLL_CLOEXEC);
	if (!info || h->fd < 0 || epoll_ctl(h->fd, EPOLL_CTL_ADD, info->epoll_fd, &e))
		die(EXIT_TEMP, "cannot start the HTTP server on '%s': %s", address,
			msg_errno(errno));
	/* From here on the listening socket is the daemon's. */
	h->listener.fd = -1;
	return h;
}

const char *http_address(const struct http *h)
{
	return h->listener.address;
}

int http_fd(const struct http *h)
{
	return h && !h->blind ? h->fd : -1;
}

int http_timeout_ms(const struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (h && (h->resumed || h->direct))
		return 0;
	if (h && h->blind)
		return BLIND_MS;
	if (!h || MHD_get_timeout(h->daemon, &ms) != MHD_YES)
		return h && h->clients ? SWEEP_US / 1000 : -1;
	if (h->clients && ms > SWEEP_US / 1000)
		return SWEEP_US / 1000;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* The daemon counts silence alone: a client that sends a byte now and then would stay for ever. */
static void cut_slow(struct http *h)
{
	int64_t now_us = wake_now_us(), limit_us = (int64_t)h->conf.idle_s * 1000000;

	if (now_us < h->sweep_us)
		return;
	h->sweep_us = now_us + SWEEP_US;
	for (struct http_client *c = h->clients; c; c = c->next) {
		const struct http_request_inner *r = c->request;

		/* A kernel that was short of memory does not tell when a socket has room again. */
		if (r && r->direct)
			http_direct_room(r->direct);
		if (r && (r->handled || r->answered))
			continue;
		if (r && r->begun ? now_us - r->begun_us > BODY_TIMES * limit_us
				  : now_us - c->since_us > limit_us + SWEEP_US)
			shutdown(c->fd, SHUT_RDWR);
	}
}

static void see_closed(struct http *h)
{
	struct epoll_event events[64];
	int n = epoll_wait(h->fd, events, 64, 0);

	for (int i = 0; i < n; i++) {
		struct http_client *c = events[i].data.ptr;

		if (!c)
			continue;
		if (events[i].events & EPOLLOUT && c->request && c->request->direct)
			http_direct_room(c->request->direct);
		if (!(events[i].events & ~(uint32_t)EPOLLOUT))
			continue;
		c->closed = true;
		if (c->request)
			http_resume(c->request);
	}
}

/* Whether a client waits that the daemon could not accept: descriptors have run out. With
 * connections it waits until one of them ends; without one it would try again at once, for ever. */
static bool cannot_accept(const struct http *h)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_LISTEN_FD);
	struct pollfd p = {.fd = info ? info->listen_fd : -1, .events = POLLIN};

	int fd;

	if (h->clients || h->draining || poll(&p, 1, 0) <= 0)
		return false;
	/* It may have come only now. */
	fd = dup(p.fd);
	if (fd >= 0)
		close(fd);
	return fd < 0;
}

void http_run(struct http *h)
{
	if (!h)
		return;
	see_closed(h);
	http_receipts_look(h);
	cut_slow(h);
	h->resumed = false;
	MHD_run(h->daemon);
	http_direct_run(h);
	h->blind = cannot_accept(h);
	if (h->blind && !h->told)
		msg_warn(
			"cannot take connections on '%s': too many open files; raise the limit (ulimit -n)",
			h->listener.address);
	h->told = h->told || h->blind;
}

unsigned http_drain(struct http *h)
{
	MHD_socket fd;

	if (!h->draining) {
		h->draining = true;
		fd = MHD_quiesce_daemon(h->daemon);
		if (fd >= 0)
			close(fd);
		listen_close(&h->listener);
	}
	return h->requests;
}

void http_close(struct http *h)
{
	if (!h)
		return;
	h->closing = true;
	for (struct http_client *c = h->clients; c; c = c->next)
		if (c->request)
			http_resume(c->request);
	MHD_run(h->daemon);
	MHD_stop_daemon(h->daemon);
	listen_close(&h->listener);
	close(h->fd);
	free(h);
}

const char *http_library(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "libmicrohttpd %s", MHD_get_version());
	return text;
}
