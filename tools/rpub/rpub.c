/* SPDX-License-Identifier: ISC */
/* rpub - publish records on Redis channels.
 *
 * DESIGN: lines are turned into PUBLISH commands straight in the connection's output buffer, and
 * replies are read in place, many commands being out at any time.
 *
 * - The commands that a lost connection left unanswered are encoded again, in order: published at least once,
 *   the order of a channel kept, nothing that was read lost.
 * - A record is done when Redis has answered its PUBLISH, and a ROLE behind it with "master" (redis/client.h).
 * - While Redis is away no input is read. The sink's window bounds what is kept.
 * - A refused record has a slot, with nothing sent for it or sent again.
 * - EOF: all records done, then exit; 111 without the source's word that this is all. First SIGTERM:
 *   ignored while input is open; the second, or one after EOF, ends it at once, and so does the first while
 *   Redis is away and nobody writes to the input any more. --retry-for ends it with 99.
 *
 * Files: rpub.c the command line, Redis, the loop; command.c makes commands of lines. */
#include "rpub/rpub.h"

#include "base/msg.h"
#include "base/metrics.h"
#include "base/opt.h"
#include "base/wake.h"
#include "net/tls.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
	SLOTS = 4096,
	WINDOW_BYTES = 1 << 20,
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct sink_opts sink;
	struct redis_opts redis;
	struct arg_lit *raw, *nul, *pass;
	struct arg_str *channel;
} opt;

static struct rpub self;

static struct rpub_slot *slot_at(struct rpub *s, uint64_t i)
{
	return (struct rpub_slot *)sink_slot(&s->sink, i);
}

/* ---- lines ---- */

static void on_line(struct rpub *s, struct span text)
{
	struct record_error e = {0};
	struct record r;
	bool is_record;

	if (command_put(s, text, &r, &is_record, &e)) {
		sink_refuse_line(&s->sink, &r.seq, is_record, &e);
	} else if (sink_take(&s->sink, &r.seq)) {
		redis_commit(&s->redis, s->sink.tail - 1);
		slot_at(s, s->sink.tail - 1)->sent = true;
	} else {
		redis_cancel(&s->redis);
	}
}

static void on_lines(struct rpub *s)
{
	struct span text;

	while (sink_next(&s->sink, &text))
		on_line(s, text);
}

/* ---- Redis ---- */

static unsigned long long line_of(const struct rpub *s, uint64_t i)
{
	return sink_slot(&s->sink, i)->number;
}

static void take_back(struct rpub *s, uint64_t i)
{
	slot_at(s, i)->sent = false;
	s->unsent++;
}

static void on_published(struct rpub *s, uint64_t i, int64_t receivers)
{
	struct rpub_slot *slot = slot_at(s, i);

	slot->receivers = receivers;
	sink_done(&slot->slot);
	if (receivers)
		return;
	s->receivers_zero++;
	msg_info("line %llu: published to no subscriber", line_of(s, i));
}

static void on_publish_error(struct rpub *s, uint64_t i, struct span text)
{
	int n = (int)(text.len < 200 ? text.len : 200);
	enum redis_fault fault = redis_fault(text);

	/* Renamed or never had: the next record would fare no better. */
	if (span_starts(text, "ERR unknown command"))
		fault = REDIS_FAULT_CONFIG;
	switch (fault) {
	case REDIS_FAULT_AWAY:
		take_back(s, i);
		redis_lose(&s->redis, text);
		return;
	case REDIS_FAULT_CONFIG:
		sink_die(&s->sink, EXIT_PERM, "line %llu: redis at %s refuses to publish: %.*s",
			line_of(s, i), s->redis.url.name, n, text.p);
	case REDIS_FAULT_COMMAND:
		break;
	}
	sink_refuse(&s->sink, i, strncmp(text.p, "WRONGTYPE", 9) ? CLASS_REDIS : CLASS_WRONG_TYPE,
		!s->raw, "redis says: %.*s", n, text.p);
}

static void on_replies(struct rpub *s)
{
	struct link_reply reply;
	enum redis_got got;

	while ((got = redis_next(&s->redis, &reply)) != REDIS_NONE)
		if (got == REDIS_AGAIN)
			take_back(s, reply.tag);
		else if (reply.value.type == RESP_ERROR)
			on_publish_error(s, reply.tag, reply.value.text);
		else
			on_published(s, reply.tag, reply.value.n);
}

static void send_again(struct rpub *s)
{
	struct record_error error;
	struct record r;
	bool is_record;

	for (uint64_t i = s->sink.head; i < s->sink.tail; i++) {
		struct rpub_slot *slot = slot_at(s, i);

		if (slot->sent || slot->slot.refused)
			continue;
		/* This cannot fail: the same line was encoded before. */
		if (command_put(s, sink_text(&s->sink, &slot->slot), &r, &is_record, &error))
			die(EXIT_TEMP, "cannot encode a record again: %s", error.message);
		redis_commit(&s->redis, i);
		slot->sent = true;
	}
	msg_info("%llu records without a reply are sent again", (unsigned long long)s->unsent);
	s->unsent = 0;
}

static void on_redis(struct rpub *s, short revents, int64_t now_ms)
{
	switch (redis_step(&s->redis, revents, now_ms)) {
	case REDIS_CAME:
		metrics_set_ready(true);
		break;
	case REDIS_WENT:
		metrics_set_ready(false);
		break;
	case REDIS_FAILED:
		sink_die(&s->sink, s->redis.trouble.status, "%s", s->redis.trouble.text);
	case REDIS_SAME:
		break;
	}
	on_replies(s);
	if (s->unsent && s->redis.state == REDIS_UP)
		send_again(s);
}

/* ---- the loop ---- */

static void loop(struct rpub *s)
{
	while (sink_runs(&s->sink)) {
		int64_t now_ms = wake_now_ms();
		struct pollfd p[SINK_FDS + 1];
		int timeout_ms;

		sink_poll(&s->sink, p, s->redis.state == REDIS_UP);
		p[SINK_FDS] = (struct pollfd){
			.fd = redis_fd(&s->redis), .events = redis_events(&s->redis)};
		timeout_ms = wake_least(
			sink_timeout_ms(&s->sink, now_ms), redis_timeout_ms(&s->redis, now_ms));
		if (poll(p, SINK_FDS + 1, timeout_ms) < 0) {
			if (errno != EINTR)
				die(EXIT_TEMP, "cannot poll: %s", strerror(errno));
			continue;
		}
		now_ms = wake_now_ms();
		on_redis(s, p[SINK_FDS].revents, now_ms);
		sink_serve(&s->sink, p);
		sink_server(&s->sink, s->redis.state == REDIS_UP, now_ms);
		if (s->redis.state == REDIS_UP)
			on_lines(s);
		sink_flush(&s->sink, now_ms);
		if (input_ended(&s->sink.in))
			redis_hurry(&s->redis);
		redis_flush(&s->redis, now_ms);
	}
}

/* ---- the command line ---- */

static void set_channel(struct rpub *s, const char *text)
{
	char why[200];
	const char *constant;

	s->template = template_parse(text, why, sizeof(why));
	if (!s->template)
		opt_bad("'%s' is no template: %s", text, why);
	constant = template_constant(s->template);
	if (constant)
		command_prefix(&s->prefix, (struct span){constant, strlen(constant)});
	else if (s->raw)
		opt_bad("lines of --raw have no fields for '%s'", text);
}

static void hand_on(void *rpub, const struct sink_slot *slot, struct span line, struct buf *out)
{
	command_pass(rpub, line, ((const struct rpub_slot *)slot)->receivers, out);
}

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evpipe -n bridge kread -g bridge '^(orders|payments)$' '|' rpub 'sse:{topic}'",
		"tail -f events.log | rpub --raw -u \"$CACHE\" events",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "rpub",
		.summary = "Publishes each record's payload on a Redis channel.",
		.examples = examples,
		.libraries = {link_library, tls_library},
	};

	opt.raw = arg_lit0(NULL, "raw", "each line is a payload, not a record");
	opt.nul = arg_lit0("0", NULL, "lines end with NUL instead of LF");
	opt.pass = arg_lit0(NULL, "pass",
		"hand each record on, with where it was published: a filter, not a sink");
	opt.channel =
		arg_str1(NULL, NULL, "CHANNEL", "a channel's name, a template: 'sse:{topic}'");
	redis_opts(&opt.redis);
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	sink_opts(&opt.sink);
	ack_opts(&opt.ack);
	opt_common(&opt.common);
	void *table[] = {opt.channel, opt.raw, opt.nul, opt.pass, INPUT_ENTRIES(opt.input),
		SINK_ENTRIES(opt.sink), ACK_ENTRIES(opt.ack), REDIS_ENTRIES(opt.redis),
		OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void take_options(struct rpub *s)
{
	s->raw = opt.raw->count;
	set_channel(s, opt_text(opt.channel, "CHANNEL"));
}

int main(int argc, char **argv)
{
	struct rpub *s = &self;
	int status;

	parse_options(argc, argv);
	take_options(s);
	metrics_counter("receivers_zero_total", "Messages published to no subscriber.",
		METRICS_PIPELINE, &s->receivers_zero);
	redis_open(&s->redis, &opt.redis, REDIS_PUBLISHER);
	sink_open(&s->sink,
		&(struct sink_setup){.input = &opt.input,
			.ack = &opt.ack,
			.opts = &opt.sink,
			.raw = s->raw,
			.end = opt.nul->count ? '\0' : '\n',
			.role = opt.pass->count ? ACK_FILTER : ACK_SINK,
			.slot_bytes = sizeof(struct rpub_slot),
			.slots = SLOTS,
			.window_bytes = WINDOW_BYTES,
			.self = s,
			.hand_on = hand_on});
	s->digits = 3;
	loop(s);
	status = sink_close(&s->sink);
	redis_close(&s->redis);
	template_free(s->template);
	return status;
}
