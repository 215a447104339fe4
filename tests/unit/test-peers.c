/* SPDX-License-Identifier: ISC */
/* A server of lines: whole lines in order, what it refuses, who is behind, who has gone. */
#define _GNU_SOURCE
#include "net/peers.h"

#include "base/mem.h"
#include "base/msg.h"
#include "test.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct user {
	struct peer peer;
	int zero, lines;
};

static char dir[] = "/tmp/test-peers.XXXXXX";
static char path[64];
static struct peers peers;
static int opened, freed, refusals;
static char refused_why[128];
static struct buf heard; /* all lines, each with an LF */

static void on_opened(void *ctx, struct peer *p)
{
	struct user *u = (struct user *)p;

	assert_ptr_equal(ctx, &peers);
	assert_int_equal(u->zero, 0);
	opened++;
	peer_tell(&peers, p, "hello %d\n", opened);
}

static void on_line(void *ctx, struct peer *p, struct span line, int64_t now_us)
{
	struct user *u = (struct user *)p;

	assert_ptr_equal(ctx, &peers);
	assert_int_equal(now_us, 77);
	u->lines++;
	buf_span(&heard, line);
	buf_putc(&heard, '\n');
	if (line.len == 4 && memcmp(line.p, "quit", 4) == 0)
		p->closed = true;
}

static void on_refused(void *ctx, struct peer *p, const char *why)
{
	(void)ctx;
	refusals++;
	snprintf(refused_why, sizeof(refused_why), "%s", why);
	if (p)
		peer_tell(&peers, p, "stop %s\n", why);
}

static void on_freed(void *ctx, struct peer *p)
{
	(void)ctx;
	(void)p;
	freed++;
}

static const struct peers_events events = {.size = sizeof(struct user),
	.opened = on_opened,
	.line = on_line,
	.refused = on_refused,
	.freed = on_freed};

static int open_server(void **state)
{
	struct trouble why = {0};

	(void)state;
	opened = freed = refusals = 0;
	buf_clear(&heard);
	peers_open(&peers, &events, &peers);
	return peers_listen(&peers, path, 0600, &why);
}

static int close_server(void **state)
{
	(void)state;
	peers_close(&peers);
	assert_int_equal(peers.fd, -1);
	return access(path, F_OK) == 0;
}

static int client(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void serve(void)
{
	struct pollfd p = {.fd = peers.fd, .events = POLLIN};

	while (poll(&p, 1, 0) > 0) {
		peers_serve(&peers, 77);
		peers_reap(&peers);
	}
}

/* Serves until the level-triggered EPOLLOUT of a peer that is behind says nothing new. */
static void serve_some(void)
{
	for (int i = 0; i < 100; i++)
		peers_serve(&peers, 77);
	peers_reap(&peers);
}

static void send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0) {
			serve_some();
			if (!peers.first)
				return;
			continue;
		}
		text += n;
		len -= (size_t)n;
	}
}

static void expect(int fd, const char *text)
{
	char got[256] = "";
	size_t n = 0;

	while (n < strlen(text)) {
		ssize_t part = read(fd, got + n, strlen(text) - n);

		assert_true(part > 0);
		n += (size_t)part;
	}
	assert_string_equal(got, text);
}

static bool has_heard(const char *text)
{
	return heard.len == strlen(text) && memcmp(heard.p, text, heard.len) == 0;
}

static void lines(void **state)
{
	int a = client(), b = client();

	(void)state;
	serve();
	assert_int_equal(opened, 2);
	assert_int_equal(peers.count, 2);
	expect(a, "hello 1\n");
	expect(b, "hello 2\n");
	send_all(a, "one\n\ntw", 7);
	serve();
	assert_true(has_heard("one\n\n"));
	send_all(b, "b\n", 2);
	serve();
	send_all(a, "o\nthree", 7);
	serve();
	assert_true(has_heard("one\n\nb\ntwo\n"));
	/* What has no LF at the end of the connection is no line. */
	close(a);
	serve();
	assert_true(has_heard("one\n\nb\ntwo\n"));
	assert_int_equal(freed, 1);
	assert_int_equal(peers.count, 1);
	/* A user that closes hears nothing more, though it has come. */
	send_all(b, "quit\nmore\n", 10);
	serve();
	assert_true(has_heard("one\n\nb\ntwo\nquit\n"));
	assert_int_equal(freed, 2);
	close(b);
}

static void last_lines_before_the_end(void **state)
{
	int a = client();

	(void)state;
	send_all(a, "x\ny\n", 4);
	close(a);
	serve();
	assert_true(has_heard("x\ny\n"));
	assert_int_equal(freed, 1);
}

static void a_line_as_long_as_may_be(void **state)
{
	char *text = malloc(PEERS_LINE_MAX + 2);
	int a = client(), b = client();

	(void)state;
	serve();
	memset(text, 'l', PEERS_LINE_MAX + 2);
	text[PEERS_LINE_MAX - 1] = '\n';
	send_all(a, text, PEERS_LINE_MAX);
	serve();
	assert_int_equal(heard.len, PEERS_LINE_MAX);
	assert_int_equal(refusals, 0);
	/* Without an LF it is refused as soon as it is too long, and the others are not. */
	text[PEERS_LINE_MAX - 1] = 'l';
	send_all(a, text, PEERS_LINE_MAX + 2);
	serve();
	assert_int_equal(refusals, 1);
	assert_string_equal(refused_why, "a line over a megabyte");
	expect(a, "hello 1\nstop a line over a megabyte\n");
	assert_int_equal(freed, 1);
	buf_clear(&heard);
	send_all(b, "still\n", 6);
	serve();
	assert_true(has_heard("still\n"));
	close(a);
	close(b);
	free(text);
}

static void a_peer_that_does_not_read(void **state)
{
	char *text = malloc(1 << 20);
	int a = client(), b = client();
	struct peer *p;

	(void)state;
	serve();
	memset(text, 'x', 1 << 20);
	p = peers.first->next; /* the first client's */
	for (int i = 0; i < 3; i++) {
		buf_span(peer_out(p), (struct span){text, 1 << 20});
		peer_flush(&peers, p);
	}
	assert_true(peer_is_behind(p));
	/* The other is served meanwhile. */
	send_all(b, "b\n", 2);
	serve_some();
	assert_true(has_heard("b\n"));
	/* What waited arrives once it reads. */
	for (size_t left = 8 + (3u << 20); left;) {
		ssize_t n = recv(a, text, 1 << 20, MSG_DONTWAIT);

		if (n > 0)
			left -= (size_t)n;
		else
			serve_some();
	}
	assert_false(peer_is_behind(p));
	memset(text, 'x', 1 << 20);
	for (int i = 0; i < 18; i++)
		buf_span(peer_out(p), (struct span){text, 1 << 20});
	send_all(a, "y\n", 2);
	serve_some();
	assert_int_equal(refusals, 1);
	assert_string_equal(refused_why, "it does not read what it has asked for");
	assert_int_equal(freed, 1);
	close(a);
	close(b);
	free(text);
}

static void too_many(void **state)
{
	int fds[PEERS_MAX + 1];

	(void)state;
	for (int i = 0; i <= PEERS_MAX; i++) {
		fds[i] = client();
		serve();
	}
	assert_int_equal(peers.count, PEERS_MAX);
	assert_int_equal(refusals, 1);
	assert_string_equal(refused_why, "too many connections");
	for (int i = 0; i <= PEERS_MAX; i++)
		close(fds[i]);
	serve();
	assert_int_equal(freed, PEERS_MAX);
	assert_int_equal(peers.count, 0);
}

static void one_that_was_accepted_elsewhere(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	peers_add(&peers, fds[0]);
	expect(fds[1], "hello 1\n");
	send_all(fds[1], "x\n", 2);
	serve();
	assert_true(has_heard("x\n"));
	close(fds[1]);
	serve();
	assert_int_equal(freed, 1);
}

static void too_few_descriptors(void **state)
{
	struct rlimit before, few;
	int a = client(), lowest = dup(0);

	(void)state;
	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = (struct rlimit){(rlim_t)lowest, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	peers_serve(&peers, 77);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(peers.trouble.status, EXIT_TEMP);
	assert_non_null(strstr(peers.trouble.text, "ulimit -n"));
	/* The client still waits, and is taken when it can be. */
	serve();
	assert_int_equal(opened, 1);
	close(a);
	serve();
}

static void trust(void **state)
{
	uid_t uid = (uid_t)-1;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_true(peers_trust(fds[0], &uid));
	assert_int_equal(uid, geteuid());
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
#define WITH_SERVER(f) cmocka_unit_test_setup_teardown(f, open_server, close_server)
	const struct CMUnitTest tests[] = {
		WITH_SERVER(lines),
		WITH_SERVER(last_lines_before_the_end),
		WITH_SERVER(a_line_as_long_as_may_be),
		WITH_SERVER(a_peer_that_does_not_read),
		WITH_SERVER(too_many),
		WITH_SERVER(too_few_descriptors),
		WITH_SERVER(one_that_was_accepted_elsewhere),
		cmocka_unit_test(trust),
	};
	int failed;

	msg_init("test-peers");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	buf_free(&heard);
	rmdir(dir);
	return failed;
}
