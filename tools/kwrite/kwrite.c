/* SPDX-License-Identifier: ISC */
/*
 * kwrite: writes records, one JSON object a line (evpipe-record(5)), to Kafka.
 *
 * DESIGN: one poll loop; deliveries wake it.
 *
 * Lines stay in the input's block until the broker has answered for their records, so that a
 * refused one can be kept as it came. slots[] has the records that were read and not yet let go,
 * in input order: tail <= i < head, slot i at i % RING. A delivery report, which carries i, only
 * marks its slot; release() lets go in order, and refuses those that failed: none is forgotten
 * before it is durable. A line that is refused at once has a slot as well, since what is reported to
 * the source (evpipe-ack(7)) is reported in input order, up to the first record still held. Behind
 * one that was refused under --on-error stop nothing is reported: the source's position stays there.
 *
 * Standard input is not listened to before the source has greeted, and while the window is full, a
 * topic is asked about, or a line could not be handed over (`held`): that is all there is of back
 * pressure. While brokers are away
 * librdkafka keeps what it has and sends it again in order (idempotence, message.timeout.ms=0).
 *
 * Messages are handed to librdkafka partition by partition, those of one read at a time, before the loop
 * waits for anything.
 *
 * No batch may grow beyond what its topic takes, or good records would be refused with a large
 * one: librdkafka's batches are smaller than the brokers' default, and where a topic allows less,
 * no more than that is out at a time.
 *
 * With --pass it is a filter: what is let go is written to standard output with where Kafka has it, and
 * nothing is said of it. While the reader is slow nothing is let go, and the window fills.
 *
 * Ends: EOF, all delivered, 0, or 1 when some were refused; a torn last line, 111; a refused record
 * under --on-error stop, what was read before it delivered, 1; EOF without the source's word that it
 * is whole, 111. The first SIGTERM or SIGINT is
 * ignored while input is open, the second ends at once with 111 and says what was not delivered.
 *
 * Files: kwrite.c the command line, lines, the loop; kwrite-message.c makes messages of lines;
 * kwrite-batch.c hands them over; kwrite-ring.c has the records on their way; kwrite-topics.c asks about
 * topics.
 */
#include "kwrite/kwrite.h"

#include "ack/client.h"
#include "base/msg.h"
#include "flow/input.h"
#include "base/metrics.h"
#include "base/opt.h"
#include "record/record.h"
#include "record/template.h"
#include "base/wake.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TICK_MS = 1000 };

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct kafka_opts kafka;
	struct arg_str *topic, *key, *partition, *codec, *txn;
	struct arg_lit *now, *raw, *nul, *create, *pass;
} opt;

static struct kwrite self;

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kread -b \"$OLD\" -e orders | kwrite -b \"$NEW\"",
		"rsub -p 'sse:*' | evkey .tenantId | kwrite -t '{channel#sse:}'",
		"tail -F app.log | kwrite --raw -t logs",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "kwrite",
		.summary = "Writes records, one JSON object a line, to Kafka.",
		.examples = examples,
		.libraries = {kafka_library},
	};

	opt.topic = arg_str0("t", "topic", "TEMPLATE", "where to (default '{topic}')");
	opt.key = arg_str0(NULL, "key", "TEMPLATE", "the key (default the record's own)");
	opt.partition = arg_str0(
		"p", "partition", "N|keep", "the partition, or the record's own (default by key)");
	opt.now = arg_lit0(NULL, "now", "stamp with the time of writing, not the record's ts");
	opt.codec = arg_str0("z", "compress", "CODEC", "gzip, snappy, lz4, zstd or none");
	opt.raw = arg_lit0(NULL, "raw", "each line is a payload, not a record");
	opt.nul = arg_lit0("0", "null", "with --raw: payloads end with NUL instead of LF");
	opt.create = arg_lit0(NULL, "create", "create topics that do not exist");
	opt.pass = arg_lit0(NULL, "pass",
		"hand each record on, with where it was written: a filter, not a sink");
	opt.txn = arg_str0(NULL, "txn", "ID",
		"exactly once: write in transactions, and the source's positions with them");
	input_opts(&opt.input, INPUT_DEAD_TO_TOPIC);
	ack_opts(&opt.ack);
	kafka_opts(&opt.kafka);
	opt_common(&opt.common);
	void *table[] = {opt.topic, opt.key, opt.partition, opt.now, opt.codec, opt.raw, opt.nul,
		opt.create, opt.pass, opt.txn, INPUT_ENTRIES(opt.input), ACK_ENTRIES(opt.ack),
		KAFKA_ENTRIES(opt.kafka), OPT_COMMON_ENTRIES(opt.common), arg_end(5)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static struct template *parse_template(const char *name, const char *text)
{
	char why[256];
	struct template *t = text ? template_parse(text, why, sizeof(why)) : NULL;

	if (text && !t)
		opt_bad("%s '%s': %s", name, text, why);
	return t;
}

static void take_options(struct shape *shape)
{
	const char *partition = opt_text(opt.partition, "-p");
	const char *topic = opt_text(opt.topic, "-t");

	shape->raw = opt.raw->count;
	shape->now = opt.now->count;
	shape->topic = parse_template("-t", topic || shape->raw ? topic : "{topic}");
	shape->key = parse_template("--key", opt_text(opt.key, "--key"));
	shape->partition = RD_KAFKA_PARTITION_UA;
	if (partition && strcmp(partition, "keep") == 0)
		shape->partition = PARTITION_KEEP;
	else if (partition)
		shape->partition = (int32_t)opt_int(opt.partition, "-p", 0, 0, INT32_MAX);
	if (shape->raw && !(shape->topic && template_constant(shape->topic)))
		opt_bad("--raw needs -t TOPIC: a payload has no fields to take the topic from");
	if (shape->raw &&
		((shape->key && !template_constant(shape->key)) ||
			shape->partition == PARTITION_KEEP))
		opt_bad("--raw leaves no fields for --key or -p keep");
	if (opt.txn->count && (shape->raw || opt.pass->count))
		opt_bad("--txn goes with neither --raw nor --pass");
	if (opt.txn->count && !ack_path(&opt.ack))
		opt_bad("--txn needs the source, for its positions: give it and kread -g the same --ack PATH, or run them with evpipe");
	if (opt.nul->count && !shape->raw)
		opt_bad("-0 needs --raw: a record is one line");
}

static void start(struct kwrite *s)
{
	const struct kafka_prop defaults[] = {
		{"enable.idempotence", "true"},
		{"acks", "all"},
		{"partitioner", "murmur2_random"},
		/* Measured: a longer one adds itself to the way of each record, and gains little. */
		{"linger.ms", "1"},
		{"topic.metadata.propagation.max.ms", "3000"},
		/* The window bounds what is kept; what a broker takes, this must not refuse. */
		{"queue.buffering.max.messages", "100000"},
		{"queue.buffering.max.kbytes", "1048576"},
		{"message.max.bytes", "1000000000"},
		{"batch.size", "1000000"},
		/* A transaction has its own end. */
		{opt.txn->count ? NULL : "message.timeout.ms", "0"},
		{0},
	};
	const struct kafka_prop own[] = {
		{"allow.auto.create.topics", opt.create->count ? "true" : "false"},
		{"delivery.report.only.error", "false"},
		{opt.txn->count ? "transactional.id" : NULL, opt_text(opt.txn, "--txn")},
		{0},
	};
	const char *codec = opt_text(opt.codec, "-z");
	struct trouble why = {0};
	struct kafka_conf conf;
	char text[256];

	if (kafka_conf_open(&conf, &opt.kafka, defaults, own, &why))
		die(why.status, "%s", why.text);
	if (codec && rd_kafka_conf_set(conf.rd, "compression.codec", codec, text, sizeof(text)))
		opt_bad("-z: %s", text);
	if (kafka_conf_int(&conf, "acks") == 0)
		die(EXIT_PERM, "acks=0: no broker would say what it has; give all, or 1");
	s->shape.compressed = strcmp(kafka_conf_text(&conf, "compression.codec"), "none") != 0;
	/* Unless -X wants it otherwise; 10 is librdkafka's default. */
	s->partitioner.in_runs =
		strcmp(kafka_conf_text(&conf, "partitioner"), "murmur2_random") == 0 &&
		kafka_conf_int(&conf, "sticky.partitioning.linger.ms") == 10;
	if (s->partitioner.in_runs)
		rd_kafka_conf_set(conf.rd, "sticky.partitioning.linger.ms", "0", NULL, 0);
	rd_kafka_conf_set_dr_msg_cb(conf.rd, ring_on_delivery);
	if (kafka_start(&s->kafka, RD_KAFKA_PRODUCER, &conf, &why))
		die(why.status, "%s", why.text);
	metrics_up("kafka", false);
}

/* ---- lines ---- */

/* false: it is not for us. With --pass what is none of our source's goes on like the rest. */
static bool take_label(
	struct kwrite *s, const struct message *m, bool refused, struct ack_label *label)
{
	*label = (struct ack_label){0};
	return (refused && m->seq.type == JSON_ABSENT) || ack_take(&s->ack, &m->seq, label) ||
		!s->ack.trouble.status;
}

/* Does what can be done with the line in s->text. */
static void take_line(struct kwrite *s)
{
	struct record_error e = {0};
	struct message m = {0};
	struct ack_label label;
	enum outcome outcome = message_make(&s->shape, &s->topics, s->text, &m, &e);

	s->held = outcome == WAIT;
	if (outcome != WAIT && !take_label(s, &m, outcome == REFUSED, &label)) {
		input_stop(&s->in);
	} else if (outcome == READY) {
		ring_take(s, &m, &label);
		batch_add(s, &m);
		return;
	} else if (outcome == REFUSED) {
		ring_refuse(s, &label, m.is_record, &e);
	}
	if (m.headers)
		rd_kafka_headers_destroy(m.headers);
}

static bool may_take(struct kwrite *s, int64_t now_ms)
{
	return ack_greeted(&s->ack) && txn_accepts(s, now_ms) && letters_ready(s);
}

/* Takes lines until there are no whole ones left, the batch is full or something has to be waited for.
 * Returns whether more input is wanted. */
static bool fill_batch(struct kwrite *s)
{
	if (s->held && !input_ended(&s->in) && letters_have_room(s))
		take_line(s);
	while (!s->held && letters_have_room(s) && !batch_is_full(s)) {
		enum input_got got;

		/* What was refused at once waits for nothing. */
		if (!ring_has_room(s))
			ring_release(s);
		if (!ring_has_room(s))
			return false;
		got = input_take(&s->in, &s->text);
		if (got == INPUT_NONE)
			return !input_ended(&s->in);
		if (got == INPUT_LONG)
			ring_refuse_big(s);
		else
			take_line(s);
	}
	return false;
}

/* Takes lines as long as nothing has to be waited for. Returns whether more input is wanted. */
static bool take_lines(struct kwrite *s)
{
	bool hungry, full;

	do {
		hungry = fill_batch(s);
		/* A line that is held may just want the batch gone. */
		full = s->batch.count && (s->held || batch_is_full(s));
		if (!batch_send(s))
			return false;
	} while (full);
	return hungry;
}

/* ---- events ---- */

static void on_signal(struct kwrite *s)
{
	if (!wake_must_end(input_ended(&s->in)))
		return;
	dead_sync(&s->in.dead);
	ack_abandon(&s->ack);
	die(EXIT_TEMP, "stopped by a signal: %" PRIu64 " records were not delivered",
		s->head - s->tail + s->held);
}

/* Writes what was let go, which makes room for more. */
static void on_output(struct kwrite *s)
{
	while (s->pass && !s->gone) {
		/* What was let go may have been refused. */
		dead_sync(&s->in.dead);
		if (out_flush(&s->out) == 0) {
			if (out_pending(&s->out) || !ring_has_done(s))
				return;
			ring_release(s);
			continue;
		}
		if (errno != EPIPE)
			die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
		s->gone = true;
	}
}

/* The configuration is at fault, or librdkafka cannot go on. */
static void check_trouble(struct kwrite *s)
{
	if (!s->kafka.trouble.status)
		return;
	if (s->txn.id)
		txn_fail(s, s->kafka.trouble.status, "%s", s->kafka.trouble.text);
	dead_sync(&s->in.dead);
	if (s->kafka.trouble.status == EXIT_PERM) {
		ack_stop(&s->ack, s->kafka.trouble.text);
		ack_close(&s->ack);
	}
	ack_abandon(&s->ack);
	die(s->kafka.trouble.status, "%s; %" PRIu64 " records were not delivered",
		s->kafka.trouble.text, s->head - s->tail + s->held);
}

static void loop(struct kwrite *s)
{
	bool hungry = true; /* no whole line is left in the block */

	ack_serve(&s->ack, 0, wake_now_ms());
	while (!s->gone &&
		(!input_ended(&s->in) || s->tail < s->head || out_pending(&s->out) ||
			!txn_is_done(s))) {
		int64_t now = wake_now_ms();
		bool up, reads = hungry && may_take(s, now);
		struct pollfd fds[] = {
			{.fd = s->signal_fd, .events = POLLIN},
			{.fd = s->kafka.wake_fd, .events = POLLIN},
			{.fd = reads ? STDIN_FILENO : -1, .events = POLLIN},
			ack_pollfd(&s->ack),
			{.fd = s->pass ? STDOUT_FILENO : -1, .events = out_events(&s->out)},
		};
		int wait_ms = wake_least(
			wake_least(TICK_MS, metrics_tick(now)), ack_timeout_ms(&s->ack, now));

		poll(fds, 5, wake_least(wait_ms, txn_timeout_ms(s, now)));
		now = wake_now_ms();
		if (fds[0].revents || input_ended(&s->in))
			on_signal(s);
		if (fds[1].revents)
			kafka_woken(&s->kafka);
		rd_kafka_poll(s->kafka.rk, 0);
		topics_serve(&s->topics);
		ring_release(s);
		if (fds[2].revents)
			input_read(&s->in);
		partition_next_run(&s->partitioner);
		txn_step(s, now);
		if (batch_send(s) && may_take(s, now))
			hungry = take_lines(s);
		ring_release(s);
		if (fds[4].revents & OUT_GONE)
			s->gone = true;
		dead_sync(&s->in.dead);
		on_output(s);
		ack_serve(&s->ack, fds[3].revents, wake_now_ms());
		if (s->ack.trouble.status)
			input_stop(&s->in);
		up = kafka_tick(&s->kafka);
		metrics_up("kafka", up);
		if (up)
			metrics_set_ready(true);
		check_trouble(s);
	}
}

static int finish(struct kwrite *s)
{
	int status = EXIT_DONE, refused;

	/* Reports leave first: a source that drains sees them before the end. */
	if (s->gone)
		ack_abandon(&s->ack);
	else
		status = ack_close(&s->ack);
	if (s->pass && !s->gone && out_close(&s->out))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	refused = input_close(&s->in);
	if (topics_close(&s->topics))
		kafka_stop(&s->kafka);
	metrics_flush();
	return s->gone ? EXIT_TEMP : status ? status : refused;
}

int main(int argc, char **argv)
{
	struct kwrite *s = &self;
	rd_kafka_queue_t *queue;

	parse_options(argc, argv);
	take_options(&s->shape);
	input_open(&s->in, &opt.input, opt.nul->count ? '\0' : '\n', &s->ack, letters_give, s);
	s->signal_fd = wake_open();
	start(s);
	queue = rd_kafka_queue_get_main(s->kafka.rk);
	kafka_wake_on(&s->kafka, queue);
	rd_kafka_queue_destroy(queue);
	topics_open(&s->topics, &s->kafka, opt.create->count, partition_prepare, &s->partitioner);
	metrics_counts(METRICS_OUT | METRICS_FORWARDED);
	s->pass = opt.pass->count;
	if (s->pass)
		out_open(&s->out, STDOUT_FILENO);
	ack_open(&s->ack, ack_path(&opt.ack),
		s->pass			 ? ACK_FILTER
			: opt.txn->count ? ACK_TXN
					 : ACK_SINK);
	s->dead_topic = input_dead_topic(&s->in);
	if (opt.txn->count)
		txn_open(s, opt_text(opt.txn, "--txn"));

	loop(s);
	return finish(s);
}
