/* SPDX-License-Identifier: ISC */
/* lib/out: pending output that never blocks and never changes what others share. */
#define _GNU_SOURCE
#include "base/out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

enum { MUCH = 1 << 20 };

static void put_pattern(struct out *o, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_putc(&o->b, (char)('a' + i % 23));
}

/* Reads what is there from @fd, which need not be non-blocking, and holds it against the
 * pattern. */
static size_t take(int fd, size_t at)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char bytes[4096];

	while (poll(&p, 1, 0) > 0 && p.revents & POLLIN) {
		ssize_t n = read(fd, bytes, sizeof(bytes));

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++, at++)
			if (bytes[i] != (char)('a' + at % 23))
				fail_msg("byte %zu is %d", at, bytes[i]);
	}
	return at;
}

static bool is_nonblocking(int fd)
{
	return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

/* Much more than it holds goes through @fd without a blocking write, byte for byte; @shared, a
 * duplicate that another process could have, stays as it was. A write that blocked would hang: the
 * reader is ourselves. */
static void check_never_blocks(int fd, int reader, int shared)
{
	struct out o;
	size_t got = 0;

	out_open(&o, fd);
	put_pattern(&o, MUCH);
	assert_int_equal(out_flush(&o), 0);
	assert_true(out_pending(&o) > 0);
	assert_int_equal(out_events(&o), POLLOUT);
	assert_false(is_nonblocking(shared));
	while (out_pending(&o)) {
		got = take(reader, got);
		assert_int_equal(out_flush(&o), 0);
	}
	assert_int_equal(out_events(&o), 0);
	got = take(reader, got);
	assert_int_equal(got, MUCH);
	assert_false(is_nonblocking(shared));
	assert_int_equal(out_close(&o), 0);
}

static void a_full_pipe_does_not_block(void **state)
{
	int fds[2], shared;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	shared = dup(fds[1]);
	check_never_blocks(fds[1], fds[0], shared);
	close(fds[0]);
	close(shared);
}

static void a_full_socket_does_not_block(void **state)
{
	int fds[2], shared;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	shared = dup(fds[1]);
	check_never_blocks(fds[1], fds[0], shared);
	close(fds[0]);
	close(shared);
}

static void a_full_terminal_does_not_block(void **state)
{
	struct termios raw;
	int master, slave, shared;

	(void)state;
	cfmakeraw(&raw);
	assert_int_equal(openpty(&master, &slave, NULL, &raw, NULL), 0);
	shared = dup(slave);
	check_never_blocks(slave, master, shared);
	close(master);
	close(shared);
}

/* As when another user made the pipe: it cannot be opened anew. In a child, since root can. */
static void a_full_pipe_of_someone_else_does_not_block(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0) {
		int fds[2], shared;

		if (geteuid() == 0)
			assert_int_equal(setuid(65534), 0);
		assert_int_equal(pipe(fds), 0);
		assert_int_equal(fchmod(fds[1], 0), 0);
		shared = dup(fds[1]);
		check_never_blocks(fds[1], fds[0], shared);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_file_gets_all_and_keeps_its_append_flag(void **state)
{
	int fd = memfd_create("out", 0), shared;
	struct out o;
	char bytes[8];

	(void)state;
	assert_int_equal(write(fd, "old", 3), 3);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
	shared = dup(fd);
	out_open(&o, fd);
	buf_puts(&o.b, "new");
	assert_int_equal(out_flush(&o), 0);
	assert_int_equal(out_pending(&o), 0);
	assert_int_equal(pread(shared, bytes, sizeof(bytes), 0), 6);
	assert_memory_equal(bytes, "oldnew", 6);
	assert_int_equal(out_close(&o), 0);
	close(shared);
}

static void a_full_device_is_an_error_and_not_a_full_pipe(void **state)
{
	struct out o;

	(void)state;
	out_open(&o, open("/dev/full", O_WRONLY));
	buf_puts(&o.b, "x");
	assert_int_equal(out_flush(&o), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(out_close(&o), -1);
	assert_int_equal(errno, ENOSPC);
}

static void a_vanished_reader_is_epipe_and_a_poll_event(void **state)
{
	struct pollfd p = {0};
	int fds[2];
	struct out o;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(fds), 0);
	out_open(&o, fds[1]);
	p.fd = o.fd;
	p.events = out_events(&o);
	assert_int_equal(poll(&p, 1, 0), 0);
	close(fds[0]);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(p.revents, POLLERR);
	buf_puts(&o.b, "x");
	assert_int_equal(out_flush(&o), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(out_close(&o), -1);
	assert_int_equal(errno, EPIPE);
}

static void a_vanished_reader_of_a_socket_is_epipe_too(void **state)
{
	int fds[2];
	struct out o;

	(void)state;
	/* The default would end the process; the socket must not need it ignored. */
	signal(SIGPIPE, SIG_DFL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	out_open(&o, fds[1]);
	close(fds[0]);
	buf_puts(&o.b, "x");
	assert_int_equal(out_flush(&o), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(out_close(&o), -1);
}

static void closing_writes_the_rest_however_slow_the_reader(void **state)
{
	int fds[2], status;
	struct out o;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		char bytes[1000];
		size_t got = 0;
		ssize_t n;

		close(fds[1]);
		while ((n = read(fds[0], bytes, sizeof(bytes))) > 0)
			got += (size_t)n;
		_exit(got == MUCH ? 0 : 1);
	}
	close(fds[0]);
	out_open(&o, fds[1]);
	put_pattern(&o, MUCH);
	assert_int_equal(out_close(&o), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_descriptor_that_was_never_open_fails_only_when_something_is_lost(void **state)
{
	struct out o;
	int fd = open("/dev/null", O_WRONLY);

	(void)state;
	close(fd);
	out_open(&o, fd);
	assert_int_equal(out_close(&o), 0);
	out_open(&o, fd);
	buf_puts(&o.b, "x");
	assert_int_equal(out_close(&o), -1);
	assert_int_equal(errno, EBADF);
}

static void what_was_written_makes_room_and_what_follows_keeps_the_order(void **state)
{
	int fds[2];
	struct out o;
	size_t got = 0, put = 0;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	out_open(&o, fds[1]);
	while (put < 4 * MUCH) {
		for (int i = 0; i < 5000; i++, put++)
			buf_putc(&o.b, (char)('a' + put % 23));
		assert_int_equal(out_flush(&o), 0);
		if (out_pending(&o) > OUT_BLOCK)
			got = take(fds[0], got);
	}
	while (out_pending(&o)) {
		got = take(fds[0], got);
		assert_int_equal(out_flush(&o), 0);
	}
	got = take(fds[0], got);
	assert_int_equal(got, put);
	assert_true(o.b.cap < MUCH);
	assert_int_equal(out_close(&o), 0);
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_pipe_does_not_block),
		cmocka_unit_test(a_full_socket_does_not_block),
		cmocka_unit_test(a_full_terminal_does_not_block),
		cmocka_unit_test(a_full_pipe_of_someone_else_does_not_block),
		cmocka_unit_test(a_file_gets_all_and_keeps_its_append_flag),
		cmocka_unit_test(a_full_device_is_an_error_and_not_a_full_pipe),
		cmocka_unit_test(a_vanished_reader_is_epipe_and_a_poll_event),
		cmocka_unit_test(a_vanished_reader_of_a_socket_is_epipe_too),
		cmocka_unit_test(closing_writes_the_rest_however_slow_the_reader),
		cmocka_unit_test(
			a_descriptor_that_was_never_open_fails_only_when_something_is_lost),
		cmocka_unit_test(what_was_written_makes_room_and_what_follows_keeps_the_order),
	};

	/* A write that blocks against the contract ends the test instead of hanging it. */
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
