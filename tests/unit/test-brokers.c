/* SPDX-License-Identifier: ISC */
/* lib/kafka/brokers: whether Kafka answers. The tests are one story, of one state. */
#include "kafka/brokers.h"

#include "test.h"

#include <string.h>

#define AWAY "127.0.0.1:9092/1: Connect failed: Connection refused (after 3ms in state CONNECT)"

static void nothing_has_answered_at_the_start(void **state)
{
	struct brokers *b = *state;

	assert_false(brokers_tick(b, 1000));
	assert_true(brokers_answered(b, 1000, "127.0.0.1:9092/bootstrap", -1));
	assert_true(brokers_tick(b, 1000));
	assert_false(brokers_answered(b, 1001, "127.0.0.1:9092/1", 1));
}

static void a_broker_that_is_away_is_until_it_answers(void **state)
{
	struct brokers *b = *state;

	brokers_away(b, 2000, AWAY);
	assert_false(brokers_tick(b, 2000));
	assert_false(brokers_tick(b, 3500));
	/* The bootstrap address alone is worth nothing, another broker all. */
	assert_false(brokers_answered(b, 3600, "127.0.0.1:9999/bootstrap", -1));
	assert_false(brokers_tick(b, 3600));
	/* A controller's answer too. */
	assert_false(brokers_answered(b, 3650, NULL, -1));
	assert_false(brokers_tick(b, 3650));
	assert_false(brokers_answered(b, 3700, "127.0.0.1:9093/2", 2));
	assert_true(brokers_tick(b, 3700));
	assert_true(brokers_answered(b, 3800, "sasl_ssl://127.0.0.1:9092/1", 1));
	assert_true(brokers_tick(b, 3800));
	brokers_all_away(b);
	assert_false(brokers_tick(b, 3900));
	assert_true(brokers_answered(b, 4000, "127.0.0.1:9092/1", 1));
	assert_true(brokers_tick(b, 4000));
}

static void no_answer_for_five_seconds_is_mute(void **state)
{
	struct brokers *b = *state;

	/* What is not asked does not answer. */
	assert_true(brokers_tick(b, 100000));
	brokers_asked(b, 100000, 0);
	brokers_asked(b, 104000, 0);
	assert_true(brokers_tick(b, 104999));
	assert_false(brokers_tick(b, 105000));
	assert_false(brokers_tick(b, 106000));
	assert_true(brokers_answered(b, 106000, "127.0.0.1:9092/1", 1));
	assert_true(brokers_tick(b, 106000));
	assert_true(brokers_tick(b, 200000));
}

static void the_answer_that_is_due_first_counts(void **state)
{
	struct brokers *b = *state;

	brokers_asked(b, 200000, 60000);
	assert_true(brokers_tick(b, 264999));
	brokers_asked(b, 250000, 0);
	assert_false(brokers_tick(b, 255000));
	assert_true(brokers_answered(b, 255000, "127.0.0.1:9092/1", 1));
	/* A broker that keeps a fetch for long is not mute. */
	brokers_asked(b, 300000, 60000);
	assert_true(brokers_tick(b, 364999));
	assert_false(brokers_tick(b, 365000));
	assert_true(brokers_answered(b, 365000, "127.0.0.1:9092/1", 1));
	assert_true(brokers_tick(b, 365000));
}

static void who_is_away_is_not_waited_for_as_mute(void **state)
{
	struct brokers *b = *state;

	brokers_asked(b, 400000, 0);
	brokers_away(b, 401000, AWAY);
	assert_false(brokers_answered(b, 402000, "127.0.0.1:9093/2", 2));
	assert_true(brokers_tick(b, 402000));
	brokers_away(b, 403000, "no broker's words");
	assert_true(brokers_tick(b, 500000));
	brokers_asked(b, 500000, 0);
	brokers_all_away(b);
	assert_true(brokers_answered(b, 501000, "127.0.0.1:9093/2", 2));
	assert_true(brokers_tick(b, 600000));
}

static void another_state_knows_nothing_of_it(void **state)
{
	struct brokers *b = *state, other;

	brokers_open(&other);
	brokers_answered(&other, 1000, "127.0.0.1:9092/1", 1);
	brokers_all_away(b);
	assert_false(brokers_tick(b, 1000));
	assert_true(brokers_tick(&other, 1000));
	brokers_close(&other);
}

/* The broker is told away when brokers_next_ms has nothing left to come. */
static void each_address_of_a_name_is_tried_before_it_is_told(void **state)
{
	struct brokers b;

	(void)state;
	brokers_open(&b);
	brokers_resolved(&b, "both", "9092", 2);
	brokers_away(&b, 1000, "both:9092/1: Connect to ipv4#127.0.0.2:9092 failed: refused");
	brokers_tick(&b, 1600);
	assert_int_equal(brokers_next_ms(&b), 6000);
	/* The second one answers. */
	brokers_answered(&b, 1700, "both:9092/1", 1);
	assert_true(brokers_tick(&b, 1700));
	/* Now none does. */
	brokers_away(&b, 2000, "both:9092/1: Connect to ipv4#127.0.0.2:9092 failed: refused");
	brokers_away(&b, 2100, "both:9092/1: Connect to ipv4#127.0.0.1:9092 failed: refused");
	brokers_tick(&b, 2100);
	assert_int_equal(brokers_next_ms(&b), 2500);
	brokers_tick(&b, 2500);
	assert_int_equal(brokers_next_ms(&b), INT64_MAX);
	brokers_answered(&b, 3000, "both:9092/1", 1);
	brokers_tick(&b, 3000);
	/* What is no matter of an address is told at once, and so is a name that has one now. */
	brokers_away(&b, 4000, "both:9092/1: Disconnected");
	brokers_tick(&b, 4000);
	assert_int_equal(brokers_next_ms(&b), 4500);
	brokers_answered(&b, 4100, "both:9092/1", 1);
	brokers_tick(&b, 4100);
	brokers_resolved(&b, "both", "9092", 1);
	brokers_away(&b, 5000, "both:9092/1: Connect to ipv4#127.0.0.2:9092 failed: refused");
	brokers_tick(&b, 5000);
	assert_int_equal(brokers_next_ms(&b), 5500);
	brokers_close(&b);
}

static void a_diagnosis_is_wanted_once_for_each_that_is_away(void **state)
{
	struct brokers b;

	(void)state;
	brokers_open(&b);
	assert_false(brokers_wonder(&b, 2000));
	brokers_answered(&b, 1000, "one:9092/1", 1);
	brokers_away(&b, 1000, "two:9092/2: Disconnected");
	brokers_away(&b, 1000, "one:9092/1: Disconnected");
	assert_true(brokers_wonder(&b, 2000));
	/* Of one that was there, and may be back, the way to it is known. */
	brokers_explain(&b, 1000, "one:9092", "refused", "another address", true, false);
	brokers_explain(&b, 1000, "two:9092", "refused", "another address", true, false);
	assert_string_equal(b.away[0].remedy, "another address");
	assert_string_equal(b.away[1].remedy, "");
	brokers_looked(&b, 2000);
	assert_false(brokers_wonder(&b, 2000));
	brokers_away(&b, 2000, "three:9092/3: Disconnected");
	assert_true(brokers_wonder(&b, 2000));
	brokers_answered(&b, 2000, "three:9092/3", 3);
	assert_false(brokers_wonder(&b, 2000));
	brokers_close(&b);
}

/* Of a server that takes a connection and is silent librdkafka says nothing for long. */
static void a_diagnosis_is_wanted_once_of_a_connection_that_is_slow(void **state)
{
	struct brokers b;

	(void)state;
	brokers_open(&b);
	brokers_answered(&b, 1000, "one:9092/1", 1);
	brokers_tried(&b, 1000, "two", "9092");
	brokers_greeted(&b, 1000, "ssl://two:9092/2");
	brokers_tried(&b, 1000, "::1", "9092");
	brokers_tried(&b, 1000, "::2", "9092");
	assert_false(brokers_wonder(&b, 1999));
	assert_true(brokers_wonder(&b, 2000));
	brokers_welcomed(&b, "two:9092/2");
	assert_true(brokers_wonder(&b, 2000));
	/* One that is advertised has no brackets, one of the command line has. */
	brokers_welcomed(&b, "::1:9092/3");
	assert_true(brokers_wonder(&b, 2000));
	brokers_welcomed(&b, "[::2]:9092/4");
	assert_false(brokers_wonder(&b, 2000));
	brokers_tried(&b, 3000, "two", "9092");
	/* It ended before the connection was slow, and the next one after. */
	brokers_looked(&b, 3500);
	assert_true(brokers_wonder(&b, 4000));
	assert_false(brokers_tries(&b, 4000, "four:9092"));
	assert_true(brokers_tries(&b, 4000, "two:9092"));
	brokers_explain(&b, 4000, "two:9092", "silent", "", false, true);
	brokers_looked(&b, 4000);
	assert_false(brokers_wonder(&b, 9000));
	assert_false(brokers_told(&b));
	brokers_tick(&b, 4000);
	assert_true(brokers_told(&b));
	/* librdkafka gives it up, and tries again: no news. */
	brokers_away(&b, 13000, "two:9092/2: ApiVersionRequest failed: Local: Timed out");
	brokers_tried(&b, 13100, "two", "9092");
	assert_false(brokers_wonder(&b, 20000));
	brokers_answered(&b, 21000, "two:9092/2", 2);
	brokers_tick(&b, 21000);
	assert_false(brokers_told(&b));
	brokers_close(&b);
}

static void what_librdkafka_adds_is_cut_off(void **state)
{
	char text[] = AWAY;

	(void)state;

	brokers_cut_after(text);
	assert_string_equal(text, "127.0.0.1:9092/1: Connect failed: Connection refused");
}

static int setup(void **state)
{
	static struct brokers b;

	brokers_open(&b);
	*state = &b;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_has_answered_at_the_start),
		cmocka_unit_test(a_broker_that_is_away_is_until_it_answers),
		cmocka_unit_test(no_answer_for_five_seconds_is_mute),
		cmocka_unit_test(the_answer_that_is_due_first_counts),
		cmocka_unit_test(who_is_away_is_not_waited_for_as_mute),
		cmocka_unit_test(another_state_knows_nothing_of_it),
		cmocka_unit_test(each_address_of_a_name_is_tried_before_it_is_told),
		cmocka_unit_test(a_diagnosis_is_wanted_once_for_each_that_is_away),
		cmocka_unit_test(a_diagnosis_is_wanted_once_of_a_connection_that_is_slow),
		cmocka_unit_test(what_librdkafka_adds_is_cut_off),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
