/* SPDX-License-Identifier: ISC */
/* flow/sink: records are released in the order of input, and no line is forgotten. */
#define _GNU_SOURCE
#include "flow/sink.h"

#include "base/msg.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SLOTS = 4, WINDOW_BYTES = 1000 };

struct own_slot {
	struct sink_slot slot;
	char mark;
};

static struct sink sink;
static int output; /* what was handed on */
static bool good; /* a test that ran to its end */
static bool full; /* nothing may be released */

static bool is_full(void *self)
{
	assert_ptr_equal(self, &sink);
	return full;
}

static void hand_on(void *self, const struct sink_slot *slot, struct span line, struct buf *out)
{
	assert_ptr_equal(self, &sink);
	buf_span(out, line);
	buf_putc(out, ((const struct own_slot *)slot)->mark);
}

/* A sink with --pass, whose standard input holds @text and has ended. */
static void open_on(const char *text)
{
	static struct input_opts input;
	static struct ack_opts ack;
	int in[2], out[2];

	input_opts(&input, INPUT_DEAD_TO_FILE);
	input.max_line->count = 1;
	input.max_line->sval[0] = "20";
	ack_opts(&ack);
	assert_int_equal(pipe(in) || pipe2(out, O_NONBLOCK), 0);
	assert_int_equal(write(in[1], text, strlen(text)), strlen(text));
	close(in[1]);
	dup2(in[0], STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	close(in[0]);
	close(out[1]);
	output = out[0];
	sink_open(&sink,
		&(struct sink_setup){.input = &input,
			.ack = &ack,
			.end = '\n',
			.role = ACK_FILTER,
			.slot_bytes = sizeof(struct own_slot),
			.slots = SLOTS,
			.window_bytes = WINDOW_BYTES,
			.self = &sink,
			.hand_on = hand_on,
			.is_full = is_full});
}

static void expect_output(const char *text)
{
	char got[200];
	ssize_t n = read(output, got, sizeof(got) - 1);

	got[n < 0 ? 0 : n] = '\0';
	assert_string_equal(got, text);
}

/* One turn of the loop up to the lines; returns poll's timeout. */
static int turn(void)
{
	struct pollfd p[SINK_FDS];
	int timeout_ms;

	sink_poll(&sink, p, true);
	timeout_ms = sink_timeout_ms(&sink, 0);
	poll(p, SINK_FDS, 0);
	sink_serve(&sink, p);
	return timeout_ms;
}

static struct own_slot *take(char mark)
{
	struct json_value seq = {0};
	struct own_slot *slot = (struct own_slot *)sink_take(&sink, &seq);

	slot->mark = mark;
	return slot;
}

static void expect_line(const char *text)
{
	struct span line;

	assert_true(sink_next(&sink, &line));
	assert_int_equal(line.len, strlen(text));
	assert_memory_equal(line.p, text, line.len);
}

static void release_in_order(void)
{
	struct own_slot *slots[3];
	struct span line;

	open_on("a\nb\nc\n");
	turn();
	for (int i = 0; i < 3; i++) {
		const char text[] = {"abc"[i], '\0'};

		expect_line(text);
		/* It stays the next line until it is taken. */
		expect_line(text);
		assert_int_equal(sink_count(&sink), i + 1);
		slots[i] = take("123"[i]);
	}
	assert_false(sink_next(&sink, &line));
	sink_done(&slots[1]->slot);
	sink_flush(&sink, 0);
	expect_output("");
	sink_done(&slots[0]->slot);
	sink_flush(&sink, 0);
	expect_output("a1\nb2\n");
	assert_true(sink_runs(&sink));
	sink_done(&slots[2]->slot);
	sink_flush(&sink, 0);
	expect_output("c3\n");
	turn();
	assert_false(sink_next(&sink, &line));
	assert_false(sink_runs(&sink));
	good = sink_close(&sink) == EXIT_DONE;
}

static void wait_for_room(void)
{
	struct own_slot *slots[SLOTS];
	struct span line;

	open_on("a\nb\nc\nd\ne\n");
	turn();
	for (int i = 0; i < SLOTS; i++) {
		assert_true(sink_next(&sink, &line));
		slots[i] = take('.');
	}
	assert_false(sink_next(&sink, &line));
	sink_flush(&sink, 0);
	assert_int_not_equal(turn(), 0);
	sink_done(&slots[0]->slot);
	sink_flush(&sink, 0);
	/* A line lies in the block, and nothing else would wake the loop. */
	assert_int_equal(turn(), 0);
	expect_line("e");
	good = true;
}

static void stop_behind_a_refused_record(void)
{
	struct own_slot *first, *last;
	struct span line;

	open_on("a\nb\nc\nd\n");
	turn();
	expect_line("a");
	first = take('1');
	expect_line("b");
	take('2');
	expect_line("c");
	last = take('3');
	sink_done(&last->slot);
	sink_refuse(&sink, 1, CLASS_LOOP, false, "loop");
	assert_false(sink_next(&sink, &line));
	sink_flush(&sink, 0);
	expect_output("");
	sink_done(&first->slot);
	sink_flush(&sink, 0);
	expect_output("a1\n");
	assert_false(sink_runs(&sink));
	good = sink_close(&sink) == EXIT_REFUSED;
}

static void keep_long_lines_in_order(void)
{
	struct own_slot *first, *last;

	open_on("a\n123456789012345678901\nb\n");
	sink.in.dead.policy = DEAD_SKIP;
	turn();
	expect_line("a");
	first = take('1');
	expect_line("b");
	last = take('2');
	assert_int_equal(sink.tail, 3);
	assert_true(sink_slot(&sink, 1)->refused);
	sink_done(&last->slot);
	sink_flush(&sink, 0);
	assert_int_equal(sink.head, 0);
	sink_done(&first->slot);
	sink_flush(&sink, 0);
	assert_int_equal(sink.head, 3);
	expect_output("a1\nb2\n");
	good = sink_close(&sink) == EXIT_REFUSED;
}

static void lose_the_reader(void)
{
	open_on("a\n");
	turn();
	expect_line("a");
	sink_done(&take('1')->slot);
	close(output);
	sink_flush(&sink, 0);
	assert_false(sink_runs(&sink));
	good = sink_close(&sink) == EXIT_TEMP;
}

static void have_room_again(void)
{
	struct span line;

	open_on("a\n");
	turn();
	expect_line("a");
	sink_done(&take('1')->slot);
	assert_false(sink_next(&sink, &line));
	full = true;
	sink_flush(&sink, 0);
	expect_output("");
	turn();
	assert_false(sink_next(&sink, &line)); /* the end of the input */
	assert_int_not_equal(turn(), 0);
	/* Room that comes after the flush makes no event. */
	full = false;
	assert_int_equal(turn(), 0);
	sink_flush(&sink, 0);
	expect_output("a1\n");
	good = sink_close(&sink) == EXIT_DONE;
}

/* In a process of its own: a sink takes the standard descriptors and may die. */
static void run(void (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		alarm(30);
		msg_init("prog");
		fn();
		_exit(good ? 42 : 43);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

static void slots_are_released_in_the_order_of_input(void **state)
{
	(void)state;
	run(release_in_order);
}

static void a_line_without_a_slot_waits_and_is_taken_without_an_event(void **state)
{
	(void)state;
	run(wait_for_room);
}

static void behind_a_record_refused_under_stop_nothing_is_handed_on(void **state)
{
	(void)state;
	run(stop_behind_a_refused_record);
}

static void a_line_over_the_limit_has_its_place_among_the_others(void **state)
{
	(void)state;
	run(keep_long_lines_in_order);
}

static void a_reader_that_goes_ends_it(void **state)
{
	(void)state;
	run(lose_the_reader);
}

static void what_can_be_released_waits_for_no_event(void **state)
{
	(void)state;
	run(have_room_again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_are_released_in_the_order_of_input),
		cmocka_unit_test(a_line_without_a_slot_waits_and_is_taken_without_an_event),
		cmocka_unit_test(behind_a_record_refused_under_stop_nothing_is_handed_on),
		cmocka_unit_test(a_line_over_the_limit_has_its_place_among_the_others),
		cmocka_unit_test(a_reader_that_goes_ends_it),
		cmocka_unit_test(what_can_be_released_waits_for_no_event),
	};

	unsetenv("EVPIPE_ACK");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
