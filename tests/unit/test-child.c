/* SPDX-License-Identifier: ISC */
/* A program inside a poll loop: fed and read side by side, its end, and what outlives it. */
#define _GNU_SOURCE
#include "base/child.h"

#include "base/msg.h"
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct child child;

/* Runs sh -c @script on @input to its end. */
static enum child_state run(const char *script, struct span input, size_t output_max)
{
	char *const argv[] = {"sh", "-c", (char *)script, NULL};
	enum child_state state = CHILD_RUNS;

	assert_int_equal(child_start(&child, argv, input, output_max), 0);
	while (state == CHILD_RUNS) {
		struct pollfd p[CHILD_FDS];

		child_poll(&child, p);
		assert_true(poll(p, CHILD_FDS, 60000) > 0);
		state = child_serve(&child, p);
	}
	assert_int_equal(child.pid, 0);
	assert_true(child.in_fd < 0 && child.out_fd < 0 && child.pid_fd < 0);
	return state;
}

static struct span text(const char *s)
{
	return (struct span){s, strlen(s)};
}

static bool wrote(const char *s)
{
	return child.output.len == strlen(s) && memcmp(child.output.p, s, child.output.len) == 0;
}

static void input_and_output(void **state)
{
	(void)state;
	assert_int_equal(run("cat", text("one\ntwo\n"), 100), CHILD_DONE);
	assert_true(wrote("one\ntwo\n"));
	assert_int_equal(run("cat", text(""), 100), CHILD_DONE);
	assert_true(wrote(""));
	/* It need not read, and its standard error is not its output. */
	assert_int_equal(run("echo x; echo y 2>/dev/null >&2", text("unread"), 100), CHILD_DONE);
	assert_true(wrote("x\n"));
	assert_int_equal(run("exec <&-; echo closed", text("unread"), 100), CHILD_DONE);
	assert_true(wrote("closed\n"));
}

/* More than both pipes hold, in each order. */
static void big(void **state)
{
	enum { SIZE = 3 << 20 };
	char *in = malloc(SIZE);

	(void)state;
	memset(in, 'a', SIZE);
	for (int i = 0; i < 3; i++) {
		static const char *const scripts[] = {
			"cat", "x=$(cat); printf %s \"$x\"", "printf %3145728s x; cat >/dev/null"};

		assert_int_equal(run(scripts[i], (struct span){in, SIZE}, SIZE), CHILD_DONE);
		assert_int_equal(child.output.len, SIZE);
	}
	free(in);
}

static void failures(void **state)
{
	char why[100];

	(void)state;
	assert_int_equal(run("echo x; exit 3", text("in"), 100), CHILD_FAILED);
	child_why(&child, why, sizeof(why));
	assert_string_equal(why, "exited with status 3");
	assert_false(child_overflowed(&child));
	assert_int_equal(run("kill -9 $$", text("in"), 100), CHILD_FAILED);
	child_why(&child, why, sizeof(why));
	assert_string_equal(why, "was killed by signal 9 (Killed)");
	assert_int_equal(run("cat /dev/zero", text("in"), 3 << 20), CHILD_FAILED);
	assert_true(child_overflowed(&child));
	child_why(&child, why, sizeof(why));
	assert_non_null(strstr(why, "more than it was given"));
	/* Signals are as every program gets them. */
	assert_int_equal(run("kill -PIPE $$", text("in"), 100), CHILD_FAILED);
	child_why(&child, why, sizeof(why));
	assert_string_equal(why, "was killed by signal 13 (Broken pipe)");
}

static enum child_state serve(void)
{
	struct pollfd p[CHILD_FDS];

	child_poll(&child, p);
	assert_true(poll(p, CHILD_FDS, 60000) > 0);
	return child_serve(&child, p);
}

static enum child_state to_its_end(void)
{
	enum child_state state = CHILD_RUNS;

	while (state == CHILD_RUNS)
		state = serve();
	return state;
}

static enum child_state ask(const char *input, const char *answer)
{
	enum child_state state = CHILD_RUNS;

	buf_clear(&child.output);
	child_give(&child, text(input));
	while (state == CHILD_RUNS && !wrote(answer))
		state = serve();
	assert_true(wrote(answer));
	return state;
}

static void open_one(const char *script)
{
	char *const argv[] = {"sh", "-c", (char *)script, NULL};

	assert_int_equal(child_open(&child, argv, 1 << 20), 0);
}

static void one_that_stays(void **state)
{
	char note[16];

	(void)state;
	open_one("while read x; do echo \"n-$x\" >&3; echo \"<$x>\"; done; echo end");
	assert_int_equal(ask("a\n", "<a>\n"), CHILD_RUNS);
	assert_int_equal(child_note(&child, note, sizeof(note)), 4);
	assert_memory_equal(note, "n-a\n", 4);
	assert_int_equal(child_note(&child, note, sizeof(note)), 0);
	assert_int_equal(ask("bb\n", "<bb>\n"), CHILD_RUNS);
	buf_clear(&child.output);
	child_end_input(&child);
	assert_int_equal(to_its_end(), CHILD_DONE);
	assert_true(wrote("end\n"));
	assert_true(child.in_fd < 0 && child.out_fd < 0 && child.note_fd < 0);
}

/* What a program has not read when it ends can be given to another one. */
static void untouched(void **state)
{
	char *big = malloc(1 << 20);
	siginfo_t info;

	(void)state;
	memset(big, 'a', 1 << 20);
	open_one("read x; echo \"$x\"; kill -STOP $$");
	assert_int_equal(ask("a\n", "a\n"), CHILD_RUNS);
	child_give(&child, text("b\n"));
	assert_int_equal(waitid(P_PID, (id_t)child.pid, &info, WSTOPPED | WNOWAIT), 0);
	kill(child.pid, SIGCONT);
	assert_int_equal(to_its_end(), CHILD_DONE);
	assert_true(child.untouched);
	open_one("read x; exit 1");
	child_give(&child, text("a\nb\n"));
	assert_int_equal(to_its_end(), CHILD_FAILED);
	assert_false(child.untouched);
	/* More than the pipe holds. */
	open_one("exit 1");
	child_give(&child, (struct span){big, 1 << 20});
	assert_int_equal(to_its_end(), CHILD_FAILED);
	assert_true(child.untouched);
	open_one("head -c 1");
	child_give(&child, (struct span){big, 1 << 20});
	assert_int_equal(to_its_end(), CHILD_DONE);
	assert_false(child.untouched);
	free(big);
}

static void not_there(void **state)
{
	char *const argv[] = {"/nowhere/to/be/found", NULL};

	(void)state;
	assert_int_equal(child_start(&child, argv, text("in"), 100), ENOENT);
	assert_int_equal(child.pid, 0);
	assert_true(child.in_fd < 0 && child.out_fd < 0);
	child_kill(&child);
}

/* Reads a process id that the child writes first. */
static pid_t told_pid(void)
{
	while (!memchr(child.output.p ? child.output.p : "", '\n', child.output.len)) {
		struct pollfd p[CHILD_FDS];

		child_poll(&child, p);
		assert_true(poll(p, CHILD_FDS, 60000) > 0);
		child_serve(&child, p);
	}
	return (pid_t)atol(child.output.p);
}

/* A shell's child has the shell's name until it runs its program. */
static void wait_named(pid_t pid, const char *name)
{
	char path[64], comm[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/comm", (long)pid);
	while (strncmp(comm, name, strlen(name))) {
		f = fopen(path, "r");
		assert_non_null(f);
		if (!fgets(comm, sizeof(comm), f))
			*comm = '\0';
		fclose(f);
	}
}

/* It becomes our child once its parent has ended. */
static void wait_killed(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid) {
		assert_int_equal(errno, ECHILD);
		assert_int_equal(kill(pid, 0), 0);
		poll(NULL, 0, 1);
	}
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void kill_ends_the_group(void **state)
{
	char *const argv[] = {"sh", "-c", "sleep 1000 & echo $!; wait", NULL};
	pid_t pid;

	(void)state;
	assert_int_equal(child_start(&child, argv, text("in"), 100), 0);
	assert_int_equal(getpgid(child.pid), child.pid);
	pid = told_pid();
	child_kill(&child);
	wait_killed(pid);
	assert_int_equal(child.pid, 0);
}

/* The command has ended well, and what it has started holds its output. */
static void a_lingering_one_is_named(void **state)
{
	char *const argv[] = {"sh", "-c", "sleep 1000 & echo $!", NULL};
	char name[64], expected[64];
	pid_t pid;

	(void)state;
	assert_int_equal(child_start(&child, argv, text(""), 100), 0);
	pid = told_pid();
	wait_named(pid, "sleep");
	while (!child_lingers(&child)) {
		struct pollfd p[CHILD_FDS];

		child_poll(&child, p);
		assert_true(poll(p, CHILD_FDS, 60000) > 0);
		assert_int_equal(child_serve(&child, p), CHILD_RUNS);
	}
	assert_true(child_holder(&child, name, sizeof(name)));
	snprintf(expected, sizeof(expected), "process %ld (sleep)", (long)pid);
	assert_string_equal(name, expected);
	child_kill(&child);
	wait_killed(pid);
}

/* A parent that is killed, by SIGKILL, takes command and grandchild with it. */
static void dies_with_its_parent(void **state)
{
	int fds[2], status;
	pid_t parent, pid;
	char line[32] = "";

	(void)state;
	assert_int_equal(pipe(fds), 0);
	parent = fork();
	if (parent == 0) {
		char *const argv[] = {"sh", "-c", "sleep 1000 & echo $!; wait", NULL};

		child = (struct child){0};
		child_start(&child, argv, text(""), 100);
		snprintf(line, sizeof(line), "%ld\n", (long)told_pid());
		if (write(fds[1], line, strlen(line)) > 0)
			raise(SIGKILL);
		_exit(1);
	}
	close(fds[1]);
	assert_true(read(fds[0], line, sizeof(line) - 1) > 0);
	close(fds[0]);
	pid = (pid_t)atol(line);
	assert_int_equal(waitpid(parent, &status, 0), parent);
	assert_true(WIFSIGNALED(status));
	wait_killed(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: its parent is to start a guard of its own. */
		cmocka_unit_test(dies_with_its_parent),
		cmocka_unit_test(input_and_output),
		cmocka_unit_test(big),
		cmocka_unit_test(failures),
		cmocka_unit_test(one_that_stays),
		cmocka_unit_test(untouched),
		cmocka_unit_test(not_there),
		cmocka_unit_test(kill_ends_the_group),
		cmocka_unit_test(a_lingering_one_is_named),
	};
	int failed;

	msg_init("test-child");
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	child_end_all();
	buf_free(&child.output);
	return failed;
}
