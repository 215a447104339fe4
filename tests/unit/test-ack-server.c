/* SPDX-License-Identifier: ISC */
/* lib/ack/server: what a source makes of what its peers say. */
#define _GNU_SOURCE
#include "test.h"

#include "ack/server.h"
#include "base/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* libc's, but for one call when it is to fail. */
static int send_errno;

ssize_t send(int fd, const void *p, size_t n, int flags)
{
	if (!send_errno)
		return sendto(fd, p, n, flags, NULL, 0);
	errno = send_errno;
	send_errno = 0;
	return -1;
}

static bool no_room;

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *e)
{
	if (!no_room)
		return (int)syscall(SYS_epoll_ctl, epfd, op, fd, e);
	errno = ENOSPC;
	return -1;
}

static struct ledger *l;
static struct ledger_part *part;
static struct ack_server d;
static char heard[1 << 20];

static int setup(void **state)
{
	(void)state;
	l = ledger_new(1000, UINT64_MAX, false);
	part = ledger_assign(l, "t", 3, NULL);
	ack_server_open(&d, NULL, l);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ack_server_close(&d);
	ledger_free(l);
	return 0;
}

static void serve(void)
{
	/* Twice: what a turn has closed, and whom it concerned. */
	ack_server_serve(&d, 1);
	ack_server_serve(&d, 1);
}

static int peer_of(int type)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds), 0);
	ack_server_add(&d, fds[0]);
	return fds[1];
}

static int peer(void)
{
	return peer_of(SOCK_STREAM);
}

/* Sends without serving; "RUN" stands for the run. */
static void write_to(int fd, const char *text)
{
	struct buf b = {0};
	const char *at;

	while ((at = strstr(text, "RUN"))) {
		buf_put(&b, text, (size_t)(at - text));
		buf_puts(&b, d.run);
		text = at + 3;
	}
	buf_puts(&b, text);
	assert_int_equal(send(fd, b.p, b.len, MSG_NOSIGNAL), b.len);
	buf_free(&b);
}

static void say(int fd, const char *text)
{
	write_to(fd, text);
	serve();
}

/* What the peer has been told since the last call. */
static const char *hear(int fd)
{
	ssize_t n = recv(fd, heard, sizeof(heard) - 1, 0);

	heard[n < 0 ? 0 : n] = '\0';
	return heard;
}

static bool is_closed(int fd)
{
	char c;
	ssize_t n;

	while ((n = recv(fd, &c, 1, 0)) > 0)
		;
	return n == 0 || errno == ECONNRESET;
}

static void expect(int fd, const char *text)
{
	struct buf b = {0};
	const char *at = strstr(text, "RUN");

	buf_put(&b, text, at ? (size_t)(at - text) : strlen(text));
	if (at) {
		buf_puts(&b, d.run);
		buf_puts(&b, at + 3);
	}
	buf_putc(&b, '\0');
	assert_string_equal(hear(fd), b.p);
	buf_free(&b);
}

static int member(const char *role)
{
	int fd = peer();
	char text[64];

	expect(fd, "run RUN\n");
	snprintf(text, sizeof(text), "hello x 1 %s\n", role);
	say(fd, text);
	return fd;
}

static void emit(int n)
{
	static int64_t at;

	while (n--)
		ledger_emit(l, part, at++, 0, 10, 0);
}

/* ---- hello and goodbye ---- */

static void who_comes_is_greeted_and_counts_with_his_hello(void **state)
{
	int fd = peer(), filter;

	(void)state;
	expect(fd, "run RUN\n");
	assert_int_equal(strspn(d.run, "0123456789abcdef"), LABEL_RUN_LEN);
	assert_int_equal(strlen(d.run), LABEL_RUN_LEN);
	assert_int_equal(d.connections, 0);
	filter = member("filter");
	assert_int_equal(d.connections, 1);
	assert_false(d.had_sink);
	say(fd, "hello kwrite 12345 sink\n");
	assert_int_equal(d.connections, 2);
	assert_true(d.had_sink && d.has_sink);
	assert_false(d.is_txn || d.sink_lost || d.sink_idle);
	close(fd);
	close(filter);
	serve();
	assert_int_equal(d.connections, 0);
	assert_int_equal(d.garbage, 0);
}

static void a_sink_that_says_bye_is_not_lost(void **state)
{
	int fd = member("sink");

	(void)state;
	say(fd, "bye\n");
	assert_true(d.has_sink);
	close(fd);
	serve();
	assert_false(d.has_sink || d.sink_lost);
	assert_true(d.had_sink);
}

static void a_sink_that_says_nothing_is_lost(void **state)
{
	int filter = member("filter"), fd = member("sink");

	(void)state;
	close(filter);
	serve();
	assert_false(d.sink_lost);
	close(fd);
	serve();
	assert_true(d.sink_lost);
}

static void what_it_said_before_it_went_counts(void **state)
{
	int fd = member("sink");

	(void)state;
	emit(2);
	write_to(fd, "final RUN 1 2\nfin");
	close(fd);
	serve();
	assert_int_equal(ledger_counts(l).final, 2);
	assert_true(d.sink_lost);
	assert_int_equal(d.garbage, 0);
}

static void a_second_sink_is_refused_and_not_heard(void **state)
{
	int first = member("sink"), second = member("sink");

	(void)state;
	emit(1);
	assert_non_null(strstr(hear(second), "--pass"));
	assert_true(strncmp(heard, "stop ", 5) == 0);
	say(second, "final RUN 1\nnonsense\n");
	assert_int_equal(ledger_counts(l).final, 0);
	assert_int_equal(d.connections, 1);
	close(second);
	serve();
	assert_int_equal(d.connections, 1);
	assert_true(d.has_sink);
	assert_false(d.sink_lost);
	say(first, "final RUN 1\n");
	assert_int_equal(ledger_counts(l).final, 1);
	close(first);
}

static void one_sink_in_a_lifetime(void **state)
{
	int first = member("sink"), second;

	(void)state;
	say(first, "bye\n");
	close(first);
	serve();
	second = member("sink");
	assert_true(strncmp(hear(second), "stop ", 5) == 0);
	close(second);
	assert_false(d.has_sink);
}

static void idle_is_taken_back_by_busy_and_by_a_report(void **state)
{
	int fd = member("sink");

	(void)state;
	emit(1);
	say(fd, "idle\n");
	assert_true(d.sink_idle);
	say(fd, "busy\n");
	assert_false(d.sink_idle);
	say(fd, "idle\n");
	say(fd, "final RUN 1\n");
	assert_false(d.sink_idle);
	close(fd);
}

static void filters_are_busy_until_they_are_not_or_have_gone(void **state)
{
	int one = member("filter"), two = member("filter");

	(void)state;
	say(one, "busy\nbusy\n");
	assert_int_equal(d.busy, 1);
	say(two, "busy\n");
	assert_int_equal(d.busy, 2);
	say(one, "idle\nidle\n");
	assert_int_equal(d.busy, 1);
	assert_false(d.sink_idle);
	close(two);
	ack_server_serve(&d, 0);
	assert_int_equal(d.busy, 0);
	close(one);
}

static void names_are_heard_before_what_has_them(void **state)
{
	/* The sink has come last, and is read first. */
	int filter = member("filter"), sink = member("sink");
	char text[300];

	(void)state;
	emit(6);
	snprintf(text, sizeof(text), "set %s #f-1 1-2 4\nset %s #f-1 6\n", d.run, d.run);
	assert_int_equal(write(filter, text, strlen(text)), strlen(text));
	snprintf(text, sizeof(text), "final %s #f-1.2/2 3\n", d.run);
	say(sink, text);
	say(filter, "drop RUN #f-1.1/2\n");
	assert_int_equal(ledger_counts(l).open, 1);
	say(filter, "set RUN #g #f-1 5\n");
	assert_int_equal(d.garbage, 0);
	say(filter, "drop RUN #h\n");
	assert_int_equal(d.garbage, 1);
	close(filter);
	close(sink);
}

static void a_stop_is_told_once_with_name_and_reason(void **state)
{
	int fd = member("filter");

	(void)state;
	say(fd, "stop the disk\tis full\n");
	assert_int_equal(d.trouble.status, EXIT_PERM);
	assert_string_equal(d.trouble.text, "x (process 1) stops the pipeline: the disk is full");
	assert_false(d.void_account);
	say(fd, "stop again\n");
	assert_string_equal(d.trouble.text, "x (process 1) stops the pipeline: the disk is full");
	close(fd);
}

/* ---- reports ---- */

static void reports_are_told_apart(void **state)
{
	int filter = member("filter"), sink = member("sink");
	struct ledger_counts c;

	(void)state;
	emit(6);
	say(filter, "drop RUN 1 2\ndead RUN 3\n");
	say(sink, "final RUN 4\ndrop RUN 5\ndead RUN 6\n");
	c = ledger_counts(l);
	assert_int_equal(c.dropped, 3);
	assert_int_equal(c.dead, 2);
	assert_int_equal(c.final, 1);
	assert_int_equal(c.open, 0);
	close(filter);
	close(sink);
}

static void lines_come_in_any_pieces(void **state)
{
	int fd = member("sink");
	char text[64];

	(void)state;
	emit(3);
	snprintf(text, sizeof(text), "final %s 1 2\nfinal %s 3\n", d.run, d.run);
	for (char *c = text; *c; c++) {
		char one[2] = {*c, '\0'};

		say(fd, one);
	}
	assert_int_equal(ledger_counts(l).final, 3);
	assert_int_equal(d.garbage, 0);
	close(fd);
}

static void another_run_is_ignored_and_counted(void **state)
{
	int fd = member("sink");

	(void)state;
	emit(1);
	say(fd, "final 0123456789abcdef 1\ndrop 0123456789abcdef 900\nbusy\n");
	assert_int_equal(d.stale, 2);
	assert_int_equal(d.garbage, 0);
	assert_int_equal(ledger_counts(l).open, 1);
	close(fd);
}

static void garbage_closes_its_connection_alone(void **state)
{
	static const char *const strangers[] = {"\n", "hello\n", "hello x\n", "hello x 1\n",
		"hello x 1 \n", "hello x 1 king\n", "hello x 1 sink \n", "hello  1 sink\n",
		"hello x -1 sink\n", "hello x 123456789012 sink\n", "hello \x7f 1 sink\n",
		"hello aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1 sink\n",
		"final RUN 1\n", "bye\n", "HELLO x 1 sink\n", " hello x 1 sink\n"};
	static const char *const filters[] = {"final RUN 1\n", "drop\n", "drop RUN\n",
		"drop RUN \n", "drop RUN 1 \n", "drop RUN  1\n", "drop 1\n", "drop RUN1 1\n",
		"drop RUN 0\n", "drop RUN 01\n", "drop RUN 2\n", "drop RUN 1-2\n", "drop RUN 1.1\n",
		"drop RUN 1.2/1\n", "drop RUN x\n", "drop RUN 99999999999999999999\n", "idle x\n",
		"busy 1\n", "offsets RUN 1\n", "hello x 1 filter\n", "bye now\n", "bye\nbye\n",
		"\n", "drop RUN 1\r\n", "run RUN\n", "end RUN 1\n"};
	int sink = member("sink");
	size_t n = 0;

	(void)state;
	emit(1);
	for (size_t i = 0; i < sizeof(strangers) / sizeof(*strangers); i++) {
		int fd = peer();

		hear(fd);
		say(fd, strangers[i]);
		assert_non_null(strstr(hear(fd), "stop garbage"));
		assert_true(is_closed(fd));
		close(fd);
		assert_int_equal(d.garbage, ++n);
	}
	for (size_t i = 0; i < sizeof(filters) / sizeof(*filters); i++) {
		int fd = member("filter");

		say(fd, filters[i]);
		if (d.garbage != ++n)
			fail_msg("no garbage: %s", filters[i]);
		assert_true(is_closed(fd));
		close(fd);
		/* "1 " was told before the garbage behind it. */
		if (!ledger_counts(l).open)
			emit(1);
		assert_int_equal(d.connections, 1);
	}
	assert_false(d.sink_lost);
	assert_int_equal(d.trouble.status, 0);
	close(sink);
}

static void garbage_from_the_sink_loses_it(void **state)
{
	int fd = member("sink");

	(void)state;
	say(fd, "final RUN 1\n");
	assert_true(d.sink_lost);
	assert_int_equal(d.garbage, 1);
	close(fd);
}

static void a_line_has_a_limit(void **state)
{
	int fd = member("filter");
	static char block[4096];

	(void)state;
	memset(block, 'x', sizeof(block));
	for (int sent = 0; !d.garbage && sent < 4 << 20;) {
		ssize_t n = send(fd, block, sizeof(block), MSG_NOSIGNAL);

		sent += n > 0 ? (int)n : 0;
		serve();
	}
	assert_int_equal(d.garbage, 1);
	close(fd);
}

static void a_second_report_ends_the_pipeline(void **state)
{
	int fd = member("sink");

	(void)state;
	emit(2);
	say(fd, "final RUN 1 1 2\n");
	assert_int_equal(d.trouble.status, EXIT_PERM);
	assert_true(d.void_account);
	assert_string_equal(d.trouble.text,
		"x has acknowledged record 1 a second time: a filter makes several records of one: put it under evbatch");
	assert_int_equal(ledger_counts(l).open, 1);
	close(fd);
}

static void by_order_a_report_that_goes_back_ends_it_too(void **state)
{
	int fd;

	(void)state;
	teardown(NULL);
	l = ledger_new(1000, UINT64_MAX, true);
	part = ledger_assign(l, "t", 3, NULL);
	ack_server_open(&d, NULL, l);
	fd = member("sink");
	emit(3);
	say(fd, "final RUN 3\nfinal RUN 2\n");
	assert_int_equal(d.trouble.status, EXIT_PERM);
	assert_true(d.void_account);
	assert_non_null(strstr(d.trouble.text, "record 2 after a later one"));
	close(fd);
}

static void an_early_report_says_nothing_of_the_numbers_below(void **state)
{
	int fd;

	(void)state;
	teardown(NULL);
	l = ledger_new(1000, UINT64_MAX, true);
	part = ledger_assign(l, "t", 3, NULL);
	ack_server_open(&d, NULL, l);
	fd = member("sink");
	emit(6);
	say(fd, "final RUN 1\nearly RUN 4-5\n");
	assert_int_equal(ledger_counts(l).open, 3);
	/* It is no later report than this one. */
	say(fd, "final RUN 2\n");
	assert_int_equal(d.trouble.status, 0);
	assert_int_equal(ledger_counts(l).open, 2);
	say(fd, "final RUN 6\n");
	assert_int_equal(ledger_counts(l).open, 0);
	say(fd, "early RUN 6\n");
	assert_int_equal(d.trouble.status, EXIT_PERM);
	close(fd);
	fd = member("filter");
	say(fd, "early RUN 6\n");
	assert_true(is_closed(fd));
	close(fd);
}

/* ---- the end ---- */

static void the_end_is_told_to_those_who_are_there_and_to_those_who_come(void **state)
{
	int fd = member("sink"), late;

	(void)state;
	emit(3);
	ack_server_end(&d);
	assert_true(ack_server_flushed(&d));
	expect(fd, "end RUN 3\n");
	ack_server_end(&d);
	expect(fd, "");
	late = peer();
	assert_non_null(strstr(hear(late), "\nend "));
	close(fd);
	close(late);
}

/* With the run it may read all of its input, and must then know that it is whole. */
static void who_comes_late_has_run_and_end_at_once(void **state)
{
	char text[256] = "";
	int late;

	(void)state;
	ack_server_end(&d);
	late = peer_of(SOCK_SEQPACKET);
	assert_true(recv(late, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "\nend "));
	close(late);
}

static void a_peer_that_does_not_read_holds_nobody_up(void **state)
{
	int mute = member("sink"), other = member("filter"), size = 1;

	(void)state;
	setsockopt(mute, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (int i = 0; i < 100000 && !d.garbage; i++)
		ack_server_stop(&d, "because");
	assert_false(ack_server_flushed(&d));
	serve();
	emit(1);
	say(other, "drop RUN 1\n");
	assert_int_equal(ledger_counts(l).dropped, 1);
	close(mute);
	close(other);
	serve();
	assert_true(ack_server_flushed(&d));
}

/* ---- transactions ---- */

static bool is_member = true;

static bool put_metadata(void *ctx, struct buf *out)
{
	(void)ctx;
	buf_puts(out, "bWV0YQ==");
	return is_member;
}

static void without_metadata_a_txn_is_refused(void **state)
{
	int fd = member("txn");

	(void)state;
	assert_true(strncmp(hear(fd), "stop ", 5) == 0);
	assert_false(d.had_sink);
	close(fd);
}

static void a_transaction_is_answered_when_nothing_is_open_below(void **state)
{
	int filter = member("filter"), fd;
	char text[80];
	int64_t next;

	(void)state;
	ack_server_on_txn(&d, put_metadata, NULL);
	fd = member("txn");
	assert_true(d.is_txn);
	emit(3);
	next = part->next;
	say(fd, "offsets RUN 1 3\n");
	expect(fd, "");
	say(filter, "drop RUN 2\n");
	snprintf(text, sizeof(text), "offsets bWV0YQ== t 3 %lld\n", (long long)next);
	expect(fd, text);
	say(fd, "offsets RUN\n");
	snprintf(text, sizeof(text), "offsets bWV0YQ== t 3 %lld\n", (long long)next - 3);
	assert_non_null(strstr(hear(fd), "offsets bWV0YQ=="));
	close(filter);
	close(fd);
}

static struct {
	unsigned told;
	char kept[80];
} place;

static void on_kept(void *ctx, struct span text)
{
	(void)ctx;
	place.told++;
	snprintf(place.kept, sizeof(place.kept), "%.*s", text.p ? (int)text.len : 4,
		text.p ? text.p : "none");
}

static void put_place(void *ctx, struct buf *out)
{
	(void)ctx;
	buf_printf(out, "%llu", (unsigned long long)ledger_txn_covered(d.ledger, part));
}

static void a_place_takes_the_part_of_positions(void **state)
{
	static const struct ack_place own = {on_kept, put_place};
	int fd;

	(void)state;
	ack_server_on_place(&d, &own, NULL);
	fd = member("txn");
	assert_non_null(strstr(hear(fd), "stop the positions of this source"));
	assert_false(d.had_sink);
	close(fd);
	place.told = 0;
	fd = member("txn position");
	assert_true(d.is_txn);
	say(fd, "place RUN YSB0ZXh0\n");
	assert_int_equal(place.told, 1);
	assert_string_equal(place.kept, "a text");
	emit(3);
	say(fd, "offsets RUN 1-2\n");
	expect(fd, "place Mg==\n");
	say(fd, "final RUN 1-2\n");
	say(fd, "offsets RUN\n");
	expect(fd, "place Mg==\n");
	say(fd, "offsets RUN 3\n");
	expect(fd, "place Mw==\n");
	/* Once. */
	say(fd, "place RUN -\n");
	assert_non_null(strstr(hear(fd), "stop garbage"));
	assert_int_equal(place.told, 1);
	close(fd);
}

static void a_place_may_be_none_and_never_what_is_no_base64(void **state)
{
	static const struct ack_place own = {on_kept, put_place};
	int fd = member("txn position");

	(void)state;
	/* Of a source without positions. */
	assert_non_null(strstr(hear(fd), "stop this source has no positions"));
	close(fd);
	ack_server_on_place(&d, &own, NULL);
	place.told = 0;
	fd = member("txn position");
	say(fd, "place RUN -\n");
	assert_int_equal(place.told, 1);
	assert_string_equal(place.kept, "none");
	close(fd);
	serve();
	d.had_sink = false;
	fd = member("txn position");
	say(fd, "place RUN Y\n");
	assert_non_null(strstr(hear(fd), "stop garbage"));
	assert_int_equal(place.told, 1);
	close(fd);
}

static void put_note(void *ctx, const struct ledger_part *p, int64_t position, struct buf *out)
{
	(void)ctx;
	assert_ptr_equal(p, part);
	if (position == part->next)
		buf_puts(out, "a note");
}

static void positions_of_a_transaction_have_notes(void **state)
{
	char text[80];
	int fd;

	(void)state;
	ack_server_on_txn(&d, put_metadata, NULL);
	ack_server_on_note(&d, put_note);
	fd = member("txn");
	emit(2);
	hear(fd);
	say(fd, "offsets RUN 1\n");
	snprintf(text, sizeof(text), "offsets bWV0YQ== t 3 %lld\n", (long long)part->next - 1);
	expect(fd, text);
	say(fd, "offsets RUN 1-2\n");
	snprintf(text, sizeof(text), "offsets bWV0YQ== t 3 %lld,YSBub3Rl\n", (long long)part->next);
	expect(fd, text);
	close(fd);
}

static void an_overtaken_question_is_told_so(void **state)
{
	int fd;

	(void)state;
	ack_server_on_txn(&d, put_metadata, NULL);
	fd = member("txn");
	emit(2);
	say(fd, "offsets RUN 2\n");
	expect(fd, "");
	say(fd, "offsets RUN 1 2\n");
	assert_non_null(strstr(hear(fd), "again "));
	assert_non_null(strstr(heard, "\noffsets bWV0YQ== t 3 "));
	close(fd);
}

static void a_transaction_of_an_ended_assignment_aborts(void **state)
{
	int fd;

	(void)state;
	ack_server_on_txn(&d, put_metadata, NULL);
	fd = member("txn");
	emit(2);
	say(fd, "offsets RUN 2\n");
	expect(fd, "");
	ledger_end(l, part);
	part = ledger_assign(l, "t", 3, NULL);
	serve();
	expect(fd, "abort RUN\n");
	close(fd);
}

static void a_member_that_the_group_has_left_behind_commits_nothing(void **state)
{
	int filter = member("filter"), fd;

	(void)state;
	ack_server_on_txn(&d, put_metadata, NULL);
	fd = member("txn");
	emit(2);
	say(filter, "drop RUN 1\n");
	is_member = false;
	say(fd, "offsets RUN\n");
	expect(fd, "offsets bWV0YQ==\n");
	say(fd, "offsets RUN 2\n");
	is_member = true;
	expect(fd, "abort RUN\n");
	close(filter);
	close(fd);
}

static bool put_much(void *ctx, struct buf *out)
{
	(void)ctx;
	for (int i = 0; i < 1 << 17; i++)
		buf_puts(out, "bWV0YQAA");
	return true;
}

static void who_asks_and_does_not_read_is_cut_off(void **state)
{
	int fd;

	(void)state;
	ack_server_on_txn(&d, put_much, NULL);
	fd = member("txn");
	for (int i = 0; i < 30 && !d.garbage; i++)
		say(fd, "offsets RUN\n");
	assert_int_equal(d.garbage, 1);
	close(fd);
}

static void a_transaction_of_the_future_is_garbage(void **state)
{
	int fd;

	(void)state;
	ack_server_on_txn(&d, put_metadata, NULL);
	fd = member("txn");
	say(fd, "offsets RUN 1\n");
	assert_int_equal(d.garbage, 1);
	assert_true(d.sink_lost);
	close(fd);
}

/* ---- the socket ---- */

static int dial(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void without_a_descriptor_for_its_sink_it_says_so(void **state)
{
	struct rlimit before, few;
	int fd;

	(void)state;
	ack_server_close(&d);
	ack_server_open(&d, "./sock", l);
	fd = dial("./sock");
	getrlimit(RLIMIT_NOFILE, &before);
	few = (struct rlimit){.rlim_cur = (rlim_t)fd + 1, .rlim_max = before.rlim_max};
	setrlimit(RLIMIT_NOFILE, &few);
	serve();
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(d.trouble.status, EXIT_TEMP);
	assert_non_null(strstr(d.trouble.text, "ulimit -n"));
	close(fd);
}

/* Opens in a child; its exit status. */
static int open_elsewhere(const char *path)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct ack_server other;

		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		ack_server_open(&other, path, l);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void the_socket_is_private_and_goes_with_its_source(void **state)
{
	struct stat st;
	struct ack_server own;
	int fd;

	(void)state;
	unlink("ackd.sock");
	ack_server_open(&own, "ackd.sock", l);
	assert_int_equal(stat("ackd.sock", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	fd = dial("ackd.sock");
	assert_true(fd >= 0);
	assert_int_equal(poll(&(struct pollfd){.fd = own.fd, .events = POLLIN}, 1, 0), 1);
	ack_server_serve(&own, 1);
	assert_int_equal(poll(&(struct pollfd){.fd = own.fd, .events = POLLIN}, 1, 0), 0);
	assert_true(strncmp(hear(fd), "run ", 4) == 0);
	assert_string_not_equal(own.run, d.run);
	assert_int_equal(open_elsewhere("ackd.sock"), EXIT_PERM);
	ack_server_close(&own);
	assert_int_equal(access("ackd.sock", F_OK), -1);
	assert_true(is_closed(fd));
	close(fd);
}

static void a_dead_socket_is_replaced_and_nothing_else(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	unlink("ackd.sock");
	assert_int_equal(open_elsewhere("ackd.sock"), 0);
	assert_int_equal(stat("ackd.sock", &st), 0);
	assert_int_equal(dial("ackd.sock"), -1);
	assert_int_equal(open_elsewhere("ackd.sock"), 0);
	unlink("ackd.sock");
	fd = open("ackd.sock", O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(open_elsewhere("ackd.sock"), EXIT_PERM);
	assert_int_equal(access("ackd.sock", F_OK), 0);
	unlink("ackd.sock");
	assert_int_equal(open_elsewhere("no/such/directory"), EXIT_PERM);
}

/* It would wait for ever for the greeting. */
static void whom_nothing_can_be_sent_sees_the_end(void **state)
{
	int fd, other = member("sink");

	(void)state;
	send_errno = ENOBUFS;
	fd = peer();
	assert_true(is_closed(fd));
	send_errno = EINTR;
	fd = peer();
	serve();
	expect(fd, "run RUN\n");
	ack_server_end(&d);
	serve();
	expect(other, "end RUN 0\n");
}

static void who_cannot_be_heard_sees_the_end(void **state)
{
	int fd;

	(void)state;
	no_room = true;
	fd = peer();
	assert_true(is_closed(fd));
	no_room = false;
	close(member("sink"));
	serve();
	assert_true(d.sink_lost);
}

int main(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		test(who_comes_is_greeted_and_counts_with_his_hello),
		test(a_sink_that_says_bye_is_not_lost),
		test(a_sink_that_says_nothing_is_lost),
		test(what_it_said_before_it_went_counts),
		test(a_second_sink_is_refused_and_not_heard),
		test(one_sink_in_a_lifetime),
		test(idle_is_taken_back_by_busy_and_by_a_report),
		test(filters_are_busy_until_they_are_not_or_have_gone),
		test(names_are_heard_before_what_has_them),
		test(a_stop_is_told_once_with_name_and_reason),
		test(reports_are_told_apart),
		test(lines_come_in_any_pieces),
		test(another_run_is_ignored_and_counted),
		test(garbage_closes_its_connection_alone),
		test(garbage_from_the_sink_loses_it),
		test(a_line_has_a_limit),
		test(a_second_report_ends_the_pipeline),
		test(by_order_a_report_that_goes_back_ends_it_too),
		test(an_early_report_says_nothing_of_the_numbers_below),
		test(the_end_is_told_to_those_who_are_there_and_to_those_who_come),
		test(who_comes_late_has_run_and_end_at_once),
		test(a_peer_that_does_not_read_holds_nobody_up),
		test(whom_nothing_can_be_sent_sees_the_end),
		test(who_cannot_be_heard_sees_the_end),
		test(without_metadata_a_txn_is_refused),
		test(a_member_that_the_group_has_left_behind_commits_nothing),
		test(a_transaction_is_answered_when_nothing_is_open_below),
		test(a_place_takes_the_part_of_positions),
		test(a_place_may_be_none_and_never_what_is_no_base64),
		test(positions_of_a_transaction_have_notes),
		test(an_overtaken_question_is_told_so),
		test(a_transaction_of_an_ended_assignment_aborts),
		test(a_transaction_of_the_future_is_garbage),
		test(without_a_descriptor_for_its_sink_it_says_so),
		test(who_asks_and_does_not_read_is_cut_off),
		test(the_socket_is_private_and_goes_with_its_source),
		test(a_dead_socket_is_replaced_and_nothing_else),
	};

	msg_init("test-ack-server");
	msg_setup(-1, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
