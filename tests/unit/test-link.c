/* SPDX-License-Identifier: ISC */
/* One connection to Redis: replies and their commands' tags, messages, silence, the login. */
#include "redis-pair.h"
#include "redis/subscribe.h"

#include "base/msg.h"

#include <sys/un.h>

static void put(struct buf *b, const char *what, struct span s)
{
	buf_puts(b, what);
	buf_putc(b, '<');
	if (s.p)
		buf_span(b, s);
	buf_putc(b, '>');
}

static void put_elements(struct buf *b, const struct link_reply *reply)
{
	struct resp c = reply->elements;
	struct resp_value v;

	for (enum resp_type got; (got = resp_next(&c, &v)) != RESP_MORE;)
		if (got == RESP_ARRAY || got == RESP_INTEGER)
			buf_printf(b, got == RESP_ARRAY ? " [%lld" : " %lld", (long long)v.n);
		else
			put(b, " ", v.text);
	assert_ptr_equal(c.p, c.end);
}

/* All replies as text, one a line. */
static void print_replies(struct link *l, struct buf *b)
{
	struct link_reply reply;
	enum resp_type type;

	while ((type = link_reply(l, &reply)) != RESP_MORE) {
		buf_printf(b, "%llu: ", (unsigned long long)reply.tag);
		if (type == RESP_ARRAY)
			put_elements(b, &reply);
		else if (type == RESP_INTEGER || type == RESP_LARGE)
			buf_printf(b, type == RESP_LARGE ? "large %lld" : "%lld",
				(long long)reply.value.n);
		else
			put(b, type == RESP_ERROR ? "error" : "", reply.value.text);
		buf_putc(b, '\n');
	}
}

static void print_messages(struct redis *r, struct buf *b)
{
	struct redis_message m;
	enum redis_push got;

	while ((got = redis_next_push(r, 20, &m)) != REDIS_PUSH_NONE) {
		if (got == REDIS_PUSH_MESSAGE) {
			put(b, "pattern", m.pattern);
			put(b, " channel", m.channel);
			put(b, " payload", m.payload);
			if (m.too_big)
				buf_printf(b, " %zu", m.too_big);
		} else if (got == REDIS_PUSH_ERROR) {
			put(b, "error", m.text);
		} else {
			buf_puts(b, got == REDIS_PUSH_CONFIRMED ? "confirmed" : "other");
		}
		buf_putc(b, '\n');
	}
}

/* Says @text in pieces of each size; what is printed must be the same each time, and nothing be
 * left. */
static void expect(const char *text, size_t len, bool pushed, const char *expected)
{
	for (size_t piece = 1; piece <= len; piece++) {
		struct redis r;
		struct buf b = {0};
		int fd = pair_client(&r, pushed ? REDIS_SUBSCRIBER : REDIS_COMMANDS);

		r.node.link.resp.max_string = 20;
		for (uint64_t tag = 7; tag < 20 && !pushed; tag++)
			link_commit(&r.node.link, tag);
		for (size_t at = 0; at < len; at += piece) {
			pair_say(fd, text + at, len - at < piece ? len - at : piece);
			assert_true(link_read(&r.node.link));
			if (pushed)
				print_messages(&r, &b);
			else
				print_replies(&r.node.link, &b);
		}
		buf_putc(&b, '\0');
		assert_string_equal(b.p, expected);
		assert_int_equal(r.node.link.state, LINK_UP);
		assert_ptr_equal(r.node.link.resp.p, r.node.link.resp.end);
		redis_close(&r);
		buf_free(&b);
		close(fd);
	}
}

static void replies_come_whole_with_their_commands_tags(void **state)
{
	static const char text[] =
		":12345678901234567\r\n+OK\r\n-ERR no\r\n$-1\r\n$0\r\n\r\n$4\r\na\r\nb\r\n*0\r\n"
		"*3\r\n$6\r\nmaster\r\n:7\r\n*1\r\n*2\r\n$1\r\nh\r\n$1\r\np\r\n$21\r\n"
		":123456789012345\r\n:99\r\n*1\r\n$21\r\n012345678901234567890\r\n:1\r\n";

	(void)state;
	expect(text, sizeof(text) - 1, false,
		"7: 12345678901234567\n8: <OK>\n9: error<ERR no>\n10: <>\n11: <>\n12: <a\r\nb>\n13: \n"
		"14:  <master> 7 [1 [2 <h> <p>\n15: large 21\n16:  <012345678901234567890>\n17: 1\n");
}

static void messages_are_whole_wherever_they_are_truncated(void **state)
{
	static const char text[] =
		"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
		"*3\r\n$7\r\nmessage\r\n$0\r\n\r\n$0\r\n\r\n"
		"*3\r\n$7\r\nmessage\r\n$2\r\nab\r\n$5\r\nx\r\n:1\r\n"
		"*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$2\r\nab\r\n$20\r\n"
		"01234567890123456789\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n-MISCONF x\r\n"
		"*3\r\n$10\r\npsubscribe\r\n$1\r\na\r\n:1\r\n*1\r\n:5\r\n+OK\r\n";

	(void)state;
	expect(text, sizeof(text) - 1, true,
		"confirmed\npattern<> channel<> payload<>\npattern<> channel<ab> payload<x\r\n:1>\n"
		"pattern<a*> channel<ab> payload<01234567890123456789>\nother\nerror<MISCONF x>\n"
		"confirmed\nother\nother\n");
}

static void what_is_over_the_limit_is_skipped(void **state)
{
	static const char text[] =
		"*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$21\r\n:123456789012345\r\n:99\r\n"
		"*3\r\n$7\r\nmessage\r\n$21\r\nthis channel is long!\r\n$1\r\nx\r\n"
		"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$22\r\nthis channel is longer\r\n$23\r\n"
		"01234567890123456789012\r\n"
		"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n";

	(void)state;
	expect(text, sizeof(text) - 1, true,
		"pattern<> channel<b> payload<> 21\n"
		"pattern<> channel<> payload<> 21\nother\n"
		"pattern<> channel<> payload<> 22\nother\n"
		"pattern<> channel<a> payload<x>\n");
}

static void a_long_reply_is_not_looked_at_twice(void **state)
{
	struct link l = {0};
	struct link_reply reply;
	int fd = pair_up(&l);
	size_t seen = 0;

	(void)state;
	link_commit(&l, 5);
	pair_say(fd, "*20000\r\n", 8);
	for (int i = 0; i < 20000; i++) {
		assert_true(link_read(&l));
		assert_int_equal(link_reply(&l, &reply), RESP_MORE);
		assert_true(l.scanned == seen);
		pair_say(fd, "$3\r\nabc\r\n", 9);
		seen += 9;
	}
	assert_true(link_read(&l));
	assert_int_equal(link_reply(&l, &reply), RESP_ARRAY);
	assert_int_equal(reply.tag, 5);
	assert_int_equal(reply.elements.end - reply.elements.p, seen);
	link_close(&l);
	close(fd);
}

#define TEN "$4\r\nabcd\r\n"

static void bytes_that_are_no_reply_lose_the_link(void **state)
{
	static const struct {
		const char *bytes, *why;
		bool pushed;
	} rows[] = {
		{"x\r\n",
			"this is not the redis protocol: a value begins with a byte that none has"},
		{":1x\r\n", "this is not the redis protocol: a number does not end as one"},
		{"*1\r\n$x\r\n", "this is not the redis protocol: a number does not end as one"},
		{"*1\r\n$1073741825\r\n", "this is not the redis protocol: a reply is too long"},
		{":1\r\n:2\r\n", "it answered what was not asked"},
		{"*3\r\n$7\r\nmessage\r\n$x\r\n",
			"this is not the redis protocol: a number does not end as one", true},
		{"*3\r\n$7\r\nmessage\r\n:1\r\n",
			"this is not the redis protocol: a message is no list of strings", true},
		{"*9\r\n" TEN TEN TEN TEN TEN TEN TEN TEN "$9\r\n",
			"this is not the redis protocol: a push is too long", true},
		{"HTTP/1.1 400 Bad Request\r\n",
			"this is not the redis protocol: a value begins with a byte that none has",
			true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct redis r;
		struct buf b = {0};
		int fd = pair_client(&r, REDIS_COMMANDS);

		r.node.link.resp.max_string = 20;
		link_commit(&r.node.link, 1);
		pair_say(fd, rows[i].bytes, strlen(rows[i].bytes));
		assert_true(link_read(&r.node.link));
		if (rows[i].pushed)
			print_messages(&r, &b);
		else
			print_replies(&r.node.link, &b);
		assert_int_equal(r.node.link.state, LINK_DOWN);
		assert_int_equal(link_step(&r.node.link, 0, 0), LINK_LOST);
		assert_string_equal(r.node.link.trouble.text, rows[i].why);
		assert_int_equal(r.node.link.trouble.status, EXIT_TEMP);
		assert_int_equal(link_step(&r.node.link, 0, 0), LINK_SAME);
		redis_close(&r);
		buf_free(&b);
		close(fd);
	}
}

static void a_lost_link_keeps_the_tags_without_a_reply(void **state)
{
	struct link l = {0};
	struct link_reply reply;
	int fd = pair_up(&l);
	uint64_t tag;

	(void)state;
	for (uint64_t i = 0; i < 200; i++) {
		buf_puts(link_begin(&l), "PING\r\n");
		link_commit(&l, i);
		buf_puts(link_begin(&l), "NO");
		link_cancel(&l);
	}
	assert_int_equal(link_unsent(&l), 200 * 6);
	link_flush(&l);
	assert_memory_equal(pair_heard(fd), "PING\r\nPING\r\n", 12);
	pair_say(fd, "+PONG\r\n", 7);
	close(fd);
	assert_int_equal(link_step(&l, POLLIN, 0), LINK_SAME);
	assert_int_equal(link_reply(&l, &reply), RESP_STATUS);
	assert_int_equal(link_step(&l, POLLIN, 0), LINK_LOST);
	assert_string_equal(l.trouble.text, "the server closed the connection");
	for (uint64_t i = 1; i < 200; i++) {
		assert_true(link_take_tag(&l, &tag));
		assert_int_equal(tag, i);
	}
	assert_false(link_take_tag(&l, &tag));
	link_close(&l);
}

static void silence_is_told_then_loses_the_link(void **state)
{
	struct link l = {0};
	int fd = pair_up(&l);

	(void)state;
	assert_int_equal(link_step(&l, 0, 4999), LINK_SAME);
	assert_int_equal(link_step(&l, 0, 5000), LINK_SILENT);
	assert_int_equal(link_timeout_ms(&l, 5000), 1000);
	assert_int_equal(link_step(&l, 0, 5999), LINK_SAME);
	assert_true(l.answers);
	assert_int_equal(link_step(&l, 0, 6000), LINK_SAME);
	assert_false(l.answers);
	assert_int_equal(link_timeout_ms(&l, 6000), 14000);
	assert_int_equal(link_step(&l, 0, 19999), LINK_SAME);
	assert_int_equal(link_step(&l, 0, 20000), LINK_LOST);
	assert_string_equal(l.trouble.text, "no answer for 20 s");
	assert_int_equal(link_timeout_ms(&l, 20000), -1);
	link_redial(&l, 20000);
	assert_in_range(link_timeout_ms(&l, 20000), 75, 100);
	link_close(&l);
	close(fd);
}

/* Or the replies to what is sent later would be taken for those to what was not sent. */
static void after_an_error_of_writing_nothing_is_sent_any_more(void **state)
{
	struct link l = {0};
	int fd = pair_up(&l);
	char c;

	(void)state;
	shutdown(l.bytes.fd, SHUT_WR);
	buf_puts(link_begin(&l), "PING\r\n");
	link_commit(&l, 0);
	link_flush(&l);
	assert_int_equal(link_unsent(&l), 0);
	assert_int_equal(l.state, LINK_UP);
	assert_int_equal(read(fd, &c, 1), 0);
	link_close(&l);
	close(fd);
}

/* A whole connection: a listener, and a server that says this to the login. */
static void the_login_ends_as_the_server_says(void **state)
{
	static const struct {
		struct link_login login;
		const char *heard, *says, *why;
		int status;
	} rows[] = {
		{{.what = "redis", .client = "me"},
			"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$2\r\nme\r\n", "+OK\r\n"},
		{{.what = "redis", .client = "me"}, NULL, "-NOPERM no\r\n"},
		{{.what = "redis", .client = "me"}, NULL, "-ERR unknown command\r\n"},
		{{.what = "redis", .client = "me", .password = "s", .db = 3},
			"*2\r\n$4\r\nAUTH\r\n$1\r\ns\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
			"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$2\r\nme\r\n",
			"+OK\r\n+OK\r\n+OK\r\n"},
		{{.what = "redis", .client = "me", .user = "u", .password = "s"},
			"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\ns\r\n"
			"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$2\r\nme\r\n",
			"-WRONGPASS no\r\n",
			"redis at test refuses the login: WRONGPASS no (user 'u')", EXIT_PERM},
		{{.what = "redis", .client = "me"}, NULL, "-NOAUTH Authentication required.\r\n",
			"redis at test wants a password: give it by --password-file, in the URL or in "
			"$REDISCLI_AUTH",
			EXIT_PERM},
		{{.what = "redis", .client = "me", .db = 99}, NULL,
			"-ERR DB index is out of range\r\n",
			"redis at test refuses the database number: ERR DB index is out of range",
			EXIT_PERM},
		{{.what = "redis", .client = "me"}, NULL, "-LOADING wait\r\n", "LOADING wait",
			EXIT_TEMP},
		{{.what = "redis", .client = "me"}, NULL, "-DENIED no\r\n",
			"redis at test refuses the login: DENIED no", EXIT_PERM},
		{{.what = "redis", .client = "me"}, NULL, NULL, "no answer within 5 s", EXIT_TEMP},
	};
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/test-link.XXXXXX";
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/s", dir);
	assert_int_equal(bind(listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(listener, 8), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct link l;
		int fd;

		link_open(&l, "test", sun.sun_path, NULL, &rows[i].login);
		link_dial(&l, 0);
		assert_int_equal(link_step(&l, 0, 0), LINK_SAME);
		assert_int_equal(l.state, LINK_LOGIN);
		fd = accept(listener, NULL, NULL);
		if (rows[i].heard)
			assert_string_equal(pair_heard(fd), rows[i].heard);
		if (rows[i].says)
			pair_say(fd, rows[i].says, strlen(rows[i].says));
		assert_int_equal(link_timeout_ms(&l, 0), 5000);
		assert_int_equal(link_step(&l, rows[i].says ? POLLIN : 0, rows[i].says ? 0 : 5000),
			rows[i].why ? LINK_LOST : LINK_CAME);
		assert_string_equal(l.trouble.text, rows[i].why ? rows[i].why : "");
		assert_int_equal(l.trouble.status, rows[i].status);
		link_close(&l);
		close(fd);
	}
	close(listener);
	unlink(sun.sun_path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies_come_whole_with_their_commands_tags),
		cmocka_unit_test(messages_are_whole_wherever_they_are_truncated),
		cmocka_unit_test(what_is_over_the_limit_is_skipped),
		cmocka_unit_test(a_long_reply_is_not_looked_at_twice),
		cmocka_unit_test(bytes_that_are_no_reply_lose_the_link),
		cmocka_unit_test(a_lost_link_keeps_the_tags_without_a_reply),
		cmocka_unit_test(silence_is_told_then_loses_the_link),
		cmocka_unit_test(after_an_error_of_writing_nothing_is_sent_any_more),
		cmocka_unit_test(the_login_ends_as_the_server_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
