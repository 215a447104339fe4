/* SPDX-License-Identifier: ISC */
/* evsse: positions and ids, the ring and its cursors, what a client wants. */
#define _GNU_SOURCE
#include "test.h"

#include "evsse/ring.h"
#include "evsse/where.h"
#include "json/json.h"

#include <stdlib.h>
#include <string.h>

/* ---- ids ---- */

/* The parts of an id as "TOPIC KIND NUMBER HI LO;", and "!" where it is none. */
static char *parts_of(const char *id)
{
	struct span rest = {id, strlen(id)};
	struct buf topic = {0}, out = {0};
	struct part_name name = {0};
	struct place place = {0};
	int got;

	while ((got = position_next(&rest, &topic, &name, &place)) == 1) {
		buf_span(&out, buf_as_span(&topic));
		buf_printf(&out, " %d %u %ju %ju;", (int)name.kind, name.number,
			(uintmax_t)place.hi, (uintmax_t)place.lo);
	}
	buf_puts(&out, got ? "!" : "");
	buf_putc(&out, '\0');
	buf_free(&topic);
	return out.p;
}

static void an_id_is_all_positions_of_a_stream(void **state)
{
	static const struct {
		const char *id, *parts;
	} cases[] = {
		{"", ""},
		{"-", ""},
		{"orders/0=12", "orders 0 0 0 12;"},
		{"orders/0=12,1=7,payments/0=3",
			"orders 0 0 0 12;orders 0 1 0 7;payments 0 0 0 3;"},
		{"feed/id=1526919030474-55", "feed 1 0 1526919030474 55;"},
		{"news/r5f3a9c01=17", "news 2 1597676545 0 17;"},
		{"sse%3Aa/0=1", "sse:a 0 0 0 1;"},
		{"a/2147483647=9223372036854775806", "a 0 2147483647 0 9223372036854775806;"},
		{"orders/0=", "!"},
		{"orders/0", "!"},
		{"orders", "!"},
		{"/0=1", "!"},
		{"0=1", "!"},
		{"orders/0=1,", "!"},
		{"orders/0=1,,1=1", "orders 0 0 0 1;!"},
		{"orders/0=-1", "!"},
		{"orders/0=1x", "!"},
		{"orders/0=18446744073709551616", "!"},
		{"orders/0=9223372036854775807", "!"},
		{"orders/2147483648=1", "!"},
		{"feed/id=1", "!"},
		{"feed/id=1-", "!"},
		{"news/r5f3a9c0=1", "!"},
		{"news/r5f3a9c0g=1", "!"},
		{"a%3/0=1", "!"},
		{"a%zz/0=1", "!"},
		{"a b/0=1", "!"},
		{"1755:0", "!"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *parts = parts_of(cases[i].id);

		if (strcmp(parts, cases[i].parts))
			fail_msg("%s: %s, not %s", cases[i].id, parts, cases[i].parts);
		free(parts);
	}
}

static void a_topic_of_any_bytes_comes_back(void **state)
{
	struct buf id = {0}, topic = {0};
	char all[256];
	struct span rest;
	struct part_name name;
	struct place place;

	(void)state;
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	position_put_topic(&id, (struct span){all, sizeof(all)});
	buf_puts(&id, "/0=1");
	for (size_t i = 0; i < id.len; i++)
		assert_true(id.p[i] > ' ' && id.p[i] < 0x7f && !strchr(":<>\"", id.p[i]));
	rest = buf_as_span(&id);
	assert_int_equal(position_next(&rest, &topic, &name, &place), 1);
	assert_int_equal(topic.len, sizeof(all));
	assert_memory_equal(topic.p, all, sizeof(all));
	buf_free(&id);
	buf_free(&topic);
}

static void places_are_in_order(void **state)
{
	struct place last = {0, UINT64_MAX}, next = place_after(last);

	(void)state;
	assert_true(next.hi == 1 && next.lo == 0);
	assert_int_equal(place_compare(last, next), -1);
	assert_int_equal(place_compare(next, last), 1);
	assert_int_equal(place_compare(place_before(next), last), 0);
	assert_true(place_is_first((struct place){0, 0}));
	assert_false(place_is_first(next));
}

/* ---- the ring ---- */

static enum ring_put put(
	struct ring *r, const char *topic, unsigned partition, uint64_t offset, int64_t ts)
{
	struct topic *t = ring_topic(r, (struct span){topic, strlen(topic)});

	return ring_put(r, t, (struct part_name){PART_KAFKA, partition}, (struct place){0, offset},
		SPAN("x"), SPAN("{}"), ts);
}

static void check_id(const struct cursor *c, const char *expected)
{
	struct buf id = {0};

	cursor_put_id(c, &id);
	buf_putc(&id, '\0');
	assert_string_equal(id.p, expected);
	buf_free(&id);
}

static void a_cursor_in_step_has_the_events_ids(void **state)
{
	struct ring r;
	struct cursor c = {0};
	struct topic *t;

	(void)state;
	ring_open(&r, 100, 1 << 20);
	t = ring_topic(&r, SPAN("t"));
	cursor_open(&c, t, 0);
	assert_null(cursor_entry(&c));
	check_id(&c, "");
	put(&r, "t", 0, 5, 1);
	put(&r, "t", 1, 7, 1);
	assert_int_equal(cursor_entry(&c)->place.lo, 5);
	check_id(&c, "t/0=4,1=6");
	cursor_step(&c);
	cursor_rest(&c);
	check_id(&c, "t/0=5");
	cursor_step(&c);
	cursor_rest(&c);
	check_id(&c, "t/0=5,1=7");
	assert_null(cursor_entry(&c));
	cursor_close(&c);
	ring_close(&r);
}

static void what_came_again_is_dropped(void **state)
{
	struct ring r;

	(void)state;
	ring_open(&r, 100, 1 << 20);
	assert_int_equal(put(&r, "t", 0, 5, 10), RING_PUT);
	assert_int_equal(put(&r, "t", 0, 6, 11), RING_PUT);
	assert_int_equal(put(&r, "t", 0, 5, 10), RING_REPEATED);
	assert_int_equal(put(&r, "t", 0, 6, 11), RING_REPEATED);
	assert_int_equal(put(&r, "t", 0, 9, 12), RING_PUT);
	assert_int_equal(r.entries, 3);
	assert_int_equal(r.repeated, 2);
	/* Lower, and later than all: the topic was made anew. */
	assert_int_equal(put(&r, "t", 0, 0, 13), RING_PUT);
	assert_int_equal(r.entries, 1);
	ring_close(&r);
}

static void a_cursor_that_is_passed_keeps_its_own_place(void **state)
{
	struct ring r;
	struct cursor c = {0};
	struct own *own;

	(void)state;
	ring_open(&r, 4, 1 << 20);
	cursor_open(&c, ring_topic(&r, SPAN("t")), 0);
	for (uint64_t i = 0; i < 4; i++)
		put(&r, "t", 0, i, 1);
	assert_null(c.own);
	put(&r, "t", 0, 4, 1);
	assert_non_null(c.own);
	assert_true(c.own->check);
	own = cursor_own(&c, (struct part_name){PART_KAFKA, 0}, NULL);
	assert_int_equal(own->next.lo, 0);
	assert_int_equal(topic_part(c.topic, own->name)->first.lo, 1);
	assert_int_equal(cursor_entry(&c)->place.lo, 1);
	cursor_close(&c);
	ring_close(&r);
}

static void the_ring_has_its_bounds(void **state)
{
	struct ring r;

	(void)state;
	ring_open(&r, 1000000, 10000);
	for (uint64_t i = 0; i < 1000; i++)
		put(&r, i % 2 ? "a" : "b", 0, i, 1);
	assert_true(r.bytes <= 10000);
	assert_true(r.entries > 10 && r.entries < 200);
	assert_int_equal(r.topic_count, 2);
	ring_close(&r);
}

/* ---- what a client wants ---- */

/* Stands for the server's: the query is in the request's user. */
void http_each(const struct http_request *r, enum http_kind kind,
	void (*each)(void *ctx, const char *name, const char *value), void *ctx)
{
	char *copy = strdup(r->user), *next = copy, *pair, *value;

	assert_int_equal(kind, HTTP_QUERY);
	while ((pair = strsep(&next, "&"))) {
		value = strchr(pair, '=');
		if (value)
			*value++ = '\0';
		each(ctx, pair, value ? value : "");
	}
	free(copy);
}

static struct where *take(const char *query)
{
	struct http_request r = {.user = (void *)(uintptr_t)query};
	struct where *w;
	char why[300];

	assert_int_equal(where_take(&r, &w, why, sizeof(why)), 0);
	return w;
}

static void a_condition_that_is_none_is_named(void **state)
{
	static const char *const bad[] = {"where=", "where==1", "where=!=1", "where=.a!1",
		"where=.a[", "where=header:", "where=header:=1", "where=..a=1",
		"key=k&where=.a[x]=1"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct http_request r = {.user = (void *)(uintptr_t)bad[i]};
		struct where *w = (struct where *)1;
		char why[300] = "";

		if (where_take(&r, &w, why, sizeof(why)) != -1)
			fail_msg("%s is taken for a condition", bad[i]);
		assert_null(w);
		assert_non_null(strstr(why, "is no condition"));
	}
}

static void clients_with_the_same_conditions_share_them(void **state)
{
	struct where *a, *b, *c;

	(void)state;
	assert_null(take(""));
	assert_null(take("last=5&as=record"));
	a = take("key=k&where=.a=1&last=1");
	b = take("last=2&key=k&where=.a=1");
	c = take("where=.a=1&key=k");
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	where_drop(a);
	assert_ptr_equal(take("key=k&where=.a=1"), b);
	where_drop(b);
	where_drop(b);
	where_drop(c);
	where_drop(NULL);
}

/* PAYLOAD has numbers, texts, and what is neither; its record has a key and headers. */
#define PAYLOAD                                                                                    \
	"{\"n\":10,\"big\":9007199254740993,\"f\":-1.5,\"text\":\"ab c\",\"digits\":\"9\",\"yes\":true,\"no\":false,\"nil\":null,\"deep\":{\"a\":[1,{\"b\":\"x\"}]},\"a=b\":3,\"esc\":\"\\u00e9\"}"

static void what_a_client_wants(void **state)
{
	static const struct {
		const char *query;
		bool holds;
	} cases[] = {
		{"key=k", true},
		{"key=other", false},
		{"key=other&key=k", true},
		{"key=", false},
		/* Numbers are numbers. */
		{"where=.n=10", true},
		{"where=.n==10", true},
		{"where=n=10", true},
		{"where=.n=1e1", true},
		{"where=.n = 10", true},
		{"where=.n>9", true},
		{"where=.n<9", false},
		{"where=.n>=10", true},
		{"where=.n>10", false},
		{"where=.n<=10", true},
		{"where=.n!=10", false},
		{"where=.f<-1", true},
		/* In quotes it is text, and so is what stands in the payload as text. */
		{"where=.n<\"9\"", true},
		{"where=.digits<10", false},
		{"where=.digits=9", true},
		{"where=.text=ab c", true},
		{"where=.text=\"ab c\"", true},
		{"where=.text=ab", false},
		{"where=.text>ab", true},
		{"where=.text<b", true},
		{"where=.esc=\xc3\xa9", true},
		{"where=.yes=true", true},
		{"where=.nil=null", true},
		/* What is there. */
		{"where=.yes", true},
		{"where=.n", true},
		{"where=.no", false},
		{"where=.nil", false},
		{"where=.missing", false},
		{"where=.missing=1", false},
		{"where=.missing<1", false},
		{"where=.missing!=1", true},
		{"where=.deep.a[0]=1", true},
		{"where=.deep.a[1].b=x", true},
		{"where=.deep.a[2].b=x", false},
		{"where=.[\"a=b\"]=3", true},
		/* Headers: the last one of a name. */
		{"where=header:h=2", true},
		{"where=header:h=1", false},
		{"where=header:h>1", true},
		{"where=header:h<10", true},
		{"where=header:t=text", true},
		{"where=header:t", true},
		{"where=header:none", false},
		{"where=header:none!=x", true},
		/* All of several. */
		{"where=.n=10&where=.text=ab c&key=k", true},
		{"where=.n=10&where=.text=x", false},
		{"where=.n=10&key=x", false},
	};
	struct buf record = {0};
	struct ring r;
	struct cursor c = {0};

	(void)state;
	ring_open(&r, 100, 1 << 20);
	buf_room(&record, 2 * sizeof(PAYLOAD) + BUF_SLACK);
	buf_puts(&record,
		"{\"key\":\"k\",\"headers\":[\"h\",\"1\",\"t\",\"text\",\"h\",\"2\"],\"payload\":");
	json_put_text(&record, SPAN(PAYLOAD));
	buf_puts(&record, "}");
	cursor_open(&c, ring_topic(&r, SPAN("t")), 0);
	ring_put(&r, c.topic, (struct part_name){PART_KAFKA, 0}, (struct place){0, 1},
		SPAN(PAYLOAD), buf_as_span(&record), 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct where *w = take(cases[i].query);

		/* Once more: the answer is remembered. */
		for (int turn = 0; turn < 2; turn++)
			if (where_holds(w, cursor_entry(&c)) != cases[i].holds)
				fail_msg("%s: %s", cases[i].query, cases[i].holds ? "no" : "yes");
		where_drop(w);
	}
	cursor_close(&c);
	ring_close(&r);
	buf_free(&record);
}

static void what_is_no_json_is_equal_to_nothing(void **state)
{
	static const char *const records[] = {"{\"key\":\"k\",\"payload\":\"no json\"}",
		"{\"key\":null,\"payload\":null}", "{\"payload_b64\":\"/w==\"}"};
	struct where *is = take("where=.a=1"), *is_not = take("where=.a!=1"),
		     *has = take("where=.a"), *k = take("key=k");
	struct ring r;
	struct cursor c = {0};

	(void)state;
	ring_open(&r, 100, 1 << 20);
	cursor_open(&c, ring_topic(&r, SPAN("t")), 0);
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		ring_put(&r, c.topic, (struct part_name){PART_KAFKA, 0}, (struct place){0, i},
			SPAN(""), (struct span){records[i], strlen(records[i])}, 1);
		assert_false(where_holds(is, cursor_entry(&c)));
		assert_true(where_holds(is_not, cursor_entry(&c)));
		assert_false(where_holds(has, cursor_entry(&c)));
		assert_int_equal(where_holds(k, cursor_entry(&c)), i == 0);
		cursor_step(&c);
		cursor_rest(&c);
	}
	cursor_close(&c);
	ring_close(&r);
	where_drop(is);
	where_drop(is_not);
	where_drop(has);
	where_drop(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_is_all_positions_of_a_stream),
		cmocka_unit_test(a_topic_of_any_bytes_comes_back),
		cmocka_unit_test(places_are_in_order),
		cmocka_unit_test(a_cursor_in_step_has_the_events_ids),
		cmocka_unit_test(what_came_again_is_dropped),
		cmocka_unit_test(a_cursor_that_is_passed_keeps_its_own_place),
		cmocka_unit_test(the_ring_has_its_bounds),
		cmocka_unit_test(a_condition_that_is_none_is_named),
		cmocka_unit_test(clients_with_the_same_conditions_share_them),
		cmocka_unit_test(what_a_client_wants),
		cmocka_unit_test(what_is_no_json_is_equal_to_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
