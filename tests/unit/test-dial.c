/* SPDX-License-Identifier: ISC */
/* The way to a server: names, addresses that do not answer, Unix sockets, back-off. */
#define _GNU_SOURCE
#include "net/dial.h"
#include "test.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int listen_tcp(char *port, size_t size, int backlog)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	snprintf(port, size, "%d", ntohs(sin.sin_port));
	return fd;
}

/* Goes on, on a clock that stands still, until the attempt has ended. */
static enum dial_state settle(struct dial *d)
{
	for (;;) {
		struct pollfd p = {.fd = dial_fd(d), .events = dial_events(d)};

		if (d->state == DIAL_CONNECTED || d->state == DIAL_FAILED)
			return d->state;
		assert_true(p.fd >= 0);
		assert_int_equal(poll(&p, 1, 60000), 1);
		dial_step(d, p.revents, 0);
	}
}

static void expect_connected(struct dial *d, int listener)
{
	int fd, peer;

	assert_int_equal(settle(d), DIAL_CONNECTED);
	fd = dial_take(d);
	assert_int_equal(d->state, DIAL_IDLE);
	assert_int_equal(dial_timeout_ms(d, 0), -1);
	peer = accept(listener, NULL, NULL);
	assert_true(peer >= 0);
	assert_int_equal(send(peer, "x", 1, 0), 1);
	assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 60000), 1);
	close(peer);
	close(fd);
}

static void an_address_is_connected(void **state)
{
	struct dial d = {0};
	char port[8];
	int listener = listen_tcp(port, sizeof(port), 8);

	(void)state;
	dial_set(&d, "127.0.0.1", port);
	dial_start(&d, 0);
	expect_connected(&d, listener);
	dial_free(&d);
	close(listener);
}

/* The listener has no IPv6: where the name has both, the second address is the one. */
static void a_name_is_resolved_without_blocking(void **state)
{
	struct dial d = {0};
	char port[8];
	int listener = listen_tcp(port, sizeof(port), 8);

	(void)state;
	dial_set(&d, "localhost", port);
	dial_start(&d, 0);
	assert_int_equal(d.state, DIAL_RESOLVING);
	assert_int_equal(dial_timeout_ms(&d, 0), DIAL_MS);
	expect_connected(&d, listener);
	/* An attempt that is given up does not disturb the next one. */
	dial_start(&d, 0);
	dial_set(&d, "localhost", port);
	dial_start(&d, 0);
	expect_connected(&d, listener);
	dial_start(&d, 0);
	dial_free(&d);
	close(listener);
}

static void a_name_that_is_none_fails(void **state)
{
	struct dial d = {0};

	(void)state;
	dial_set(&d, "no such name", "1");
	dial_start(&d, 0);
	assert_int_equal(settle(&d), DIAL_FAILED);
	assert_true(d.why[0]);
	dial_free(&d);
}

static void a_refusal_is_told(void **state)
{
	struct dial d = {0};
	char port[8];
	int listener = listen_tcp(port, sizeof(port), 8);

	(void)state;
	close(listener);
	dial_set(&d, "127.0.0.1", port);
	dial_start(&d, 0);
	assert_int_equal(settle(&d), DIAL_FAILED);
	assert_string_equal(d.why, "Connection refused");
	assert_int_equal(dial_timeout_ms(&d, 0), 0);
	dial_free(&d);
}

/* A full queue of the listener: its kernel drops what asks for more. */
static void an_address_that_does_not_answer_has_its_time(void **state)
{
	struct dial d = {0}, fill = {0};
	char port[8];
	int listener = listen_tcp(port, sizeof(port), 0);

	(void)state;
	dial_set(&fill, "127.0.0.1", port);
	dial_start(&fill, 0);
	assert_int_equal(settle(&fill), DIAL_CONNECTED);
	dial_set(&d, "127.0.0.1", port);
	dial_start(&d, 1000);
	assert_int_equal(d.state, DIAL_CONNECTING);
	assert_int_equal(dial_timeout_ms(&d, 1000), DIAL_MS);
	assert_int_equal(dial_step(&d, 0, 1000 + DIAL_MS - 1), DIAL_CONNECTING);
	assert_int_equal(dial_step(&d, 0, 1000 + DIAL_MS), DIAL_FAILED);
	assert_string_equal(d.why, "Connection timed out");
	dial_free(&d);
	dial_free(&fill);
	close(listener);
}

static void a_unix_socket_is_connected(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/test-dial.XXXXXX";
	struct dial d = {0};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/s", dir);
	dial_set(&d, sun.sun_path, NULL);
	dial_start(&d, 0);
	assert_int_equal(settle(&d), DIAL_FAILED);
	assert_string_equal(d.why, "No such file or directory");
	assert_int_equal(bind(listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(listener, 8), 0);
	dial_start(&d, 0);
	expect_connected(&d, listener);
	dial_free(&d);
	close(listener);
	unlink(sun.sun_path);
	rmdir(dir);
}

static void a_further_attempt_waits_longer_each_time(void **state)
{
	struct dial d = {0};
	int ms = 0;

	(void)state;
	dial_set(&d, "/no/such/socket", NULL);
	for (int expected = 100; expected <= 4000; expected *= 2) {
		dial_retry(&d, 5000);
		ms = dial_timeout_ms(&d, 5000);
		assert_int_equal(dial_fd(&d), -1);
		assert_in_range(ms, (expected < 2000 ? expected : 2000) * 3 / 4,
			expected < 2000 ? expected : 2000);
	}
	assert_int_equal(dial_step(&d, 0, 5000 + ms - 1), DIAL_WAITING);
	assert_int_equal(dial_step(&d, 0, 5000 + ms), DIAL_FAILED);
	dial_reset(&d);
	dial_retry(&d, 5000);
	assert_in_range(dial_timeout_ms(&d, 5000), 75, 100);
	dial_free(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_connected),
		cmocka_unit_test(a_name_is_resolved_without_blocking),
		cmocka_unit_test(a_name_that_is_none_fails),
		cmocka_unit_test(a_refusal_is_told),
		cmocka_unit_test(an_address_that_does_not_answer_has_its_time),
		cmocka_unit_test(a_unix_socket_is_connected),
		cmocka_unit_test(a_further_attempt_waits_longer_each_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
