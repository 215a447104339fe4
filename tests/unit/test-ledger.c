/* SPDX-License-Identifier: ISC */
/* lib/ledger: rule by rule. prop-ledger.c tries random histories. */
#include "ack/ledger-parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SINK = 1, FILTER = 0 };

static struct ledger *l;
static struct ledger_part *p, *q;

/* Two partitions, window @window; p is at offset 10, q at 20. */
static void begin(uint64_t window, bool order)
{
	ledger_free(l);
	l = ledger_new(window, 1 << 20, order);
	p = ledger_assign(l, "t", 0, NULL);
	q = ledger_assign(l, "t", 1, NULL);
}

/* Emits as many to p as there are letters p, and so on: "ppq". */
static void emit(const char *to)
{
	static int64_t at[2];

	if (ledger_last(l) == 0) {
		at[0] = 10;
		at[1] = 20;
	}
	for (; *to; to++)
		ledger_emit(l, *to == 'p' ? p : q, at[*to == 'q']++, 0, 100, 0);
}

static enum ledger_answer report(int sink, enum ledger_kind kind, const char *text)
{
	struct label label;

	assert_int_equal(label_parse(&label, (struct span){text, strlen(text)}), 0);
	return ledger_report(l, sink, kind, &label, 0);
}

static enum ledger_answer ask(const char *labels)
{
	return ledger_txn(l, (struct span){labels, strlen(labels)});
}

#define final(text) report(SINK, LEDGER_FINAL, text)
#define drop(text) report(FILTER, LEDGER_DROP, text)
#define taken(e) assert_int_equal(e, LEDGER_TAKEN)

static int end(void **state)
{
	(void)state;
	ledger_free(l);
	l = NULL;
	return 0;
}

static void a_position_waits_for_all_below(void **state)
{
	(void)state;
	begin(100, false);
	emit("pqpp");
	assert_int_equal(ledger_position(l, p), -1);
	taken(final("3"));
	assert_int_equal(ledger_position(l, p), 10);
	assert_int_equal(ledger_position(l, q), -1);
	taken(final("1-2"));
	assert_int_equal(ledger_position(l, p), 12);
	assert_int_equal(ledger_position(l, q), 21);
	taken(drop("4"));
	assert_int_equal(ledger_position(l, p), 13);
	assert_int_equal(ledger_counts(l).final, 3);
	assert_int_equal(ledger_counts(l).dropped, 1);
	assert_int_equal(ledger_counts(l).open, 0);
}

static void offsets_without_records_are_passed(void **state)
{
	(void)state;
	begin(100, false);
	emit("p");
	ledger_skip(p, 15);
	taken(final("1"));
	assert_int_equal(ledger_position(l, p), 15);
	ledger_skip(q, 22);
	assert_int_equal(ledger_position(l, q), 22);
	ledger_skip(q, 21);
	assert_int_equal(ledger_position(l, q), 22);
}

static void a_number_is_reported_once(void **state)
{
	(void)state;
	begin(100, false);
	emit("ppp");
	taken(final("1"));
	assert_int_equal(final("1"), LEDGER_TWICE);
	assert_int_equal(drop("1"), LEDGER_TWICE);
	assert_int_equal(final("1-2"), LEDGER_TWICE);
	assert_int_equal(ledger_counts(l).open, 2);
	taken(final("2"));
}

static void what_was_not_emitted_is_garbage(void **state)
{
	(void)state;
	begin(100, false);
	assert_int_equal(final("1"), LEDGER_GARBAGE);
	emit("p");
	assert_int_equal(final("1-2"), LEDGER_GARBAGE);
	assert_int_equal(ledger_counts(l).open, 1);
}

static void all_parts_are_needed(void **state)
{
	(void)state;
	begin(100, false);
	emit("pp");
	taken(final("1.2/3"));
	taken(drop("1.1/3"));
	assert_int_equal(final("1.1/3"), LEDGER_TWICE);
	assert_int_equal(final("1"), LEDGER_TWICE);
	assert_int_equal(final("1.1/2"), LEDGER_GARBAGE);
	assert_int_equal(ledger_position(l, p), -1);
	taken(final("2"));
	assert_int_equal(ledger_position(l, p), 10);
	taken(final("1.3/3"));
	assert_int_equal(ledger_position(l, p), 12);
	assert_int_equal(ledger_counts(l).final, 2);
	assert_int_equal(final("1.3/3"), LEDGER_TWICE);
}

static void parts_of_a_set_count_for_each_of_its_numbers(void **state)
{
	(void)state;
	begin(100, false);
	emit("pppp");
	taken(final("1,3.1/2"));
	assert_int_equal(final("1-3.2/2"), LEDGER_GARBAGE);
	assert_int_equal(final("1,4.2/2"), LEDGER_GARBAGE);
	taken(final("2"));
	taken(final("4"));
	assert_int_equal(ledger_position(l, p), 10);
	taken(drop("1,3.2/2"));
	assert_int_equal(ledger_position(l, p), 14);
	assert_int_equal(ledger_counts(l).final, 4);
}

static void an_ended_assignment_leaves(void **state)
{
	(void)state;
	begin(3, false);
	emit("ppq");
	assert_true(ledger_full(l));
	ledger_end(l, p);
	assert_false(ledger_full(l));
	p = ledger_assign(l, "t", 0, NULL);
	emit("p");
	taken(final("2"));
	assert_int_equal(ledger_counts(l).late, 1);
	assert_int_equal(ledger_position(l, p), -1);
	taken(final("4"));
	assert_int_equal(ledger_position(l, p), 13);
	taken(final("1.1/2"));
	taken(final("1.2/2"));
	assert_int_equal(ledger_counts(l).late, 2);
	assert_int_equal(ledger_counts(l).ended, 2);
}

/* What is forgotten of them is taken for late, not for a second report. */
static void not_all_ended_numbers_are_remembered(void **state)
{
	enum { MANY = 70000 };

	(void)state;
	begin(MANY, false);
	emit("q");
	/* Each has an entry of its own. */
	for (int i = 1; i < MANY; i++)
		ledger_emit(l, p, 2 * i, 0, 100, 0);
	ledger_end(l, p);
	p = ledger_assign(l, "t", 0, NULL);
	taken(final("2"));
	taken(final("2"));
	assert_int_equal(ledger_counts(l).late, 0);
	taken(final("70000"));
	assert_int_equal(ledger_counts(l).late, 1);
	assert_int_equal(final("70000"), LEDGER_TWICE);
	taken(final("1"));
	assert_int_equal(ledger_position(l, q), 21);
	assert_int_equal(ask("2"), LEDGER_ABORT);
}

static void the_window_counts_records_and_bytes(void **state)
{
	(void)state;
	begin(3, false);
	emit("pp");
	assert_false(ledger_full(l));
	emit("p");
	assert_true(ledger_full(l));
	taken(final("2"));
	assert_false(ledger_full(l));
	ledger_emit(l, p, 13, 0, 2 << 20, 0);
	assert_true(ledger_full(l));
	taken(final("4"));
	assert_false(ledger_full(l));
	begin(0, false);
	assert_false(ledger_full(l));
	emit("p");
	assert_true(ledger_full(l));
}

static void what_a_crash_would_repeat_fills_the_window(void **state)
{
	uint64_t covered;

	(void)state;
	begin(3, false);
	emit("ppq");
	taken(final("1"));
	taken(final("3"));
	assert_false(ledger_full(l));
	covered = ledger_covered(l, p);
	assert_int_equal(covered, 1);
	ledger_committed(l, p, 0);
	assert_int_equal(ledger_uncommitted(l), 3);
	assert_true(ledger_full(l));
	taken(final("2"));
	ledger_committed(l, p, covered);
	assert_int_equal(ledger_uncommitted(l), 2);
	assert_false(ledger_full(l));
	assert_int_equal(ledger_covered(l, p), 2);
	assert_int_equal(ledger_covered(l, q), 1);
	emit("p");
	assert_true(ledger_full(l));
	ledger_end(l, p);
	assert_int_equal(ledger_uncommitted(l), 1);
	p = ledger_assign(l, "t", 0, NULL);
}

static void emit_many(int count)
{
	while (count--)
		emit("p");
}

static void a_commit_is_due_when_the_room_will_just_do(void **state)
{
	(void)state;
	begin(64, false);
	ledger_committed(l, p, 0);
	emit_many(31);
	assert_false(ledger_commit_due(l, 31));
	emit_many(1);
	assert_true(ledger_commit_due(l, 4));
	assert_false(ledger_commit_due(l, 3));
	/* 16 of 64 are left when the answer comes: the next one can be sent 4 later. */
	emit_many(16);
	ledger_committed(l, p, 32);
	emit_many(19);
	assert_false(ledger_commit_due(l, 32));
	emit_many(1);
	assert_true(ledger_commit_due(l, 32));
	/* No room is left: the next one is sent earlier. */
	emit_many(28);
	assert_true(ledger_full(l));
	ledger_committed(l, p, 64);
	assert_true(ledger_commit_due(l, 32));
	/* It is never later than with an eighth left. */
	for (int i = 0; i < 20; i++) {
		emit_many(1);
		ledger_committed(l, p, 97 + (uint64_t)i);
	}
	emit_many(55);
	assert_false(ledger_commit_due(l, 32));
	emit_many(1);
	assert_true(ledger_commit_due(l, 32));
	/* No window is so small that nothing is ever due, or nothing is something. */
	begin(1, false);
	ledger_committed(l, p, 0);
	emit("p");
	assert_true(ledger_commit_due(l, 1));
	assert_false(ledger_commit_due(l, 0));
}

static void a_source_that_cannot_wait_forgets(void **state)
{
	(void)state;
	begin(2, false);
	emit("ppp");
	ledger_forget(l);
	taken(final("1"));
	taken(final("2"));
	assert_int_equal(ledger_counts(l).forgotten, 1);
	assert_int_equal(ledger_counts(l).open, 1);
}

static void in_order_the_sink_vouches_for_what_is_below(void **state)
{
	(void)state;
	begin(100, true);
	emit("pppppp");
	taken(drop("5"));
	assert_int_equal(ledger_position(l, p), 10);
	taken(final("3"));
	assert_int_equal(ledger_position(l, p), 13);
	assert_int_equal(ledger_counts(l).vouched, 2);
	taken(drop("2"));
	assert_int_equal(final("2"), LEDGER_BACKWARDS);
	assert_int_equal(final("3"), LEDGER_TWICE);
	taken(final("4.1/2"));
	assert_int_equal(ledger_position(l, p), 13);
	taken(final("4.2/2"));
	assert_int_equal(ledger_position(l, p), 15);
	taken(report(SINK, LEDGER_DEAD, "6"));
	assert_int_equal(ledger_position(l, p), 16);
}

static void in_order_any_number_of_dropped_records_takes_bounded_room(void **state)
{
	(void)state;
	begin(100, true);
	for (int i = 0; i < 1000000; i += 4)
		emit("ppqp");
	assert_true(l->entry_count < 16384);
	taken(final("1000000"));
	assert_int_equal(ledger_counts(l).open, 0);
	assert_int_equal(ledger_position(l, p), 10 + 750000);
	assert_int_equal(ledger_position(l, q), 20 + 250000);
}

static void a_transaction_has_no_gap_below(void **state)
{
	(void)state;
	begin(100, false);
	emit("ppqpp");
	assert_int_equal(ask("2 3"), LEDGER_WAIT);
	assert_int_equal(ask("1-2 3"), LEDGER_TAKEN);
	assert_int_equal(ledger_txn_position(l, p), 12);
	assert_int_equal(ledger_txn_position(l, q), 21);
	assert_int_equal(ledger_position(l, p), -1);
	taken(drop("1"));
	assert_int_equal(ask("2 3"), LEDGER_TAKEN);
	taken(final("2-3"));
	assert_int_equal(ask(""), LEDGER_TAKEN);
	assert_int_equal(ledger_txn_position(l, p), 12);
	assert_int_equal(ask("2"), LEDGER_TWICE);
	assert_int_equal(ask("9"), LEDGER_GARBAGE);
	assert_int_equal(ask("4  5"), LEDGER_GARBAGE);
	assert_int_equal(ask("4.1/2"), LEDGER_WAIT);
	assert_int_equal(ask("4.1/2 5 4.2/2"), LEDGER_TAKEN);
	taken(drop("4.2/2"));
	assert_int_equal(ask("4.1/2"), LEDGER_TAKEN);
	assert_int_equal(ledger_txn_position(l, p), 13);
}

static void a_transaction_names_a_label_once(void **state)
{
	(void)state;
	begin(100, false);
	emit("ppp");
	assert_int_equal(ask("1 1"), LEDGER_TWICE);
	assert_int_equal(ask("1 1-2"), LEDGER_TWICE);
	assert_int_equal(ask("1.1/2 1.1/2"), LEDGER_TWICE);
	assert_int_equal(ask("1.1/2 1.2/3"), LEDGER_GARBAGE);
	assert_int_equal(ask("1.1/2 1.2/2 1.2/2"), LEDGER_TWICE);
	taken(drop("2.1/2"));
	assert_int_equal(ask("1.1/2 1.2/2 2.1/2"), LEDGER_TWICE);
	assert_int_equal(ask("1.1/2 1.2/2 2"), LEDGER_TWICE);
	assert_int_equal(ask("1.1/2 1.2/2 2.2/2"), LEDGER_TAKEN);
	assert_int_equal(ledger_txn_position(l, p), 12);
}

static void in_order_a_transaction_vouches_for_what_is_below(void **state)
{
	(void)state;
	begin(100, true);
	emit("ppppp");
	assert_int_equal(ask("2 4.1/2"), LEDGER_WAIT);
	assert_int_equal(ask("2 4.1/2 4.2/2"), LEDGER_TAKEN);
	assert_int_equal(ledger_txn_position(l, p), 14);
	assert_int_equal(ledger_position(l, p), -1);
	taken(final("2"));
	assert_int_equal(ask("1"), LEDGER_TWICE);
}

static void parts_of_a_set_of_which_some_are_forgotten(void **state)
{
	(void)state;
	begin(100, false);
	emit("ppp");
	taken(final("1,3.1/2"));
	ledger_forget(l);
	taken(final("1,3.2/2"));
	assert_int_equal(ledger_counts(l).open, 1);
	taken(final("2.1/2"));
	ledger_forget(l);
	taken(final("2.2/2"));
	assert_int_equal(ledger_counts(l).open, 0);
	assert_int_equal(ledger_counts(l).final, 1);
}

static void a_transaction_of_an_ended_assignment_is_aborted(void **state)
{
	(void)state;
	begin(100, false);
	emit("pq");
	ledger_end(l, p);
	p = ledger_assign(l, "t", 0, NULL);
	assert_int_equal(ask("1-2"), LEDGER_ABORT);
	assert_int_equal(ask("2"), LEDGER_TAKEN);
}

static void note(void *ctx, const struct ledger_open *o)
{
	buf_printf(ctx, "%s %d %lld %llu;", o->part->topic, (int)o->part->partition,
		(long long)o->at, (unsigned long long)o->count);
}

static void check_stalled(enum ledger_members members, int64_t now_us, const char *expected)
{
	struct buf got = {0};

	ledger_stalled(l, members, now_us, 30, note, &got);
	buf_putc(&got, '\0');
	assert_string_equal(got.p, expected);
	buf_free(&got);
}

static void what_is_overdue_is_named(void **state)
{
	(void)state;
	begin(100, false);
	emit("pppq");
	check_stalled(LEDGER_WORK, 100, "");
	taken(final("2"));
	check_stalled(LEDGER_WORK, 200, "");
	check_stalled(LEDGER_WORK, 229, "");
	check_stalled(LEDGER_WORK, 230, "t 0 10 1;");
	check_stalled(LEDGER_SINK_IDLE, 300, "t 0 10 1;");
	check_stalled(LEDGER_SINK_IDLE, 330, "t 1 20 1;t 0 10 2;");
	taken(final("1"));
	/* Something moves: a slow program may hold what is behind it. */
	check_stalled(LEDGER_SINK_IDLE, 330, "");
	check_stalled(LEDGER_SINK_IDLE, 340, "");
	check_stalled(LEDGER_SINK_IDLE, 369, "");
	check_stalled(LEDGER_SINK_IDLE, 370, "t 1 20 1;t 0 12 1;");
}

/* A sink that cannot deliver is not to be taken for a filter that swallows. */
static void what_the_sink_may_hold_is_not_overdue(void **state)
{
	(void)state;
	begin(100, false);
	emit("pppp");
	taken(drop("4"));
	check_stalled(LEDGER_WORK, 100, "");
	check_stalled(LEDGER_WORK, 200, "");
	check_stalled(LEDGER_SINK_IDLE, 300, "");
	check_stalled(LEDGER_WORK, 400, "");
	taken(final("2"));
	check_stalled(LEDGER_WORK, 500, "");
	check_stalled(LEDGER_WORK, 530, "t 0 10 1;");
	/* A filter may hold it. */
	check_stalled(LEDGER_FILTER_BUSY, 540, "");
	check_stalled(LEDGER_WORK, 600, "");
	check_stalled(LEDGER_WORK, 630, "t 0 10 1;");
}

static void what_a_transaction_waits_for_is_overdue(void **state)
{
	(void)state;
	begin(100, false);
	emit("pppp");
	assert_int_equal(ask("1 3"), LEDGER_WAIT);
	check_stalled(LEDGER_WORK, 100, "");
	check_stalled(LEDGER_WORK, 130, "t 0 11 1;");
	assert_int_equal(ask("1 3 2"), LEDGER_TAKEN);
	check_stalled(LEDGER_WORK, 200, "");
	assert_int_equal(ask("1 3 2 4.1/2"), LEDGER_WAIT);
	check_stalled(LEDGER_WORK, 300, "");
	check_stalled(LEDGER_WORK, 330, "t 0 13 1;");
	taken(final("4.2/2"));
	assert_int_equal(ask("2 3"), LEDGER_WAIT);
	check_stalled(LEDGER_WORK, 400, "t 0 13 1;");
	check_stalled(LEDGER_WORK, 430, "t 0 10 2;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_position_waits_for_all_below),
		cmocka_unit_test(offsets_without_records_are_passed),
		cmocka_unit_test(a_number_is_reported_once),
		cmocka_unit_test(what_was_not_emitted_is_garbage),
		cmocka_unit_test(all_parts_are_needed),
		cmocka_unit_test(parts_of_a_set_count_for_each_of_its_numbers),
		cmocka_unit_test(an_ended_assignment_leaves),
		cmocka_unit_test(not_all_ended_numbers_are_remembered),
		cmocka_unit_test(the_window_counts_records_and_bytes),
		cmocka_unit_test(what_a_crash_would_repeat_fills_the_window),
		cmocka_unit_test(a_commit_is_due_when_the_room_will_just_do),
		cmocka_unit_test(a_source_that_cannot_wait_forgets),
		cmocka_unit_test(in_order_the_sink_vouches_for_what_is_below),
		cmocka_unit_test(in_order_any_number_of_dropped_records_takes_bounded_room),
		cmocka_unit_test(a_transaction_has_no_gap_below),
		cmocka_unit_test(a_transaction_names_a_label_once),
		cmocka_unit_test(in_order_a_transaction_vouches_for_what_is_below),
		cmocka_unit_test(parts_of_a_set_of_which_some_are_forgotten),
		cmocka_unit_test(a_transaction_of_an_ended_assignment_is_aborted),
		cmocka_unit_test(what_is_overdue_is_named),
		cmocka_unit_test(what_the_sink_may_hold_is_not_overdue),
		cmocka_unit_test(what_a_transaction_waits_for_is_overdue),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
