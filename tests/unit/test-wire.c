/* SPDX-License-Identifier: ISC */
/* tools/kread/wire.c with librdkafka's mock cluster: what is read behind librdkafka's interface is
 * what the interface says, for messages of all shapes. */
#include "kread/wire.h"

#include "test.h"

#include <librdkafka/rdkafka_mock.h>
#include <string.h>

enum { LIMIT_MS = 60000, BYTES_MAX = 100000 };

static const size_t key_lens[] = {0, 1, 7, 300},
		    payload_lens[] = {0, 1, 63, 64, 8191, 8192, BYTES_MAX};
#define COUNT(a) (sizeof(a) / sizeof(*(a)))
enum { SHAPES = COUNT(key_lens) * COUNT(payload_lens) * 2 };

static rd_kafka_t *client(rd_kafka_type_t type, const char *const *props)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[512];
	rd_kafka_t *rk;

	for (; *props; props += 2)
		assert_int_equal(rd_kafka_conf_set(conf, props[0], props[1], why, sizeof(why)),
			RD_KAFKA_CONF_OK);
	rk = rd_kafka_new(type, conf, why, sizeof(why));
	assert_non_null(rk);
	return rk;
}

/* One message of each shape; an odd shape has a header. */
static void produce(rd_kafka_t *rk, const char *bytes)
{
	for (size_t n = 0; n < SHAPES; n++) {
		size_t key = key_lens[n / 2 % COUNT(key_lens)];
		size_t payload = payload_lens[n / 2 / COUNT(key_lens)];
		rd_kafka_headers_t *headers = rd_kafka_headers_new(1);

		if (n % 2)
			assert_int_equal(rd_kafka_header_add(headers, "h", -1, "1", -1), 0);
		assert_int_equal(
			rd_kafka_producev(rk, RD_KAFKA_V_TOPIC("t"), RD_KAFKA_V_PARTITION(0),
				RD_KAFKA_V_KEY(key ? bytes : NULL, key),
				RD_KAFKA_V_VALUE((void *)(uintptr_t)bytes, payload),
				RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
				RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END),
			0);
	}
	assert_int_equal(rd_kafka_flush(rk, LIMIT_MS), 0);
}

static void compare(rd_kafka_t *rk)
{
	rd_kafka_topic_t *t = rd_kafka_topic_new(rk, "t", NULL);

	assert_int_equal(rd_kafka_consume_start(t, 0, RD_KAFKA_OFFSET_BEGINNING), 0);
	for (size_t n = 0; n < SHAPES;) {
		rd_kafka_message_t *m = rd_kafka_consume(t, 0, LIMIT_MS);
		rd_kafka_headers_t *headers;

		assert_non_null(m);
		if (!m->err) {
			bool has = rd_kafka_message_headers(m, &headers) == 0;

			assert_int_equal(has, n % 2);
			/* Not only never wrong: it is also known where it can be. */
			assert_int_equal(
				wire_has_no_headers(m), !has && m->key_len > 0 && m->len > 0);
			n++;
		}
		rd_kafka_message_destroy(m);
	}
	rd_kafka_consume_stop(t, 0);
	rd_kafka_topic_destroy(t);
}

static void look(const char *compression, const char *bytes)
{
	rd_kafka_t *producer = client(RD_KAFKA_PRODUCER,
		(const char *const[]){"test.mock.num.brokers", "1", "compression.type", compression,
			"linger.ms", "100", NULL});
	const char *brokers =
		rd_kafka_mock_cluster_bootstraps(rd_kafka_handle_mock_cluster(producer));
	rd_kafka_t *consumer = client(
		RD_KAFKA_CONSUMER, (const char *const[]){"bootstrap.servers", brokers, NULL});

	produce(producer, bytes);
	compare(consumer);
	rd_kafka_destroy(consumer);
	rd_kafka_destroy(producer);
}

static void test_headers(void **state)
{
	static char bytes[BYTES_MAX];

	(void)state;
	look("none", bytes); /* all zero: as like a count of no headers as can be */
	memset(bytes, 2, sizeof(bytes));
	look("lz4", bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_headers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
