/* SPDX-License-Identifier: ISC */
/*
 * kmock: an in-memory Kafka on a local port, to try things and to test.
 *
 * DESIGN: a command line for librdkafka's mock cluster, which runs in a thread of librdkafka. The
 * only line of standard output is the address to connect to. It is written when the listeners
 * accept and the topics exist, so that a script that has read the line need not wait for anything.
 * Then kmock sleeps until SIGTERM, SIGINT or SIGHUP, and exits 0. */
#include "base/mem.h"
#include "base/msg.h"
#include "base/metrics.h"
#include "base/num.h"
#include "base/opt.h"
#include "base/wake.h"
#include "kafka/kafka.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BROKERS_MAX = 100, PARTITIONS_MAX = 10000, SPARE_FDS = 8 };

static struct {
	struct opt_common common;
	struct arg_str *brokers, *topics;
} opt;

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kmock -t orders:6 -t payments:1",
		"mkfifo a; kmock -t orders:1 >a & read -r b <a; kread -b \"$b\" -e orders",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "kmock",
		.summary =
			"An in-memory Kafka on a local port: prints its address, runs until SIGTERM.",
		.examples = examples,
		.libraries = {kafka_library},
	};

	opt.brokers = arg_str0("n", "brokers", "N", "how many brokers (default 1)");
	opt.topics = opt_many("t", "topic", "TOPIC:PARTITIONS", 0,
		"a topic to begin with; others are made with 4 partitions when first asked for");
	opt_common(&opt.common);
	void *table[] = {opt.brokers, opt.topics, OPT_COMMON_ENTRIES(opt.common), arg_end(5)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void create_topic(rd_kafka_mock_cluster_t *cluster, const char *spec, int brokers)
{
	char *name = mem_dup(spec), *colon = strrchr(name, ':');
	rd_kafka_resp_err_t err;
	int64_t partitions;

	if (!colon || colon == name || num_i64(colon + 1, &partitions) || partitions < 1 ||
		partitions > PARTITIONS_MAX)
		opt_bad("-t takes TOPIC:PARTITIONS with 1 to %d partitions, not '%s'",
			PARTITIONS_MAX, spec);
	*colon = '\0';
	err = rd_kafka_mock_topic_create(cluster, name, (int)partitions, brokers < 3 ? brokers : 3);
	if (err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
		opt_bad("-t names the topic '%s' twice", name);
	if (err)
		die(EXIT_TEMP, "cannot make the topic '%s': %s", name, rd_kafka_err2str(err));
	free(name);
	/* The cluster's thread answers a command before it reads the byte that woke it. If the next
	 * command comes at once, the thread reads both bytes together and sleeps for a second
	 * before it looks. */
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* The mock cluster needs a client to belong to. */
static rd_kafka_t *idle_client(void)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[256];
	rd_kafka_t *rk;

	rd_kafka_conf_set_log_cb(conf, NULL);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (!rk)
		die(EXIT_TEMP, "cannot start librdkafka: %s", why);
	return rk;
}

/* librdkafka aborts the process when it cannot make a socket for its cluster. */
static void check_descriptors(int brokers)
{
	int fds[BROKERS_MAX + SPARE_FDS], count = 0;

	while (count < brokers + SPARE_FDS && (fds[count] = socket(AF_INET, SOCK_STREAM, 0)) >= 0)
		count++;
	if (count < brokers + SPARE_FDS)
		die(EXIT_TEMP, "cannot start the mock cluster: %s", msg_errno(errno));
	while (count)
		close(fds[--count]);
}

static rd_kafka_mock_cluster_t *start_cluster(rd_kafka_t *rk)
{
	int brokers = (int)opt_int(opt.brokers, "-n", 1, 1, BROKERS_MAX);
	rd_kafka_mock_cluster_t *cluster;
	sigset_t all, before;

	check_descriptors(brokers);
	/* The cluster's thread ends when a signal interrupts it, and then cannot be ended: it takes
	 * none. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	cluster = rd_kafka_mock_cluster_new(rk, brokers);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!cluster)
		die(EXIT_TEMP, "cannot start the mock cluster: no port of 127.0.0.1 could be had");
	for (int i = 0; i < opt.topics->count; i++)
		create_topic(cluster, opt.topics->sval[i], brokers);
	return cluster;
}

int main(int argc, char **argv)
{
	rd_kafka_mock_cluster_t *cluster;
	struct pollfd wake;
	rd_kafka_t *rk;

	parse_options(argc, argv);
	wake = (struct pollfd){.fd = wake_open(), .events = POLLIN};
	rk = idle_client();
	cluster = start_cluster(rk);

	if (printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster)) < 0 || fflush(stdout))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	metrics_set_ready(true);
	while (!wake_stops())
		poll(&wake, 1, metrics_tick(wake_now_ms()));

	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(rk);
	metrics_flush();
	if (fclose(stdout))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	return EXIT_DONE;
}
