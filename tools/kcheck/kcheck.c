/* SPDX-License-Identifier: ISC */
/*
 * kcheck: tells why a client cannot reach a Kafka cluster.
 *
 * DESIGN: lib/kafka/check.h dials and judges; here are the options, the loop and what is printed.
 * All listeners are worked on side by side, and printed in order when all are judged: a verdict on
 * one looks at the others. A stop signal ends the program without a verdict, with 111. With --watch
 * all of that is done again and again, and printed when it has changed; then a stop signal ends the
 * program with the status of the last time. */
#define _GNU_SOURCE
#include "base/catalog.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/num.h"
#include "base/opt.h"
#include "base/out.h"
#include "base/wake.h"
#include "kafka/check.h"
#include "kafka/kafka.h"
#include "kafka/words.h"
#include "kcheck/show.h"
#include "net/tls.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	TIMEOUT_MS = 5000,
	WATCH_MS = 2000, /* between two checks */
};

static struct {
	struct opt_common common;
	struct kafka_opts kafka;
	struct arg_str *topics, *groups, *offsets, *names, *timeout;
	struct arg_lit *list, *json, *watch;
} opt;

static struct kcheck {
	struct kafka_conf kafka_conf;
	struct check_conf conf;
	struct check check;
	struct views views;
	struct view_topics topics;
	struct view_group *groups;
	const char **names; /* of -t */
	enum view_names which; /* --names */
	struct show show;
	bool is_terminal;
	int64_t timeout_ms;
	uint64_t secrets_stamp; /* of the files as they were read */
	int hups;
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
		"kcheck -t orders -g bridge",
		"kcheck --json | jq -r 'select(.ok | not) | .verdict'",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "kcheck",
		.summary =
			"Tells why a client cannot reach a Kafka cluster: dials every address that it advertises.",
		.examples = examples,
		.libraries = {kafka_library, tls_library},
		.hints = words_of_askers,
	};

	opt.topics = opt_many("t", "topic", "TOPIC", 0,
		"look at a topic, too: leaders, replicas in sync, offsets");
	opt.groups = opt_many("g", "group", "GROUP", 0,
		"look at a consumer group, too: its coordinator, state, members, lag");
	opt.list = arg_lit0("L", "list", "print the brokers and all topics");
	opt.offsets = arg_str0(NULL, "offsets", "@TIME|beginning|end",
		"print the offset of that time for each partition of the topics");
	opt.names = arg_str0(NULL, "names", "topics|groups",
		"print the names of all topics, or of all consumer groups, and no more");
	opt.timeout = arg_str0(NULL, "timeout", "TIME", "how long all of it may take (default 5s)");
	opt.json = arg_lit0(NULL, "json", "print a JSON object for each listener");
	opt.watch = arg_lit0(NULL, "watch", "go on, and print again what has changed");
	kafka_opts(&opt.kafka);
	opt_common(&opt.common);
	void *table[] = {opt.topics, opt.groups, opt.list, opt.offsets, opt.names, opt.timeout,
		opt.json, opt.watch, KAFKA_ENTRIES(opt.kafka), OPT_COMMON_ENTRIES(opt.common),
		arg_end(5)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

/* --offsets. */
static void take_time(void)
{
	const char *text = opt_text(opt.offsets, "--offsets");
	struct timespec now;
	int bad;

	if (!text)
		return;
	k.views.asks_time = true;
	clock_gettime(CLOCK_REALTIME, &now);
	if (strcmp(text, "beginning") == 0)
		k.views.time_ms = QUERY_BEGINNING;
	else if (strcmp(text, "end") == 0)
		k.views.time_ms = QUERY_END;
	bad = *text == '@'
		? num_time_ms(text + 1, now.tv_sec * 1000 + now.tv_nsec / 1000000, &k.views.time_ms)
		: !k.views.time_ms;
	if (bad || (*text == '@' && k.views.time_ms < 0))
		opt_bad("--offsets takes @TIME, beginning or end, not '%s'", text);
	if (!opt.topics->count && !opt.list->count)
		opt_bad("--offsets needs -t or -L");
}

static void take_names(void)
{
	const char *text = opt_text(opt.names, "--names");

	if (!text)
		return;
	if (strcmp(text, "topics") == 0)
		k.which = VIEW_TOPIC_NAMES;
	else if (strcmp(text, "groups") == 0)
		k.which = VIEW_GROUP_NAMES;
	else
		opt_bad("--names takes topics or groups, not '%s'", text);
	if (opt.topics->count || opt.groups->count || opt.list->count || opt.watch->count ||
		opt.json->count)
		opt_bad("--names does not go with -t, -g, -L, --json, --watch");
}

static void take_options(void)
{
	static const struct kafka_prop none[] = {{0}};
	struct trouble why = {0};

	k.timeout_ms = opt_duration_ms(opt.timeout, "--timeout", TIMEOUT_MS);
	if (k.timeout_ms < 1)
		opt_bad("--timeout takes a time above 0");
	take_time();
	take_names();
	for (int i = 0; i < opt.topics->count; i++)
		kafka_check_name(opt.topics->sval[i], "-t");
	for (int i = 0; i < opt.groups->count; i++)
		kafka_check_name(opt.groups->sval[i], "-g");
	k.names = mem_alloc(((size_t)opt.topics->count + 1) * sizeof(*k.names));
	memcpy(k.names, opt.topics->sval, (size_t)opt.topics->count * sizeof(*k.names));
	k.names[opt.topics->count] = NULL;
	k.groups = mem_alloc(((size_t)opt.groups->count + 1) * sizeof(*k.groups));
	memset(k.groups, 0, ((size_t)opt.groups->count + 1) * sizeof(*k.groups));
	k.show.json = opt.json->count;
	k.is_terminal = !k.show.json && isatty(STDOUT_FILENO);
	k.show.colour = k.is_terminal && out_wants_colour(STDOUT_FILENO);
	if (kafka_conf_open(&k.kafka_conf, &opt.kafka, none, none, &why) ||
		check_conf_open(&k.conf, &k.kafka_conf, &why))
		exit(trouble_tell(&why));
	k.secrets_stamp = secrets_stamp(&k.kafka_conf.secrets);
}

/* ---- what is printed ---- */

/* Calls for the verdict of each listener, topic and group; @ctx is its own. */
static void each_verdict(
	void (*fn)(void *ctx, const char *name, const struct check_verdict *v), void *ctx)
{
	for (size_t i = 0; i < k.check.count; i++)
		fn(ctx, k.check.listeners[i]->host, &k.check.listeners[i]->verdict);
	for (size_t i = 0; i < k.topics.count; i++)
		fn(ctx, k.topics.list[i].t.name, &k.topics.list[i].verdict);
	for (int i = 0; i < opt.groups->count; i++)
		fn(ctx, k.groups[i].name, &k.groups[i].verdict);
}

static void put_state(void *b, const char *name, const struct check_verdict *v)
{
	buf_printf(b, "%s %s %s\n", name, v->text, v->note);
}

static void take_worst(void *worst, const char *name, const struct check_verdict *v)
{
	const struct check_verdict **w = worst;

	(void)name;
	if (!*w || trouble_worse((*w)->status, v->status) != (*w)->status)
		*w = v;
}

static void put_verdict(void *good, const char *name, const struct check_verdict *v)
{
	bool *all = good;

	(void)name;
	if (!show_verdict(&k.show, &k.out.b, v))
		*all = false;
}

/* Whether a verdict is another than the last time. */
static bool has_changed(void)
{
	struct buf state = {0};
	bool same;

	each_verdict(put_state, &state);
	same = state.len == k.state.len && memcmp(state.p, k.state.p, state.len) == 0;
	buf_free(&k.state);
	k.state = state;
	return !same;
}

static void print(void)
{
	bool good = true;

	if (k.which || (!has_changed() && !k.is_terminal))
		return;
	if (opt.watch->count && k.is_terminal)
		buf_puts(&k.out.b, "\033[H\033[2J");
	for (size_t i = 0; i < k.check.count; i++)
		show_listener(&k.show, &k.out.b, k.check.listeners[i]);
	if (opt.list->count)
		show_cluster(&k.show, &k.out.b, &k.check);
	for (size_t i = 0; i < k.topics.count; i++)
		show_topic(&k.show, &k.out.b, &k.topics.list[i], k.views.asks_time);
	for (int i = 0; i < opt.groups->count; i++)
		show_group(&k.show, &k.out.b, &k.groups[i]);
	each_verdict(put_verdict, &good);
	if (good && opt.list->count && !k.topics.count)
		show_no_topic(&k.show, &k.out.b);
	if (good)
		show_good(&k.show, &k.out.b);
}

/* ---- the loop ---- */

/* One turn. Returns false after a stop signal. */
static bool turn(void)
{
	size_t n = check_poll(&k.check, &k.fds, &k.fds_room);

	poll(k.fds, (nfds_t)n, check_timeout_ms(&k.check, wake_now_us()));
	check_go_on(&k.check, k.fds, wake_now_us());
	return !wake_stops();
}

static bool settle(void)
{
	while (!k.check.done)
		if (!turn())
			return false;
	return true;
}

static bool await(struct talk *t)
{
	while (talk_goes_on(t)) {
		if (!turn())
			return false;
		if (wake_now_us() >= k.views.until_us)
			talk_give_up(t, wake_now_us());
	}
	return t->done;
}

/* --names. */
static void list_names(void)
{
	const char *what = k.which == VIEW_GROUP_NAMES ? "groups" : "topics";
	struct catalog names = {0};
	size_t left_out;

	if (!views_names(&k.views, k.which, &names) && !wake_stops())
		msg_warn("not all brokers have told their %s", what);
	left_out = catalog_put(&names, '\n', &k.out.b);
	if (left_out)
		msg_warn("names that have a line end are left out: %zu", left_out);
	catalog_free(&names);
}

/* Secrets, certificates and lines of --resolve in files may be others since the last check, and a
 * token ends. */
static void renew(void)
{
	uint64_t stamp = secrets_stamp(&k.kafka_conf.secrets);
	bool is_other = secrets_changed_cert(&k.kafka_conf.secrets) != NULL;
	struct check_conf conf;
	struct trouble why = {0};

	resolve_reread(&k.kafka_conf.resolves, &why);
	if (why.status)
		msg_warn("%s; going on with what was read before", why.text);
	why = (struct trouble){0};
	if (k.conf.token_end_ms && wake_epoch_ms() + k.timeout_ms > k.conf.token_end_ms)
		is_other = true;
	if (!is_other && stamp == k.secrets_stamp && wake_hups() == k.hups)
		return;
	k.secrets_stamp = stamp;
	k.hups = wake_hups();
	secrets_reread(&k.kafka_conf.secrets, k.kafka_conf.rd, &why);
	if (!why.status) {
		bool is_good = check_conf_open(&conf, &k.kafka_conf, &why) == 0;

		check_conf_close(is_good ? &k.conf : &conf);
		if (is_good) {
			k.conf = conf;
			return;
		}
	}
	msg_warn("%s; going on with what was read before", why.text);
}

/* One check. Returns whether there is a verdict: false after a stop signal. */
static bool run(void)
{
	views_topics_free(&k.topics);
	for (int i = 0; i < opt.groups->count; i++)
		views_group_free(&k.groups[i]);
	check_free(&k.check);
	renew();
	check_start(&k.check, &k.conf, k.timeout_ms, wake_now_us());
	k.views.check = &k.check;
	k.views.await = await;
	k.views.settle = settle;
	k.views.until_us = wake_now_us() + k.timeout_ms * 1000;
	if (!settle())
		return false;
	views_identities(&k.views);
	if (k.which)
		list_names();
	if (opt.topics->count || opt.list->count)
		views_topics(&k.views, opt.topics->count ? k.names : NULL, &k.topics);
	for (int i = 0; i < opt.groups->count && !wake_stops(); i++)
		views_group(&k.views, opt.groups->sval[i], &k.groups[i]);
	return !wake_stops();
}

static void tell(void)
{
	const struct check_verdict *worst = NULL;

	print();
	each_verdict(take_worst, &worst);
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
