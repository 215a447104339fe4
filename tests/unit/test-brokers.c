/* SPDX-License-Identifier: ISC */
/* lib/brokers: whether Kafka answers. State is the process's, so the tests are one story. */
#include "kafka/brokers.h"

#include "test.h"

#include <string.h>

#define AWAY "127.0.0.1:9092/1: Connect failed: Connection refused (after 3ms in state CONNECT)"

static void nothing_has_answered_at_the_start(void **state)
{
	(void)state;
	assert_false(brokers_tick(1000));
	assert_true(brokers_answered(1000, "127.0.0.1:9092/bootstrap", -1));
	assert_true(brokers_tick(1000));
	assert_false(brokers_answered(1001, "127.0.0.1:9092/1", 1));
}

static void a_broker_that_is_away_is_until_it_answers(void **state)
{
	(void)state;
	brokers_away(2000, AWAY);
	assert_false(brokers_tick(2000));
	assert_false(brokers_tick(3500));
	/* The bootstrap address alone is worth nothing, another broker all. */
	assert_false(brokers_answered(3600, "127.0.0.1:9999/bootstrap", -1));
	assert_false(brokers_tick(3600));
	assert_false(brokers_answered(3700, "127.0.0.1:9093/2", 2));
	assert_true(brokers_tick(3700));
	assert_true(brokers_answered(3800, "sasl_ssl://127.0.0.1:9092/1", 1));
	assert_true(brokers_tick(3800));
	brokers_all_away();
	assert_false(brokers_tick(3900));
	assert_true(brokers_answered(4000, "127.0.0.1:9092/1", 1));
	assert_true(brokers_tick(4000));
}

static void no_answer_for_five_seconds_is_mute(void **state)
{
	(void)state;
	/* What is not asked does not answer. */
	assert_true(brokers_tick(100000));
	brokers_asked(100000, 0);
	brokers_asked(104000, 0);
	assert_true(brokers_tick(104999));
	assert_false(brokers_tick(105000));
	assert_false(brokers_tick(106000));
	assert_true(brokers_answered(106000, "127.0.0.1:9092/1", 1));
	assert_true(brokers_tick(106000));
	assert_true(brokers_tick(200000));
}

static void the_answer_that_is_due_first_counts(void **state)
{
	(void)state;
	brokers_asked(200000, 60000);
	assert_true(brokers_tick(264999));
	brokers_asked(250000, 0);
	assert_false(brokers_tick(255000));
	assert_true(brokers_answered(255000, "127.0.0.1:9092/1", 1));
	/* A broker that keeps a fetch for long is not mute. */
	brokers_asked(300000, 60000);
	assert_true(brokers_tick(364999));
	assert_false(brokers_tick(365000));
	assert_true(brokers_answered(365000, "127.0.0.1:9092/1", 1));
	assert_true(brokers_tick(365000));
}

static void who_is_away_is_not_waited_for_as_mute(void **state)
{
	(void)state;
	brokers_asked(400000, 0);
	brokers_away(401000, AWAY);
	assert_false(brokers_answered(402000, "127.0.0.1:9093/2", 2));
	assert_true(brokers_tick(402000));
	brokers_away(403000, "no broker's words");
	assert_true(brokers_tick(500000));
	brokers_asked(500000, 0);
	brokers_all_away();
	assert_true(brokers_answered(501000, "127.0.0.1:9093/2", 2));
	assert_true(brokers_tick(600000));
}

static void what_librdkafka_adds_is_cut_off(void **state)
{
	char text[] = AWAY;

	(void)state;
	brokers_cut_after(text);
	assert_string_equal(text, "127.0.0.1:9092/1: Connect failed: Connection refused");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_has_answered_at_the_start),
		cmocka_unit_test(a_broker_that_is_away_is_until_it_answers),
		cmocka_unit_test(no_answer_for_five_seconds_is_mute),
		cmocka_unit_test(the_answer_that_is_due_first_counts),
		cmocka_unit_test(who_is_away_is_not_waited_for_as_mute),
		cmocka_unit_test(what_librdkafka_adds_is_cut_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
