/* SPDX-License-Identifier: ISC */
/* The words of a sink that keeps positions: partitions and offsets. */
#include "ack/position.h"
#include "test.h"

static void a_partition_is_a_topic_and_a_number(void **state)
{
	static const char *const none[] = {
		"", "t", "t ", " 0", "t -1", "t x", "t 2147483648", "t 0x1", "t +1"};
	struct span line = SPAN("t-1 12 rest of it"), topic;
	int32_t partition;

	(void)state;
	assert_true(ack_place_take(&line, &topic, &partition));
	assert_true(span_is(topic, "t-1"));
	assert_int_equal(partition, 12);
	assert_true(span_is(line, "rest of it"));
	line = SPAN("t 2147483647");
	assert_true(ack_place_take(&line, &topic, &partition));
	assert_int_equal(partition, INT32_MAX);
	assert_int_equal(line.len, 0);
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		line = (struct span){none[i], strlen(none[i])};
		assert_false(ack_place_take(&line, &topic, &partition));
	}
}

static void an_offset_is_a_number_or_none(void **state)
{
	static const char *const none[] = {"", " ", " 1", "-1", "--", "+1", "1x",
		"9223372036854775808", "99999999999999999999", "0x1", "1\t"};
	struct span line = SPAN("0 - 9223372036854775807 next");
	int64_t offset;

	(void)state;
	assert_true(ack_offset_take(&line, &offset));
	assert_int_equal(offset, 0);
	assert_true(ack_offset_take(&line, &offset));
	assert_int_equal(offset, -1);
	assert_true(ack_offset_take(&line, &offset));
	assert_int_equal(offset, INT64_MAX);
	assert_true(span_is(line, "next"));
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		line = (struct span){none[i], strlen(none[i])};
		assert_false(ack_offset_take(&line, &offset));
	}
}

static void an_offset_is_written_as_it_is_read(void **state)
{
	static const int64_t offsets[] = {-1, 0, 1, INT64_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		struct buf b = {0};
		struct span line;
		int64_t offset;

		ack_offset_put(&b, offsets[i]);
		line = buf_as_span(&b);
		assert_true(ack_offset_take(&line, &offset));
		assert_int_equal(offset, offsets[i]);
		buf_free(&b);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_partition_is_a_topic_and_a_number),
		cmocka_unit_test(an_offset_is_a_number_or_none),
		cmocka_unit_test(an_offset_is_written_as_it_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
