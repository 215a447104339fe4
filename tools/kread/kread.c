/* SPDX-License-Identifier: ISC */
/*
 * kread: records of Kafka, one JSON object a line (evpipe-record(5)).
 *
 * DESIGN: one poll loop, nothing that waits.
 *
 * librdkafka's queues wake the loop through a pipe. Messages come through one queue, everything else
 * through another. Messages are taken only while no output is pending and the window has room: a stuck
 * standard output, or a sink that does not acknowledge, stops the taking, the local queue fills, and
 * fetching stops. The other queue is served at least once a second, lest the group throws the member out.
 *
 * With a socket (kread-ack.c) each record has a number and stands in a ledger until it is final, and
 * positions are committed as far as all is final. A window bounds how many numbers are neither final nor
 * committed: so many records may come twice after a crash.
 *
 * Order of events at the end (SIGTERM, -c, -e, --until): no more messages are taken; what was emitted
 * is written; the end is told and standard output closed; what is open becomes final, for --drain at
 * most; the positions are committed and the group is left. When the sink or the reader has gone (POLLERR
 * shows it on an idle topic too), the same without the first three. A second signal skips the rest: 111.
 *
 * Files: kread.c the command line, what the queue gives, the loop; kread-parts.c topics, partitions and
 * ranges; kread-group.c a consumer group; kread-ack.c what becomes of the records; kread-print.c the record.
 */
#include "kread/kread.h"

#include "base/msg.h"
#include "base/metrics.h"
#include "base/opt.h"
#include "base/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 256, BATCH_BYTES = 1 << 20, TICK_MS = 1000, FOLLOW_MS = 10000 };

static struct {
	struct opt_common common;
	struct kafka_opts kafka;
	struct acks_opts acks;
	struct arg_str *group, *partitions, *from, *until, *count, *idle_exit, *rate;
	struct arg_lit *to_end, *json, *raw, *nul, *follow_new;
	struct arg_str *topics;
} opt;

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kread -e orders | jq -r .payload",
		"kread -o @-1h --until @-30m '^(orders|payments)$'",
		"evpipe -n bridge kread -g bridge orders '|' rpub 'sse:{topic}'",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "kread",
		.summary = "Prints records of Kafka, one JSON object a line.",
		.examples = examples,
		.libraries = {kafka_library},
	};

	opt.group = arg_str0("g", "group", "GROUP", "read as a member of this consumer group");
	opt.partitions = arg_str0("p", "partitions", "LIST", "only partitions such as 0,3-5");
	opt.from = arg_str0(
		"o", "from", "FROM", "beginning, end, N, +N, -N or @TIME (default beginning)");
	opt.until = arg_str0(NULL, "until", "TO", "stop before it: the forms of -o");
	opt.to_end = arg_lit0("e", "to-end", "stop at the end as it stood at the start");
	opt.count = arg_str0("c", "count", "N", "stop after N records");
	opt.idle_exit = arg_str0(
		NULL, "idle-exit", "TIME", "end with status 99 after TIME without a record");
	opt.json = arg_lit0("j", "json", "print JSON objects and arrays inline, not as strings");
	opt.raw = arg_lit0(NULL, "raw", "print payloads alone, one a line; tombstones not at all");
	opt.nul = arg_lit0("0", "null", "with --raw: end payloads with NUL instead of LF");
	opt.rate = arg_str0(NULL, "rate", "N", "at most N records a second");
	opt.follow_new =
		arg_lit0(NULL, "follow-new", "read topics and partitions that appear later");
	opt.topics = arg_strn(NULL, NULL, "TOPIC|^REGEX", 1, 1000, "what to read");
	acks_opts(&opt.acks);
	kafka_opts(&opt.kafka);
	opt_common(&opt.common);
	void *table[] = {opt.group, opt.partitions, opt.from, opt.until, opt.to_end, opt.count,
		opt.idle_exit, opt.json, opt.raw, opt.nul, opt.rate, opt.follow_new,
		ACKS_ENTRIES(opt.acks), KAFKA_ENTRIES(opt.kafka), OPT_COMMON_ENTRIES(opt.common),
		opt.topics, arg_end(5)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void check_group(struct kread *r)
{
	if (r->group && (opt.partitions->count || opt.from->count || opt.until->count))
		opt_bad("-p, -o and --until cannot be combined with -g: the group has its own positions");
	acks_take_options(r, &opt.acks);
}

static void take_options(struct kread *r)
{
	r->topics = opt.topics->sval;
	r->topic_count = opt.topics->count;
	r->group = opt_text(opt.group, "-g");
	r->partitions = opt_text(opt.partitions, "-p");
	if (r->partitions)
		partitions_check(r->partitions);
	r->from = opt.from->count ? place_parse("-o", opt.from->sval[0]) : (struct place){0};
	r->has_until = opt.until->count;
	r->until = r->has_until ? place_parse("--until", opt.until->sval[0]) : (struct place){0};
	r->to_end = opt.to_end->count;
	r->count = opt_int(opt.count, "-c", -1, 0, INT64_MAX);
	r->rate = opt_int(opt.rate, "--rate", -1, 1, 1000000000);
	r->idle_exit_ms = opt_duration_ms(opt.idle_exit, "--idle-exit", -1);
	r->as_json = opt.json->count;
	r->raw = opt.raw->count;
	r->terminator = opt.nul->count ? '\0' : '\n';
	r->follow_new = opt.follow_new->count;
	check_group(r);
	if (opt.nul->count && !r->raw)
		opt_bad("-0 needs --raw: a record is one line");
	if (r->as_json && r->raw)
		opt_bad("-j and --raw exclude each other");
	if (r->has_until && r->to_end)
		opt_bad("-e and --until exclude each other");
	if (r->follow_new && (r->has_until || r->to_end))
		opt_bad("--follow-new cannot be combined with -e or --until");
	for (int i = 0; i < r->topic_count; i++)
		if (!*r->topics[i])
			opt_bad("a topic's name cannot be empty");
}

static void start(struct kread *r)
{
	const struct kafka_prop defaults[] = {
		/* Measured: 16 MB do for a million records a second when fetching never waits. */
		{"queued.min.messages", "50000"},
		{"queued.max.messages.kbytes", "16384"},
		{"fetch.queue.backoff.ms", "1"},
		{"auto.offset.reset", "earliest"},
		{"topic.metadata.refresh.interval.ms", r->follow_new ? "10000" : "300000"},
		{0},
	};
	const struct kafka_prop own[] = {
		{"group.id", r->group},
		{"enable.auto.commit", "false"},
		{"enable.auto.offset.store", "false"},
		{"enable.partition.eof", "true"},
		/* A transaction of offsets that is not yet decided must be waited for. */
		{r->acked ? "isolation.level" : NULL, "read_committed"},
		{0},
	};
	struct trouble why = {0};
	struct kafka_conf conf;

	if (kafka_conf_open(&conf, &opt.kafka, defaults, own, &why))
		die(why.status, "%s", why.text);
	if (r->group)
		group_configure(conf.rd);
	r->poll_interval_ms = kafka_conf_int(&conf, "max.poll.interval.ms");
	if (kafka_start(&r->kafka, RD_KAFKA_CONSUMER, &conf, &why))
		die(why.status, "%s", why.text);
	metrics_up("kafka", false);
}

/* ---- what the queue gives ---- */

static void emit(struct kread *r, struct part *p, const rd_kafka_message_t *m)
{
	if (p->epoch != r->epoch) {
		p->epoch = r->epoch;
		p->settled = p->next;
	}
	p->next = m->offset + 1;
	if (r->raw && m->payload) {
		buf_put(&r->out.b, m->payload, m->len);
		buf_putc(&r->out.b, r->terminator);
	} else if (!r->raw) {
		print_record(r, p, m);
		if (r->source.ledger)
			source_emit(&r->source, p->account, m->offset, 0, m->len + m->key_len,
				r->now_us);
	}
	r->emitted++;
	metrics.records_out++;
	if (r->count >= 0 && r->emitted >= (uint64_t)r->count)
		kread_end(r, EXIT_DONE);
}

void kread_end(struct kread *r, int status)
{
	if (!r->ending)
		r->status = status;
	r->ending = true;
}

void kread_fail(struct kread *r, int status)
{
	/* What is permanent is the reason: that a member went away came of it. */
	if (!r->ending || r->status == EXIT_DONE || r->status == EXIT_TIMEOUT ||
		(r->status == EXIT_TEMP && status == EXIT_PERM))
		r->status = status;
	r->ending = r->broken = true;
}

/* librdkafka goes on behind what it cannot read; then the position would pass over it. */
static void unreadable(struct kread *r, const rd_kafka_message_t *m, int status)
{
	if (!r->ending)
		msg_error("topic '%s', partition %d, offset %lld cannot be read: %s",
			rd_kafka_topic_name(m->rkt), (int)m->partition, (long long)m->offset,
			rd_kafka_message_errstr(m));
	kread_end(r, status);
}

static void take_error(struct kread *r, const rd_kafka_message_t *m)
{
	const char *text = rd_kafka_message_errstr(m);

	if (m->err == RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE && m->rkt)
		unreadable(r, m, EXIT_TEMP);
	if (kafka_judge(&r->kafka, m->err, text))
		return;
	switch (m->err) {
	case RD_KAFKA_RESP_ERR__BAD_MSG:
	case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
	case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
		unreadable(r, m, EXIT_PERM);
		return;
	case RD_KAFKA_RESP_ERR__PARTITION_EOF:
		part_eof(r, m);
		return;
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		if (r->group) {
			msg_warn("%s; waiting for it", text);
			return;
		}
		msg_error("topic '%s', partition %d has gone: %s", rd_kafka_topic_name(m->rkt),
			(int)m->partition, kafka_why(m->err));
		kread_end(r, EXIT_PERM);
		return;
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
		msg_error("%s", text);
		kread_end(r, EXIT_PERM);
		return;
	default:
		msg_warn("%s", text);
	}
}

static void take(struct kread *r, const rd_kafka_message_t *m)
{
	struct part *p = r->last;

	if (m->err) {
		take_error(r, m);
		return;
	}
	if (!p || m->rkt != r->last_rkt || m->partition != p->partition) {
		p = part_find(r, rd_kafka_topic_name(m->rkt), m->partition);
		r->last = p;
		r->last_rkt = m->rkt;
	}
	/* After a rebalance, messages of partitions we no longer have may still come. */
	if (!p || p->done || p->leaving || r->ending || m->offset < p->begin || group_again(p, m))
		return;
	if (p->end >= 0 && m->offset >= p->end) {
		part_done(r, p);
		return;
	}
	emit(r, p, m);
	if (p->next == p->end)
		part_done(r, p);
}

/* How many records --rate, -c and the window allow now. */
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
	if (r->count >= 0 && n > r->count - (int64_t)r->emitted)
		n = r->count - (int64_t)r->emitted;
	/* A batch of large messages is not to take a multiple of the window's bytes. */
	if (n > BATCH_BYTES / (int64_t)r->message_bytes + 1)
		n = BATCH_BYTES / (int64_t)r->message_bytes + 1;
	return source_room(&r->source, (size_t)n);
}

void kread_events(struct kread *r)
{
	rd_kafka_message_t *messages[16];
	ssize_t n;

	r->last = NULL;
	while ((n = rd_kafka_consume_batch_queue(r->queue, 0, messages, 16)) > 0)
		for (ssize_t i = 0; i < n; i++) {
			take(r, messages[i]);
			rd_kafka_message_destroy(messages[i]);
		}
	if (r->group)
		group_serve(r);
}

/* Takes what messages there are, a batch at most. Returns whether there may be more at once.
 *
 * One by one: when a rebalance pauses a partition while librdkafka before 2.1 collects a batch, it throws away
 * what it has collected, and yet goes on behind it afterwards. */
static bool serve(struct kread *r)
{
	size_t room = allowance(r), n = 0, bytes = 0;
	uint64_t before = r->emitted;
	rd_kafka_message_t *m;

	r->last = NULL;
	r->now_us = wake_now_us();
	for (; n < room && (m = rd_kafka_consume_queue(r->messages, 0)); n++) {
		bytes += m->len + m->key_len;
		take(r, m);
		rd_kafka_message_destroy(m);
	}
	if (r->emitted > before)
		r->record_ms = wake_now_ms();
	if (r->rate > 0)
		r->paid_until_us += (int64_t)(r->emitted - before) * 1000000 / r->rate;
	if (n)
		r->message_bytes = bytes / n + 1;
	kafka_taken(&r->kafka, n, bytes, rd_kafka_queue_length(r->messages));
	return n > 0 || !source_room(&r->source, 1);
}

/* ---- the loop ---- */

static void lose_output(struct kread *r, int why)
{
	if (why == EPIPE)
		msg_error("the reader of standard output has gone");
	else
		msg_error("cannot write standard output: %s", strerror(why));
	kread_fail(r, EXIT_TEMP);
}

static void flush(struct kread *r)
{
	if (out_flush(&r->out)) {
		lose_output(r, errno);
		return;
	}
	if (out_pending(&r->out)) {
		if (!r->full_since_ms)
			r->full_since_ms = wake_now_ms();
		return;
	}
	r->epoch++;
	r->full_since_ms = 0;
}

/* What is done once a second. */
void kread_tick(struct kread *r, int64_t now)
{
	metrics_up("kafka", kafka_tick(&r->kafka));
	if (r->kafka.trouble.status && !r->ending)
		kread_end(r, trouble_tell(&r->kafka.trouble));
	if (r->full_since_ms || !source_room(&r->source, 1))
		r->record_ms = now;
	if (r->idle_exit_ms >= 0 && now - r->record_ms >= r->idle_exit_ms && !r->ending) {
		msg_error("no record came for %lld ms", (long long)r->idle_exit_ms);
		kread_end(r, EXIT_TIMEOUT);
	}
	if (now - r->second_ms >= TICK_MS) {
		r->second_ms = now;
		parts_lag(r);
		if (r->group)
			group_commit(r);
		source_tick(&r->source);
	}
	if (r->need_ends && !r->ending)
		r->need_ends = !parts_find_ends(r);
	if (!r->group && !r->ending &&
		(!r->assigned || (r->follow_new && now - r->refresh_ms >= FOLLOW_MS)) &&
		parts_resolve(r)) {
		metrics_set_ready(true);
		r->assigned = true;
		r->refresh_ms = now;
	}
	metrics_tick(now);
}

/* For how long nothing has to be done if nothing happens. What but --rate holds records back wakes. */
static int wait_ms(const struct kread *r, int64_t now, bool may_take)
{
	int64_t due_ms = metrics_tick(now), tick_ms = r->second_ms + TICK_MS - now;
	int64_t ms = due_ms < 0 || due_ms > tick_ms ? tick_ms : due_ms;

	/* A question that failed is asked again; the answer to one that is out wakes the loop. */
	if (((!r->group && !r->assigned) || r->need_ends) && !listing_is_out(&r->questions.listing))
		return 10;
	if (r->early && may_take && (r->paid_until_us + 1000000 / r->rate) / 1000 - now < ms)
		ms = (r->paid_until_us + 1000000 / r->rate) / 1000 - now + 1;
	if (r->idle_exit_ms >= 0 && r->record_ms + r->idle_exit_ms - now < ms)
		ms = r->record_ms + r->idle_exit_ms - now;
	return ms < 0 ? 0 : (int)ms;
}

static void loop(struct kread *r)
{
	bool more = true;
	int stops = 0;

	while (!r->ending || (out_pending(&r->out) && !r->broken && !source_gave_up(&r->source))) {
		struct pollfd fds[] = {
			{.fd = r->signal_fd, .events = POLLIN},
			{.fd = r->kafka.wake_fd, .events = POLLIN},
			{.fd = r->out.fd, .events = out_events(&r->out)},
			{.fd = r->source.server.fd, .events = POLLIN},
		};
		int64_t now = wake_now_ms();
		bool may_take = !r->full_since_ms && source_room(&r->source, 1);

		poll(fds, 4, more && may_take ? 0 : wait_ms(r, now, may_take));
		if (fds[0].revents && (stops = wake_stops())) {
			source_stop(&r->source);
			kread_end(r, EXIT_DONE);
		}
		if (stops > 1)
			die(EXIT_TEMP, "stopped before all output was written");
		if (fds[1].revents)
			kafka_woken(&r->kafka);
		if (fds[2].revents & OUT_GONE)
			lose_output(r, EPIPE);
		acks_serve(r, fds[3].revents);
		kread_events(r);
		acks_commit(r);
		if (out_pending(&r->out) && !r->broken)
			flush(r);
		if (!out_pending(&r->out) && !r->ending) {
			more = serve(r);
			flush(r);
		}
		kread_tick(r, now);
		if ((r->to_end || r->has_until) && parts_all_done(r))
			kread_end(r, EXIT_DONE);
	}
}

int main(int argc, char **argv)
{
	static struct kread r; /* the kafka client's threads outlive main */
	bool left;

	parse_options(argc, argv);
	take_options(&r);
	out_open(&r.out, STDOUT_FILENO);
	r.signal_fd = wake_open();
	acks_open(&r);
	start(&r);
	if (r.group)
		group_open(&r);
	else
		r.queue = rd_kafka_queue_get_main(r.kafka.rk);
	listing_open(&r.questions.listing, &r.kafka);
	r.messages = rd_kafka_queue_new(r.kafka.rk);
	kafka_wake_on(&r.kafka, r.queue);
	kafka_wake_on(&r.kafka, r.messages);
	if (r.group)
		group_subscribe(&r);
	r.message_bytes = BATCH_BYTES;
	r.record_ms = r.second_ms = r.refresh_ms = wake_now_ms();
	if (r.count == 0)
		kread_end(&r, EXIT_DONE);

	loop(&r);

	acks_finish(&r);
	left = !r.group || group_leave(&r);
	if (left) {
		while (r.part_count)
			part_remove(&r, r.parts);
		rd_kafka_queue_destroy(r.messages);
		rd_kafka_queue_destroy(r.queue);
		if (listing_close(&r.questions.listing))
			kafka_stop(&r.kafka);
	} else if (r.status == EXIT_DONE) {
		r.status = EXIT_TEMP;
	}
	metrics_flush();
	if (!r.broken && !r.source.closed && out_close(&r.out))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	return r.status;
}
