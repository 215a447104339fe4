/* SPDX-License-Identifier: ISC */
/*
 * kread: records of Kafka, one JSON object a line (evpipe-record(5)).
 *
 * DESIGN: one poll loop, nothing that waits.
 *
 * librdkafka's queues wake the loop through a pipe. Messages come through one queue, everything
 * else through another. Messages are taken only while no output is pending and the window has room:
 * if standard output is stuck, or the sink does not acknowledge, no message is taken, the local
 * queue fills, and fetching stops. The other queue is served at least once a second, lest the group
 * expels the member.
 *
 * With a socket (flow/source.h) each record has a number and stands in a ledger until it is final,
 * and positions are committed as far as all records are final. A window bounds how many numbers are
 * neither final nor committed: so many records may come twice after a crash.
 *
 * Order of events at the end (SIGTERM, -c, -e, --until): no more messages are taken; the output is
 * written; the sink is told the end and standard output is closed; open records become final, for
 * --drain at most; the positions are committed and the group is left. If the sink or the reader has
 * gone (POLLERR reports it on an idle topic too), the same without the first three. A second signal
 * skips the rest: 111.
 *
 * Files: kread.c the command line, messages, the loop; parts.c topics, partitions and ranges;
 * group.c the consumer group; acks.c which positions are committed and when; range.c the options
 * for them; offsets.c a resume list; move.c where a group of another cluster goes on; print.c a
 * record; refusal.c refusals of Kafka; unheard.c a silent partition; wire.c behind librdkafka. */
#include "base/metrics.h"
#include "base/msg.h"
#include "base/opt.h"
#include "base/progress.h"
#include "base/wake.h"
#include "flow/source.h"
#include "kafka/kafka.h"
#include "kafka/silence.h"
#include "kafka/words.h"
#include "net/tls.h"
#include "kread/acks.h"
#include "kread/follow.h"
#include "kread/group.h"
#include "kread/keeper.h"
#include "kread/member.h"
#include "kread/move.h"
#include "kread/parts.h"
#include "kread/print.h"
#include "kread/range.h"
#include "kread/refusal.h"
#include "kread/show.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum {
	BATCH = 256,
	BATCH_BYTES = 1 << 20,
	TICK_MS = 1000,
	FOLLOW_MS = 10000,
	RESOLVE_MS = 10,
	ASK_GROUP_MS = 5000,
};

static struct {
	struct opt_common common;
	struct kafka_opts kafka;
	struct source_opts source;
	struct acks_opts acks;
	struct print_opts print;
	struct range_opts range;
	struct move_opts move;
	struct arg_str *group, *rate, *on_gap;
} opt;

struct kread {
	struct kafka kafka; /* the first member: librdkafka's callbacks are given its address */
	struct source source;
	struct parts parts;
	struct group group;
	struct keeper keeper;
	struct move move;
	struct acks acks;
	struct refusals refusals;
	struct silence silence;
	rd_kafka_queue_t *messages;
	rd_kafka_queue_t *queue; /* everything else librdkafka has to say */
	struct print print;
	int64_t rate; /* records a second; -1: no limit */
	int64_t paid_until_us; /* --rate */
	bool early; /* the rate allowed no record when it was asked last */
	int64_t now_us; /* of the batch of messages that is printed */
	size_t message_bytes; /* mean size of a message in the last batch */
	bool more; /* there may be more messages at once */
	bool single; /* messages are pulled one by one */
	int64_t second_ms, refresh_ms;
	int64_t ask_group_ms; /* when it is asked why nothing is assigned; INT64_MAX: it was */
};

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kread -e orders | jq -r .payload",
		"kread -o @-1h --until @-30m '^(orders|payments)$'",
		"evpipe -n bridge kread -g bridge orders '|' rpub 'sse:{topic}' --dead-letter dead.ndjson",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "kread",
		.summary = "Prints records of Kafka, one JSON object a line.",
		.examples = examples,
		.libraries = {kafka_library, tls_library},
		.hints = words_of_readers,
	};

	opt.group = arg_str0("g", "group", "GROUP", "read as a member of this consumer group");
	range_opts(&opt.range);
	print_opts(&opt.print);
	opt.rate = arg_str0(NULL, "rate", "N", "at most N records a second");
	opt.on_gap = arg_str0(NULL, "on-gap", "go|stop", "at records that are gone (default go)");
	move_opts(&opt.move);
	source_opts(&opt.source);
	acks_opts(&opt.acks);
	kafka_opts(&opt.kafka);
	opt_common(&opt.common);
	void *table[] = {opt.group, RANGE_ENTRIES(opt.range), SOURCE_ENTRIES(opt.source),
		ACKS_ENTRIES(opt.acks), PRINT_ENTRIES(opt.print), opt.rate, opt.on_gap,
		MOVE_ENTRIES(opt.move), KAFKA_ENTRIES(opt.kafka), OPT_COMMON_ENTRIES(opt.common),
		opt.range.topics, arg_end(5)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void take_options(struct kread *r)
{
	r->group.name = kafka_opt_name(opt.group, "-g");
	range_take(&r->parts, &opt.range, r->group.name, opt.source.count->count);
	follow_open(&r->parts, opt_text(opt.on_gap, "--on-gap"));
	r->rate = opt_int(opt.rate, "--rate", -1, 1, 1000000000);
	source_take(&r->source, &opt.source);
	print_take(&r->print, &opt.print, r->source.left);
	acks_take(&r->acks, &opt.acks, r->print.raw);
	move_options(&r->move, &opt.move, r->group.name);
}

/* ---- Kafka ---- */

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
	rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct kread *r = opaque;

	(void)rk;
	group_on_rebalance(&r->group, err, list);
}

/* A reading that ends by itself is not started anew: it leaves the group. */
static bool has_end(const struct kread *r)
{
	return !r->group.name || r->parts.to_end || opt.source.count->count ||
		opt.source.idle_exit->count;
}

static void start_kafka(struct kread *r)
{
	const struct kafka_prop defaults[] = {
		/* Measured: 16 MB do for a million records a second. Sessions: bench/README.md. */
		{"queued.min.messages", "50000"},
		{"queued.max.messages.kbytes", "16384"},
		{"fetch.queue.backoff.ms", "1"},
		{"receive.message.max.bytes", "1000010000"}, /* kwrite sends up to 1 GB */
		{"auto.offset.reset", "earliest"},
		{"session.timeout.ms", r->group.name ? "7000" : NULL},
		{"heartbeat.interval.ms", r->group.name ? "1000" : NULL},
		{"group.instance.id", has_end(r) ? NULL : member_name()},
		/* How long a broker cut off in silence, and a join without answer, wait. */
		{"socket.timeout.ms", "20000"},
		{"topic.metadata.refresh.interval.ms", r->parts.follow_new ? "10000" : "30000"},
		{0},
	};
	const struct kafka_prop own[] = {
		{"group.id", r->group.name},
		{"enable.auto.commit", "false"},
		{"enable.auto.offset.store", "false"},
		{"enable.partition.eof", "true"},
		/* A transaction of offsets that is not yet decided must be waited for. */
		{r->acks.follows ? "isolation.level" : NULL, "read_committed"},
		{0},
	};
	struct trouble why = {0};
	struct kafka_conf conf;

	if (kafka_conf_open(&conf, &opt.kafka, defaults, own, &why) ||
		move_read(&r->move, &opt.move, &conf, r->source.signal_fd, &why))
		exit(trouble_tell(&why));
	group_take_reset(&r->group, &conf);
	if (r->group.name)
		rd_kafka_conf_set_rebalance_cb(conf.rd, on_rebalance);
	r->group.poll_interval_ms = kafka_conf_int(&conf, "max.poll.interval.ms");
	if (kafka_start(&r->kafka, RD_KAFKA_CONSUMER, &conf, &why))
		exit(trouble_tell(&why));
	kafka_look_first(&r->kafka);
	metrics_up("kafka", false);
}

/* ---- messages and events ---- */

static void emit(struct kread *r, struct kread_part *p, const rd_kafka_message_t *m)
{
	parts_advance(&r->parts, p, m->offset + 1);
	print_message(&r->print, &r->source, p, m);
	/* After printing, which brings the bytes into the cache. */
	marks_put(&p->marks, m->offset, marks_sum(m));
	source_emit(&r->source, r->print.raw ? NULL : p->account, m->offset, 0, m->len + m->key_len,
		r->now_us);
}

static void take(struct kread *r, const rd_kafka_message_t *m)
{
	struct kread_part *p = m->rkt ? parts_of(&r->parts, m) : NULL;
	bool is_stale = follow_changes(&r->parts, p) || (p && p->sought == r->parts.pulls);

	if (m->err) {
		/* An end, too, may be that of the log before. It comes again. */
		if (!is_stale || m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
			refusal_take(&r->refusals, m);
		return;
	}
	/* After a rebalance, messages of partitions we no longer have may still come. */
	if (!p || p->done || p->leaving || is_stale || source_phase(&r->source) != SOURCE_READING ||
		group_again(p, m) || !follow_takes(&r->parts, p, m->offset, m))
		return;
	if (m->offset < p->begin) {
		parts_advance(&r->parts, p, m->offset + 1);
		return;
	}
	if (p->end >= 0 && m->offset >= p->end) {
		parts_done(&r->parts, p);
		return;
	}
	emit(r, p, m);
	if (p->next == p->end)
		parts_done(&r->parts, p);
}

/* How many records --rate and the source allow now. */
static size_t allowance(struct kread *r)
{
	int64_t now = wake_now_us(), n = BATCH;

	if (r->rate > 0) {
		/* At most a tenth of a second's records at once, but one. */
		int64_t least_us = now - (r->rate < 10 ? 1000000 / r->rate + 1 : 100000);

		if (r->paid_until_us < least_us)
			r->paid_until_us = least_us;
		n = (now - r->paid_until_us) * r->rate / 1000000;
		r->early = n < 1;
		n = n > BATCH ? BATCH : n;
	}
	/* A batch of large messages is not to take a multiple of the window's bytes. */
	if (n > BATCH_BYTES / (int64_t)r->message_bytes + 1)
		n = BATCH_BYTES / (int64_t)r->message_bytes + 1;
	return source_room(&r->source, (size_t)n);
}

/* Serves all of librdkafka but messages. */
static void serve_events(struct kread *r)
{
	rd_kafka_message_t *messages[16];
	ssize_t n;

	parts_new_batch(&r->parts);
	while ((n = rd_kafka_consume_batch_queue(r->queue, 0, messages, 16)) > 0) {
		r->parts.pulls++;
		for (ssize_t i = 0; i < n; i++) {
			take(r, messages[i]);
			rd_kafka_message_destroy(messages[i]);
		}
	}
	if (r->group.name)
		group_serve(&r->group);
}

/* At most @room messages that have come; returns how many.
 * One by one before librdkafka 2.1: when a rebalance pauses a partition while it collects a batch,
 * it throws away what it has collected, and yet goes on behind it afterwards. */
static size_t pull(struct kread *r, rd_kafka_message_t **messages, size_t room)
{
	ssize_t n;

	r->parts.pulls++;
	if (r->single) {
		*messages = rd_kafka_consume_queue(r->messages, 0);
		return *messages != NULL;
	}
	n = rd_kafka_consume_batch_queue(r->messages, 0, messages, room);
	return n > 0 ? (size_t)n : 0;
}

/* Takes the messages that have come, a batch at most. */
static void take_messages(struct kread *r)
{
	size_t room = allowance(r), n = 0, bytes = 0, got;
	uint64_t before = r->source.emitted, emitted;
	rd_kafka_message_t *messages[BATCH];

	parts_new_batch(&r->parts);
	r->now_us = wake_now_us();
	for (; n < room && (got = pull(r, messages, room - n)); n += got)
		for (size_t i = 0; i < got; i++) {
			bytes += messages[i]->len + messages[i]->key_len;
			take(r, messages[i]);
			rd_kafka_message_destroy(messages[i]);
		}
	emitted = r->source.emitted - before;
	if (emitted)
		r->source.record_ms = wake_now_ms();
	if (r->rate > 0)
		r->paid_until_us += (int64_t)emitted * 1000000 / r->rate;
	if (n)
		r->message_bytes = bytes / n + 1;
	r->more = n > 0;
	kafka_taken(&r->kafka, n, bytes, rd_kafka_queue_length(r->messages));
}

/* ---- the loop ---- */

/* A group that assigns nothing for so long may have no coordinator. */
static void ask_group(struct kread *r, bool may, int64_t now_ms)
{
	if (r->parts.known)
		kafka_ask_group(&r->kafka, false);
	if (r->parts.known || (!may && r->ask_group_ms != INT64_MAX)) {
		r->ask_group_ms = now_ms + ASK_GROUP_MS;
	} else if (now_ms >= r->ask_group_ms) {
		kafka_ask_group(&r->kafka, true);
		r->ask_group_ms = INT64_MAX;
	}
}

static void tick(struct kread *r, int64_t now_ms)
{
	struct parts *parts = &r->parts;
	bool reads;

	metrics_up("kafka", kafka_tick(&r->kafka));
	reads = source_phase(&r->source) == SOURCE_READING && !r->kafka.doubts;
	/* What comes meanwhile does not wake the loop again, and --idle-exit does not miss it. */
	if (r->kafka.doubts) {
		r->more = true;
		r->source.record_ms = now_ms;
	}
	if (now_ms - r->second_ms >= TICK_MS) {
		r->second_ms = now_ms;
		parts_lag(parts);
		follow_tick(parts);
		if (r->group.name) {
			group_commit(&r->group);
			ask_group(r, reads && r->kafka.up, now_ms);
		}
	}
	if (reads && parts->need_ends) {
		parts->need_ends = !parts_find_ends(parts);
		r->more = true;
	}
	if (reads && !r->group.name &&
		(!parts->known || (parts->follow_new && now_ms - r->refresh_ms >= FOLLOW_MS)) &&
		parts_resolve(parts)) {
		metrics_set_ready(true);
		parts->known = true;
		r->refresh_ms = now_ms;
		if (parts->places_alone) {
			parts_print_places(parts);
			source_done(&r->source);
			return;
		}
	}
	if (reads && (parts->to_end || parts->has_until) && parts_all_done(parts))
		source_done(&r->source);
}

/* How long to wait for an event. Only --rate holds records back without an event that ends it. */
static int wait_ms(const struct kread *r, int64_t now_ms)
{
	int due_ms = wake_least(metrics_tick(now_ms), source_timeout_ms(&r->source, now_ms));
	int64_t ms = r->second_ms + TICK_MS - now_ms;
	bool may_take = !r->parts.need_ends && !r->kafka.doubts && source_room(&r->source, 1);

	if (may_take && r->more)
		return 0;
	/* A question that failed is asked again; the answer to one that is out wakes the loop. */
	if (source_phase(&r->source) == SOURCE_READING &&
		((!r->group.name && !r->parts.known) || r->parts.need_ends) &&
		!parts_is_asking(&r->parts))
		return RESOLVE_MS;
	if (may_take && r->early && (r->paid_until_us + 1000000 / r->rate) / 1000 - now_ms < ms)
		ms = (r->paid_until_us + 1000000 / r->rate) / 1000 - now_ms + 1;
	/* Who leaves does not tick any more. */
	if (source_phase(&r->source) < SOURCE_LEAVING)
		due_ms = wake_least(due_ms, kafka_timeout_ms(&r->kafka, now_ms));
	return wake_least(ms < 0 ? 0 : (int)ms, due_ms);
}

static void loop(struct kread *r)
{
	while (source_phase(&r->source) != SOURCE_OVER) {
		struct pollfd p[SOURCE_FDS + 1] = {
			[SOURCE_FDS] = {.fd = r->kafka.wake_fd, .events = POLLIN}};
		int64_t now_ms = wake_now_ms();

		source_poll(&r->source, p);
		if (poll(p, SOURCE_FDS + 1, wait_ms(r, now_ms)) < 0)
			wake_poll_failed();
		now_ms = wake_now_ms();
		if (p[SOURCE_FDS].revents)
			kafka_woken(&r->kafka);
		source_serve(&r->source, p, now_ms);
		serve_events(r);
		acks_commit(&r->acks);
		if (!r->parts.need_ends && !r->kafka.doubts && source_room(&r->source, 1))
			take_messages(r);
		if (source_phase(&r->source) < SOURCE_LEAVING)
			tick(r, now_ms);
		/* What comes up while it leaves does not count, but for the last commit. */
		if (r->kafka.trouble.status &&
			(source_phase(&r->source) < SOURCE_LEAVING || r->group.is_refused))
			source_end(
				&r->source, r->kafka.trouble.status, "%s", r->kafka.trouble.text);
		source_step(&r->source, now_ms);
		if (source_phase(&r->source) == SOURCE_LEAVING &&
			(!r->group.name || group_leave(&r->group)))
			source_left(&r->source);
	}
}

static void open_queues(struct kread *r)
{
	listing_open(&r->parts.questions.listing, &r->kafka);
	r->parts.questions.listing.pause_ms = 200;
	r->messages = r->parts.messages = rd_kafka_queue_new(r->kafka.rk);
	kafka_wake_on(&r->kafka, r->messages);
	if (r->group.name) {
		group_open(&r->group);
		r->queue = r->group.queue;
		keeper_open(&r->keeper);
	} else {
		r->queue = rd_kafka_queue_get_main(r->kafka.rk);
		kafka_wake_on(&r->kafka, r->queue);
	}
}

static void close_kafka(struct kread *r)
{
	bool may_stop = true;

	if (r->group.name && !group_is_left(&r->group)) {
		source_end(&r->source, EXIT_TEMP, "left the group without its answer");
		return;
	}
	while (r->parts.part_count)
		parts_remove(&r->parts, r->parts.parts);
	if (r->group.name)
		may_stop = group_close(&r->group) && keeper_close(&r->keeper);
	else
		rd_kafka_queue_destroy(r->queue);
	ids_close(&r->parts.ids);
	rd_kafka_queue_destroy(r->messages);
	if (listing_close(&r->parts.questions.listing) && may_stop)
		kafka_stop(&r->kafka);
}

int main(int argc, char **argv)
{
	static struct kread r; /* the kafka client's threads outlive main */

	parse_options(argc, argv);
	r.parts.kafka = r.group.kafka = r.keeper.kafka = &r.kafka;
	r.parts.source = r.group.source = r.keeper.source = &r.source;
	r.group.parts = r.keeper.parts = &r.parts;
	r.group.keeper = &r.keeper;
	r.group.move = &r.move;
	r.acks.group = &r.group;
	r.refusals = (struct refusals){
		.kafka = &r.kafka, .source = &r.source, .parts = &r.parts, .group = &r.group};
	take_options(&r);
	acks_open(&r.acks);
	start_kafka(&r);
	r.silence.tells_gone = !r.group.name;
	silence_watch(&r.silence, &r.kafka);
	open_queues(&r);
	progress_more(show_parts, &r.parts);
	r.message_bytes = BATCH_BYTES;
	r.more = true;
	r.single = rd_kafka_version() < 0x02010000;
	r.source.record_ms = r.second_ms = r.refresh_ms = wake_now_ms();
	r.ask_group_ms = r.second_ms + ASK_GROUP_MS;
	loop(&r);
	close_kafka(&r);
	metrics_flush();
	return source_close(&r.source);
}
