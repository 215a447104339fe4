/* SPDX-License-Identifier: ISC */
/*
 * kcheck: tells why a client cannot reach a Kafka cluster.
 *
 * DESIGN: lib/kafka/check.h dials and judges; here are the options, the loop and what is printed. All listeners are
 * worked on side by side, and printed in order when all are judged: a verdict on one looks at the others. A stop signal
 * ends the program without a verdict, with 111. With --watch all of that is done again and again, and printed when
 * it has changed; then a stop signal ends the program with the status of the last time.
 */
#define _GNU_SOURCE
#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/opt.h"
#include "base/out.h"
#include "base/wake.h"
#include "kafka/check.h"
#include "kafka/kafka.h"
#include "kcheck/show.h"
#include "net/tls.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	TIMEOUT_MS = 5000,
	WATCH_MS = 2000, /* between two checks */
};

static struct {
	struct opt_common common;
	struct kafka_opts kafka;
	struct arg_str *timeout;
	struct arg_lit *json, *watch;
} opt;

static struct kcheck {
	struct kafka_conf kafka_conf;
	struct check_conf conf;
	struct check check;
	struct show show;
	bool is_terminal;
	int64_t timeout_ms;
	struct pollfd *fds;
	size_t fds_room;
	int wake_fd;
	struct out out;
	struct buf state; /* as it was printed last */
	bool has_verdict;
	struct check_verdict last; /* the worst of the last check */
} k;

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kcheck -b kafka:9092",
		"kcheck --json | jq -r 'select(.ok | not) | .verdict'",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "kcheck",
		.summary =
			"Tells why a client cannot reach a Kafka cluster: dials every address that it advertises.",
		.examples = examples,
		.libraries = {kafka_library, tls_library},
	};

	opt.timeout = arg_str0(NULL, "timeout", "TIME", "how long all of it may take (default 5s)");
	opt.json = arg_lit0(NULL, "json", "print a JSON object for each listener");
	opt.watch = arg_lit0(NULL, "watch", "go on, and print again what has changed");
	kafka_opts(&opt.kafka);
	opt_common(&opt.common);
	void *table[] = {opt.timeout, opt.json, opt.watch, KAFKA_ENTRIES(opt.kafka),
		OPT_COMMON_ENTRIES(opt.common), arg_end(5)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void take_options(void)
{
	static const struct kafka_prop none[] = {{0}};
	struct trouble why = {0};

	k.timeout_ms = opt_duration_ms(opt.timeout, "--timeout", TIMEOUT_MS);
	if (k.timeout_ms < 1)
		opt_bad("--timeout takes a time above 0");
	k.show.json = opt.json->count;
	k.is_terminal = !k.show.json && isatty(STDOUT_FILENO);
	k.show.colour = k.is_terminal && !getenv("NO_COLOR");
	if (kafka_conf_open(&k.kafka_conf, &opt.kafka, none, none, &why) ||
		check_conf_open(&k.conf, &k.kafka_conf, &why))
		exit(trouble_tell(&why));
}

/* The verdicts of all, to see a change. */
static void put_state(struct buf *b)
{
	buf_clear(b);
	for (size_t i = 0; i < k.check.count; i++)
		buf_printf(b, "%s:%s %s\n", k.check.listeners[i]->host, k.check.listeners[i]->port,
			k.check.listeners[i]->verdict.text);
}

static void print(void)
{
	struct buf state = {0};
	bool same;

	put_state(&state);
	same = state.len == k.state.len && memcmp(state.p, k.state.p, state.len) == 0;
	buf_free(&k.state);
	k.state = state;
	if (same && !k.is_terminal)
		return;
	if (opt.watch->count && k.is_terminal)
		buf_puts(&k.out.b, "\033[H\033[2J");
	for (size_t i = 0; i < k.check.count; i++)
		show_listener(&k.show, &k.out.b, k.check.listeners[i]);
	show_verdicts(&k.show, &k.out.b, &k.check);
}

/* One check. Returns whether there is a verdict: false after a stop signal. */
static bool run(void)
{
	check_free(&k.check);
	check_start(&k.check, &k.conf, k.timeout_ms, wake_now_us());
	while (!k.check.done && !wake_stops()) {
		size_t n = check_poll(&k.check, &k.fds, &k.fds_room);

		poll(k.fds, (nfds_t)n, check_timeout_ms(&k.check, wake_now_us()));
		check_go_on(&k.check, k.fds, wake_now_us());
	}
	return k.check.done;
}

static void tell(void)
{
	const struct check_verdict *worst = check_worst(&k.check);

	print();
	k.last = *worst;
	metrics_up("kafka", !worst->status);
	metrics_set_ready(!worst->status);
	metrics_flush();
	if (out_flush(&k.out))
		die(EXIT_TEMP, "cannot write standard output: %s",
			errno == EPIPE ? "its reader has gone" : strerror(errno));
}

/* Waits for the next check. Returns false after a stop signal. */
static bool pause_watch(void)
{
	int64_t until_ms = wake_now_ms() + WATCH_MS;
	struct pollfd fds[] = {{.fd = k.wake_fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};

	while (!wake_stops() && wake_now_ms() < until_ms) {
		poll(fds, 2,
			wake_least(metrics_tick(wake_now_ms()), (int)(until_ms - wake_now_ms())));
		if (fds[1].revents & OUT_GONE)
			die(EXIT_TEMP, "the reader of standard output has gone");
	}
	return !wake_stops();
}

int main(int argc, char **argv)
{
	msg_init("kcheck");
	parse_options(argc, argv);
	k.wake_fd = wake_open();
	take_options();
	out_open(&k.out, STDOUT_FILENO);
	metrics_up("kafka", false);
	while (run()) {
		k.has_verdict = true;
		tell();
		if (!opt.watch->count || !pause_watch())
			break;
	}
	if (!k.has_verdict)
		die(EXIT_TEMP, "a signal ends it before there is a verdict");
	if (out_close(&k.out))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	/* On a terminal the verdict was seen. */
	if (k.last.status && !(k.is_terminal && isatty(STDERR_FILENO)))
		msg_error("%s", k.last.text);
	return k.last.status;
}
