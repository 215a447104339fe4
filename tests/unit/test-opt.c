/* SPDX-License-Identifier: ISC */
/* lib/base/opt: a program of several commands, and what --version tells. Each call runs in a
 * child. */
#include "base/opt.h"

#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *library(void)
{
	return "libexample 1.2.3";
}

static const char *const examples[] = {"prog add -n 3", NULL};

static int add(int argc, char **argv)
{
	static const struct opt_page page = {
		"prog", "Adds something.", .examples = examples, .libraries = {library}};
	struct opt_common common;
	struct arg_str *n = arg_str0("n", "number", "N", "how many");
	struct arg_str *what = arg_str0(NULL, NULL, "WHAT", "what to add");

	opt_common(&common);
	void *table[] = {n, what, OPT_COMMON_ENTRIES(common), arg_end(5)};
	opt_parse(argc, argv, table, &common, &page);
	printf("adds %d of %s\n", (int)opt_int(n, "-n", 1, 1, 9), opt_text(what, "WHAT"));
	return 42;
}

static const struct opt_command commands[] = {
	{"add", "adds something", add},
	{"take-away", "takes something away", add},
	{NULL},
};
static const struct opt_page page = {"prog", "Counts.", .libraries = {library}};

static char text[8192];

/* Runs the words, NULL-ended; @text gets both outputs. Returns the exit status. */
static int call(char **argv)
{
	int fds[2], status, argc = 0;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	while (argv[argc])
		argc++;
	assert_int_equal(pipe(fds), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		exit(opt_run(argc, argv, &page, commands));
	}
	close(fds[1]);
	while ((n = read(fds[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}
#define CALL(...) call((char *[]){"./prog", __VA_ARGS__ __VA_OPT__(, ) NULL})

static void starts_with(const char *head)
{
	if (strncmp(text, head, strlen(head)) != 0)
		fail_msg("'%s' does not begin with '%s'", text, head);
}

static void has(const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in:\n%s", part, text);
}

static void the_command_runs_with_its_own_options(void **state)
{
	(void)state;
	assert_int_equal(CALL("add", "-n", "3", "apples"), 42);
	assert_string_equal(text, "adds 3 of apples\n");
	assert_int_equal(CALL("-n", "3", "add", "apples"), 42);
	assert_string_equal(text, "adds 3 of apples\n");
	assert_int_equal(CALL("--number=3", "add", "apples"), 42);
	assert_string_equal(text, "adds 3 of apples\n");
}

static void help_lists_the_commands(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(CALL(i ? "-h" : "--help"), 0);
		starts_with("Usage: prog COMMAND [OPTION]...\nCounts.\n\nCommands:\n"
			    "  add                            adds something\n"
			    "  take-away                      takes something away\n\n"
			    "  -h, --help ");
		has("See prog(1).\n");
		assert_null(strstr(text, "--number"));
	}
}

static void help_of_a_command_prints_its_options(void **state)
{
	(void)state;
	assert_int_equal(CALL("add", "--help"), 0);
	starts_with("Usage: prog add [");
	has("\nAdds something.\n");
	has("\n  -n, --number=N                 how many\n");
	has("\nExamples:\n  prog add -n 3\n");
	has("See prog(1).\n");
}

static void an_unknown_command_is_named(void **state)
{
	(void)state;
	assert_int_equal(CALL("ad"), 100);
	assert_string_equal(text, "prog: 'ad' is none of the commands; try 'prog --help'\n");
	assert_int_equal(CALL("-n"), 100);
	assert_string_equal(text, "prog: '-n' stands there without a command; try 'prog --help'\n");
	assert_int_equal(CALL("-n", "3", "--", "add"), 100);
	assert_int_equal(CALL(), 100);
	assert_string_equal(text, "prog: a command is missing; try 'prog --help'\n");
}

static void bad_usage_of_a_command_names_its_help(void **state)
{
	(void)state;
	assert_int_equal(CALL("add", "-n", "x"), 100);
	has("; try 'prog add --help'\n");
	assert_int_equal(CALL("add", "--none"), 100);
	starts_with("prog: ");
	has("; try 'prog add --help'\n");
}

static void the_version_names_the_libraries(void **state)
{
	(void)state;
	assert_int_equal(CALL("--version"), 0);
	assert_string_equal(text, "prog (evpipe) " PACKAGE_VERSION "\nlibexample 1.2.3\n");
	assert_int_equal(CALL("add", "-V"), 0);
	assert_string_equal(text, "prog (evpipe) " PACKAGE_VERSION "\nlibexample 1.2.3\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_command_runs_with_its_own_options),
		cmocka_unit_test(help_lists_the_commands),
		cmocka_unit_test(help_of_a_command_prints_its_options),
		cmocka_unit_test(an_unknown_command_is_named),
		cmocka_unit_test(bad_usage_of_a_command_names_its_help),
		cmocka_unit_test(the_version_names_the_libraries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
