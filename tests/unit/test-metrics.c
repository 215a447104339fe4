/* SPDX-License-Identifier: ISC */
/* lib/metrics: the counters' file, and readiness. */
#define _GNU_SOURCE
#include "base/metrics.h"

#include "config.h"
#include "base/msg.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char text[65536];

static const char *slurp(const char *name)
{
	int fd = open(name, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

/* The file has this line, once. */
static void expect_line(const char *line)
{
	char all[300];
	const char *at;

	snprintf(all, sizeof(all), "\n%s\n", line);
	at = strstr(text, all);
	if (!at || strstr(at + 1, all))
		fail_msg("'%s' does not stand once in:\n%s", line, text);
}

static void expect_no(const char *part)
{
	if (strstr(text, part))
		fail_msg("'%s' stands in:\n%s", part, text);
}

static int setup(void **state)
{
	(void)state;
	metrics = (struct metrics){0};
	unsetenv("EVPIPE_NAME");
	unsetenv("EVPIPE_DIR");
	unsetenv("EVPIPE_MEMBER");
	unlink("m.prom");
	return 0;
}

static void without_a_file_nothing_is_written_and_nothing_is_due(void **state)
{
	(void)state;
	metrics_init("tool", NULL);
	assert_int_equal(metrics_tick(0), -1);
	metrics_flush();
	assert_int_equal(access("m.prom", F_OK), -1);
}

enum {
	FILTER = METRICS_IN | METRICS_OUT | METRICS_DROPPED | METRICS_ERRORS | METRICS_DEAD_LETTERS
};

static void nothing_is_printed_that_nobody_counts(void **state)
{
	(void)state;
	metrics_init("kmock", "m.prom");
	metrics_flush();
	slurp("m.prom");
	expect_line("# TYPE evpipe_ready gauge");
	expect_line("evpipe_ready{pipeline=\"evpipe\",tool=\"kmock\"} 0");
	expect_line(
		"evpipe_build_info{pipeline=\"evpipe\",tool=\"kmock\",version=\"" PACKAGE_VERSION
		"\"} 1");
	if (!strstr(text, "\nevpipe_start_time_seconds{pipeline=\"evpipe\",tool=\"kmock\"} 1"))
		fail_msg("no start time:\n%s", text);
	expect_no("_total");
	expect_no("_up");
	expect_no("lag");
}

static void a_filter_has_its_counters_and_no_others(void **state)
{
	(void)state;
	metrics_init("evkey", "m.prom");
	metrics_counts(FILTER);
	metrics_counts(METRICS_IN);
	metrics.records_in = 10;
	metrics.records_out = UINT64_MAX;
	metrics.dropped = 2;
	metrics.errors[CLASS_JSON_DECODE] = 3;
	metrics.dead_letters[CLASS_MISSING_KEY] = 4;
	metrics_flush();
	slurp("m.prom");
	expect_line("# TYPE evpipe_records_in_total counter");
	expect_line("evpipe_records_in_total{pipeline=\"evpipe\",tool=\"evkey\"} 10");
	expect_line(
		"evpipe_records_out_total{pipeline=\"evpipe\",tool=\"evkey\"} 18446744073709551615");
	expect_line("evpipe_dropped_total{pipeline=\"evpipe\",tool=\"evkey\"} 2");
	expect_line(
		"evpipe_errors_total{pipeline=\"evpipe\",tool=\"evkey\",type=\"json-decode\"} 3");
	expect_line(
		"evpipe_errors_total{pipeline=\"evpipe\",tool=\"evkey\",type=\"wrong-type\"} 0");
	expect_line(
		"evpipe_dead_letters_total{pipeline=\"evpipe\",tool=\"evkey\",type=\"missing-key\"} 4");
	expect_no("forwarded");
	expect_no("gaps");
	expect_no("receivers");
	expect_no("_up");
	expect_no("lag");
}

static void every_class_is_a_label_from_the_start(void **state)
{
	(void)state;
	metrics_counts(FILTER);
	metrics_init("evkey", "m.prom");
	metrics_flush();
	slurp("m.prom");
	for (int c = CLASS_NONE + 1; c < CLASS_COUNT; c++) {
		char line[200];

		snprintf(line, sizeof(line),
			"evpipe_errors_total{pipeline=\"evpipe\",tool=\"evkey\",type=\"%s\"} 0",
			errclass_name((enum errclass)c));
		expect_line(line);
	}
}

static void modules_register_their_own(void **state)
{
	static const uint64_t gaps = 6, open_records = 2;
	static struct metrics_histogram delivery;

	(void)state;
	setenv("EVPIPE_NAME", "revbridge", 1);
	metrics_init("rpub", "m.prom");
	metrics_counts(METRICS_OUT | METRICS_FORWARDED);
	metrics_counter("gaps_total", "Interruptions.", METRICS_PIPELINE, &gaps);
	metrics_gauge("open_records", "Open.", METRICS_PIPELINE, &open_records);
	metrics_histogram("delivery_seconds", "Time.", &delivery);
	metrics_observe(&delivery, 1000, 1);
	metrics_observe(&delivery, 4000000, 1);
	metrics_observe(&delivery, 61000000, 1);
	metrics.forwarded = 5;
	metrics_up("redis", false);
	metrics_up("redis", true);
	metrics_up("kafka", false);
	metrics_lag("orders", 3, 8);
	metrics_lag("orders", 0, 9);
	metrics_lag("orders", 3, 10);
	metrics_lag("orders", 0, -1);
	metrics_flush();
	slurp("m.prom");
	expect_line("evpipe_messages_forwarded_total{pipeline=\"revbridge\"} 5");
	expect_line("# TYPE evpipe_gaps_total counter");
	expect_line("evpipe_gaps_total{pipeline=\"revbridge\"} 6");
	expect_line("# TYPE evpipe_open_records gauge");
	expect_line("evpipe_open_records{pipeline=\"revbridge\"} 2");
	expect_line("# TYPE evpipe_delivery_seconds histogram");
	expect_line("evpipe_delivery_seconds_bucket{pipeline=\"revbridge\",le=\"0.001\"} 1");
	expect_line("evpipe_delivery_seconds_bucket{pipeline=\"revbridge\",le=\"5\"} 2");
	expect_line("evpipe_delivery_seconds_bucket{pipeline=\"revbridge\",le=\"+Inf\"} 3");
	expect_line("evpipe_delivery_seconds_sum{pipeline=\"revbridge\"} 65.001000");
	expect_line("evpipe_delivery_seconds_count{pipeline=\"revbridge\"} 3");
	expect_line("# TYPE evpipe_up gauge");
	expect_line("evpipe_up{pipeline=\"revbridge\",tool=\"rpub\",peer=\"redis\"} 1");
	expect_line("evpipe_up{pipeline=\"revbridge\",tool=\"rpub\",peer=\"kafka\"} 0");
	expect_line(
		"evpipe_consumer_lag{pipeline=\"revbridge\",topic=\"orders\",partition=\"3\"} 10");
	expect_no("partition=\"0\"");
	metrics_lag("orders", 3, -1);
}

static void any_name_of_a_pipeline_is_a_label(void **state)
{
	(void)state;
	setenv("EVPIPE_NAME", "9 a-b\"\n{\\", 1);
	metrics_init("tool", "m.prom");
	metrics_flush();
	slurp("m.prom");
	expect_line("evpipe_ready{pipeline=\"9 a-b\\\"\\n{\\\\\",tool=\"tool\"} 0");
}

static void the_file_is_replaced_whole_and_nothing_else_is_left(void **state)
{
	struct stat before, after;
	int fd;

	(void)state;
	metrics_init("tool", "m.prom");
	metrics_flush();
	assert_int_equal(stat("m.prom", &before), 0);
	/* A reader that has it open keeps a whole file. */
	fd = open("m.prom", O_RDONLY);
	metrics.records_in = 1;
	metrics_flush();
	assert_int_equal(stat("m.prom", &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	assert_int_equal(read(fd, text, sizeof(text)), before.st_size);
	close(fd);
	unlink("m.prom");
	/* Empty again: rmdir says so at the end. */
}

static void it_is_rewritten_once_a_second(void **state)
{
	(void)state;
	metrics_counts(FILTER);
	metrics_init("tool", "m.prom");
	/* Whenever the last test's second ended. */
	metrics_tick(1000000);
	metrics.records_in = 1;
	assert_int_equal(metrics_tick(1000400), 600);
	slurp("m.prom");
	expect_line("evpipe_records_in_total{pipeline=\"evpipe\",tool=\"tool\"} 0");
	assert_int_equal(metrics_tick(1001000), 1000);
	slurp("m.prom");
	expect_line("evpipe_records_in_total{pipeline=\"evpipe\",tool=\"tool\"} 1");
}

static void a_file_that_cannot_be_written_is_told_of_once(void **state)
{
	int saved = dup(STDERR_FILENO), fd = open("errors", O_RDWR | O_CREAT | O_TRUNC, 0600);

	(void)state;
	msg_init("prog");
	dup2(fd, STDERR_FILENO);
	close(fd);
	metrics_init("tool", "nowhere/m.prom");
	metrics_flush();
	metrics_flush();
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_string_equal(slurp("errors"),
		"prog: warning: cannot write metrics to 'nowhere/m.prom': No such file or directory\n");
	unlink("errors");
}

static void ready_is_a_line_once_and_then_the_end(void **state)
{
	char bytes[8];
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	metrics_init("tool", "m.prom");
	metrics_ready_fd(fds[1]);
	metrics_set_ready(false);
	assert_int_equal(read(fds[0], bytes, sizeof(bytes)), -1);
	metrics_set_ready(true);
	metrics_set_ready(false);
	metrics_set_ready(true);
	assert_int_equal(read(fds[0], bytes, sizeof(bytes)), 1);
	assert_int_equal(bytes[0], '\n');
	assert_int_equal(read(fds[0], bytes, sizeof(bytes)), 0);
	metrics_flush();
	slurp("m.prom");
	expect_line("evpipe_ready{pipeline=\"evpipe\",tool=\"tool\"} 1");
	close(fds[0]);
}

/* The pipeline's directory. */
static int setup_directory(void **state)
{
	setup(state);
	mkdir("d", 0700);
	mkdir("d/metrics", 0700);
	mkdir("d/ready", 0700);
	setenv("EVPIPE_DIR", "d", 1);
	return 0;
}

static int teardown_directory(void **state)
{
	(void)state;
	unlink("d/metrics/tool.prom");
	unlink("d/metrics/tool-2.prom");
	/* Fail when something else was left. */
	return rmdir("d/metrics") || rmdir("d/ready") || rmdir("d");
}

static void a_pipelines_directory_gets_a_copy(void **state)
{
	(void)state;
	metrics_counts(FILTER);
	metrics_init("tool", "m.prom");
	metrics.records_in = 3;
	assert_true(metrics_tick(2000000) >= 0);
	slurp("m.prom");
	expect_line("evpipe_records_in_total{pipeline=\"evpipe\",tool=\"tool\"} 3");
	slurp("d/metrics/tool.prom");
	expect_line("evpipe_records_in_total{pipeline=\"evpipe\",tool=\"tool\"} 3");
	metrics_init("tool", NULL);
	metrics.records_in = 4;
	metrics_flush();
	slurp("d/metrics/tool.prom");
	expect_line("evpipe_records_in_total{pipeline=\"evpipe\",tool=\"tool\"} 4");
	setenv("EVPIPE_DIR", "", 1);
	metrics_init("tool", NULL);
	assert_int_equal(metrics_tick(3000000), -1);
}

static void a_member_is_called_as_evpipe_calls_it(void **state)
{
	static const char *const foreign[] = {
		"sh", "tool", "tools", "tool-", "tool-2/../x", "tool-x", "tool2", "", "../tool-2"};

	(void)state;
	metrics_counts(FILTER);
	setenv("EVPIPE_MEMBER", "tool-2", 1);
	metrics_init("tool", NULL);
	metrics_flush();
	slurp("d/metrics/tool-2.prom");
	expect_line("evpipe_records_in_total{pipeline=\"evpipe\",tool=\"tool-2\"} 0");
	/* The name of another program, which runs this one. */
	for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++) {
		unlink("d/metrics/tool.prom");
		setenv("EVPIPE_MEMBER", foreign[i], 1);
		metrics_init("tool", NULL);
		metrics_flush();
		slurp("d/metrics/tool.prom");
		expect_line("evpipe_records_in_total{pipeline=\"evpipe\",tool=\"tool\"} 0");
	}
}

static void a_file_is_there_while_ready(void **state)
{
	(void)state;
	metrics_init("tool", NULL);
	assert_int_equal(access("d/ready/tool", F_OK), -1);
	metrics_set_ready(true);
	assert_int_equal(access("d/ready/tool", F_OK), 0);
	metrics_set_ready(true);
	assert_int_equal(access("d/ready/tool", F_OK), 0);
	metrics_set_ready(false);
	assert_int_equal(access("d/ready/tool", F_OK), -1);
	metrics_set_ready(true);
	/* One that was killed may have left it. */
	metrics_init("tool", NULL);
	assert_int_equal(access("d/ready/tool", F_OK), -1);
}

static void a_program_that_ends_is_not_ready(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (!pid) {
		metrics_init("tool", NULL);
		metrics_set_ready(true);
		/* A child is not the program. */
		pid = fork();
		if (!pid)
			exit(0);
		waitpid(pid, &status, 0);
		exit(access("d/ready/tool", F_OK) ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(access("d/ready/tool", F_OK), -1);
}

static void a_directory_that_is_not_there_is_warned_of_once(void **state)
{
	int saved = dup(STDERR_FILENO), fd = open("errors", O_RDWR | O_CREAT | O_TRUNC, 0600);

	(void)state;
	msg_init("prog");
	setenv("EVPIPE_DIR", "nowhere", 1);
	dup2(fd, STDERR_FILENO);
	close(fd);
	metrics_init("tool", NULL);
	metrics_flush();
	metrics_flush();
	metrics_set_ready(true);
	metrics_set_ready(true);
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_string_equal(slurp("errors"),
		"prog: warning: cannot write metrics to 'nowhere/metrics/tool.prom': "
		"No such file or directory\n"
		"prog: warning: cannot make 'nowhere/ready/tool': No such file or directory\n");
	unlink("errors");
}

/* Another user who may write in the directory has put links where a file is made next. */
static void no_link_is_followed(void **state)
{
	static const char *const members[] = {"victim", "m.prom"};
	char name[64];
	int fd = open("victim", O_WRONLY | O_CREAT, 0600);

	(void)state;
	assert_int_equal(write(fd, "kept", 4), 4);
	close(fd);
	snprintf(name, sizeof(name), "m.prom.%ld.tmp", (long)getpid());
	assert_int_equal(symlink("victim", name), 0);
	metrics_init("tool", "m.prom");
	metrics_flush();
	assert_string_equal(slurp("victim"), "kept");
	assert_non_null(strstr(slurp("m.prom"), "evpipe_ready"));
	assert_int_equal(access(name, F_OK), -1);
	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
		unlink(members[i]);
}

static void nor_where_readiness_is_shown(void **state)
{
	struct stat st;

	(void)state;
	metrics_init("tool", NULL);
	assert_int_equal(symlink("../victim", "d/ready/tool"), 0);
	metrics_set_ready(true);
	assert_int_equal(access("d/victim", F_OK), -1);
	assert_int_equal(lstat("d/ready/tool", &st), 0);
	assert_true(S_ISREG(st.st_mode));
	metrics_set_ready(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(without_a_file_nothing_is_written_and_nothing_is_due, setup),
		cmocka_unit_test_setup(
			nothing_is_printed_that_nobody_counts, setup), /* the first */
		cmocka_unit_test_setup(a_filter_has_its_counters_and_no_others, setup),
		cmocka_unit_test_setup(every_class_is_a_label_from_the_start, setup),
		cmocka_unit_test_setup(modules_register_their_own, setup),
		cmocka_unit_test_setup(any_name_of_a_pipeline_is_a_label, setup),
		cmocka_unit_test_setup(the_file_is_replaced_whole_and_nothing_else_is_left, setup),
		cmocka_unit_test_setup(it_is_rewritten_once_a_second, setup),
		cmocka_unit_test_setup(a_file_that_cannot_be_written_is_told_of_once, setup),
		cmocka_unit_test_setup(ready_is_a_line_once_and_then_the_end, setup),
		cmocka_unit_test_setup_teardown(
			a_pipelines_directory_gets_a_copy, setup_directory, teardown_directory),
		cmocka_unit_test_setup_teardown(
			a_member_is_called_as_evpipe_calls_it, setup_directory, teardown_directory),
		cmocka_unit_test_setup_teardown(
			a_file_is_there_while_ready, setup_directory, teardown_directory),
		cmocka_unit_test_setup_teardown(
			a_program_that_ends_is_not_ready, setup_directory, teardown_directory),
		cmocka_unit_test_setup(a_directory_that_is_not_there_is_warned_of_once, setup),
		cmocka_unit_test_setup(no_link_is_followed, setup),
		cmocka_unit_test_setup_teardown(
			nor_where_readiness_is_shown, setup_directory, teardown_directory),
	};
	char directory[] = "/tmp/test-metrics.XXXXXX";
	int failed;

	if (!mkdtemp(directory) || chdir(directory))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink("m.prom");
	unlink("errors");
	/* Fails when a temporary file was left. */
	if (rmdir(directory)) {
		perror(directory);
		failed++;
	}
	return failed;
}
