/* SPDX-License-Identifier: ISC */
/* Places, groups and configurations in Kafka's protocol: what is written, what is read, and that no
 * answer cut short is taken. */
#define _GNU_SOURCE
#include "kafka/query.h"
#include "answers.h"

static int16_t answer_version, answer_error;
static struct query_coordinator coordinator;
static struct query_places places;
static struct span first, second;

static int read_coordinator(struct span body)
{
	free(coordinator.broker.host);
	return query_read_find_coordinator(body, answer_version, &coordinator);
}

static int read_places(struct span body)
{
	query_places_free(&places);
	return query_read_offset_fetch(body, answer_version, &answer_error, &places);
}

static int read_configs(struct span body)
{
	return query_read_describe_configs(body, &answer_error, &first, &second);
}

static void test_list_groups(void **state)
{
	struct catalog names = {0};
	struct buf b = {0}, text = {0};
	int16_t error;

	(void)state;
	proto_put_i32(&b, 0);
	proto_put_i16(&b, 0);
	proto_put_i32(&b, 4);
	for (int i = 0; i < 4; i++) {
		proto_put_string(&b, i == 0 ? "b" : i == 3 ? "a\nb" : "a");
		proto_put_string(&b, "consumer");
	}
	assert_int_equal(query_read_list_groups(buf_as_span(&b), 2, &error, &names), 0);
	assert_int_equal(error, 0);
	assert_int_equal(catalog_put(&names, '\n', &text), 1);
	assert_true(span_equal(buf_as_span(&text), SPAN("a\nb\n")));
	b.len--;
	assert_int_equal(query_read_list_groups(buf_as_span(&b), 2, &error, &names), -1);
	catalog_free(&names);
	buf_free(&text);
	buf_free(&b);
}

static void test_list_offsets(void **state)
{
	struct query_places asked = {0}, got = {0};
	struct buf b = {0};

	(void)state;
	query_add_place(&asked, SPAN("a"), 0)->time_ms = QUERY_END;
	query_add_place(&asked, SPAN("a"), 1)->time_ms = 5;
	query_add_place(&asked, SPAN("b"), 0)->time_ms = QUERY_BEGINNING;
	query_put_list_offsets(&b, 1, &asked);
	assert_true(span_equal(buf_as_span(&b),
		SPAN("\377\377\377\377\0\0\0\2\0\1a\0\0\0\2\0\0\0\0\377\377\377\377\377\377\377\377"
		     "\0\0\0\1\0\0\0\0\0\0\0\5\0\1b\0\0\0\1\0\0\0\0\377\377\377\377\377\377\377\376")));
	buf_clear(&b);
	proto_put_i32(&b, 0);
	proto_put_i32(&b, 1);
	proto_put_string(&b, "a");
	proto_put_i32(&b, 1);
	proto_put_i32(&b, 3);
	proto_put_i16(&b, 0);
	proto_put_i64(&b, -1);
	proto_put_i64(&b, 77);
	proto_put_i32(&b, 1);
	assert_int_equal(query_read_list_offsets(buf_as_span(&b), 5, &got), 0);
	assert_int_equal(got.count, 1);
	assert_int_equal(got.list[0].partition, 3);
	assert_int_equal(got.list[0].offset, 77);
	query_places_free(&got);
	b.len--;
	assert_int_equal(query_read_list_offsets(buf_as_span(&b), 5, &got), -1);
	query_places_free(&got);
	query_places_free(&asked);
	buf_free(&b);
}

static void test_group(void **state)
{
	struct buf b = {0}, part = {0};
	struct query_group g;

	(void)state;
	proto_put_i16(&part, 1);
	proto_put_i32(&part, 1);
	proto_put_string(&part, "orders");
	put_ids(&part, 2, (int32_t[]){0, 4});
	proto_put_i32(&b, 0);
	proto_put_i32(&b, 1);
	proto_put_i16(&b, 0);
	proto_put_string(&b, "g");
	proto_put_string(&b, "Stable");
	proto_put_string(&b, "consumer");
	proto_put_string(&b, "range");
	proto_put_i32(&b, 1);
	proto_put_string(&b, "member");
	proto_put_string(&b, NULL);
	proto_put_string(&b, "kread");
	proto_put_string(&b, "/127.0.0.1");
	proto_put_bytes(&b, SPAN("x"));
	proto_put_bytes(&b, buf_as_span(&part));
	proto_put_i32(&b, 0);
	assert_int_equal(query_read_describe_groups(buf_as_span(&b), 4, &g), 0);
	assert_string_equal(g.state, "Stable");
	assert_int_equal(g.member_count, 1);
	assert_string_equal(g.members[0].host, "/127.0.0.1");
	assert_int_equal(g.members[0].places.count, 2);
	assert_int_equal(g.members[0].places.list[1].partition, 4);
	query_group_free(&g);
	for (size_t n = 0; n < b.len; n++) {
		assert_int_equal(query_read_describe_groups((struct span){b.p, n}, 4, &g), -1);
		query_group_free(&g);
	}
	buf_free(&b);
	buf_free(&part);
}

static struct query_group group;

static int read_consumer_group(struct span body)
{
	query_group_free(&group);
	return query_read_consumer_group(body, &group);
}

/* With a topic's id that nobody looks at. */
static void put_compact_places(struct buf *b, int8_t count, int32_t partition)
{
	proto_put_i8(b, 1 + 1);
	proto_put_i64(b, 1);
	proto_put_i64(b, 2);
	proto_put_compact(b, "orders");
	proto_put_i8(b, (int8_t)(count + 1));
	for (int8_t i = 0; i < count; i++)
		proto_put_i32(b, partition + i);
	proto_put_i8(b, 0);
	proto_put_i8(b, 0);
}

/* A text longer than a byte tells, and tagged fields that nobody knows. */
static void test_consumer_group(void **state)
{
	struct buf b = {0};
	struct span all;
	char host[201];

	(void)state;
	memset(host, 'h', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	proto_put_i8(&b, 0);
	proto_put_i32(&b, 0);
	proto_put_i8(&b, 1 + 1);
	proto_put_i16(&b, 0);
	proto_put_i8(&b, 0);
	proto_put_compact(&b, "g");
	proto_put_compact(&b, "Stable");
	proto_put_i64(&b, 3);
	proto_put_compact(&b, "uniform");
	proto_put_i8(&b, 1 + 1);
	proto_put_compact(&b, "member");
	proto_put_i8(&b, 0);
	proto_put_i8(&b, 0);
	proto_put_i32(&b, 3);
	proto_put_compact(&b, "kread");
	proto_put_compact(&b, host);
	proto_put_i8(&b, 1 + 1);
	proto_put_compact(&b, "orders");
	proto_put_i8(&b, 0);
	put_compact_places(&b, 2, 4);
	put_compact_places(&b, 1, 9);
	buf_put(&b, "\1\5\3abc", 6);
	proto_put_i32(&b, INT32_MIN);
	proto_put_i8(&b, 0);
	proto_put_i8(&b, 0);
	all = answer_alone(&b, b.len, read_consumer_group);
	assert_int_equal(group.error, 0);
	assert_string_equal(group.state, "Stable");
	assert_string_equal(group.protocol, "uniform");
	assert_int_equal(group.member_count, 1);
	assert_string_equal(group.members[0].client, "kread");
	assert_string_equal(group.members[0].host, host);
	assert_int_equal(group.members[0].places.count, 2);
	assert_string_equal(group.members[0].places.list[1].topic, "orders");
	assert_int_equal(group.members[0].places.list[1].partition, 5);
	query_group_free(&group);
	span_free(all);
	/* Numbers that are too long, or lead out of the answer. */
	assert_int_equal(read_consumer_group(SPAN("\377\377\377\377\377\1")), -1);
	assert_int_equal(read_consumer_group(SPAN("\0\0\0\0\0\377\377\377\377\17")), -1);
	assert_int_equal(read_consumer_group(SPAN("\1\1\377\377\377\377\17")), -1);
	query_group_free(&group);
}

static void test_find_coordinator(void **state)
{
	(void)state;
	for (answer_version = 0; answer_version <= QUERY_FIND_COORDINATOR_MAX; answer_version++)
		for (int16_t error = 0; error <= 15; error += 15) {
			struct buf b = {0};
			struct span all;

			if (answer_version >= 1)
				proto_put_i32(&b, 0);
			proto_put_i16(&b, error);
			if (answer_version >= 1)
				proto_put_string(&b, NULL);
			proto_put_i32(&b, error ? -1 : 3);
			proto_put_string(&b, error ? "" : "three.example");
			proto_put_i32(&b, error ? -1 : 9093);
			all = answer_alone(&b, b.len, read_coordinator);
			assert_int_equal(coordinator.error, error);
			if (error) {
				assert_null(coordinator.broker.host);
			} else {
				assert_string_equal(coordinator.broker.host, "three.example");
				assert_int_equal(coordinator.broker.port, 9093);
				assert_int_equal(coordinator.broker.id, 3);
			}
			span_free(all);
		}
	free(coordinator.broker.host);
	coordinator.broker.host = NULL;
}

static void test_offset_fetch(void **state)
{
	(void)state;
	for (answer_version = QUERY_OFFSET_FETCH_MIN; answer_version <= QUERY_OFFSET_FETCH_MAX;
		answer_version++) {
		struct buf b = {0};
		struct span all;

		if (answer_version >= 3)
			proto_put_i32(&b, 0);
		proto_put_i32(&b, 1);
		proto_put_string(&b, "orders");
		proto_put_i32(&b, 2);
		for (int32_t i = 0; i < 2; i++) {
			proto_put_i32(&b, 4 + i);
			proto_put_i64(&b, i ? -1 : 77);
			if (answer_version >= 5)
				proto_put_i32(&b, 0);
			proto_put_string(&b, i ? "" : "place");
			proto_put_i16(&b, (int16_t)(i ? 3 : 0));
		}
		proto_put_i16(&b, 16);
		all = answer_alone(&b, b.len, read_places);
		assert_int_equal(answer_error, 16);
		assert_int_equal(places.count, 2);
		assert_string_equal(places.list[1].topic, "orders");
		assert_int_equal(places.list[0].offset, 77);
		assert_int_equal(places.list[1].offset, -1);
		assert_int_equal(places.list[1].partition, 5);
		assert_int_equal(places.list[1].error, 3);
		span_free(all);
	}
	query_places_free(&places);
}

static void test_describe_configs(void **state)
{
	struct buf b = {0};
	struct span all;
	size_t needed;

	(void)state;
	proto_put_i32(&b, 0);
	proto_put_i32(&b, 1);
	proto_put_i16(&b, 0);
	proto_put_string(&b, "");
	proto_put_i8(&b, 2);
	proto_put_string(&b, "orders");
	proto_put_i32(&b, 1);
	proto_put_string(&b, "min.insync.replicas");
	proto_put_string(&b, "2");
	needed = b.len;
	proto_put_i8(&b, 0);
	proto_put_i8(&b, 5);
	proto_put_i8(&b, 0);
	proto_put_i32(&b, 0);
	all = answer_alone(&b, needed, read_configs);
	assert_int_equal(answer_error, 0);
	assert_true(span_is(second, "2"));
	span_free(all);
	proto_put_i32(&b, 0);
	proto_put_i32(&b, 1);
	proto_put_i16(&b, 42);
	proto_put_string(&b, "expected 2");
	proto_put_i8(&b, 4);
	proto_put_string(&b, "1");
	proto_put_i32(&b, 0);
	all = answer_alone(&b, b.len, read_configs);
	assert_int_equal(answer_error, 42);
	assert_true(span_is(first, "expected 2"));
	assert_null(second.p);
	span_free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list_groups),
		cmocka_unit_test(test_list_offsets),
		cmocka_unit_test(test_group),
		cmocka_unit_test(test_consumer_group),
		cmocka_unit_test(test_find_coordinator),
		cmocka_unit_test(test_offset_fetch),
		cmocka_unit_test(test_describe_configs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
