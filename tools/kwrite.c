/* SPDX-License-Identifier: ISC */
/*
 * kwrite: writes records, one JSON object a line (evpipe-record(5)), to Kafka.
 *
 * DESIGN: one poll loop; deliveries wake it.
 *
 * Lines stay in the input's block until the broker has answered for their records, so that a
 * refused one can be kept as it came. slots[] has the records that were read and not yet let go,
 * in input order: tail <= i < head, slot i at i % RING. A delivery report, which carries i, only
 * marks its slot; release() lets go in order, and refuses those that failed: dead letters stand in
 * input order, and none is forgotten before it is durable.
 *
 * Standard input is not listened to while the window is full, a topic is asked about, or a line
 * could not be handed over (`held`): that is all there is of back pressure. While brokers are away
 * librdkafka keeps what it has and sends it again in order (idempotence, message.timeout.ms=0).
 *
 * No batch may grow beyond what its topic takes, or good records would be refused with a large
 * one: librdkafka's batches are smaller than the brokers' default, and where a topic allows less,
 * no more than that is out at a time.
 *
 * Ends: EOF, all delivered, 0, or 1 when some were refused; a torn last line, 111; a refused record
 * under --on-error stop, what was read before it delivered, 1. The first SIGTERM or SIGINT is
 * ignored while input is open, the second ends at once with 111 and says what was not delivered.
 *
 * Files: kwrite.c the command line, deliveries, the loop; kwrite-message.c makes messages of lines;
 * kwrite-topics.c asks about topics.
 */
#include "kwrite.h"

#include "die.h"
#include "input.h"
#include "metrics.h"
#include "opt.h"
#include "record.h"
#include "template.h"
#include "wake.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RING = 32768, WINDOW_BYTES = 8 << 20, TICK_MS = 1000 };

static struct {
	struct opt_common common;
	struct opt_input input;
	struct kafka_opts kafka;
	struct arg_str *topic, *key, *partition, *codec;
	struct arg_lit *now, *raw, *nul, *create;
} opt;

/* A record on its way. */
struct slot {
	uint64_t place, number; /* of its line */
	size_t len;
	struct topic *topic;
	size_t bytes; /* counted in topic->out_bytes */
	rd_kafka_resp_err_t err;
	bool done;
};

static struct kwrite {
	struct kafka kafka;
	struct topics topics;
	struct input in;
	int signal_fd;

	struct shape shape;
	bool in_runs;

	struct slot slots[RING];
	uint64_t tail, head;
	struct span text; /* the line that was read last */
	bool held; /* it could not be handed over yet */
} self;

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
	opt_input(&opt.input);
	kafka_opts(&opt.kafka);
	opt_common(&opt.common);
	void *table[] = {opt.topic, opt.key, opt.partition, opt.now, opt.codec, opt.raw, opt.nul,
		opt.create, OPT_INPUT_ENTRIES(opt.input), KAFKA_ENTRIES(opt.kafka),
		OPT_COMMON_ENTRIES(opt.common), arg_end(5)};
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
	if (opt.nul->count && !shape->raw)
		opt_bad("-0 needs --raw: a record is one line");
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque);

static rd_kafka_conf_t *configure(struct kwrite *s)
{
	static const struct kafka_prop defaults[] = {
		{"enable.idempotence", "true"},
		{"acks", "all"},
		{"message.timeout.ms", "0"},
		{"partitioner", "murmur2_random"},
		/* Measured: a longer one adds itself to the way of each record, and gains little. */
		{"linger.ms", "1"},
		{"topic.metadata.propagation.max.ms", "3000"},
		/* The window bounds what is kept; what a broker takes, this must not refuse. */
		{"queue.buffering.max.messages", "100000"},
		{"queue.buffering.max.kbytes", "1048576"},
		{"message.max.bytes", "1000000000"},
		{"batch.size", "1000000"},
		{0},
	};
	const struct kafka_prop own[] = {
		{"allow.auto.create.topics", opt.create->count ? "true" : "false"},
		{"delivery.report.only.error", "false"},
		{0},
	};
	rd_kafka_conf_t *conf = kafka_conf(&s->kafka, &opt.kafka, defaults, own);
	const char *codec = opt_text(opt.codec, "-z");
	char why[256];

	if (codec && rd_kafka_conf_set(conf, "compression.codec", codec, why, sizeof(why)))
		opt_bad("-z: %s", why);
	s->shape.compressed = strcmp(kafka_conf_text(conf, "compression.codec"), "none") != 0;
	/* Unless -X wants it otherwise; 10 is librdkafka's default. */
	s->in_runs = strcmp(kafka_conf_text(conf, "partitioner"), "murmur2_random") == 0 &&
		kafka_conf_int(conf, "sticky.partitioning.linger.ms") == 10;
	if (s->in_runs)
		rd_kafka_conf_set(conf, "sticky.partitioning.linger.ms", "0", NULL, 0);
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	return conf;
}

/* ---- refusing ---- */

static enum error_class class_of(rd_kafka_resp_err_t err)
{
	switch (err) {
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
		return CLASS_TOO_LARGE;
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		return CLASS_UNKNOWN_TOPIC;
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
	case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
		return CLASS_INVALID_RECORD;
	case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
		return CLASS_TIMEOUT;
	default:
		return CLASS_KAFKA;
	}
}

/* Kafka does not take the record: the record's fault, or the end of the program. */
static void refuse_slot(struct kwrite *s, const struct slot *slot)
{
	struct span text = {line_at(&s->in.line, slot->place), slot->len};
	enum error_class c = class_of(slot->err);
	char message[512], fatal[256];

	snprintf(message, sizeof(message), "topic '%s': %s", slot->topic->name,
		kafka_why(slot->err));
	if (kafka_judge(&s->kafka, slot->err, message))
		return;
	if (rd_kafka_fatal_error(s->kafka.rk, fatal, sizeof(fatal))) {
		kafka_judge(&s->kafka, RD_KAFKA_RESP_ERR__FATAL, fatal);
		return;
	}
	if (c == CLASS_UNKNOWN_TOPIC)
		topic_unknown(slot->topic);
	else if (c == CLASS_TOO_LARGE)
		topic_forget(slot->topic);
	input_refuse(&s->in, c, text, !s->shape.raw, slot->number, "%s", message);
}

/* ---- handing over ---- */

static enum outcome produce(struct kwrite *s, struct message *m)
{
	struct slot *slot = &s->slots[s->head % RING];
	rd_kafka_vu_t vus[] = {
		{.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = m->topic->rkt},
		{.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = m->partition},
		{.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
		{.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = m->ts},
		{.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)m->key.p, m->key.len}},
		{.vtype = RD_KAFKA_VTYPE_VALUE,
			.u.mem = {(void *)(uintptr_t)m->payload.p, m->payload.len}},
		{.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)s->head},
		{.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = m->headers},
	};
	size_t count = sizeof(vus) / sizeof(*vus) - (m->headers ? 0 : 1);
	rd_kafka_error_t *error = rd_kafka_produceva(s->kafka.rk, vus, count);
	rd_kafka_resp_err_t err = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;

	if (error)
		rd_kafka_error_destroy(error);
	if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return WAIT;
	*slot = (struct slot){.place = line_place(&s->in.line, s->text),
		.len = s->text.len,
		.number = s->in.line.number,
		.topic = m->topic};
	s->head++;
	if (err) {
		/* In its turn, like those that a broker refuses. */
		slot->err = err;
		slot->done = true;
	} else {
		slot->bytes = m->bytes;
		m->topic->out_bytes += m->bytes;
		m->headers = NULL;
	}
	return READY;
}

/* Does what can be done with the line in s->text. */
static void take_line(struct kwrite *s)
{
	struct record_error e = {0};
	struct message m = {0};
	enum outcome outcome = message_make(&s->shape, &s->topics, s->text, &m, &e);

	if (outcome == READY)
		outcome = produce(s, &m);
	if (m.headers)
		rd_kafka_headers_destroy(m.headers);
	s->held = outcome == WAIT;
	if (outcome == REFUSED)
		input_refuse(
			&s->in, e.class, s->text, m.is_record, s->in.line.number, "%s", e.message);
}

/* ---- events ---- */

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	struct kwrite *s = opaque;
	struct slot *slot = &s->slots[(uintptr_t)m->_private % RING];

	(void)rk;
	slot->err = m->err;
	slot->done = true;
	slot->topic->out_bytes -= slot->bytes;
}

/* Lets go of what is done, in input order. */
static void release(struct kwrite *s)
{
	while (s->tail < s->head && s->slots[s->tail % RING].done) {
		const struct slot *slot = &s->slots[s->tail % RING];

		if (slot->err) {
			refuse_slot(s, slot);
			if (s->kafka.trouble_status)
				return;
		} else {
			metrics.forwarded++;
			metrics.records_out++;
		}
		s->tail++;
	}
	if (s->tail < s->head)
		line_keep(&s->in.line, s->slots[s->tail % RING].place);
	else if (s->held)
		line_keep(&s->in.line, line_place(&s->in.line, s->text));
	else
		line_keep(&s->in.line, UINT64_MAX);
}

static bool has_room(const struct kwrite *s)
{
	return s->head == s->tail ||
		(s->head - s->tail < RING &&
			s->in.line.base + s->in.line.at - s->slots[s->tail % RING].place <
				WINDOW_BYTES);
}

/* Takes lines until there are no whole ones left or something has to be waited for. Returns whether
 * more input is wanted. */
static bool take_lines(struct kwrite *s)
{
	if (s->held && !s->in.ended)
		take_line(s);
	while (!s->held && has_room(s)) {
		s->in.busy = s->tail < s->head;
		if (!input_next(&s->in, &s->text))
			return !s->in.held && !s->in.ended;
		take_line(s);
	}
	return false;
}

static void on_signal(struct kwrite *s)
{
	if (!wake_must_end(s->in.ended))
		return;
	dead_sync(&s->in.dead);
	die(EXIT_TEMP, "stopped by a signal: %" PRIu64 " records were not delivered",
		s->head - s->tail + s->held);
}

/* The configuration is at fault, or librdkafka cannot go on. */
static void check_trouble(struct kwrite *s)
{
	if (!s->kafka.trouble_status)
		return;
	dead_sync(&s->in.dead);
	die(s->kafka.trouble_status, "%s; %" PRIu64 " records were not delivered", s->kafka.trouble,
		s->head - s->tail + s->held);
}

static void loop(struct kwrite *s)
{
	bool hungry = true;

	while (!s->in.ended || s->tail < s->head) {
		int64_t now = wake_now_ms();
		struct pollfd fds[] = {
			{.fd = s->signal_fd, .events = POLLIN},
			{.fd = s->kafka.wake_fd, .events = POLLIN},
			{.fd = hungry ? STDIN_FILENO : -1, .events = POLLIN},
		};

		metrics_tick(now);
		poll(fds, 3, TICK_MS);
		if (fds[0].revents || s->in.ended)
			on_signal(s);
		if (fds[1].revents)
			kafka_woken(&s->kafka);
		rd_kafka_poll(s->kafka.rk, 0);
		topics_serve(&s->topics);
		release(s);
		if (fds[2].revents)
			input_read(&s->in);
		topics_next_run(&s->topics);
		hungry = take_lines(s);
		dead_sync(&s->in.dead);
		if (kafka_tick(&s->kafka) && !metrics.ready)
			metrics_set_ready(true);
		check_trouble(s);
	}
}

static int finish(struct kwrite *s)
{
	int status = input_close(&s->in);

	topics_close(&s->topics);
	kafka_stop(&s->kafka);
	metrics_flush();
	return status;
}

int main(int argc, char **argv)
{
	struct kwrite *s = &self;
	rd_kafka_queue_t *queue;

	parse_options(argc, argv);
	take_options(&s->shape);
	input_open(&s->in, &opt.input, opt.nul->count ? '\0' : '\n');
	s->signal_fd = wake_open();
	kafka_start(&s->kafka, RD_KAFKA_PRODUCER, configure(s));
	queue = rd_kafka_queue_get_main(s->kafka.rk);
	kafka_wake_on(&s->kafka, queue);
	rd_kafka_queue_destroy(queue);
	topics_open(&s->topics, &s->kafka, opt.create->count, s->in_runs);
	metrics.is_sink = true;

	loop(s);
	return finish(s);
}
