/* SPDX-License-Identifier: ISC */
/* lib/dead: a dead letter is there whole, or not at all. */
#define _GNU_SOURCE
#include "flow/dead.h"

#include "base/msg.h"
#include "json/json.h"
#include "base/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* In a directory of their own, which is the current one. */
static const char file[] = "dead", errors[] = "errors";

static void read_file(const char *name, struct buf *b)
{
	int fd = open(name, O_RDONLY);
	ssize_t n;

	buf_clear(b);
	if (fd < 0)
		return;
	while ((n = read(fd, buf_room(b, 65536), 65536)) > 0)
		b->len += (size_t)n;
	close(fd);
	*buf_room(b, 1) = '\0';
}

static void write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* Takes "at":"2026-11-21T10:00:00.123Z" out of each line, and checks that it has this form. */
static void without_times(struct buf *b)
{
	char *at = b->p;

	*buf_room(b, 1) = '\0';
	while ((at = strstr(at, ",\"at\":\""))) {
		for (const char *form = "9999-99-99T99:99:99.999Z", *s = at + 7; *form; form++, s++)
			assert_true(*form == '9' ? *s >= '0' && *s <= '9' : *s == *form);
		memmove(at, at + 32, strlen(at + 32) + 1);
	}
	b->len = strlen(b->p);
}

static void expect_file(const char *text)
{
	struct buf b = {0};

	read_file(file, &b);
	without_times(&b);
	assert_string_equal(b.p, text);
	buf_free(&b);
}

/* Runs @fn in a process of its own, since dead.c may die; its messages go to the file of errors.
 * Returns its exit status. */
static int run(void (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(open(errors, O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
		alarm(30);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void expect_errors(const char *text)
{
	struct buf b = {0};

	read_file(errors, &b);
	assert_string_equal(b.p, text);
	buf_free(&b);
}

static int setup(void **state)
{
	(void)state;
	unlink(file);
	memset(&metrics, 0, sizeof(metrics));
	msg_init("prog");
	return 0;
}

/* ---- what a dead letter is ---- */

static void refuse_three(void)
{
	struct dead d;

	dead_open(&d, NULL, file, NULL, NULL);
	if (!dead_refuse(&d, CLASS_MISSING_KEY, SPAN("{ \"payload\":\"\\u00e9\" }"), true, 7,
		    "no %s", "key"))
		_exit(50);
	if (!dead_refuse(&d, CLASS_JSON_DECODE, SPAN("a \"b\"\\\t\x01\r\0\xc3\xa9"), false, 8,
		    "not JSON"))
		_exit(51);
	if (!dead_refuse(&d, CLASS_INVALID_RECORD, SPAN("\xff\xfe"), false, 9, "not UTF-8"))
		_exit(52);
	_exit(dead_close(&d));
}

static void a_dead_letter_holds_the_record_as_it_came_or_the_line(void **state)
{
	(void)state;
	assert_int_equal(run(refuse_three), EXIT_REFUSED);
	expect_file(
		"{\"error\":{\"tool\":\"prog\",\"class\":\"missing-key\",\"message\":\"line 7: no key\"},"
		"\"record\":{ \"payload\":\"\\u00e9\" }}\n"
		"{\"error\":{\"tool\":\"prog\",\"class\":\"json-decode\",\"message\":\"line 8: not JSON\"},"
		"\"line\":\"a \\\"b\\\"\\\\\\t\\u0001\\r\\u0000\xc3\xa9\"}\n"
		"{\"error\":{\"tool\":\"prog\",\"class\":\"invalid-record\",\"message\":\"line 9: not UTF-8\"},"
		"\"line_b64\":\"//4=\"}\n");
	expect_errors("prog: warning: line 7: no key (missing-key)\n"
		      "prog: warning: line 8: not JSON (json-decode)\n"
		      "prog: warning: line 9: not UTF-8 (invalid-record)\n"
		      "prog: warning: 3 records were refused; they are in 'dead'\n");
}

static void refuse_odd_message(void)
{
	struct dead d;

	dead_open(&d, NULL, file, NULL, NULL);
	dead_refuse(&d, CLASS_JSON_DECODE, SPAN("x"), false, 1, "odd \"\\\n%s", "\xff\x80");
	_exit(dead_close(&d));
}

static void a_dead_letter_is_json_whatever_its_message_quotes(void **state)
{
	struct json_value v;
	struct json why;
	struct buf b = {0};

	(void)state;
	assert_int_equal(run(refuse_odd_message), EXIT_REFUSED);
	read_file(file, &b);
	buf_room(&b, BUF_SLACK);
	assert_int_equal(b.p[b.len - 1], '\n');
	assert_int_equal(json_parse((struct span){b.p, b.len - 1}, &v, &why), 0);
	buf_free(&b);
}

/* ---- lines over the limit ---- */

static void refuse_long(void)
{
	struct dead d;

	dead_open(&d, NULL, file, NULL, NULL);
	if (!dead_refuse_long(&d, SPAN("0123456789abc"), 13, 10, 1))
		_exit(50);
	if (!dead_refuse_long(&d, SPAN("{\"payload\":\"x"), 123456789012, 10, 2))
		_exit(51);
	if (!dead_refuse_long(&d, SPAN("0123456789\xff"), 12, 10, 3))
		_exit(52);
	_exit(dead_close(&d));
}

#define TOO_LARGE(n)                                                                               \
	"{\"error\":{\"tool\":\"prog\",\"class\":\"too-large\",\"message\":\"line " n ": "         \
	"longer than 10 bytes; --max-line sets the limit\"},"

static void of_a_line_over_the_limit_there_is_the_beginning_and_the_length(void **state)
{
	(void)state;
	assert_int_equal(run(refuse_long), EXIT_REFUSED);
	expect_file(
		TOO_LARGE("1") "\"line\":\"0123456789abc\"}\n" TOO_LARGE("2") "\"line\":\"{\\\"payload\\\":\\\"x\",\"length\":123456789012}\n" TOO_LARGE(
			"3") "\"line_b64\":\"MDEyMzQ1Njc4Of8=\",\"length\":12}\n");
}

/* ---- policies ---- */

static void refuse_under_stop(void)
{
	struct dead d;

	dead_open(&d, NULL, NULL, NULL, NULL);
	if (dead_refuse(&d, CLASS_JSON_DECODE, SPAN("x"), false, 3, "not JSON") || !d.stopped)
		_exit(50);
	if (metrics.errors[CLASS_JSON_DECODE] != 1 || metrics.dead_letters[CLASS_JSON_DECODE] != 0)
		_exit(51);
	_exit(dead_close(&d));
}

static void stop_is_the_default(void **state)
{
	(void)state;
	assert_int_equal(run(refuse_under_stop), EXIT_REFUSED);
	expect_errors("prog: line 3: not JSON (json-decode)\n");
}

static void refuse_25_under_skip(void)
{
	struct dead d;

	dead_open(&d, "skip", NULL, NULL, NULL);
	for (unsigned i = 0; i < 25; i++)
		if (!dead_refuse(&d, i == 24 ? CLASS_LOOP : CLASS_JSON_DECODE, SPAN("x"), false,
			    i + 1, "bad"))
			_exit(50);
	if (metrics.errors[CLASS_JSON_DECODE] != 24 || metrics.errors[CLASS_LOOP] != 1)
		_exit(51);
	_exit(dead_close(&d));
}

static void skip_tells_the_first_ten_of_a_class_and_counts_all(void **state)
{
	(void)state;
	assert_int_equal(run(refuse_25_under_skip), EXIT_REFUSED);
	expect_errors("prog: warning: line 1: bad (json-decode)\n"
		      "prog: warning: line 2: bad (json-decode)\n"
		      "prog: warning: line 3: bad (json-decode)\n"
		      "prog: warning: line 4: bad (json-decode)\n"
		      "prog: warning: line 5: bad (json-decode)\n"
		      "prog: warning: line 6: bad (json-decode)\n"
		      "prog: warning: line 7: bad (json-decode)\n"
		      "prog: warning: line 8: bad (json-decode)\n"
		      "prog: warning: line 9: bad (json-decode)\n"
		      "prog: warning: line 10: bad (json-decode)\n"
		      "prog: warning: further records refused as json-decode are only counted\n"
		      "prog: warning: line 25: bad (loop)\n"
		      "prog: warning: 25 records were refused and skipped\n");
}

static void refuse_nothing(void)
{
	struct dead d;

	dead_open(&d, NULL, file, NULL, NULL);
	_exit(dead_close(&d));
}

static void nothing_refused_is_done_and_leaves_an_empty_file(void **state)
{
	(void)state;
	assert_int_equal(run(refuse_nothing), EXIT_DONE);
	expect_file("");
	expect_errors("");
}

static void open_both(void)
{
	struct dead d;

	dead_open(&d, "skip", file, NULL, NULL);
}

static void open_nonsense(void)
{
	struct dead d;

	dead_open(&d, "maybe", NULL, NULL, NULL);
}

static void open_nowhere(void)
{
	struct dead d;

	dead_open(&d, NULL, "/nonexistent/dead", NULL, NULL);
}

static void wrong_choices_and_a_file_that_cannot_be_opened_are_permanent(void **state)
{
	(void)state;
	assert_int_equal(run(open_both), EXIT_PERM);
	assert_int_equal(run(open_nonsense), EXIT_PERM);
	expect_errors("prog: --on-error takes stop or skip, not 'maybe'\n");
	assert_int_equal(run(open_nowhere), EXIT_PERM);
	expect_errors("prog: cannot open the dead-letter file '/nonexistent/dead': No such file or "
		      "directory\n");
}

/* ---- accidents ---- */

static void refuse_one(void)
{
	struct dead d;

	dead_open(&d, NULL, file, NULL, NULL);
	dead_refuse(&d, CLASS_LOOP, SPAN("{\"payload\":\"1\"}"), true, 1, "loop");
	_exit(dead_close(&d));
}

#define LOOP_LETTER                                                                                \
	"{\"error\":{\"tool\":\"prog\",\"class\":\"loop\",\"message\":\"line 1: loop\"},"          \
	"\"record\":{\"payload\":\"1\"}}\n"

static void a_torn_tail_of_an_earlier_run_is_ended_and_kept(void **state)
{
	(void)state;
	write_file(file, "{\"error\":{\"to");
	assert_int_equal(run(refuse_one), EXIT_REFUSED);
	expect_file("{\"error\":{\"to\n" LOOP_LETTER);
	assert_int_equal(run(refuse_one), EXIT_REFUSED);
	expect_file("{\"error\":{\"to\n" LOOP_LETTER LOOP_LETTER);
}

/* As a full disk does, in the midst of the second letter. */
static void limit_file_size(size_t n)
{
	struct rlimit limit = {.rlim_cur = n, .rlim_max = n};

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
}

static void refuse_until_full(void)
{
	struct dead d;

	limit_file_size(1000);
	dead_open(&d, NULL, file, NULL, NULL);
	for (uint64_t i = 1; i <= 1000; i++)
		dead_refuse(&d, CLASS_LOOP, SPAN("{\"payload\":\"12345\"}"), true, i, "loop");
}

/* Each line of the file is whole; returns how many. */
static int whole_letters(void)
{
	struct buf b = {0};
	int n = 0;
	char *at;

	read_file(file, &b);
	buf_room(&b, BUF_SLACK);
	for (at = b.p; at < b.p + b.len; n++) {
		char *end = memchr(at, '\n', (size_t)(b.p + b.len - at));
		struct json_value v;
		struct json why;

		if (!end)
			fail_msg("the last line is torn: %.100s", at);
		if (json_parse((struct span){at, (size_t)(end - at)}, &v, &why))
			fail_msg("line %d is not JSON: %s", n + 1, why.why);
		at = end + 1;
	}
	buf_free(&b);
	return n;
}

static void what_a_full_disk_cut_short_is_taken_back(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(run(refuse_until_full), EXIT_TEMP);
	assert_true(whole_letters() >= 5);
	read_file(errors, &b);
	assert_non_null(
		strstr(b.p, "prog: cannot write to the dead-letter file 'dead': File too large\n"));
	buf_free(&b);
}

static void refuse_to_full_device(void)
{
	struct dead d;

	dead_open(&d, NULL, "/dev/full", NULL, NULL);
	dead_refuse(&d, CLASS_LOOP, SPAN("{}"), true, 1, "loop");
	_exit(50);
}

static void a_dead_letter_that_cannot_be_written_ends_the_program(void **state)
{
	(void)state;
	assert_int_equal(run(refuse_to_full_device), EXIT_TEMP);
}

static void refuse_many(void)
{
	static char text[800];
	struct dead d;

	memset(text, '0', sizeof(text));
	msg_setup(-1, false);
	dead_open(&d, NULL, file, NULL, NULL);
	for (uint64_t i = 1; i <= 300; i++) {
		if (i % 3) {
			dead_refuse(&d, CLASS_LOOP, SPAN("{\"payload\":\"1\"}"), true, i, "loop");
			continue;
		}
		dead_refuse_long(&d, (struct span){text, sizeof(text) - 1}, sizeof(text), 10, i);
	}
	_exit(dead_close(&d));
}

static void refuse_many_in_four_processes(void)
{
	for (int i = 0; i < 4; i++)
		if (fork() == 0)
			refuse_many();
	for (int i = 0; i < 4; i++) {
		int status;

		wait(&status);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_REFUSED)
			_exit(50);
	}
}

static void programs_that_share_the_file_do_not_mix_their_letters(void **state)
{
	(void)state;
	assert_int_equal(run(refuse_many_in_four_processes), 0);
	assert_int_equal(whole_letters(), 4 * 300);
}

/* ---- the file is moved or removed by others ---- */

/* One letter before @change and one behind it, so that only the second stands in the file of this
 * name. */
static void refuse_around(void (*change)(void))
{
	struct dead d;

	dead_open(&d, NULL, file, NULL, NULL);
	dead_refuse(&d, CLASS_LOOP, SPAN("{\"payload\":\"0\"}"), true, 1, "loop");
	change();
	dead_refuse(&d, CLASS_LOOP, SPAN("{\"payload\":\"1\"}"), true, 1, "loop");
	_exit(dead_close(&d));
}

static void move_it(void)
{
	rename(file, "dead.1");
}

static void remove_it(void)
{
	unlink(file);
}

static void replace_it(void)
{
	remove_it();
	write_file(file, "");
}

static void empty_it(void)
{
	if (truncate(file, 0))
		_exit(50);
}

static void refuse_around_move(void)
{
	refuse_around(move_it);
}

static void refuse_around_removal(void)
{
	refuse_around(remove_it);
}

static void refuse_around_replacement(void)
{
	refuse_around(replace_it);
}

static void refuse_around_emptying(void)
{
	refuse_around(empty_it);
}

static void letters_go_to_the_file_that_has_the_name_now(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_int_equal(run(refuse_around_move), EXIT_REFUSED);
	expect_file(LOOP_LETTER);
	read_file("dead.1", &b);
	assert_non_null(strstr(b.p, "{\"payload\":\"0\"}}\n"));
	read_file(errors, &b);
	assert_non_null(strstr(b.p,
		"prog: warning: 2 records were refused; they are in 'dead' and in the file that had this name before\n"));
	buf_free(&b);
	unlink(file);
	assert_int_equal(run(refuse_around_removal), EXIT_REFUSED);
	expect_file(LOOP_LETTER);
	unlink(file);
	assert_int_equal(run(refuse_around_replacement), EXIT_REFUSED);
	expect_file(LOOP_LETTER);
	unlink(file);
	assert_int_equal(run(refuse_around_emptying), EXIT_REFUSED);
	expect_file(LOOP_LETTER);
}

static void move_directory(void)
{
	if (rename("there", "elsewhere"))
		_exit(50);
}

static void refuse_without_directory(void)
{
	struct dead d;

	dead_open(&d, NULL, "there/dead", NULL, NULL);
	move_directory();
	dead_refuse(&d, CLASS_LOOP, SPAN("{}"), true, 1, "loop");
	_exit(50);
}

static void a_file_that_cannot_be_made_anew_ends_the_program_for_now(void **state)
{
	(void)state;
	assert_int_equal(mkdir("there", 0700), 0);
	assert_int_equal(run(refuse_without_directory), EXIT_TEMP);
	expect_errors(
		"prog: warning: line 1: loop (loop)\n"
		"prog: cannot open the dead-letter file 'there/dead': No such file or directory\n");
	unlink("elsewhere/dead");
	rmdir("elsewhere");
}

static void a_new_file_is_readable_by_its_owner_alone(void **state)
{
	struct stat st;
	mode_t mask = umask(0);

	(void)state;
	assert_int_equal(run(refuse_one), EXIT_REFUSED);
	umask(mask);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void refuse_under_another_lock(void)
{
	struct dead d;
	int other;

	dead_open(&d, NULL, file, NULL, NULL);
	d.lock_ms = 50;
	other = open(file, O_RDONLY);
	if (flock(other, LOCK_EX))
		_exit(50);
	dead_refuse(&d, CLASS_LOOP, SPAN("{}"), true, 1, "loop");
	_exit(51);
}

static void another_holder_of_the_lock_does_not_stop_the_program_for_ever(void **state)
{
	(void)state;
	assert_int_equal(run(refuse_under_another_lock), EXIT_TEMP);
	expect_errors("prog: warning: line 1: loop (loop)\n"
		      "prog: cannot lock the dead-letter file 'dead' within 50 ms: another program "
		      "holds its lock\n");
	expect_file("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			a_dead_letter_holds_the_record_as_it_came_or_the_line, setup),
		cmocka_unit_test_setup(a_dead_letter_is_json_whatever_its_message_quotes, setup),
		cmocka_unit_test_setup(
			of_a_line_over_the_limit_there_is_the_beginning_and_the_length, setup),
		cmocka_unit_test_setup(stop_is_the_default, setup),
		cmocka_unit_test_setup(skip_tells_the_first_ten_of_a_class_and_counts_all, setup),
		cmocka_unit_test_setup(nothing_refused_is_done_and_leaves_an_empty_file, setup),
		cmocka_unit_test_setup(
			wrong_choices_and_a_file_that_cannot_be_opened_are_permanent, setup),
		cmocka_unit_test_setup(a_torn_tail_of_an_earlier_run_is_ended_and_kept, setup),
		cmocka_unit_test_setup(what_a_full_disk_cut_short_is_taken_back, setup),
		cmocka_unit_test_setup(
			a_dead_letter_that_cannot_be_written_ends_the_program, setup),
		cmocka_unit_test_setup(
			programs_that_share_the_file_do_not_mix_their_letters, setup),
		cmocka_unit_test_setup(letters_go_to_the_file_that_has_the_name_now, setup),
		cmocka_unit_test_setup(
			a_file_that_cannot_be_made_anew_ends_the_program_for_now, setup),
		cmocka_unit_test_setup(a_new_file_is_readable_by_its_owner_alone, setup),
		cmocka_unit_test_setup(
			another_holder_of_the_lock_does_not_stop_the_program_for_ever, setup),
	};
	char directory[] = "/tmp/test-dead.XXXXXX";
	int failed;

	if (!mkdtemp(directory) || chdir(directory))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(file);
	unlink("dead.1");
	unlink(errors);
	rmdir(directory);
	return failed;
}
