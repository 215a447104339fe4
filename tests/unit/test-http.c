/* SPDX-License-Identifier: ISC */
/* The HTTP server: a small one, and clients that write what they like. */
#define _GNU_SOURCE
#include "http/http.h"

#include "base/mem.h"
#include "base/msg.h"
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[] = "/tmp/test-http.XXXXXX";

/* The server under test, and what its handlers have seen. */
static struct site {
	struct http *http;
	char address[108];
	struct http_request *waits, *stream; /* not answered yet */
	struct buf seen; /* a word for each thing that has happened */
} site;

static void note_done(struct http_request *r, bool whole)
{
	buf_printf(&site.seen, "%s:%s ", (const char *)r->user, whole ? "whole" : "cut");
	if (r == site.waits)
		site.waits = NULL;
	if (r == site.stream)
		site.stream = NULL;
}

static void on_echo(void *self, struct http_request *r)
{
	struct buf body = {0};

	assert_ptr_equal(self, &site);
	buf_printf(&body, "%s %s id=%s q=%s h=%s [%.*s]", r->method, r->path, http_param(r, "id"),
		http_query(r, "q") ? http_query(r, "q") : "none",
		http_header(r, "x-one") ? http_header(r, "x-one") : "none", (int)r->body.len,
		r->body.len ? r->body.p : "");
	http_set_header(r, "X-Back", "1");
	http_reply(r, 200, "text/plain", &body);
}

static void on_later(void *self, struct http_request *r)
{
	(void)self;
	r->user = "later";
	r->done = note_done;
	site.waits = r;
}

static void on_stream(void *self, struct http_request *r)
{
	const char *last = http_header(r, "Last-Event-ID");

	(void)self;
	r->user = "stream";
	r->done = note_done;
	site.stream = r;
	http_stream(r, 200, "text/event-stream", 100000);
	if (last)
		assert_int_equal(http_stream_put(r, (struct span){last, strlen(last)}), 0);
}

static size_t count_down(struct http_request *r, char *to, size_t max)
{
	int *left = r->user;
	size_t n = 0;

	while (*left && n < max) {
		to[n++] = (char)('a' + --*left % 26);
		/* One by one at the end, so that it is woken. */
		if (*left < 10)
			break;
	}
	return n;
}

static void on_pull(void *self, struct http_request *r)
{
	static int left;

	(void)self;
	left = 100000;
	r->user = &left;
	http_stream_pull(r, 200, "text/plain", count_down);
	http_end(r);
}

static int direct_left;

static size_t count_direct(struct http_request *r, char *to, size_t max)
{
	(void)r;
	return count_down(&(struct http_request){.user = &direct_left}, to, max);
}

static void on_direct(void *self, struct http_request *r)
{
	(void)self;
	r->user = "direct";
	r->done = note_done;
	site.stream = r;
	http_stream_direct(r, 200, "text/event-stream", count_direct);
}

static void on_wrong(void *self, struct http_request *r)
{
	(void)self;
	http_error(r, 409, "it is \"%s\" already\n", "there");
}

static void open_site(const struct http_conf *conf)
{
	site.seen.len = 0;
	site.waits = site.stream = NULL;
	snprintf(site.address, sizeof(site.address), "unix:%s/http", dir);
	site.http = http_open(site.address, conf, &site);
	http_route(site.http, "GET", "/echo/{id}", on_echo);
	http_route(site.http, "POST", "/echo/{id}", on_echo);
	http_route(site.http, "PATCH", "/rest/{id*}", on_echo);
	http_route(site.http, "GET", "/later", on_later);
	http_route(site.http, "GET", "/stream", on_stream);
	http_route(site.http, "GET", "/pull", on_pull);
	http_route(site.http, "GET", "/direct", on_direct);
	http_route(site.http, "DELETE", "/wrong/x", on_wrong);
}

static void turn(void)
{
	struct pollfd p = {.fd = http_fd(site.http), .events = POLLIN};
	int timeout = http_timeout_ms(site.http);

	assert_true(poll(&p, 1, timeout < 0 || timeout > 5 ? 5 : timeout) >= 0);
	http_run(site.http);
}

static int dial(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(a.sun_path, site.address + strlen("unix:"));
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	for (size_t n = strlen(text); n;) {
		ssize_t done = send(fd, text, n, MSG_NOSIGNAL);

		if (done > 0) {
			text += done;
			n -= (size_t)done;
		}
		turn();
	}
}

/* Reads on until @text has come, NULL: until the end. Returns false when the end came first. */
static bool hear(int fd, struct buf *got, const char *text)
{
	for (;; turn()) {
		ssize_t n = recv(fd, buf_room(got, 65536), 65535, 0);

		if (n > 0)
			got->len += (size_t)n;
		got->p[got->len] = '\0';
		if (text && memmem(got->p, got->len, text, strlen(text)))
			return true;
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return !text;
	}
}

/* The answer to what is written on a connection of its own, which the server is asked to close. */
static const char *ask(const char *text)
{
	static struct buf got;
	int fd = dial();

	buf_clear(&got);
	say(fd, text);
	assert_true(hear(fd, &got, NULL));
	close(fd);
	return got.p;
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in '%s'", part, text);
}

#define CLOSE "Host: x\r\nConnection: close\r\n"

static void routes_and_methods(void **state)
{
	const char *got;

	(void)state;
	open_site(NULL);
	got = ask("GET /echo/a%2Fb%20c?q=1%202+3&r HTTP/1.1\r\nX-One: first\r\n" CLOSE "\r\n");
	assert_has(got, "HTTP/1.1 200 OK\r\n");
	assert_has(got, "\r\nContent-Type: text/plain\r\n");
	assert_has(got, "\r\nCache-Control: no-store\r\n");
	assert_has(got, "\r\nX-Back: 1\r\n");
	assert_has(got, "\r\n\r\nGET /echo/a%2Fb%20c id=a/b c q=1 2 3 h=first []");
	assert_has(
		ask("GET /%65cho/%C3%A9 HTTP/1.1\r\n" CLOSE "\r\n"), "id=\xc3\xa9 q=none h=none");
	assert_has(ask("PATCH /rest/a/%2Fb/ HTTP/1.1\r\n" CLOSE "\r\n"), " id=a//b/ q=");
	assert_has(ask("PATCH /rest/ HTTP/1.1\r\n" CLOSE "\r\n"), " id= q=");
	assert_has(ask("PATCH /rest HTTP/1.1\r\n" CLOSE "\r\n"), " 404 ");
	got = ask("HEAD /echo/a HTTP/1.1\r\n" CLOSE "\r\n");
	assert_has(got, "HTTP/1.1 200 OK\r\n");
	assert_has(got, "\r\nContent-Length: 34\r\n");
	assert_null(strstr(got, "id=a"));
	for (const char **p = (const char *[]){"/", "/echo", "/echo/", "/echo/a/", "/echo/a/b",
		     "/wrong/y", "*", NULL};
		*p; p++) {
		char line[100];

		snprintf(line, sizeof(line), "GET %s HTTP/1.1\r\n" CLOSE "\r\n", *p);
		got = ask(line);
		assert_has(got, "HTTP/1.1 404 Not Found\r\n");
		assert_has(got, "\r\nContent-Type: application/json\r\n");
		assert_has(got, "{\"error_code\":404,\"message\":\"there is no such path\"}\n");
	}
	/* Never the text before the NUL alone. */
	for (const char **p = (const char *[]){"/echo/a%00", "/%00", "/echo/a?q=1%003",
		     "/echo/a?q%00=1", "/echo/a?x&%00", NULL};
		*p; p++) {
		char line[100];

		snprintf(line, sizeof(line), "GET %s HTTP/1.1\r\n" CLOSE "\r\n", *p);
		got = ask(line);
		assert_has(got, "HTTP/1.1 400 Bad Request\r\n");
		assert_has(got, "\"message\":\"the URL has a NUL in it, %00\"}\n");
	}
	assert_has(ask("GET /echo/a%2500?q=%2500 HTTP/1.1\r\n" CLOSE "\r\n"), " id=a%00 q=%00 ");
	got = ask("PUT /echo/a HTTP/1.1\r\n" CLOSE "Content-Length: 3\r\n\r\nabc");
	assert_has(got, "HTTP/1.1 405 Method Not Allowed\r\n");
	assert_has(got, "\r\nAllow: GET, HEAD, POST\r\n");
	got = ask("DELETE /wrong/x HTTP/1.1\r\n" CLOSE "\r\n");
	assert_has(got, "HTTP/1.1 409 Conflict\r\n");
	assert_has(
		got, "{\"error_code\":409,\"message\":\"it is \\\"there\\\" already\\u000a\"}\n");
	http_close(site.http);
	assert_int_equal(access(site.address + strlen("unix:"), F_OK), -1);
}

static void a_body_in_pieces(void **state)
{
	struct buf got = {0};
	int fd;

	(void)state;
	open_site(NULL);
	fd = dial();
	say(fd, "POST /echo/1 HT");
	say(fd, "TP/1.1\r\nHost: x\r\nContent-Length: 10\r\nX-One: a\r\n\r\n01");
	say(fd, "23456");
	say(fd, "789");
	assert_true(hear(fd, &got, "h=a [0123456789]"));
	buf_clear(&got);
	say(fd, "POST /echo/2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
	say(fd, "4\r\ndef");
	say(fd, "g\r\n0\r\n\r\n");
	assert_true(hear(fd, &got, "[abcdefg]"));
	buf_clear(&got);
	say(fd, "POST /echo/3 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	assert_true(hear(fd, &got, "HTTP/1.1 100 Continue\r\n\r\n"));
	say(fd, "ok");
	assert_true(hear(fd, &got, "[ok]"));
	close(fd);
	buf_free(&got);
	http_close(site.http);
}

static void a_body_over_the_limit(void **state)
{
	static const struct http_conf conf = {.max_body = 100};
	struct buf got = {0}, text = {0};
	int fd;

	(void)state;
	open_site(&conf);
	buf_puts(&text, "POST /echo/1 HTTP/1.1\r\n" CLOSE "Content-Length: 101\r\n\r\n");
	for (int i = 0; i < 101; i++)
		buf_putc(&text, 'x');
	buf_putc(&text, '\0');
	assert_has(ask(text.p), "HTTP/1.1 413 ");
	text.p[text.len - 2] = '\0';
	memcpy(strstr(text.p, "101"), "100", 3);
	assert_has(ask(text.p), "xxx]");
	/* Long: answered before it has come, and the connection ends. */
	fd = dial();
	say(fd, "POST /echo/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc");
	assert_true(hear(fd, &got, NULL));
	assert_has(got.p, "HTTP/1.1 413 ");
	assert_has(got.p, "the body is longer than 100 bytes");
	close(fd);
	/* In pieces, of which nobody says how many come; what is on the way is read, and the next
	 * is served. */
	fd = dial();
	buf_clear(&got);
	say(fd, "POST /echo/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 20; i++)
		say(fd, "a\r\n0123456789\r\n");
	say(fd, "0\r\n\r\n");
	assert_true(hear(fd, &got, "the body is longer than 100 bytes"));
	assert_has(got.p, "HTTP/1.1 413 ");
	buf_clear(&got);
	say(fd, "GET /echo/next HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(hear(fd, &got, "id=next"));
	close(fd);
	buf_free(&got);
	buf_free(&text);
	http_close(site.http);
}

static void a_reply_comes_later_while_others_are_served(void **state)
{
	struct buf got = {0}, body = {0};
	int fd;

	(void)state;
	open_site(NULL);
	fd = dial();
	/* The pipeline behind a request waits with it, and is answered in order. */
	say(fd,
		"GET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /echo/2 HTTP/1.1\r\nHost: x\r\n\r\n"
		"GET /echo/3 HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!site.waits)
		turn();
	assert_has(ask("GET /echo/other HTTP/1.1\r\n" CLOSE "\r\n"), "id=other");
	assert_int_equal(recv(fd, buf_room(&got, 100), 100, 0), -1);
	buf_puts(&body, "at last");
	http_reply(site.waits, 200, "text/plain", &body);
	assert_int_equal(http_timeout_ms(site.http), 0);
	assert_true(hear(fd, &got, "id=3"));
	assert_true(strstr(got.p, "at last") < strstr(got.p, "id=2"));
	assert_true(strstr(got.p, "id=2") < strstr(got.p, "id=3"));
	buf_putc(&site.seen, '\0');
	assert_string_equal(site.seen.p, "later:whole ");
	close(fd);
	buf_free(&got);
	http_close(site.http);
}

static void wait_seen(const char *text)
{
	for (;;) {
		*buf_room(&site.seen, 1) = '\0';
		if (strcmp(site.seen.p, text) == 0)
			return;
		turn();
	}
}

static void a_client_that_goes_while_it_waits_is_told(void **state)
{
	struct buf body = {0};
	int fd;

	(void)state;
	open_site(NULL);
	fd = dial();
	say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!site.waits)
		turn();
	close(fd);
	wait_seen("later:cut ");
	/* The same of a stream without data, and of an answer that nobody reads to its end. */
	fd = dial();
	say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!site.stream)
		turn();
	close(fd);
	wait_seen("later:cut stream:cut ");
	fd = dial();
	say(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!site.waits)
		turn();
	memset(buf_room(&body, 10 << 20), 'x', 10 << 20);
	body.len = 10 << 20;
	http_reply(site.waits, 200, "text/plain", &body);
	assert_int_equal(body.len, 0);
	while (recv(fd, (char[100]){0}, 100, 0) <= 0)
		turn();
	close(fd);
	wait_seen("later:cut stream:cut later:cut ");
	http_close(site.http);
}

static void streams(void **state)
{
	struct buf got = {0}, piece = {0};
	int fd, puts = 0;

	(void)state;
	open_site(NULL);
	fd = dial();
	say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\nLast-Event-ID: orders/0=12\r\n\r\n");
	assert_true(hear(fd, &got, "\r\norders/0=12\r\n"));
	assert_has(got.p, "\r\nContent-Type: text/event-stream\r\n");
	assert_has(got.p, "\r\nTransfer-Encoding: chunked\r\n");
	assert_int_equal(http_stream_put(site.stream, SPAN("one\n\n")), 0);
	assert_true(hear(fd, &got, "one\n\n"));
	assert_int_equal(http_stream_put(site.stream, SPAN("two\n\n")), 0);
	assert_int_equal(http_stream_put(site.stream, SPAN("three\n\n")), 0);
	http_end(site.stream);
	assert_true(hear(fd, &got, "\r\n0\r\n\r\n"));
	assert_has(got.p, "two\n\nthree\n\n");
	wait_seen("stream:whole ");
	/* On the same connection: a reader that is too slow. */
	buf_clear(&got);
	say(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!site.stream)
		turn();
	memset(buf_room(&piece, 10000), 'y', 10000);
	piece.len = 10000;
	while (http_stream_put(site.stream, buf_as_span(&piece)) == 0) {
		puts++;
		turn();
	}
	assert_in_range(puts, 10, 10000);
	/* It may be given time: all of it comes, in order, and there is room again. */
	assert_true(hear(fd, &got, "\r\n\r\n"));
	for (; http_stream_put(site.stream, SPAN("last")); turn())
		hear(fd, &got, "y");
	assert_true(hear(fd, &got, "last"));
	http_cut(site.stream);
	assert_true(hear(fd, &got, NULL));
	wait_seen("stream:whole stream:cut ");
	close(fd);
	/* Only headers, and for HTTP/1.0 the end of the connection is that of the stream. */
	assert_has(ask("HEAD /stream HTTP/1.1\r\n" CLOSE "\r\n"), "text/event-stream");
	wait_seen("stream:whole stream:cut stream:whole ");
	buf_clear(&got);
	fd = dial();
	say(fd, "GET /pull HTTP/1.0\r\n\r\n");
	assert_true(hear(fd, &got, NULL));
	assert_int_equal(got.len - (size_t)(strstr(got.p, "\r\n\r\n") + 4 - got.p), 100000);
	close(fd);
	buf_free(&got);
	buf_free(&piece);
	http_close(site.http);
}

/* Opens a stream, whose reader takes nothing yet: turns until no more is written. */
static int open_direct(int bytes)
{
	int fd = dial(), before;

	direct_left = bytes;
	say(fd, "GET /direct HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!site.stream)
		turn();
	do {
		before = direct_left;
		for (int i = 0; i < 10; i++)
			turn();
	} while (direct_left < before);
	return fd;
}

static void direct_streams(void **state)
{
	enum { BYTES = 5000000 };
	struct buf got = {0};
	const char *body;
	int fd;

	(void)state;
	open_site(NULL);
	fd = open_direct(BYTES);
	assert_in_range(direct_left, 1, BYTES - 1);
	http_wake(site.stream);
	for (; direct_left; turn())
		hear(fd, &got, "\r\n\r\n");
	assert_null(strstr(got.p, "chunked"));
	/* It is woken, and ends when all was written. */
	direct_left = 52;
	http_wake(site.stream);
	for (; direct_left; turn())
		hear(fd, &got, "\r\n\r\n");
	direct_left = 26;
	http_end(site.stream);
	assert_true(hear(fd, &got, NULL));
	wait_seen("direct:whole ");
	body = strstr(got.p, "\r\n\r\n") + 4;
	assert_int_equal(got.p + got.len - body, BYTES + 78);
	for (int i = 0; i < BYTES; i++)
		if (body[i] != 'a' + (BYTES - 1 - i) % 26)
			fail_msg("byte %d is not what was written", i);
	close(fd);
	/* Cut by either side, while the socket is full. */
	fd = open_direct(BYTES);
	http_cut(site.stream);
	wait_seen("direct:whole direct:cut ");
	close(fd);
	close(open_direct(BYTES));
	wait_seen("direct:whole direct:cut direct:cut ");
	assert_has(ask("HEAD /direct HTTP/1.1\r\n" CLOSE "\r\n"), "text/event-stream");
	wait_seen("direct:whole direct:cut direct:cut direct:whole ");
	open_direct(BYTES);
	buf_free(&got);
	http_close(site.http);
}

static void silence_is_cut_but_no_waiting(void **state)
{
	static const struct http_conf conf = {.idle_s = 1};
	struct buf got = {0}, streamed = {0}, body = {0};
	int idle, later, stream;

	(void)state;
	open_site(&conf);
	later = dial();
	say(later, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	stream = dial();
	say(stream, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!site.waits || !site.stream)
		turn();
	/* Younger than both. */
	idle = dial();
	say(idle, "GET /ec");
	assert_true(hear(idle, &got, NULL));
	buf_puts(&body, "at last");
	http_reply(site.waits, 200, "text/plain", &body);
	assert_true(hear(later, &got, "at last"));
	assert_int_equal(http_stream_put(site.stream, SPAN("still here")), 0);
	assert_true(hear(stream, &streamed, "still here"));
	/* One that reads again, after longer than that, has lost nothing. */
	memset(buf_room(&body, 90000), 'z', 90000);
	body.len = 90000;
	for (int i = 0; http_stream_put(site.stream, buf_as_span(&body)) == 0 && i < 1000; i++)
		turn();
	buf_clear(&got);
	say(later, "GET /ec");
	assert_true(hear(later, &got, NULL));
	for (; http_stream_put(site.stream, SPAN("the end")); turn())
		hear(stream, &streamed, "z");
	assert_true(hear(stream, &streamed, "the end"));
	close(idle);
	close(later);
	close(stream);
	buf_free(&got);
	buf_free(&streamed);
	buf_free(&body);
	http_close(site.http);
}

static void print_one(void *self, struct buf *out)
{
	assert_ptr_equal(self, &site);
	buf_puts(out, "x 1\n");
}

static void print_none(void *self, struct buf *out)
{
	(void)self;
	(void)out;
}

static void the_three_routes_of_each_server(void **state)
{
	static const struct http_status s = {
		.metrics = print_one, .unhealthy = print_none, .unready = print_one};
	const char *got;

	(void)state;
	open_site(NULL);
	http_status_routes(site.http, &s);
	got = ask("GET /metrics HTTP/1.1\r\n" CLOSE "\r\n");
	assert_has(got, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
	assert_has(got, "\r\n\r\nx 1\n");
	got = ask("GET /healthz HTTP/1.1\r\n" CLOSE "\r\n");
	assert_has(got, "HTTP/1.1 200 OK\r\n");
	assert_has(got, "\r\n\r\nok\n");
	got = ask("GET /readyz HTTP/1.1\r\n" CLOSE "\r\n");
	assert_has(got, "HTTP/1.1 503 Service Unavailable\r\n");
	assert_has(got, "\r\n\r\nx 1\n");
	http_close(site.http);
}

static void the_end_of_the_server(void **state)
{
	struct buf got = {0}, body = {0};
	int later, stream, fd;

	(void)state;
	open_site(NULL);
	later = dial();
	say(later, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!site.waits)
		turn();
	/* It finishes what it has taken. */
	assert_int_equal(http_drain(site.http), 1);
	assert_int_equal(access(site.address + strlen("unix:"), F_OK), -1);
	http_reply(site.waits, 204, NULL, &body);
	assert_true(hear(later, &got, "HTTP/1.1 204 No Content\r\n"));
	while (http_drain(site.http))
		turn();
	wait_seen("later:whole ");
	http_close(site.http);
	close(later);
	/* Or cuts all. */
	open_site(NULL);
	later = dial();
	say(later, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	stream = dial();
	say(stream, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	fd = dial();
	say(fd, "GET /echo/1 HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!site.waits || !site.stream)
		turn();
	http_close(site.http);
	*buf_room(&site.seen, 1) = '\0';
	assert_has(site.seen.p, "later:cut ");
	assert_has(site.seen.p, "stream:cut ");
	close(later);
	close(stream);
	close(fd);
	buf_free(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes_and_methods),
		cmocka_unit_test(a_body_in_pieces),
		cmocka_unit_test(a_body_over_the_limit),
		cmocka_unit_test(a_reply_comes_later_while_others_are_served),
		cmocka_unit_test(a_client_that_goes_while_it_waits_is_told),
		cmocka_unit_test(streams),
		cmocka_unit_test(direct_streams),
		cmocka_unit_test(silence_is_cut_but_no_waiting),
		cmocka_unit_test(the_three_routes_of_each_server),
		cmocka_unit_test(the_end_of_the_server),
	};
	int failed;

	msg_init("test-http");
	assert_non_null(mkdtemp(dir));
	alarm(120);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
