/* SPDX-License-Identifier: ISC */
/* khttp - an HTTP bridge to Kafka: the v2 REST API of the Strimzi Kafka Bridge.
 *
 * DESIGN: one poll loop has an HTTP server, one producer for all requests, a client for questions,
 * and one for each consumer instance. A request that waits for Kafka, or for records, costs a slot
 * and no thread.
 *
 * - Nothing that was answered with 200 is lost: the answer waits for Kafka's. What a request has
 *   brought goes on to Kafka
 *   when its client has gone.
 * - While Kafka does not answer, requests that need it get 503 at once, and nothing of them is
 *   written.
 * - First SIGTERM or SIGINT: no connection is taken any more, each that there is ends with its next
 *   answer, polls that wait
 *   are answered, instances leave their groups, records on their way are waited for, for DRAIN_MS
 *   at most; then 0. The second
 *   ends it at once, with 111 when something was left.
 *
 * Files: khttp.c the command line, the loop; route.c which part answers, and what is looked at
 * before; produce.c records to Kafka, records.c and body.c what they are made of; topics.c topics,
 * admin.c their configuration, ask.c questions to the brokers; consumer.c instances;
 * writers.c producers, produce-answer.c what is answered, produce-room.c how much may be on its
 * way, feed.c large bodies; request.c requests that wait for a reply, replies.c the topics of
 * replies;
 * peers.c, forward.c requests that other bridges answer;
 * handles.c topics' handles; idem.c requests that come again; access.c who may ask; media.c types;
 * error.c errors; openapi.c the API's description; stats.c what is counted. */
#include "khttp/khttp.h"

#include "khttp/ask.h"
#include "khttp/consumer.h"
#include "khttp/error.h"
#include "khttp/peers.h"
#include "khttp/produce.h"
#include "khttp/request.h"
#include "khttp/route.h"
#include "khttp/topics.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/opt.h"
#include "base/wake.h"
#include "http/pair.h"
#include "jq/expr.h"
#include "net/tls.h"

#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum {
	DRAIN_MS = 30000,
	HEADER_BYTES = 8 << 10,
	ANSWER_BYTES = 1024, /* of a connection's memory, beyond those */
	OTHER_FILES = 512, /* of librdkafka's clients */
	QUESTION_MS = 10000,
	GRACE_MS = 1000,
};
#define QUESTION_TEXT "10000"

static struct {
	struct opt_common common;
	struct kafka_opts kafka;
	struct arg_str *listen, *management, *id, *advertise, *compat, *consumer_timeout, *origins,
		*max_body, *max_headers, *max_connections, *max_instances, *max_waiting, *in_flight,
		*idle;
	struct arg_lit *no_consumer, *no_producer;
	struct arg_file *tokens, *users, *cert, *key, *client_ca;
	struct request_opts request;
	struct peers_opts peers;
} opt;

static struct khttp self;

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"khttp -b broker:9092",
		"khttp -b broker:9092 --listen :8080 --token-file tokens",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "khttp",
		.summary = "Serves Kafka by HTTP: produce, consume, topics.",
		.examples = examples,
		.libraries = {kafka_library, http_library, tls_library, expr_library},
	};

	opt.listen = arg_str0(
		NULL, "listen", "ADDR", "HOST:PORT, :PORT or unix:PATH (default 127.0.0.1:8080)");
	opt.management = arg_str0(NULL, "management", "ADDR|none",
		"health and metrics by themselves (default 127.0.0.1:8081)");
	opt.id = arg_str0(NULL, "id", "NAME", "names of instances without a name begin with it");
	opt.advertise = arg_str0(NULL, "advertise", "URL",
		"where clients reach this bridge, one of several: base_uri begins with it");
	opt.compat = arg_str0(NULL, "compat", "on|off",
		"as the Strimzi Kafka Bridge, also where it is wrong (default off)");
	opt.consumer_timeout = arg_str0(NULL, "consumer-timeout", "TIME",
		"an instance that nobody uses for so long is deleted; 0: never (default 5m)");
	opt.origins = opt_many(NULL, "cors-origin", "URL", 0,
		"an origin whose pages may use the API: https://*.example.org, or *");
	opt.no_consumer = arg_lit0(NULL, "no-consumer", "no consumer instances: 503");
	opt.no_producer = arg_lit0(NULL, "no-producer", "no records are taken: 503");
	opt.tokens = arg_file0(NULL, "token-file", "FILE", "who may ask: a token a line");
	opt.users = arg_file0(NULL, "user-file", "FILE", "who may ask: NAME:PASSWORD a line");
	opt.cert = arg_file0(
		NULL, "tls-cert", "FILE", "speak TLS: the certificate and its chain, PEM");
	opt.key = arg_file0(NULL, "tls-key", "FILE", "its key, PEM");
	opt.client_ca = arg_file0(NULL, "tls-client-ca", "FILE",
		"only clients with a certificate of this CA may ask, PEM");
	opt.max_body = arg_str0(NULL, "max-body", "SIZE", "longest body: 413 (default 64M)");
	opt.max_headers =
		arg_str0(NULL, "max-headers", "SIZE", "longest headers: 431 (default 8K)");
	opt.max_connections =
		arg_str0(NULL, "max-connections", "N", "clients at a time (default 20000)");
	opt.max_instances = arg_str0(NULL, "max-instances", "N",
		"consumer instances, and readers without one; beyond: 503 (default 2000)");
	opt.max_waiting = arg_str0(NULL, "max-waiting", "N",
		"requests that wait for records; beyond: 503 (default 20000)");
	opt.in_flight = arg_str0(NULL, "max-in-flight", "SIZE",
		"records without Kafka's answer; beyond: 503 (default 256M)");
	opt.idle = arg_str0(NULL, "idle", "TIME",
		"a connection without a request, or a slow one, is closed after so long (default 60s)");
	request_opts(&opt.request);
	peers_opts(&opt.peers);
	kafka_opts(&opt.kafka);
	opt_common(&opt.common);
	void *table[] = {opt.listen, opt.management, opt.id, opt.advertise, opt.compat,
		opt.consumer_timeout, opt.origins, opt.no_consumer, opt.no_producer, opt.tokens,
		opt.users, opt.cert, opt.key, opt.client_ca, opt.max_body, opt.max_headers,
		opt.max_connections, opt.max_instances, opt.max_waiting, opt.in_flight, opt.idle,
		REQUEST_ENTRIES(opt.request), PEERS_ENTRIES(opt.peers), KAFKA_ENTRIES(opt.kafka),
		OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void take_tls(struct khttp *k)
{
	const char *cert = opt_file(opt.cert, "--tls-cert"), *key = opt_file(opt.key, "--tls-key");

	if (!cert != !key)
		opt_bad("--tls-cert and --tls-key go together");
	pair_read(&k->conf, cert, key);
	if (opt.client_ca->count && !cert)
		opt_bad("--tls-client-ca goes with --tls-cert");
	pair_read_ca(&k->conf, opt_file(opt.client_ca, "--tls-client-ca"));
}

static int64_t take_size(const struct arg_str *a, const char *name, int64_t absent, int64_t min)
{
	int64_t n = opt_size(a, name, absent);

	if (n < min || n > (int64_t)4 << 30)
		opt_bad("%s takes a size from %lld bytes to 4G", name, (long long)min);
	return n;
}

static void take_limits(struct khttp *k)
{
	int64_t idle_ms = opt_duration_ms(opt.idle, "--idle", 60000);

	if (idle_ms < 1)
		opt_bad("--idle takes a time above 0");
	k->conf.idle_s = (unsigned)((idle_ms + 999) / 1000);
	k->conf.unheard_s = k->conf.idle_s;
	k->conf.max_body = (size_t)take_size(opt.max_body, "--max-body", 64 << 20, 1);
	k->conf.max_head = (size_t)take_size(opt.max_headers, "--max-headers", HEADER_BYTES, 1024);
	k->conf.memory = k->conf.max_head + ANSWER_BYTES;
	k->conf.max_connections =
		(unsigned)opt_int(opt.max_connections, "--max-connections", 20000, 1, 1000000);
	k->max_instances =
		(uint64_t)opt_int(opt.max_instances, "--max-instances", 2000, 1, 1000000);
	k->max_waits = (uint64_t)opt_int(opt.max_waiting, "--max-waiting", 20000, 1, 1000000);
}

static void take_advertise(struct khttp *k)
{
	const char *url = opt_text(opt.advertise, "--advertise"), *host;

	k->advertise = url;
	if (!url)
		return;
	host = strncmp(url, "http://", 7) == 0	   ? url + 7
		: strncmp(url, "https://", 8) == 0 ? url + 8
						   : "";
	if (!*host || strpbrk(host, "/?# ") || !strrchr(host, ':'))
		opt_bad("--advertise takes http://HOST:PORT or https://HOST:PORT, not '%s'", url);
	if (k->id)
		opt_bad("--id and --advertise exclude each other: names begin with one of them");
}

static void take_options(struct khttp *k)
{
	const char *compat = opt_text(opt.compat, "--compat");

	if (compat && strcmp(compat, "on") && strcmp(compat, "off"))
		opt_bad("--compat takes on or off, not '%s'", compat);
	k->compat = compat && strcmp(compat, "on") == 0;
	k->id = opt_text(opt.id, "--id");
	take_advertise(k);
	k->consumer_timeout_ms =
		opt_duration_ms(opt.consumer_timeout, "--consumer-timeout", 300000);
	k->no_consumer = opt.no_consumer->count;
	k->no_producer = opt.no_producer->count;
	k->access.origins = opt.origins->sval;
	k->access.origin_count = opt.origins->count;
	take_tls(k);
	take_limits(k);
	tokens_open(&k->access.tokens, opt_file(opt.tokens, "--token-file"));
	tokens_open(&k->access.users, opt_file(opt.users, "--user-file"));
}

/* ---- Kafka ---- */

struct kafka_conf khttp_consumer_conf(const struct khttp *k)
{
	struct kafka_conf c = khttp_conf(k);

	/* A producer's limit, which a consumer's fetch.max.bytes may not be below. */
	rd_kafka_conf_set(c.rd, "message.max.bytes", "1000", NULL, 0);
	/* Which may not be shorter than a session, however long that was made. */
	if (kafka_conf_int(&c, "max.poll.interval.ms") < kafka_conf_int(&c, "session.timeout.ms"))
		rd_kafka_conf_set(c.rd, "max.poll.interval.ms",
			kafka_conf_text(&c, "session.timeout.ms"), NULL, 0);
	return c;
}

struct kafka_conf khttp_conf(const struct khttp *k)
{
	struct kafka_conf c = k->base;

	c.rd = rd_kafka_conf_dup(k->base.rd);
	return c;
}

bool khttp_kafka_answers(struct khttp *k, struct http_request *r)
{
	if (k->is_up)
		return true;
	error_unavailable(r, "Kafka does not answer");
	return false;
}

/* For the client that is asked. It writes nothing: without a producer's state no error is fatal to
 * it. It has a connection to each broker, and soon leaves one that does not answer, so that another
 * one is asked. */
static void prepare_questions(struct kafka_conf *c)
{
	rd_kafka_conf_set(c->rd, "enable.idempotence", "false", NULL, 0);
	rd_kafka_conf_set(c->rd, "enable.sparse.connections", "false", NULL, 0);
	if (kafka_conf_int(c, "socket.timeout.ms") > QUESTION_MS)
		rd_kafka_conf_set(c->rd, "socket.timeout.ms", QUESTION_TEXT, NULL, 0);
}

static void start_kafka(struct khttp *k)
{
	static const struct kafka_prop defaults[] = {
		{"enable.idempotence", "true"},
		{"acks", "all"},
		{"partitioner", "murmur2_random"},
		/* With 0, librdkafka 2.0.2 turns for ever while as many requests are out as may
		 * be. */
		{"linger.ms", "1"},
		{"message.timeout.ms", "30000"},
		{"topic.metadata.propagation.max.ms", "3000"},
		/* --max-in-flight bounds memory. librdkafka must not refuse a message that a broker
		 * takes. */
		{"queue.buffering.max.messages", "10000000"},
		{"queue.buffering.max.kbytes", "2097151"},
		{"message.max.bytes", "1000000000"},
		{"batch.size", "1000000"},
		CONSUMER_DEFAULTS,
		{0},
	};
	static const struct kafka_prop own[] = {
		{"delivery.report.only.error", "false"},
		{0},
	};
	struct trouble why = {0};
	struct kafka_conf conf;
	rd_kafka_queue_t *queue;

	if (kafka_conf_open(&k->base, &opt.kafka, defaults, own, &why))
		exit(trouble_tell(&why));
	conf = khttp_conf(k);
	prepare_questions(&conf);
	if (kafka_start(&k->kafka, RD_KAFKA_PRODUCER, &conf, &why))
		exit(trouble_tell(&why));
	kafka_look_first(&k->kafka);
	queue = rd_kafka_queue_get_main(k->kafka.rk);
	kafka_wake_on(&k->kafka, queue);
	rd_kafka_queue_destroy(queue);
	metrics_up("kafka", false);
}

/* ---- the server ---- */

static void on_over(void *khttp, const struct http_request *r, int status, bool whole, int64_t us)
{
	struct khttp *k = khttp;

	stats_over(&k->stats, http_pattern(r), r->method, status, us);
	msg_info("%s %s %d %s%lld us", r->method ? r->method : "?", r->path, status,
		whole ? "" : "(not whole) ", (long long)us);
}

void khttp_metrics(struct khttp *k, struct buf *out)
{
	metrics_print(out);
	stats_print(&k->stats, out);
	if (k->consumers)
		consumers_metrics(k->consumers, out);
}

static void raise_limit(unsigned connections)
{
	struct rlimit limit;
	rlim_t wanted = connections + OTHER_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max > wanted ? wanted : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < wanted)
		msg_info("%llu files may be open (ulimit -n), and --max-connections asks for %u",
			(unsigned long long)limit.rlim_cur, connections);
}

static void open_servers(struct khttp *k)
{
	const char *listen = opt_text(opt.listen, "--listen");
	const char *management = opt_text(opt.management, "--management");
	struct http_conf conf;

	k->conf.error = error_answer;
	k->conf.over = on_over;
	k->conf.slash = true;
	raise_limit(k->conf.max_connections);
	k->api = http_open(listen ? listen : "127.0.0.1:8080", &k->conf, k);
	conf = (struct http_conf){.error = error_answer, .slash = true};
	if (!management || strcmp(management, "none"))
		k->management = http_open(management ? management : "127.0.0.1:8081", &conf, k);
	route_all(k);
	msg_info("listening on %s", http_address(k->api));
	if (k->management)
		msg_info("health and metrics on %s", http_address(k->management));
}

/* ---- the loop ---- */

static int timeout_ms(struct khttp *k)
{
	int ms = wake_least(kafka_timeout_ms(&k->kafka, k->now_ms), metrics_tick(k->now_ms));

	ms = wake_least(ms, http_timeout_ms(k->api));
	ms = wake_least(ms, http_timeout_ms(k->management));
	ms = wake_least(ms, requests_timeout_ms(k->requests));
	ms = wake_least(ms, peers_timeout_ms(k->peers));
	if (k->consumers)
		ms = wake_least(ms, consumers_timeout_ms(k->consumers, k->now_ms));
	return ms;
}

static void look(struct khttp *k)
{
	bool up = kafka_tick(&k->kafka);

	/* When a connection to one broker of several ends, it takes a moment until another one has
	 * answered. */
	if (up)
		k->up_ms = k->now_ms;
	else if (k->now_ms - k->up_ms < GRACE_MS)
		asks_probe(k->asks);
	k->is_up = k->up_ms && k->now_ms - k->up_ms < GRACE_MS;
	metrics_up("kafka", k->is_up);
	metrics_set_ready(k->is_up && !k->stopping);
}

static void turn(struct khttp *k, int wake_fd)
{
	enum { WAKE, KAFKA, API, MANAGEMENT, CONSUMERS, REPLIES, PEERS, COUNT };
	struct pollfd p[COUNT] = {
		[WAKE] = {.fd = wake_fd, .events = POLLIN},
		[KAFKA] = {.fd = k->kafka.wake_fd, .events = POLLIN},
		[API] = {.fd = http_fd(k->api), .events = POLLIN},
		[MANAGEMENT] = {.fd = http_fd(k->management), .events = POLLIN},
		[CONSUMERS] = {.fd = k->consumers ? consumers_fd(k->consumers) : -1,
			.events = POLLIN},
		[REPLIES] = {.fd = requests_fd(k->requests), .events = POLLIN},
		[PEERS] = {.fd = peers_fd(k->peers), .events = POLLIN},
	};

	k->now_ms = wake_now_ms();
	if (poll(p, COUNT, timeout_ms(k)) < 0) {
		wake_poll_failed();
		return;
	}
	k->now_ms = wake_now_ms();
	if (p[KAFKA].revents)
		kafka_woken(&k->kafka);
	rd_kafka_poll(k->kafka.rk, 0);
	trouble_take(&k->kafka.trouble, produces_serve(k->produces));
	topics_serve(k);
	asks_serve(k->asks, k->now_ms);
	requests_serve(k->requests);
	peers_serve(k->peers);
	look(k);
	if (k->consumers)
		consumers_serve(k->consumers, k->now_ms);
	http_run(k->api);
	http_run(k->management);
	/* What was asked in this turn. */
	asks_serve(k->asks, k->now_ms);
}

/* Returns how many requests, and records behind them, are left. */
static size_t drain(struct khttp *k, int wake_fd)
{
	int64_t until_ms = wake_now_ms() + DRAIN_MS;
	size_t left;

	k->stopping = true;
	if (k->consumers)
		consumers_leave(k->consumers);
	peers_leave(k->peers);
	http_drain(k->api);
	while ((left = http_drain(k->api) + produces_left(k->produces)) &&
		wake_now_ms() < until_ms && wake_stops() < 2)
		turn(k, wake_fd);
	while (k->consumers && wake_now_ms() < until_ms && wake_stops() < 2) {
		if (consumers_close(k->consumers))
			k->consumers = NULL;
		else
			turn(k, wake_fd);
	}
	return left;
}

static int finish(struct khttp *k, size_t left)
{
	int status = trouble_tell(&k->kafka.trouble);

	http_close(k->api);
	peers_close(k->peers);
	http_close(k->management);
	metrics_flush();
	if (left && !status) {
		msg_error("ended with %zu %s unanswered", left,
			PLURAL(left, "request or record", "requests or records"));
		status = EXIT_TEMP;
	}
	if (produces_left(k->produces) || k->consumers)
		return status;
	produces_close(k->produces);
	topics_end(k);
	if (!asks_close(k->asks))
		return status;
	requests_close(k->requests);
	kafka_stop(&k->kafka);
	return status;
}

int main(int argc, char **argv)
{
	struct khttp *k = &self;
	int wake_fd;
	size_t left;

	/* librdkafka's threads, four a client, share what is free; what a large answer took is
	 * given back. */
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 2);
	mallopt(M_MMAP_THRESHOLD, 256 << 10);
#endif
	parse_options(argc, argv);
	take_options(k);
	stats_open(&k->stats);
	wake_fd = wake_open();
	k->now_ms = wake_now_ms();
	start_kafka(k);
	topics_start(k);
	k->asks = asks_open(&k->kafka, &k->is_up);
	k->produces =
		produces_open(k, (size_t)take_size(opt.in_flight, "--max-in-flight", 256 << 20, 1));
	k->requests = requests_open(k, &opt.request);
	if (!k->no_consumer)
		k->consumers = consumers_open(k);
	k->peers = peers_open(
		k, &opt.peers, opt_file(opt.cert, "--tls-cert"), opt_file(opt.key, "--tls-key"));
	open_servers(k);
	while (!wake_stops() && !k->kafka.trouble.status)
		turn(k, wake_fd);
	left = drain(k, wake_fd);
	return finish(k, left);
}
