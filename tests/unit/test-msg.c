/* SPDX-License-Identifier: ISC */
/* base/msg: whatever a message quotes, it is one line that a terminal only shows, and with --log
 * json it is JSON. */
#define _GNU_SOURCE
#include "base/msg.h"

#include "base/buf.h"
#include "base/trouble.h"
#include "json/json.h"
#include "record/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* Reads what @say has printed on standard error. */
static const char *heard(void (*say)(const char *), const char *quoted)
{
	static char text[16384 + BUF_SLACK];
	int fd = memfd_create("errors", 0), saved = dup(STDERR_FILENO);
	ssize_t n;

	dup2(fd, STDERR_FILENO);
	say(quoted);
	dup2(saved, STDERR_FILENO);
	n = pread(fd, text, 16384, 0);
	assert_true(n > 0);
	text[n] = '\0';
	close(fd);
	close(saved);
	return text;
}

static void say(const char *quoted)
{
	msg_error("the name '%s'", quoted);
}

static void say_80_bytes(const char *quoted)
{
	msg_error("the name '%.80s'", quoted);
}

/* What a message makes of a quoted text. */
static const struct row {
	const char *quoted, *text, *json;
} rows[] = {
	{"Z\xc3\xbcrich \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x9a\x80 \xef\xbf\xbd",
		"Z\xc3\xbcrich \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x9a\x80 \xef\xbf\xbd",
		"Z\xc3\xbcrich \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x9a\x80 \xef\xbf\xbd"},
	{"\xc2\xa0\xe2\x80\x90\xe2\x81\xa0", "\xc2\xa0\xe2\x80\x90\xe2\x81\xa0",
		"\xc2\xa0\xe2\x80\x90\xe2\x81\xa0"},
	{"a\x1b[31m\n\x7f", "a?[31m??", "a\\u001b[31m\\u000a\\u007f"},
	{"\"\\", "\"\\", "\\\"\\\\"},
	/* Controls of ISO 6429 in one character, CSI among them. */
	{"a\xc2\x9b"
	 "31m\xc2\x80\xc2\x85\xc2\x9f",
		"a?31m???", "a\\u009b31m\\u0080\\u0085\\u009f"},
	/* What turns the direction of text, and ends of lines. */
	{"\xe2\x80\x8e\xe2\x80\x8f\xe2\x80\xaa\xe2\x80\xae", "????",
		"\\u200e\\u200f\\u202a\\u202e"},
	{"\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa9\xd8\x9c", "????", "\\u2066\\u2067\\u2069\\u061c"},
	{"\xe2\x80\xa8\xe2\x80\xa9", "??", "\\u2028\\u2029"},
	/* Not UTF-8: lone bytes, torn, too long a form, a surrogate, beyond the end, C1 as
	 * Latin-1. */
	{"\xff\x80z", "??z", "??z"},
	{"\xc3", "?", "?"},
	{"\xe2\x82z\xf0\x9f\x9a", "??z???", "??z???"},
	{"\xc0\xaf\xe0\x80\xaf", "?????", "?????"},
	{"\xed\xa0\x80", "???", "???"},
	{"\xf4\x90\x80\x80\xf8", "?????", "?????"},
	{"\x9b"
	 "31m",
		"?31m", "?31m"},
};

static void a_message_shows_no_controls_and_is_utf8(void **state)
{
	char want[512];

	(void)state;
	for (const struct row *r = rows; r < rows + sizeof(rows) / sizeof(*rows); r++) {
		msg_setup(0, false);
		snprintf(want, sizeof(want), "prog: the name '%s'\n", r->text);
		assert_string_equal(heard(say, r->quoted), want);
		msg_setup(0, true);
		snprintf(want, sizeof(want),
			"{\"level\":\"error\",\"tool\":\"prog\",\"message\":\"the name '%s'\"}\n",
			r->json);
		assert_string_equal(heard(say, r->quoted), want);
	}
}

/* One line, and JSON. */
static void expect_json(const char *text)
{
	struct json_value v;
	struct json why;
	size_t n = strlen(text);

	assert_int_equal(text[n - 1], '\n');
	assert_null(memchr(text, '\n', n - 1));
	if (json_parse((struct span){text, n - 1}, &v, &why))
		fail_msg("not JSON: %s: %s", why.why, text);
}

static void expect_utf8(const char *text)
{
	if (!json_utf8((struct span){text, strlen(text)}))
		fail_msg("not UTF-8: %s", text);
}

/* The limit falls into a character, in all places; and long texts of what grows sixfold in JSON. */
static void a_truncated_message_is_utf8_and_json(void **state)
{
	static const char *const fill[] = {
		"\xc3\xa9", "\xe6\x9d\xb1", "\xf0\x9f\x9a\x80", "\x1b\xc3\xa9", "\x1b"};
	char text[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(fill) / sizeof(*fill); i++)
		for (size_t before = 0; before < 12; before++) {
			size_t n = strlen(fill[i]), at = before;

			memset(text, 'a', before);
			for (; at + n < sizeof(text); at += n)
				memcpy(text + at, fill[i], n);
			text[at] = '\0';
			msg_setup(0, true);
			expect_json(heard(say, text));
			expect_json(heard(say_80_bytes, text));
			msg_setup(0, false);
			expect_utf8(heard(say, text));
			expect_utf8(heard(say_80_bytes, text));
		}
}

static void reasons_are_fit_for_messages_too(void **state)
{
	struct trouble t = {0};
	struct record_error e;

	(void)state;
	trouble_set(&t, EXIT_TEMP, "'%s'", "\xc2\x9b\xe2\x80\xae\xff\xc3\xa9");
	assert_string_equal(t.text, "'\?\?\?\xc3\xa9'");
	record_refuse(&e, CLASS_JSON_DECODE, "'%s'", "\xc2\x9b\xe2\x80\xae\xff\xc3\xa9");
	assert_string_equal(e.message, "'\?\?\?\xc3\xa9'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_shows_no_controls_and_is_utf8),
		cmocka_unit_test(a_truncated_message_is_utf8_and_json),
		cmocka_unit_test(reasons_are_fit_for_messages_too),
	};

	msg_init("prog");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
