/* SPDX-License-Identifier: ISC */
/* Slots: keys, the answer of CLUSTER SLOTS, redirections. */
#include "redis/slot.h"
#include "test.h"

static struct span text(const char *s)
{
	return (struct span){s, strlen(s)};
}

/* As CLUSTER KEYSLOT of Redis 7.0 has them. */
static void test_slots_of_keys(void **state)
{
	(void)state;
	assert_int_equal(slot_of(text("123456789")), 0x31c3);
	assert_int_equal(slot_of(text("foo")), 12182);
	assert_int_equal(slot_of(text("")), 0);
	assert_int_equal(slot_of(text("{user1000}.following")), slot_of(text("user1000")));
	assert_int_equal(slot_of(text("a{foo}b{bar}")), 12182);
	assert_int_equal(slot_of(text("foo{{bar}}zap")), slot_of(text("{bar")));
	/* An empty tag is none, and so is one without an end. */
	assert_int_not_equal(slot_of(text("foo{}{bar}")), slot_of(text("bar")));
	assert_int_not_equal(slot_of(text("foo{bar")), slot_of(text("bar")));
}

static int read_range(const char *s, struct slot_range *range)
{
	struct resp c = {.p = s, .end = s + strlen(s), .max_string = 100};
	int got = slot_range_next(&c, range);

	if (got == 1)
		assert_ptr_equal(c.p, c.end);
	return got;
}

static void test_ranges(void **state)
{
	struct slot_range r;

	(void)state;
	/* Redis 7.0: an id and metadata behind the port, and replicas. */
	assert_int_equal(
		read_range("*4\r\n:0\r\n:5460\r\n"
			   "*4\r\n$3\r\n::1\r\n:30001\r\n$2\r\nid\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
			   "*3\r\n$1\r\nx\r\n:1\r\n$1\r\ny\r\n",
			&r),
		1);
	assert_int_equal(r.from, 0);
	assert_int_equal(r.to, 5460);
	assert_true(span_is(r.host, "::1"));
	assert_int_equal(r.port, 30001);
	/* Without a name of the host it is the one that was asked. */
	assert_int_equal(read_range("*3\r\n:1\r\n:1\r\n*2\r\n$-1\r\n:1\r\n", &r), 1);
	assert_int_equal(r.host.len, 0);
	assert_int_equal(read_range("*3\r\n:1\r\n:1\r\n*2\r\n$0\r\n\r\n:1\r\n", &r), 1);
	assert_int_equal(r.host.len, 0);
	assert_int_equal(read_range("*3\r\n:1\r\n:1\r\n*2\r\n$1\r\n?\r\n:1\r\n", &r), 1);
	assert_int_equal(r.host.len, 0);
}

static void test_bad_ranges(void **state)
{
	static const char *const bad[] = {
		"",
		":1\r\n",
		"*0\r\n",
		"*2\r\n:0\r\n:1\r\n",
		"*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"*3\r\n:-1\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"*3\r\n:2\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
		"*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n",
		"*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:0\r\n",
		"*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:65536\r\n",
		"*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:1\r\n",
		"*3\r\n:0\r\n:1\r\n$1\r\na\r\n",
		"*4\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
	};
	struct slot_range r;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(read_range(bad[i], &r), -1);
}

static void test_redirections(void **state)
{
	static const char *const none[] = {"MOVED", "MOVED 1", "MOVED 1 a", "MOVED 16384 a:1",
		"MOVED -1 a:1", "MOVED x a:1", "MOVED 1 a:", "MOVED 1 a:0", "MOVED 1 a:65536",
		"MOVED 1 a:1x", "ASKING 1 a:1", "ERR no", ""};
	struct slot_redirect to;

	(void)state;
	assert_true(slot_redirect(text("MOVED 3999 127.0.0.1:6381"), &to));
	assert_false(to.is_ask);
	assert_int_equal(to.slot, 3999);
	assert_true(span_is(to.host, "127.0.0.1"));
	assert_int_equal(to.port, 6381);
	assert_true(slot_redirect(text("ASK 0 ::1:6381"), &to));
	assert_true(to.is_ask);
	assert_true(span_is(to.host, "::1"));
	assert_true(slot_redirect(text("MOVED 1 :6381"), &to));
	assert_int_equal(to.host.len, 0);
	assert_true(slot_redirect(text("MOVED 1 ?:6381"), &to));
	assert_int_equal(to.host.len, 0);
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		assert_false(slot_redirect(text(none[i]), &to));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots_of_keys),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_bad_ranges),
		cmocka_unit_test(test_redirections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
