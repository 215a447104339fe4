/* SPDX-License-Identifier: ISC */
/* Listening sockets, and the files of Unix sockets. */
#include "net/listen.h"

#include "base/msg.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/test-listen.XXXXXX";
static char path[64];

static mode_t mode_of_path(void)
{
	struct stat st;

	return lstat(path, &st) ? 0 : st.st_mode;
}

static void tcp_addresses(void **state)
{
	static const char *const good[] = {"127.0.0.1:0", "localhost:0", ":0"};
	static const char *const bad[] = {"80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http",
		"127.0.0.1:65536", "host.invalid:0", "unix:"};
	struct listener l, second;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct trouble why = {0};

		assert_int_equal(listen_open(&l, good[i], 0, &why), 0);
		assert_true(fcntl(l.fd, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(l.fd, F_GETFD) & FD_CLOEXEC);
		assert_null(strstr(l.address, ":0"));
		if (i == 0) {
			assert_int_equal(listen_open(&second, l.address, 0, &why), -1);
			assert_int_equal(errno, EADDRINUSE);
			assert_int_equal(why.status, EXIT_PERM);
			assert_non_null(strstr(why.text, "the port is in use"));
			assert_int_equal(second.fd, -1);
			listen_close(&second);
		}
		listen_close(&l);
		assert_int_equal(l.fd, -1);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct trouble why = {0};

		assert_int_equal(listen_open(&l, bad[i], 0, &why), -1);
		assert_int_equal(why.status, EXIT_PERM);
		assert_non_null(strstr(why.text, "cannot listen on '"));
		assert_int_not_equal(errno, EADDRINUSE);
	}
}

static void a_dead_socket_file_is_replaced_and_nothing_else(void **state)
{
	struct trouble why = {0};
	struct listener l, second;
	char address[80];
	int fd;

	(void)state;
	snprintf(address, sizeof(address), "unix:%s", path);
	assert_int_equal(listen_unix(&l, path, 0600, &why), 0);
	assert_int_equal(mode_of_path(), S_IFSOCK | 0600);
	assert_string_equal(l.address, address);
	assert_int_equal(listen_open(&second, address, 0, &why), -1);
	assert_int_equal(errno, EADDRINUSE);
	assert_non_null(strstr(why.text, "the path is in use"));
	/* As a killed process leaves it. */
	close(l.fd);
	l.fd = -1;
	umask(022);
	assert_int_equal(listen_open(&second, address, 0, &why), 0);
	assert_int_equal(mode_of_path(), S_IFSOCK | 0755);
	listen_close(&second);
	assert_int_equal(mode_of_path(), 0);
	listen_close(&l);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(listen_open(&l, address, 0, &why), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(mode_of_path(), S_IFREG | 0600);
	unlink(path);
}

static void only_its_maker_removes_it(void **state)
{
	struct trouble why = {0};
	struct listener l;
	pid_t pid;

	(void)state;
	assert_int_equal(listen_unix(&l, path, 0600, &why), 0);
	pid = fork();
	if (!pid)
		exit(0);
	waitpid(pid, NULL, 0);
	assert_int_equal(mode_of_path(), S_IFSOCK | 0600);
	listen_close(&l);
	/* At its exit, too. */
	pid = fork();
	if (!pid) {
		if (listen_unix(&l, path, 0600, &why) || !mode_of_path())
			_exit(1);
		exit(0);
	}
	waitpid(pid, NULL, 0);
	assert_int_equal(mode_of_path(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_addresses),
		cmocka_unit_test(a_dead_socket_file_is_replaced_and_nothing_else),
		cmocka_unit_test(only_its_maker_removes_it),
	};
	int failed;

	msg_init("test-listen");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
