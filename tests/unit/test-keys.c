/* SPDX-License-Identifier: ISC */
/* Which words of a command are keys: as COMMAND GETKEYS of Redis 7.0 has them. */
#include "rapply/keys.h"
#include "redis/request.h"
#include "redis/slot.h"
#include "test.h"

#include <stdlib.h>

/* @text: words with a space between them. */
static void put_command(struct buf *b, const char *text)
{
	struct span rest = {text, strlen(text)};
	size_t words = 1;

	for (const char *p = text; *p; p++)
		words += *p == ' ';
	buf_printf(b, "*%zu\r\n", words);
	while (rest.len)
		request_word(b, span_word(&rest));
}

static void expect_keys(struct keys *k, const char *command, const char *keys)
{
	struct buf b = {0}, got = {0};
	struct span rest;

	put_command(&b, command);
	put_command(&b, "GET next");
	rest = buf_as_span(&b);
	keys_take(k, &rest);
	for (size_t i = 0; i < k->keys.count; i++) {
		buf_puts(&got, i ? " " : "");
		buf_span(&got, k->keys.p[i]);
	}
	buf_putc(&got, 0);
	assert_string_equal(got.p, keys);
	keys_take(k, &rest);
	assert_int_equal(rest.len, 0);
	assert_int_equal(k->keys.count, 1);
	assert_true(span_is(k->keys.p[0], "next"));
	buf_free(&b);
	buf_free(&got);
}

static void test_keys(void **state)
{
	static const char *const rows[][2] = {
		{"SET a 1", "a"},
		{"set a 1", "a"},
		{"NOSUCHCOMMAND a b", "a"},
		{"PING", ""},
		{"INCR", ""},
		{"PUBLISH a b", ""},
		{"SPUBLISH a b", "a"},
		{"DEL a b c", "a b c"},
		{"del", ""},
		{"MSET a 1 b 2", "a b"},
		{"RENAME a b", "a b"},
		{"SMOVE a b m", "a b"},
		{"COPY a b DB 1", "a b"},
		{"BITOP AND d a b", "d a b"},
		{"BLPOP a b 0", "a b"},
		{"ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"},
		{"ZUNIONSTORE d 99999999999999999999 a b", "d a b"},
		{"ZUNIONSTORE d x a", "d"},
		{"LMPOP 2 a b LEFT", "a b"},
		{"EVAL return 1 a", "a"},
		{"EVALSHA sha 2 a b c", "a b"},
		{"XGROUP CREATE a g 0", "a"},
		{"XADD a * f v", "a"},
		{"XREADGROUP GROUP g c COUNT 1 STREAMS a b > >", "a b"},
		{"SORT a BY x STORE d", "a d"},
		{"GEORADIUS a 1 2 3 km STOREDIST d", "a d"},
		{"SINTERSTORE d a b", "d a b"},
		{"PFMERGE d a", "d a"},
	};
	struct keys k = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect_keys(&k, rows[i][0], rows[i][1]);
	keys_free(&k);
}

static int slot_of_command(struct keys *k, const char *command)
{
	struct buf b = {0};
	struct span rest;
	int slot;

	put_command(&b, command);
	rest = buf_as_span(&b);
	keys_take(k, &rest);
	slot = keys_slot(k);
	buf_free(&b);
	return slot;
}

static void test_slots(void **state)
{
	struct keys k = {0};

	(void)state;
	assert_int_equal(slot_of_command(&k, "PUBLISH a b"), KEYS_NO_SLOT);
	assert_int_equal(slot_of_command(&k, "GET foo"), 12182);
	assert_int_equal(slot_of_command(&k, "MSET {foo}a 1 {foo}b 2"), 12182);
	assert_int_equal(slot_of_command(&k, "MSET a 1 b 2"), KEYS_SEVERAL_SLOTS);
	keys_free(&k);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
