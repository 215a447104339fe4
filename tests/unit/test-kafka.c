/* SPDX-License-Identifier: ISC */
/* lib/kafka with librdkafka's mock cluster: several clients in a process, errors that are returned,
 * and what is taken from librdkafka's behaviour and not from its documentation. */
#define _GNU_SOURCE
#include "kafka/kafka.h"
#include "kafka/listing.h"
#include "kafka/topics.h"

#include "base/msg.h"
#include "base/wake.h"
#include "test.h"

#include <arpa/inet.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LIMIT_MS = 60000 };

static struct {
	rd_kafka_t *owner;
	rd_kafka_mock_cluster_t *cluster;
	const char *brokers;
} mock;

/* Options as a program has them after its command line was read; @args ends with NULL. */
static void take_args(struct kafka_opts *o, const char *const *args)
{
	static char text[8][256];
	char *argv[9] = {text[0]};
	int argc = 1;
	struct arg_end *end = arg_end(5);

	strcpy(text[0], "test");
	for (; args[argc - 1]; argc++)
		argv[argc] = strcpy(text[argc], args[argc - 1]);
	kafka_opts(o);
	void *table[] = {KAFKA_ENTRIES(*o), end};
	assert_int_equal(arg_parse(argc, argv, table), 0);
}

static int open_conf(struct kafka_conf *c, struct trouble *why, const char *const *args)
{
	static const struct kafka_prop defaults[] = {
		{"fetch.queue.backoff.ms", "1"}, {"known.to.no.librdkafka", "1"}, {0}};
	static const struct kafka_prop own[] = {{"enable.auto.commit", "false"}, {0}};
	struct kafka_opts o;

	take_args(&o, args);
	return kafka_conf_open(c, &o, defaults, own, why);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void start(struct kafka *k, rd_kafka_type_t type, const char *const *args)
{
	struct trouble why = {0};
	struct kafka_conf c;
	rd_kafka_queue_t *q;

	assert_int_equal(open_conf(&c, &why, args), 0);
	assert_int_equal(kafka_start(k, type, &c, &why), 0);
	assert_null(c.rd);
	assert_int_equal(why.status, 0);
	q = rd_kafka_queue_get_main(k->rk);
	kafka_wake_on(k, q);
	rd_kafka_queue_destroy(q);
}

/* A turn of a loop with one client. */
static bool turn(struct kafka *k)
{
	struct pollfd p = {.fd = k->wake_fd, .events = POLLIN};

	poll(&p, 1, 20);
	kafka_woken(k);
	rd_kafka_poll(k->rk, 0);
	return kafka_tick(k);
}

/* A port of 127.0.0.1 where nobody listens; it stays ours. */
static int dead_port(char *address, size_t size)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(address, size, "127.0.0.1:%d", ntohs(a.sin_port));
	return fd;
}

static void of_two_clients_one_is_away_and_one_is_fine(void **state)
{
	static struct kafka away, fine;
	int64_t until = wake_now_ms() + LIMIT_MS;
	struct topics topics;
	struct topic *t;
	char address[64];
	int fd = dead_port(address, sizeof(address));

	(void)state;
	start(&away, RD_KAFKA_PRODUCER, ARGS("-b", address));
	start(&fine, RD_KAFKA_PRODUCER, ARGS("-b", mock.brokers));
	topics_open(&topics, &fine, false, NULL, NULL);
	t = topics_get(&topics, (struct span){"orders", 6});
	while ((!fine.up || topic_look(&topics, t) != TOPIC_USABLE || !away.brokers.away_count) &&
		wake_now_ms() < until) {
		turn(&fine);
		turn(&away);
		topics_serve(&topics);
	}
	assert_true(fine.up);
	assert_int_equal(topic_look(&topics, t), TOPIC_USABLE);
	assert_false(away.up);
	assert_int_equal(fine.brokers.away_count, 0);
	assert_string_equal(away.brokers.away[0].name, address);
	assert_int_equal(fine.trouble.status, 0);
	assert_int_equal(away.trouble.status, 0);
	/* The trouble of one is not that of the other. */
	assert_true(kafka_judge(&away, RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, "no"));
	assert_int_equal(away.trouble.status, EXIT_PERM);
	assert_int_equal(fine.trouble.status, 0);
	kafka_stop(&away);
	assert_true(turn(&fine));
	topics_close(&topics);
	kafka_stop(&fine);
	close(fd);
}

static void each_client_has_its_own_resolves(void **state)
{
	static struct kafka here, there;
	int64_t until = wake_now_ms() + LIMIT_MS;
	const char *port = strchr(mock.brokers, ':') + 1;
	char name[64], resolve[96];

	(void)state;
	snprintf(name, sizeof(name), "kafka.invalid:%s", port);
	snprintf(resolve, sizeof(resolve), "kafka.invalid:%s:127.0.0.1", port);
	start(&here, RD_KAFKA_PRODUCER, ARGS("-b", name, "--resolve", resolve));
	start(&there, RD_KAFKA_PRODUCER, ARGS("-b", name, "--resolve", "other:1:127.0.0.1"));
	while ((!here.up || !there.brokers.away_count) && wake_now_ms() < until) {
		turn(&here);
		turn(&there);
	}
	assert_true(here.up);
	assert_false(there.up);
	assert_non_null(strstr(there.brokers.away[0].cause, "resolve"));
	kafka_stop(&here);
	kafka_stop(&there);
}

static void errors_are_returned(void **state)
{
	static const struct {
		const char *args[5], *text;
	} cases[] = {
		{{"-b", "", NULL}, "-b takes a value that is not empty; try 'test --help'"},
		{{"-F", "/nonexistent", NULL},
			"cannot open '/nonexistent': No such file or directory"},
		{{"-X", "x", NULL}, "-X takes PROP=VALUE, not 'x'; try 'test --help'"},
		{{"-X", "no.such=1", NULL}, "-X: No such configuration property: \"no.such\""},
		{{"-X", "enable.auto.commit=true", NULL},
			"-X cannot set 'enable.auto.commit': test sets it itself; try 'test --help'"},
		{{"-b", "a:1", "--resolve", "a:1:b", NULL},
			"--resolve takes HOST:PORT:ADDR[:PORT], ADDR being an address, not 'a:1:b'; try 'test --help'"},
		{{"-b", "a:1", "--resolve", "[::1]:1:b", NULL},
			"--resolve takes HOST:PORT:ADDR[:PORT], ADDR being an address, not '[::1]:1:b'; try 'test --help'"},
		{{"-b", "a:1", "--resolve", "*.a:1:127.0.0.1", NULL},
			"--resolve takes HOST:PORT:ADDR[:PORT], ADDR being an address, not '*.a:1:127.0.0.1'; HOST is one name: each has a --resolve of its own, or a line in @FILE; try 'test --help'"},
		{{"-b", "a:1", "--resolve", "a:1:127.0.0.1:65536", NULL},
			"--resolve takes HOST:PORT:ADDR[:PORT], ADDR being an address, not 'a:1:127.0.0.1:65536'; a port is a number from 1 to 65535; try 'test --help'"},
		{{"-b", "a:1", "--resolve", "a:1:9092", NULL},
			"--resolve takes HOST:PORT:ADDR[:PORT], ADDR being an address, not 'a:1:9092'; try 'test --help'"},
		{{"-b", "a:1", "--resolve", "a:1:::1", NULL},
			"--resolve takes HOST:PORT:ADDR[:PORT], ADDR being an address, not 'a:1:::1'; an IPv6 address has brackets: [ADDRESS]; try 'test --help'"},
		{{NULL},
			"no broker is named: give -b HOST:PORT or set $KAFKA_BROKERS; try 'test --help'"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct trouble why = {0};
		struct kafka_conf c;

		assert_int_equal(open_conf(&c, &why, cases[i].args), -1);
		assert_int_equal(why.status, EXIT_PERM);
		assert_string_equal(why.text, cases[i].text);
		assert_null(c.rd);
	}
}

static void a_client_that_cannot_start_is_an_error(void **state)
{
	static struct kafka k;
	struct trouble why = {0};
	struct kafka_conf c;

	(void)state;
	assert_int_equal(open_conf(&c, &why,
				 ARGS("-b", "a:1", "-X", "security.protocol=ssl", "-X",
					 "ssl.ca.location=/nonexistent")),
		0);
	assert_int_equal(kafka_start(&k, RD_KAFKA_CONSUMER, &c, &why), -1);
	assert_int_equal(why.status, EXIT_PERM);
	assert_string_equal(why.text,
		"cannot read the CA certificates '/nonexistent': No such file or directory");
	assert_null(k.rk);
	assert_null(c.rd);
}

/* ---- questions ---- */

static void await(struct listing *l)
{
	int64_t until = wake_now_ms() + LIMIT_MS;

	while (!listing_take(l)) {
		assert_true(listing_is_out(l));
		assert_true(wake_now_ms() < until);
		turn(l->kafka);
	}
	assert_false(listing_is_out(l));
}

static rd_kafka_topic_partition_list_t *at(const char *topic, int32_t partition, int64_t time_ms)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, topic, partition)->offset = time_ms;
	return list;
}

static void brokers_answer_what_they_are_asked(void **state)
{
	static struct kafka k;
	static struct listing l;
	int64_t until = wake_now_ms() + LIMIT_MS;
	char name[600] = "";

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	start(&k, RD_KAFKA_CONSUMER, ARGS("-b", mock.brokers));
	listing_open(&l, &k);
	assert_false(listing_is_out(&l));
	assert_false(listing_take(&l));
	do {
		assert_true(wake_now_ms() < until);
		listing_ask_topic(&l, "orders");
		await(&l);
	} while (l.err);
	assert_int_equal(l.metadata->topic_cnt, 1);
	assert_string_equal(l.metadata->topics[0].topic, "orders");
	assert_int_equal(l.metadata->topics[0].partition_cnt, 3);
	listing_ask_topics(&l);
	await(&l);
	assert_int_equal(l.err, 0);
	assert_true(l.metadata->topic_cnt > 0);
	listing_ask_brokers(&l);
	await(&l);
	assert_int_equal(l.err, 0);
	assert_int_equal(l.metadata->broker_cnt, 1);
	listing_ask_offsets(&l, at("orders", 1, RD_KAFKA_OFFSET_END));
	await(&l);
	assert_int_equal(l.err, 0);
	assert_int_equal(l.offsets->elems[0].offset, 0);
	listing_ask_offsets(&l, at("orders", 99, RD_KAFKA_OFFSET_END));
	await(&l);
	assert_int_not_equal(l.err, 0);
	listing_ask_topic(&l, name);
	await(&l);
	assert_int_equal(l.err, RD_KAFKA_RESP_ERR__INVALID_ARG);
	assert_true(listing_close(&l));
	kafka_stop(&k);
}

/* The port takes connections, and nothing answers there: whoever waited in a call would come back
 * with the answer's error. */
static void nothing_waits_for_a_broker_that_does_not_answer(void **state)
{
	static struct kafka k;
	static struct listing l;
	static struct topics topics;
	char address[64];
	int fd = dead_port(address, sizeof(address));
	struct topic *t;

	(void)state;
	assert_int_equal(listen(fd, 10), 0);
	start(&k, RD_KAFKA_CONSUMER, ARGS("-b", address));
	listing_open(&l, &k);
	topics_open(&topics, &k, false, NULL, NULL);
	t = topics_get(&topics, (struct span){"orders", 6});
	listing_ask_topic(&l, "orders");
	assert_false(listing_take(&l));
	assert_int_equal(topic_look(&topics, t), TOPIC_ASKED);
	assert_false(topics_close(&topics));
	assert_false(listing_close(&l));
	assert_true(listing_is_out(&l));
	await(&l);
	assert_int_not_equal(l.err, 0);
	listing_ask_offsets(&l, at("orders", 0, RD_KAFKA_OFFSET_END));
	assert_false(listing_take(&l));
	await(&l);
	assert_int_not_equal(l.err, 0);
	assert_true(listing_close(&l));
	while (!topics_close(&topics))
		turn(&k);
	kafka_stop(&k);
	close(fd);
}

/* ---- what librdkafka may change ---- */

/* The name is that of the first answer: librdkafka's thread writes it once, before it counts. */
static struct {
	int answered;
	char broker[256];
} seen;

/* Interceptors are called for a client, with the names and numbers that brokers.h reads. */
static rd_kafka_resp_err_t on_response(rd_kafka_t *rk, int fd, const char *broker, int32_t id,
	int16_t api, int16_t version, int32_t number, size_t size, int64_t rtt,
	rd_kafka_resp_err_t err, void *opaque)
{
	(void)rk, (void)fd, (void)id, (void)version, (void)number, (void)size, (void)rtt;
	(void)opaque;
	if (err || api == 18)
		return RD_KAFKA_RESP_ERR_NO_ERROR;
	if (!seen.answered)
		snprintf(seen.broker, sizeof(seen.broker), "%s", broker);
	__atomic_add_fetch(&seen.answered, 1, __ATOMIC_RELEASE);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(
	rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *why, size_t why_size)
{
	(void)conf, (void)opaque, (void)why, (void)why_size;
	return rd_kafka_interceptor_add_on_response_received(rk, "test", on_response, NULL);
}

static void librdkafka_shows_answers_to_interceptors(void **state)
{
	static struct kafka k;
	int64_t until = wake_now_ms() + LIMIT_MS;
	struct trouble why = {0};
	struct kafka_conf c;
	char expected[300];

	(void)state;
	assert_int_equal(open_conf(&c, &why, ARGS("-b", mock.brokers)), 0);
	rd_kafka_conf_interceptor_add_on_new(c.rd, "test", on_new, NULL);
	assert_int_equal(kafka_start(&k, RD_KAFKA_PRODUCER, &c, &why), 0);
	while (!__atomic_load_n(&seen.answered, __ATOMIC_ACQUIRE) && wake_now_ms() < until)
		turn(&k);
	assert_true(seen.answered > 0);
	snprintf(expected, sizeof(expected), "%s/", mock.brokers);
	assert_memory_equal(seen.broker, expected, strlen(expected));
	while (!k.up && wake_now_ms() < until)
		turn(&k);
	assert_true(k.up);
	kafka_stop(&k);
}

enum { MESSAGES = 5000 };

static void fill_topic(const char *topic)
{
	static struct kafka k;
	char payload[100];

	memset(payload, 'x', sizeof(payload));
	start(&k, RD_KAFKA_PRODUCER,
		ARGS("-b", mock.brokers, "-X", "batch.num.messages=100", "-X", "linger.ms=50"));
	for (int i = 0; i < MESSAGES; i++)
		assert_int_equal(
			rd_kafka_producev(k.rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
				RD_KAFKA_V_VALUE(payload, sizeof(payload)), RD_KAFKA_V_END),
			0);
	assert_int_equal(rd_kafka_flush(k.rk, LIMIT_MS), 0);
	kafka_stop(&k);
}

struct reader {
	struct kafka k;
	rd_kafka_topic_t *rkt;
	rd_kafka_queue_t *messages;
	int count;
};

static void read_some(struct reader *r)
{
	size_t n = 0, bytes = 0;
	rd_kafka_message_t *m;

	rd_kafka_poll(r->k.rk, 0);
	while ((m = rd_kafka_consume_queue(r->messages, 0))) {
		n += !m->err;
		bytes += m->err ? 0 : m->len;
		rd_kafka_message_destroy(m);
	}
	kafka_taken(&r->k, n, bytes, rd_kafka_queue_length(r->messages));
	r->count += (int)n;
}

static void open_reader(struct reader *r, const char *topic)
{
	start(&r->k, RD_KAFKA_CONSUMER,
		ARGS("-b", mock.brokers, "-X", "queued.min.messages=500", "-X",
			"fetch.message.max.bytes=20000"));
	r->messages = rd_kafka_queue_new(r->k.rk);
	r->rkt = rd_kafka_topic_new(r->k.rk, topic, NULL);
	assert_int_equal(rd_kafka_consume_start_queue(r->rkt, 0, 0, r->messages), 0);
}

static void close_reader(struct reader *r)
{
	rd_kafka_consume_stop(r->rkt, 0);
	rd_kafka_topic_destroy(r->rkt);
	rd_kafka_queue_destroy(r->messages);
	kafka_stop(&r->k);
}

/* How many messages a reader that does not wake has when one that does has all. */
static int left_behind(int64_t until, bool knows)
{
	static struct reader woken, left;

	woken.count = left.count = 0;
	open_reader(&left, "full");
	open_reader(&woken, "full");
	assert_int_equal(woken.k.fetchers.may_wake, !knows);
	left.k.fetchers.may_wake = false;
	while (woken.count < MESSAGES && wake_now_ms() < until) {
		read_some(&woken);
		read_some(&left);
		poll(NULL, 0, 5);
	}
	assert_int_equal(woken.count, MESSAGES);
	close_reader(&woken);
	close_reader(&left);
	return left.count;
}

/* A reader that wakes librdkafka's fetching ends long before one that does not, which has a queue's
 * worth a second; where librdkafka has a property for that, nothing is to be woken. On a machine
 * that lets us run only once a second there is no difference, so that it is tried again. */
static void fetching_goes_on_when_there_is_room_again(void **state)
{
	int64_t until = wake_now_ms() + LIMIT_MS;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	bool knows = *kafka_conf_text(&(struct kafka_conf){.rd = conf}, "fetch.queue.backoff.ms");

	(void)state;
	rd_kafka_conf_destroy(conf);
	fill_topic("full");
	while (left_behind(until, knows) >= MESSAGES / 2 && !knows)
		assert_true(wake_now_ms() < until);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_are_returned),
		cmocka_unit_test(a_client_that_cannot_start_is_an_error),
		cmocka_unit_test(of_two_clients_one_is_away_and_one_is_fine),
		cmocka_unit_test(each_client_has_its_own_resolves),
		cmocka_unit_test(brokers_answer_what_they_are_asked),
		cmocka_unit_test(nothing_waits_for_a_broker_that_does_not_answer),
		cmocka_unit_test(librdkafka_shows_answers_to_interceptors),
		cmocka_unit_test(fetching_goes_on_when_there_is_room_again),
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[256];
	int failed;

	unsetenv("KAFKA_BROKERS");
	msg_init("test");
	rd_kafka_conf_set_log_cb(conf, NULL);
	mock.owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	mock.cluster = rd_kafka_mock_cluster_new(mock.owner, 1);
	mock.brokers = rd_kafka_mock_cluster_bootstraps(mock.cluster);
	rd_kafka_mock_topic_create(mock.cluster, "orders", 3, 1);
	rd_kafka_mock_topic_create(mock.cluster, "full", 1, 1);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rd_kafka_mock_cluster_destroy(mock.cluster);
	rd_kafka_destroy(mock.owner);
	return failed;
}
