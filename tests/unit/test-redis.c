/* SPDX-License-Identifier: ISC */
/* Replies as they come off a connection, cut anywhere. */
#include "test.h"

#include "redis/redis.h"

#include "base/metrics.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
	const char *p;
	size_t len, at, piece;
	bool closed;
} feed;

static ssize_t feed_read(struct redis *r, void *p, size_t n)
{
	(void)r;
	if (feed.at == feed.len) {
		errno = EAGAIN;
		return feed.closed ? 0 : -1;
	}
	if (n > feed.piece)
		n = feed.piece;
	if (n > feed.len - feed.at)
		n = feed.len - feed.at;
	memcpy(p, feed.p + feed.at, n);
	feed.at += n;
	return (ssize_t)n;
}

static void feed_close(struct redis *r)
{
	feed.closed = true;
	r->fd = -1;
}

static ssize_t no_write(struct redis *r, const void *p, size_t n)
{
	(void)r;
	(void)p;
	(void)n;
	errno = ENOBUFS;
	return -1;
}

static const struct redis_transport transport = {
	.read = feed_read, .write = no_write, .close = feed_close};

static void put(struct buf *b, const char *what, struct span s)
{
	buf_puts(b, what);
	buf_putc(b, '<');
	if (s.p)
		buf_span(b, s);
	buf_putc(b, '>');
}

/* All replies as text, one a line. */
static void print_all(struct redis *r, struct buf *b)
{
	struct redis_reply reply;
	enum redis_kind kind;

	for (;;) {
		kind = redis_next(r, &reply);
		if (kind == REDIS_MORE) {
			if (!redis_read(r))
				return;
			continue;
		}
		switch (kind) {
		case REDIS_INTEGER:
			buf_printf(b, "integer %lld", (long long)reply.integer);
			break;
		case REDIS_MESSAGE:
			put(b, "pattern", reply.pattern);
			put(b, " channel", reply.channel);
			put(b, reply.too_big ? " too big" : " payload",
				reply.too_big ? SPAN_NONE : reply.payload);
			if (reply.too_big)
				buf_printf(b, " %zu", reply.too_big);
			break;
		case REDIS_LIST:
			for (int i = 0; i < 3; i++)
				put(b, i ? " item" : "item", reply.item[i]);
			break;
		case REDIS_NIL:
			buf_puts(b, "nil");
			break;
		default:
			put(b, kind == REDIS_ERROR ? "error" : "text", reply.text);
			break;
		}
		buf_putc(b, '\n');
	}
}

static void start(struct redis *r, const char *text, size_t len, size_t piece)
{
	*r = (struct redis){.state = REDIS_UP,
		.fd = -1,
		.transport = &transport,
		.max_bulk = 20,
		.name = "test",
		.said = true};
	memset(&feed, 0, sizeof(feed));
	feed.p = text;
	feed.len = len;
	feed.piece = piece;
}

static void finish(struct redis *r, struct buf *b)
{
	r->name = NULL;
	redis_close(r);
	buf_free(b);
}

static void expect(const char *text, size_t len, const char *expected)
{
	for (size_t piece = 1; piece <= len; piece++) {
		struct redis r;
		struct buf b = {0};

		start(&r, text, len, piece);
		print_all(&r, &b);
		buf_putc(&b, '\0');
		assert_string_equal(b.p, expected);
		assert_int_equal(r.state, REDIS_UP);
		assert_int_equal(r.at, r.in.len);
		finish(&r, &b);
	}
}

static void replies_are_whole_wherever_they_are_cut(void **state)
{
	static const char text[] =
		":0\r\n:12345678901234567\r\n:-5\r\n+OK\r\n-ERR no\r\n$-1\r\n"
		"$0\r\n\r\n$4\r\na\r\nb\r\n"
		"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
		"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
		"*3\r\n$6\r\nmaster\r\n:7\r\n*1\r\n*2\r\n$1\r\nh\r\n$1\r\np\r\n:1\r\n";

	(void)state;
	expect(text, sizeof(text) - 1,
		"integer 0\ninteger 12345678901234567\ninteger -5\ntext<OK>\nerror<ERR no>\nnil\n"
		"text<>\ntext<a\r\nb>\nitem<subscribe> item<a> item<>\nitem<pong> item<> item<>\n"
		"item<master> item<> item<>\ninteger 1\n");
}

static void messages_are_whole_wherever_they_are_cut(void **state)
{
	static const char text[] = "*3\r\n$7\r\nmessage\r\n$0\r\n\r\n$0\r\n\r\n"
				   "*3\r\n$7\r\nmessage\r\n$2\r\nab\r\n$5\r\nx\r\n:1\r\n"
				   "*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$2\r\nab\r\n$20\r\n"
				   "01234567890123456789\r\n:3\r\n";

	(void)state;
	expect(text, sizeof(text) - 1,
		"pattern<> channel<> payload<>\npattern<> channel<ab> payload<x\r\n:1>\n"
		"pattern<a*> channel<ab> payload<01234567890123456789>\ninteger 3\n");
}

static void a_payload_over_the_limit_is_skipped(void **state)
{
	static const char text[] =
		"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$21\r\n:123456789012345\r\n:99\r\n"
		"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n";

	(void)state;
	expect(text, sizeof(text) - 1,
		"pattern<> channel<a> too big<> 21\npattern<> channel<a> payload<x>\n");
}

static void what_is_no_resp_loses_the_link(void **state)
{
	static const char *const texts[] = {"x\r\n", ":1x\r\n", "*3\r\n$7\r\nmessage\r\n$x\r\n",
		"HTTP/1.1 400 Bad Request\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		struct redis r;
		struct buf b = {0};

		start(&r, texts[i], strlen(texts[i]), 64);
		print_all(&r, &b);
		assert_int_equal(b.len, 0);
		assert_int_equal(r.state, REDIS_DOWN);
		assert_int_equal(redis_step(&r, 0, 0), REDIS_WENT);
		finish(&r, &b);
	}
}

static void silence_is_asked_about_then_loses_the_link(void **state)
{
	struct redis r;
	struct buf b = {0};

	(void)state;
	start(&r, "", 0, 64);
	metrics.up = 1;
	assert_int_equal(redis_step(&r, 0, 4999), REDIS_SAME);
	assert_int_equal(redis_step(&r, 0, 5000), REDIS_MUTE);
	assert_int_equal(redis_timeout_ms(&r, 5000), 1000);
	assert_int_equal(redis_step(&r, 0, 5999), REDIS_SAME);
	assert_int_equal(metrics.up, 1);
	assert_int_equal(redis_step(&r, 0, 6000), REDIS_SAME);
	assert_int_equal(metrics.up, 0);
	assert_int_equal(redis_timeout_ms(&r, 6000), 14000);
	assert_int_equal(redis_step(&r, 0, 19999), REDIS_SAME);
	assert_int_equal(redis_step(&r, 0, 20000), REDIS_WENT);
	assert_int_equal(r.state, REDIS_DOWN);
	assert_in_range(redis_timeout_ms(&r, 20000), 75, 100);
	finish(&r, &b);
}

/* Or the replies to what is sent later would be taken for those to what was not sent. */
static void after_an_error_of_writing_nothing_is_sent_any_more(void **state)
{
	struct redis r;
	struct buf b = {0};
	int fds[2];
	char c;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	start(&r, "", 0, 64);
	r.fd = fds[0];
	buf_puts(&r.out, "PING\r\n");
	redis_flush(&r);
	assert_int_equal(redis_pending(&r), 0);
	assert_int_equal(r.state, REDIS_UP);
	assert_int_equal(read(fds[1], &c, 1), 0);
	finish(&r, &b);
	close(fds[0]);
	close(fds[1]);
}

/* What befalls every record is no record's fault. */
static void an_error_is_of_the_command_the_server_or_the_configuration(void **state)
{
	static const struct {
		const char *error;
		enum redis_fault fault;
	} rows[] = {
		{"ERR syntax error", REDIS_FAULT_COMMAND},
		{"WRONGTYPE Operation against a key", REDIS_FAULT_COMMAND},
		{"BUSYGROUP Consumer Group name already exists", REDIS_FAULT_COMMAND},
		{"BUSY Redis is busy running a script.", REDIS_FAULT_AWAY},
		{"LOADING Redis is loading the dataset in memory", REDIS_FAULT_AWAY},
		{"READONLY You can't write against a read only replica.", REDIS_FAULT_AWAY},
		{"OOM command not allowed when used memory > 'maxmemory'.", REDIS_FAULT_AWAY},
		{"MISCONF Redis is configured to save RDB snapshots", REDIS_FAULT_AWAY},
		{"NOREPLICAS Not enough good replicas to write.", REDIS_FAULT_AWAY},
		{"CLUSTERDOWN Hash slot not served", REDIS_FAULT_AWAY},
		{"NOAUTH Authentication required.", REDIS_FAULT_CONFIG},
		{"MOVED 3999 127.0.0.1:6381", REDIS_FAULT_CONFIG},
		{"ASK 3999 127.0.0.1:6381", REDIS_FAULT_CONFIG},
		{"CROSSSLOT Keys in request don't hash to the same slot", REDIS_FAULT_CONFIG},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_int_equal(redis_judge((struct span){rows[i].error, strlen(rows[i].error)}),
			rows[i].fault);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies_are_whole_wherever_they_are_cut),
		cmocka_unit_test(messages_are_whole_wherever_they_are_cut),
		cmocka_unit_test(a_payload_over_the_limit_is_skipped),
		cmocka_unit_test(what_is_no_resp_loses_the_link),
		cmocka_unit_test(silence_is_asked_about_then_loses_the_link),
		cmocka_unit_test(after_an_error_of_writing_nothing_is_sent_any_more),
		cmocka_unit_test(an_error_is_of_the_command_the_server_or_the_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
