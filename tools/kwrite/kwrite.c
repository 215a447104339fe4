/* SPDX-License-Identifier: ISC */
/*
 * kwrite: writes records, one JSON object a line (evpipe-record(5)), to Kafka.
 *
 * DESIGN: one poll loop; deliveries wake it.
 *
 * Lines stay in the input's block until the broker has answered for their records, so that a
 * refused record can be kept as it came. The sink (flow/sink.h) has a slot for each of them.
 *
 * Standard input is not read while the window is full, while a topic is asked about, while a line
 * waits for room, or while a transaction takes no lines: that is all there is of back pressure.
 * While brokers are away librdkafka keeps what it has and sends it again in order (idempotence,
 * message.timeout.ms=0).
 *
 * No batch should grow beyond what its topic takes: librdkafka's batches are smaller than the
 * brokers' default, and where a topic allows less, no more than that is out at a time. A batch that
 * is refused nevertheless is taken apart, and only what is refused alone is a refused record: see
 * resend.h, and first.h for the order.
 *
 * Ends: EOF, all delivered, 0, or 1 when some were refused; a torn last line, 111; a refused record
 * under --on-error stop, what was read before it delivered, 1; EOF without the source's word that
 * it is whole, 111. The first SIGTERM or SIGINT is ignored while input is open, the second ends at
 * once with 111 and says what was not delivered. While the brokers are away and nobody writes to
 * the input any more, the first does. --retry-for ends with 99.
 *
 * Files: kwrite.c the command line, lines, the loop; shape.c the options for what is written;
 * message.c makes messages of lines; batch.c hands them over, and first.c holds some back;
 * delivery.c has the records on their way; resend.c sends those of a refused batch again, in small
 * ones; blame.c finds the one at fault in a transaction; anew.c sends those whose topic was made
 * anew; deadletters.c writes dead letters to a topic; map.c keeps a map of offsets, and old.c asks
 * the cluster that records come from; txn.c has transactions, place.c the positions of a source
 * that is not Kafka; partition.c chooses partitions; receipts.c says where records are; stall.c
 * says why records wait. */
#include "ack/client.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/opt.h"
#include "base/progress.h"
#include "base/wake.h"
#include "flow/sink.h"
#include "kafka/kafka.h"
#include "kafka/words.h"
#include "kafka/topics.h"
#include "net/tls.h"
#include "kwrite/anew.h"
#include "kwrite/batch.h"
#include "kwrite/deadletters.h"
#include "kwrite/delivery.h"
#include "kwrite/message.h"
#include "kwrite/map.h"
#include "kwrite/old.h"
#include "kwrite/partition.h"
#include "kwrite/receipts.h"
#include "kwrite/resend.h"
#include "kwrite/shape.h"
#include "kwrite/stall.h"
#include "kwrite/txn.h"
#include "record/template.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = BATCH_ENTRIES, WINDOW_BYTES = 8 << 20 };

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct sink_opts sink;
	struct kafka_opts kafka;
	struct shape_opts shape;
	struct arg_str *codec, *receipts;
	struct txn_opts txn;
	struct arg_lit *pass;
	struct old_opts old;
} opt;

static struct kwrite {
	struct kafka kafka;
	struct topics topics;
	struct partitioner partitioner;
	struct shape shape;
	struct batch batch;
	struct sink sink;
	struct deliveries deliveries;
	struct deadletters dead;
	struct place place;
	struct txn txn;
	struct resend resend;
	struct anew anew;
	struct stall stall;
	struct receipts receipts;
	struct map map;
	struct old old;
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
		.libraries = {kafka_library, tls_library},
		.hints = words_of_writers,
	};

	shape_opts(&opt.shape);
	opt.codec = arg_str0("z", "compress", "CODEC", "gzip, snappy, lz4, zstd or none");
	old_opts(&opt.old);
	opt.pass = arg_lit0(NULL, "pass",
		"hand each record on, with where it was written: a filter, not a sink");
	opt.receipts = arg_str0(NULL, "receipts", "FD",
		"print where each record was written to this descriptor, in the order of input");
	txn_opts(&opt.txn);
	input_opts(&opt.input, INPUT_DEAD_TO_TOPIC);
	sink_opts(&opt.sink);
	ack_opts(&opt.ack);
	kafka_opts(&opt.kafka);
	opt_common(&opt.common);
	void *table[] = {SHAPE_ENTRIES(opt.shape), opt.codec, OLD_ENTRIES(opt.old), opt.pass,
		opt.receipts, TXN_ENTRIES(opt.txn), INPUT_ENTRIES(opt.input),
		SINK_ENTRIES(opt.sink), ACK_ENTRIES(opt.ack), KAFKA_ENTRIES(opt.kafka),
		OPT_COMMON_ENTRIES(opt.common), arg_end(5)};
	opt_parse(old_join(argc, argv), argv, table, &opt.common, &page);
}

static void take_options(struct shape *shape)
{
	shape_take(shape, &opt.shape);
	if (opt.txn.id->count && (shape->raw || opt.pass->count || opt.receipts->count))
		opt_bad("--txn goes with none of --raw, --pass and --receipts");
	txn_check(&opt.txn, ack_path(&opt.ack));
	shape->maps = opt.old.map->count;
	old_check(&opt.old, shape->raw);
	if (shape->maps &&
		(shape->raw || opt.pass->count || opt.txn.id->count || opt.receipts->count))
		opt_bad("--map goes with none of --raw, --pass, --receipts and --txn");
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	(void)opaque;
	if (map_takes(&self.map, m) || place_takes(&self.place, m))
		return;
	deliveries_report(&self.deliveries, rk, m);
}

static void warn(const struct kafka_conf *conf)
{
	if (kafka_conf_int(conf, "acks") == 1)
		msg_warn(
			"acks=1: a record counts as delivered when one broker has it, and is lost with that one");
	if (strcmp(kafka_conf_text(conf, "enable.idempotence"), "true"))
		msg_warn(
			"enable.idempotence=false: records may be written twice or in another order when they are sent again");
}

/* A record may be refused when later ones are out; these must not be written before it is sent
 * again. */
static void order_records(struct kwrite *s, struct kafka_conf *conf)
{
	bool ordered = !opt.txn.id->count &&
		strcmp(kafka_conf_text(conf, "enable.idempotence"), "true") == 0;

	s->batch.firsts.off = !ordered || !s->partitioner.in_runs;
	/* To which partitions records go is not known before. */
	if (ordered && !s->partitioner.in_runs)
		rd_kafka_conf_set(conf->rd, "max.in.flight.requests.per.connection", "1", NULL, 0);
}

static void start(struct kwrite *s)
{
	const struct kafka_prop defaults[] = {
		{"enable.idempotence", "true"},
		{"acks", "all"},
		{"partitioner", "murmur2_random"},
		/* Measured: a longer linger delays each record by as much, and gains little. */
		{"linger.ms", "1"},
		{"topic.metadata.propagation.max.ms", "3000"},
		/* The sink's window bounds memory. librdkafka must not refuse a message that a
		 * broker takes. */
		{"queue.buffering.max.messages", "100000"},
		{"queue.buffering.max.kbytes", "1048576"},
		{"message.max.bytes", "1000000000"},
		{"batch.size", "1000000"},
		/* A transaction has time-outs of its own. */
		{opt.txn.id->count ? NULL : "message.timeout.ms", "0"},
		/* How long a broker that is frozen, or cut off in silence, holds its records up. It
		 * gives up waiting for replicas before, and says so. */
		{"socket.timeout.ms", "20000"},
		{"request.timeout.ms", "15000"},
		{0},
	};
	const struct kafka_prop own[] = {
		{"allow.auto.create.topics", opt.old.create->count ? "true" : "false"},
		{"delivery.report.only.error", "false"},
		{opt.txn.id->count ? "transactional.id" : NULL, s->place.id},
		{0},
	};
	const char *codec = opt_text(opt.codec, "-z");
	struct trouble why = {0};
	struct kafka_conf conf;
	char text[256];

	if (kafka_conf_open(&conf, &opt.kafka, defaults, own, &why))
		exit(trouble_tell(&why));
	if (codec && rd_kafka_conf_set(conf.rd, "compression.codec", codec, text, sizeof(text)))
		opt_bad("-z: '%s' is none of gzip, snappy, lz4, zstd and none, as far as librdkafka has them",
			codec);
	if (kafka_conf_int(&conf, "acks") == 0)
		die(EXIT_PERM, "acks=0: no broker would say what it has; give all, or 1");
	warn(&conf);
	s->shape.compressed = strcmp(kafka_conf_text(&conf, "compression.codec"), "none") != 0;
	s->dead.compressed = s->shape.compressed;
	partition_open(&s->partitioner, &conf);
	rd_kafka_conf_set_dr_msg_cb(conf.rd, on_delivery);
	order_records(s, &conf);
	resend_prepare(&s->resend, &s->kafka, &conf, &s->sink, &s->shape, opt.txn.id->count);
	if (old_open(&s->old, &opt.old, &conf, &s->map, &why) || place_open(&s->place, &conf, &why))
		exit(trouble_tell(&why));
	txn_prepare(&opt.txn, conf.rd);
	if (kafka_start(&s->kafka, RD_KAFKA_PRODUCER, &conf, &why))
		exit(trouble_tell(&why));
	kafka_look_first(&s->kafka);
	metrics_up("kafka", false);
}

/* ---- lines ---- */

/* Makes a message of the line, or refuses it. false: the line has to wait. */
static bool take_line(struct kwrite *s, struct span line)
{
	struct record_error e = {0};
	struct message m = {0};
	enum outcome outcome = message_make(&s->shape, &s->topics, line, &m, &e);
	struct delivery *d = outcome == READY ? deliveries_take(&s->deliveries, &m) : NULL;

	if (d) {
		if (s->map.name)
			d->from = map_place(&s->map, &m);
		batch_add(&s->batch, &m, d);
		return true;
	}
	if (outcome == SKIPPED)
		sink_skip(&s->sink);
	if (outcome == REFUSED)
		sink_refuse_line(&s->sink, &m.seq, m.is_record, &e);
	if (m.headers)
		rd_kafka_headers_destroy(m.headers);
	return outcome != WAIT;
}

static bool is_ready(struct kwrite *s, int64_t now_ms)
{
	return !s->kafka.doubts && !s->batch.is_stuck && txn_accepts(&s->txn, now_ms) &&
		deadletters_ready(&s->dead) && deadletters_have_room(&s->dead);
}

/* Takes lines until there are none, the batch is full or something has to be waited for. Returns
 * whether more may be taken once the batch is sent. */
static bool fill_batch(struct kwrite *s)
{
	struct span line;

	while (!batch_is_full(&s->batch)) {
		if (!deadletters_have_room(&s->dead) || !sink_next(&s->sink, &line))
			return false;
		/* The line may wait only until the batch is sent. */
		if (!take_line(s, line))
			return s->batch.count;
	}
	return true;
}

static bool send_batch(struct kwrite *s)
{
	if (!batch_send(&s->batch, &s->deliveries))
		return false;
	buf_clear(&s->shape.scratch);
	return true;
}

static void take_lines(struct kwrite *s)
{
	bool more;

	do
		more = fill_batch(s);
	while (send_batch(s) && more);
}

static void hand_on(void *kwrite, const struct sink_slot *slot, struct span line, struct buf *out)
{
	const struct kwrite *s = kwrite;

	deliveries_hand_on(&s->deliveries, (const struct delivery *)slot, line, out);
}

static void released(void *kwrite, const struct sink_slot *slot, struct span line)
{
	struct kwrite *s = kwrite;

	receipts_add(&s->receipts, (const struct delivery *)slot, line);
}

static bool is_full(void *kwrite)
{
	const struct kwrite *s = kwrite;

	return receipts_full(&s->receipts);
}

static void settle(void *kwrite, enum ack_kind kind, const struct ack_label *label)
{
	struct kwrite *s = kwrite;

	if (s->map.name)
		map_settle(&s->map, kind, label);
	else
		txn_settle(&s->txn, kind, label);
}

static void keep(void *kwrite, struct sink_slot *slot, struct span letter)
{
	struct kwrite *s = kwrite;

	deadletters_produce(&s->dead, (struct delivery *)slot, letter);
}

/* ---- the loop ---- */

/* The configuration is at fault, or librdkafka cannot go on. */
static void check_trouble(struct kwrite *s)
{
	const struct trouble *why = &s->kafka.trouble;

	if (why->status && s->txn.id)
		txn_trouble(&s->txn, why);
	if (why->status)
		sink_die(&s->sink, why->status, "%s", why->text);
	if (s->receipts.is_broken)
		sink_die(&s->sink, EXIT_TEMP, "the reader of the receipts has gone");
	if (s->old.kafka.trouble.status)
		sink_die(&s->sink, s->old.kafka.trouble.status, "the old cluster: %s",
			s->old.kafka.trouble.text);
}

static bool runs(struct kwrite *s)
{
	return sink_runs(&s->sink) || !txn_is_done(&s->txn) || !map_is_done(&s->map) ||
		!old_is_done(&s->old, wake_now_ms());
}

static void loop(struct kwrite *s)
{
	while (runs(s)) {
		int64_t now_ms = wake_now_ms();
		struct pollfd p[SINK_FDS + 3];
		int wait_ms;
		bool up;

		sink_poll(&s->sink, p, is_ready(s, now_ms));
		p[SINK_FDS] = (struct pollfd){.fd = s->kafka.wake_fd, .events = POLLIN};
		receipts_poll(&s->receipts, &p[SINK_FDS + 1]);
		old_poll(&s->old, &p[SINK_FDS + 2]);
		wait_ms = wake_least(
			kafka_timeout_ms(&s->kafka, now_ms), sink_timeout_ms(&s->sink, now_ms));
		wait_ms = wake_least(wait_ms, map_timeout_ms(&s->map, now_ms));
		wait_ms = wake_least(wait_ms, topics_timeout_ms(&s->topics, now_ms));
		if (poll(p, SINK_FDS + 3, wake_least(wait_ms, txn_timeout_ms(&s->txn, now_ms))) <
			0) {
			wake_poll_failed();
			continue;
		}
		now_ms = wake_now_ms();
		if (p[SINK_FDS].revents)
			kafka_woken(&s->kafka);
		txn_poll(&s->txn, 0);
		resend_serve(&s->resend);
		firsts_tick(&s->batch.firsts, now_ms);
		old_serve(&s->old, now_ms);
		topics_serve(&s->topics);
		anew_serve(&s->anew);
		deliveries_judge(&s->deliveries);
		sink_serve(&s->sink, p);
		partition_next_run(&s->partitioner);
		txn_step(&s->txn, now_ms);
		map_step(&s->map, now_ms);
		if (send_batch(s) && is_ready(s, now_ms))
			take_lines(s);
		deliveries_judge(&s->deliveries);
		sink_flush(&s->sink, wake_now_ms());
		receipts_flush(&s->receipts, &p[SINK_FDS + 1]);
		up = kafka_tick(&s->kafka);
		metrics_up("kafka", up);
		if (up)
			metrics_set_ready(true);
		check_trouble(s);
		stall_serve(&s->stall, up, wake_now_ms());
		sink_server(&s->sink, up, wake_now_ms());
	}
}

/* For the line on a terminal. */
static bool show(void *kwrite, struct buf *text, uint64_t per_second)
{
	struct kwrite *s = kwrite;

	(void)per_second;
	return kafka_put_away(&s->kafka, text);
}

static void open_sink(struct kwrite *s)
{
	bool pass = opt.pass->count, txn = opt.txn.id->count;

	sink_open(&s->sink,
		&(struct sink_setup){.input = &opt.input,
			.ack = &opt.ack,
			.opts = &opt.sink,
			.raw = s->shape.raw,
			.framed = s->shape.framed,
			.end = s->shape.end,
			.role = pass  ? ACK_FILTER
				: txn ? ACK_TXN
				      : ACK_SINK,
			.slot_bytes = sizeof(struct delivery),
			.slots = SLOTS,
			.window_bytes = WINDOW_BYTES,
			.self = s,
			.hand_on = hand_on,
			.settle = txn || opt.old.map->count ? settle : NULL,
			.released = opt.receipts->count ? released : NULL,
			.is_full = is_full,
			.keep = keep});
	s->dead = (struct deadletters){
		.name = input_dead_topic(&s->sink.in), .kafka = &s->kafka, .topics = &s->topics};
	s->deliveries = (struct deliveries){.sink = &s->sink,
		.kafka = &s->kafka,
		.dead = &s->dead,
		.txn = &s->txn,
		.resend = &s->resend,
		.anew = &s->anew,
		.firsts = &s->batch.firsts,
		.stall = &s->stall,
		.raw = s->shape.raw};
}

int main(int argc, char **argv)
{
	struct kwrite *s = &self;
	rd_kafka_queue_t *queue;
	int status;

	parse_options(argc, argv);
	take_options(&s->shape);
	receipts_open(&s->receipts, opt.receipts, opt.pass->count ? 1 : -1, s->shape.raw);
	open_sink(s);
	s->place = (struct place){.name = opt_text(opt.txn.positions, "--positions"),
		.id = kafka_opt_name(opt.txn.id, "--txn"),
		.topics = &s->topics};
	start(s);
	queue = rd_kafka_queue_get_main(s->kafka.rk);
	kafka_wake_on(&s->kafka, queue);
	rd_kafka_queue_destroy(queue);
	topics_open(
		&s->topics, &s->kafka, opt.old.create->count, partition_prepare, &s->partitioner);
	s->topics.like = old_is_model(&opt.old) ? &s->old.like : NULL;
	s->map = (struct map){.name = opt_text(opt.old.map, "--map"),
		.sink = &s->sink,
		.kafka = &s->kafka,
		.topics = &s->topics};
	anew_open(&s->anew, &s->topics, &s->deliveries, &s->shape, opt.txn.id->count);
	stall_open(&s->stall, &s->kafka, &s->sink);
	batch_open(&s->batch, &s->shape);
	progress_more(show, s);
	txn_open(&s->txn, &s->place, &s->sink, &s->kafka, on_delivery);
	loop(s);
	receipts_close(&s->receipts);
	status = sink_close(&s->sink);
	resend_close(&s->resend);
	old_close(&s->old);
	if (topics_close(&s->topics) && stall_close(&s->stall) && txn_close(&s->txn))
		kafka_stop(&s->kafka);
	return status;
}
