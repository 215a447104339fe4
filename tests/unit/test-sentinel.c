/* SPDX-License-Identifier: ISC */
/* What sentinels answer: the primary, and other sentinels. */
#include "redis/sentinel-parts.h"
#include "test.h"

static struct link_reply reply_of(const char *text)
{
	struct link_reply r = {
		.elements = {.p = text, .end = text + strlen(text), .max_string = 100}};

	resp_next(&r.elements, &r.value);
	return r;
}

static void the_primary_is_a_host_and_a_port(void **state)
{
	static const char *const none[] = {"*-1\r\n", "$-1\r\n", "*0\r\n", "*1\r\n$1\r\na\r\n",
		"*2\r\n$0\r\n\r\n$1\r\n1\r\n", "*2\r\n$1\r\na\r\n$0\r\n\r\n",
		"*2\r\n$1\r\na\r\n:1\r\n", "*2\r\n*0\r\n$1\r\n1\r\n",
		"*3\r\n$1\r\na\r\n$1\r\n1\r\n:1\r\n", "+OK\r\n", ":1\r\n"};
	struct link_reply r = reply_of("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n");
	struct span host, port;

	(void)state;
	assert_true(sentinel_word_take(&r, &host, &port));
	assert_true(span_is(host, "127.0.0.1"));
	assert_true(span_is(port, "6379"));
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
		r = reply_of(none[i]);
		assert_false(sentinel_word_take(&r, &host, &port));
	}
}

static void peers_are_names_and_values_in_any_order(void **state)
{
	struct link_reply r = reply_of("*4\r\n"
				       "*6\r\n$4\r\nport\r\n$1\r\n1\r\n$2\r\nip\r\n$3\r\n::1\r\n"
				       "$5\r\nrunid\r\n$2\r\nab\r\n"
				       "*2\r\n$5\r\nflags\r\n$8\r\nsentinel\r\n"
				       "*0\r\n"
				       "*3\r\n$2\r\nip\r\n$1\r\na\r\n$4\r\nport\r\n");
	struct sentinel_peer peer;

	(void)state;
	assert_int_equal(r.value.n, 4);
	assert_true(sentinel_peer_take(&r.elements, &peer));
	assert_true(span_is(peer.host, "::1"));
	assert_true(span_is(peer.port, "1"));
	assert_true(span_is(peer.id, "ab"));
	assert_true(sentinel_peer_take(&r.elements, &peer));
	assert_int_equal(peer.host.len + peer.port.len + peer.id.len, 0);
	assert_true(sentinel_peer_take(&r.elements, &peer));
	/* A name without a value. */
	assert_false(sentinel_peer_take(&r.elements, &peer));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_primary_is_a_host_and_a_port),
		cmocka_unit_test(peers_are_names_and_values_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
