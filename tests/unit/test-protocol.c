/* SPDX-License-Identifier: ISC */
/* Kafka's protocol by hand: what is written, what is read, and that no answer cut short or with a
 * wrong count is taken; logins by the examples of RFC 5802's kin. */
#define _GNU_SOURCE
#include "kafka/login.h"
#include "answers.h"
#include "base/msg.h"

#include <endian.h>

/* ---- answers as a broker writes them ---- */

static void put_metadata(struct buf *b, int version)
{
	if (version >= 3)
		proto_put_i32(b, 0);
	proto_put_i32(b, 2);
	for (int32_t id = 1; id <= 2; id++) {
		proto_put_i32(b, id);
		proto_put_string(b, id == 1 ? "one.example" : "");
		proto_put_i32(b, 9090 + id);
		proto_put_string(b, id == 1 ? "rack" : NULL);
	}
	if (version >= 2)
		proto_put_string(b, "cluster");
	proto_put_i32(b, 2);
	proto_put_i32(b, 1);
	proto_put_i16(b, 0);
	proto_put_string(b, "orders");
	proto_put_i8(b, 1);
	proto_put_i32(b, 1);
	proto_put_i16(b, PROTO_LEADER_NOT_AVAILABLE);
	proto_put_i32(b, 7);
	proto_put_i32(b, -1);
	if (version >= 7)
		proto_put_i32(b, 5);
	put_ids(b, 2, (int32_t[]){1, 2});
	put_ids(b, 1, (int32_t[]){2});
	if (version >= 5)
		put_ids(b, 1, (int32_t[]){1});
}

static void test_metadata(void **state)
{
	(void)state;
	for (int16_t v = PROTO_METADATA_MIN; v <= PROTO_METADATA_MAX; v++) {
		struct buf b = {0};
		struct proto_metadata m;
		struct span text;

		put_metadata(&b, v);
		text = span_flush(buf_as_span(&b), 'x');
		assert_int_equal(proto_read_metadata(text, v, &m), 0);
		assert_int_equal(m.broker_count, 2);
		assert_string_equal(m.brokers[0].host, "one.example");
		assert_string_equal(m.brokers[0].rack, "rack");
		assert_string_equal(m.brokers[1].host, "");
		assert_null(m.brokers[1].rack);
		assert_int_equal(m.brokers[1].port, 9092);
		assert_int_equal(m.controller, 2);
		assert_int_equal(m.topic_count, 1);
		assert_true(m.topics[0].is_internal);
		assert_int_equal(m.topics[0].partitions[0].id, 7);
		assert_int_equal(m.topics[0].partitions[0].leader, -1);
		assert_int_equal(m.topics[0].partitions[0].replica_count, 2);
		assert_int_equal(m.topics[0].partitions[0].isr[0], 2);
		assert_true(v < 2 ? !m.cluster : strcmp(m.cluster, "cluster") == 0);
		proto_metadata_free(&m);
		for (size_t n = 0; n < text.len; n++) {
			struct span part = span_flush((struct span){text.p, n}, 0);

			assert_int_equal(proto_read_metadata(part, v, &m), -1);
			proto_metadata_free(&m);
			span_free(part);
		}
		span_free(text);
		buf_free(&b);
	}
}

static void test_counts(void **state)
{
	struct proto_versions v;
	struct buf b = {0};

	(void)state;
	proto_put_i16(&b, 0);
	proto_put_i32(&b, INT32_MAX);
	proto_put_i16(&b, PROTO_METADATA);
	proto_put_i16(&b, 0);
	proto_put_i16(&b, 9);
	assert_int_equal(proto_read_versions(buf_as_span(&b), &v), -1);
	memcpy(b.p + 2, &(uint32_t){htobe32(1)}, 4);
	assert_int_equal(proto_read_versions(buf_as_span(&b), &v), 0);
	assert_true(proto_has(&v, PROTO_METADATA));
	assert_false(proto_has(&v, PROTO_LIST_OFFSETS));
	assert_int_equal(proto_version(&v, PROTO_METADATA, 1, 7), 7);
	assert_int_equal(proto_version(&v, PROTO_METADATA, 1, 12), 9);
	assert_int_equal(proto_version(&v, PROTO_METADATA, 10, 12), -1);
	buf_free(&b);
}

static void test_answer(void **state)
{
	struct span body;
	int32_t number;

	(void)state;
	assert_int_equal(proto_answer(SPAN("\0\0\0"), &number, &body), 0);
	assert_int_equal(proto_answer(SPAN("\0\0\0\5\0\0\0\7"), &number, &body), 0);
	assert_int_equal(proto_answer(SPAN("\0\0\0\5\0\0\0\7xy"), &number, &body), 1);
	assert_int_equal(number, 7);
	assert_true(span_is(body, "x"));
	assert_int_equal(proto_answer(SPAN("\0\0\0\3"), &number, &body), -1);
	assert_int_equal(proto_answer(SPAN("\xff\xff\xff\xff"), &number, &body), -1);
	assert_int_equal(proto_answer(SPAN("HTTP/1.1 400"), &number, &body), -1);
	assert_int_equal(proto_answer(SPAN("-ERR unknown"), &number, &body), -1);
}

static void test_request(void **state)
{
	static const char *const topics[] = {"t", NULL};
	struct buf b = {0};
	size_t start;

	(void)state;
	buf_putc(&b, 'x');
	start = proto_begin(&b, PROTO_METADATA, 4, 9, "me");
	proto_put_metadata(&b, 4, topics);
	proto_end(&b, start);
	assert_true(span_equal(
		buf_as_span(&b), SPAN("x\0\0\0\24\0\3\0\4\0\0\0\11\0\2me\0\0\0\1\0\1t\0")));
	buf_free(&b);
}

/* ---- the way to a login ---- */

static int16_t answer_error;
static struct span first, second;
static struct buf names;

static int read_mechanisms(struct span body)
{
	buf_clear(&names);
	return proto_read_mechanisms(body, &answer_error, &names);
}

static int read_login(struct span body)
{
	return proto_read_login(body, &answer_error, &first, &second);
}

static void test_mechanisms(void **state)
{
	struct buf b = {0};
	struct span all;

	(void)state;
	proto_put_i16(&b, 33);
	proto_put_i32(&b, 2);
	proto_put_string(&b, "PLAIN");
	proto_put_string(&b, "GSSAPI");
	all = answer_alone(&b, b.len, read_mechanisms);
	assert_int_equal(answer_error, 33);
	assert_true(span_is(buf_as_span(&names), "PLAIN, GSSAPI"));
	span_free(all);
	buf_free(&names);
}

static void test_authenticate(void **state)
{
	(void)state;
	for (int version = 0; version <= 1; version++) {
		struct buf b = {0};
		struct span all;
		size_t needed;

		proto_put_i16(&b, 58);
		proto_put_string(&b, "no");
		proto_put_bytes(&b, SPAN("token"));
		needed = b.len;
		if (version)
			proto_put_i64(&b, 3600000);
		all = answer_alone(&b, needed, read_login);
		assert_int_equal(answer_error, 58);
		assert_true(span_is(first, "no"));
		assert_true(span_is(second, "token"));
		span_free(all);
	}
}

/* ---- logins ---- */

static void test_plain(void **state)
{
	const struct login_as as = {.mechanism = "PLAIN", .user = "alice", .password = "secret"};
	struct buf token = {0};
	struct login l = {0};

	(void)state;
	assert_int_equal(login_first(&l, &as, &token), 0);
	assert_true(span_equal(buf_as_span(&token), SPAN("\0alice\0secret")));
	assert_int_equal(login_next(&l, SPAN(""), &token), 1);
	login_free(&l);
	buf_free(&token);
}

/* The example of RFC 7677, section 3. */
static void test_scram(void **state)
{
	const struct login_as as = {
		.mechanism = "SCRAM-SHA-256", .user = "user", .password = "pencil"};
	static const char nonce[] = "rOprNGfwEbeRWgbNEkqO";
	struct buf token = {0};
	struct login l = {0};

	(void)state;
	assert_int_equal(login_first(&l, &as, &token), 0);
	assert_true(span_starts(buf_as_span(&token), "n,,n=user,r="));
	memcpy(l.nonce, nonce, sizeof(nonce));
	buf_clear(&l.first);
	buf_printf(&l.first, "n=user,r=%s", nonce);
	buf_clear(&token);
	assert_int_equal(login_next(&l,
				 SPAN("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
				      "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
				 &token),
		0);
	assert_true(span_is(buf_as_span(&token),
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
		"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
	assert_int_equal(
		login_next(&l, SPAN("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), &token), 1);
	l.round = 1;
	assert_int_equal(
		login_next(&l, SPAN("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), &token), -1);
	login_free(&l);
	buf_free(&token);
}

static void test_bad_challenges(void **state)
{
	const struct login_as as = {.mechanism = "SCRAM-SHA-512", .user = "a,b=", .password = "x"};
	static const char *const bad[] = {"", "r=other,s=YQ==,i=4096", "s=YQ==,i=4096", "r=N,i=1",
		"r=N,s=!,i=1", "r=N,s=YQ==", "r=N,s=YQ==,i=0", "r=N,s=YQ==,i=999999999", "e=no"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct buf token = {0};
		struct login l = {0};

		assert_int_equal(login_first(&l, &as, &token), 0);
		assert_true(span_starts(buf_as_span(&token), "n,,n=a=2Cb=3D,r="));
		memcpy(l.nonce, "N", 2);
		assert_int_equal(login_next(&l, (struct span){bad[i], strlen(bad[i])}, &token), -1);
		login_free(&l);
		buf_free(&token);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metadata),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_mechanisms),
		cmocka_unit_test(test_authenticate),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_scram),
		cmocka_unit_test(test_bad_challenges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
