/* SPDX-License-Identifier: ISC */
/* rsub - print what is published on Redis channels as records.
 *
 * DESIGN: one connection, one poll() loop. Messages are read where they stand in the receive buffer
 * and printed straight into the output buffer; nothing is allocated for a message. Output is
 * written before every wait.
 *
 * - While output is pending nothing is read, so memory is bounded by OUT_BLOCK, one message and what
 *   one read brings. Redis then keeps the messages, up to its client-output-buffer-limit, at which
 *   it cuts us off.
 * - Pub/sub cannot replay. A connection lost after all subscriptions were confirmed is a gap: counted
 *   when it happens, one line on stderr when it is over or the program ends.
 * - It is ready while all subscriptions are confirmed.
 * - With a socket each record has a number, and at the end it is told how many nobody has acknowledged
 *   (source.h). Nothing waits for acknowledgements while it reads, since Redis would not.
 * - SIGTERM: reading stops, what was read is written, exit 0; a second one ends it at once.
 * - A vanished reader is noticed by POLLERR on standard output, on an idle channel too. */
#include "base/mem.h"
#include "base/msg.h"
#include "json/json.h"
#include "base/line.h"
#include "base/metrics.h"
#include "base/opt.h"
#include "base/out.h"
#include "record/record.h"
#include "redis/subscribe.h"
#include "flow/source.h"
#include "base/wake.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
	SHOWN_MAX = 10,
	TICK_MS = 1000,
	WINDOW = 1 << 18, /* numbers kept account of: more than the pipeline holds */
	LARGE = 1 << 20, /* an output buffer over this is given back when empty */
};

static struct rsub {
	struct redis redis;
	struct source source;
	struct ledger_part *account;
	struct out out;
	struct buf head, channel, pattern; /* the beginning of a record, and of which ones */
	int channel_count, pattern_count;
	const char **channels, **patterns;
	bool raw;
	char end; /* of a line */
	int64_t left; /* records until the end; -1: no limit */
	int64_t idle_exit_ms; /* 0: never */
	int64_t tick_ms, now_us;
	int64_t last_ms; /* when something was printed, or was wanted of the reader */
	size_t max_line;
	int unconfirmed; /* subscriptions */
	bool gap;
	int64_t gap_since_ms;
	uint64_t gaps;
	uint64_t refused, shown[CLASS_COUNT];
	bool behind; /* messages were read that are not yet printed */
	bool stopping; /* write what is left, then end */
	bool broken; /* do not even write it: the reader or the sink has gone */
	int status;
} self;

static void stop(struct rsub *s, int status)
{
	if (!s->stopping)
		s->status = status;
	s->stopping = true;
}

static void fail(struct rsub *s, int status)
{
	if (!s->stopping || s->status == EXIT_DONE || s->status == EXIT_TIMEOUT)
		s->status = status;
	s->stopping = s->broken = true;
}

/* ---- messages ---- */

static void refuse(struct rsub *s, enum errclass c, struct span channel, const char *why)
{
	s->refused++;
	metrics.errors[c]++;
	if (s->shown[c]++ < SHOWN_MAX)
		msg_error("message %llu, channel %.*s: %s (%s)",
			(unsigned long long)metrics.records_in,
			(int)(channel.len < 100 ? channel.len : 100), channel.p, why,
			errclass_name(c));
	if (s->shown[c] == SHOWN_MAX)
		msg_error("further messages refused as %s are only counted", errclass_name(c));
}

static bool same(const struct buf *b, struct span s)
{
	return b->len == s.len && (!s.len || memcmp(b->p, s.p, s.len) == 0);
}

/* A record up to its payload. Most messages come on the channel of the one before. */
static int put_head(struct rsub *s, const struct redis_message *m)
{
	struct buf *h = &s->head;
	struct span pattern = m->pattern.p ? m->pattern : SPAN("");

	if (!h->len || !same(&s->channel, m->channel) || !same(&s->pattern, pattern)) {
		buf_clear(h);
		if (!json_utf8(m->channel))
			return -1;
		buf_putc(h, '{');
		record_put_bytes(h, "channel", m->channel);
		if (pattern.len) {
			buf_putc(h, ',');
			record_put_bytes(h, "pattern", pattern);
		}
		buf_clear(&s->channel);
		buf_span(&s->channel, m->channel);
		buf_clear(&s->pattern);
		buf_span(&s->pattern, pattern);
	}
	buf_span(&s->out.b, buf_as_span(h));
	return 0;
}

static void on_message(struct rsub *s, const struct redis_message *m)
{
	struct buf *b = &s->out.b;
	size_t before = b->len;

	metrics.records_in++;
	if (m->too_big) {
		refuse(s, CLASS_TOO_LARGE, m->channel, "the payload is longer than --max-line");
		return;
	}
	if (s->raw) {
		buf_span(b, m->payload);
	} else {
		if (put_head(s, m)) {
			refuse(s, CLASS_INVALID_RECORD, SPAN("?"), "its name is not UTF-8");
			return;
		}
		if (s->source.ledger)
			source_put_seq(&s->source, b);
		buf_putc(b, ',');
		record_put_bytes(b, "payload", m->payload);
		buf_putc(b, '}');
	}
	if (b->len - before > s->max_line) {
		b->len = before;
		refuse(s, CLASS_TOO_LARGE, m->channel, "its record is longer than --max-line");
		return;
	}
	buf_putc(b, s->end);
	if (s->source.ledger && !s->raw)
		source_emit(&s->source, s->account, 0, 0, m->payload.len, s->now_us);
	metrics.records_out++;
	if (s->left > 0 && --s->left == 0)
		stop(s, EXIT_DONE);
}

/* ---- Redis ---- */

static void subscribe(struct rsub *s)
{
	if (s->channel_count) {
		s->channels[0] = "SUBSCRIBE";
		redis_subscribe(&s->redis, s->channel_count + 1, s->channels);
	}
	if (s->pattern_count) {
		s->patterns[0] = "PSUBSCRIBE";
		redis_subscribe(&s->redis, s->pattern_count + 1, s->patterns);
	}
	s->unconfirmed = s->channel_count + s->pattern_count;
}

static void say_gap(struct rsub *s, const char *been)
{
	msg_error("gap: the connection to redis at %s %s lost for %.1f s: "
		  "what was published meanwhile is lost",
		s->redis.url.name, been, (double)(wake_now_ms() - s->gap_since_ms) / 1000);
	s->gap = false;
}

static void on_confirmed(struct rsub *s)
{
	if (s->unconfirmed == 0 || --s->unconfirmed)
		return;
	metrics_set_ready(true);
	msg_info("subscribed at redis at %s", s->redis.url.name);
	if (s->gap)
		say_gap(s, "was");
}

static void on_lost(struct rsub *s)
{
	s->behind = false;
	metrics_set_ready(false);
	if (s->unconfirmed || s->gap)
		return;
	s->gap = true;
	s->gap_since_ms = s->redis.away_ms;
	s->gaps++;
}

static void on_error(struct rsub *s, struct span text)
{
	/* A keep-alive that is refused (MISCONF does that) shows that the link is alive. */
	if (!s->unconfirmed)
		return;
	if (redis_fault(text) == REDIS_FAULT_AWAY) {
		redis_lose(&s->redis, text);
		return;
	}
	msg_error("redis at %s refuses the subscription: %.*s", s->redis.url.name,
		(int)(text.len < 200 ? text.len : 200), text.p);
	stop(s, EXIT_PERM);
}

/* Prints what has come, up to a block of output; what is left stays for the next turn. */
static void on_replies(struct rsub *s, int64_t now_ms)
{
	struct redis_message m;

	s->behind = true;
	s->now_us = now_ms * 1000;
	while (!s->stopping && out_pending(&s->out) < OUT_BLOCK) {
		switch (redis_next_push(&s->redis, s->max_line, &m)) {
		case REDIS_PUSH_MESSAGE:
			on_message(s, &m);
			s->last_ms = now_ms;
			break;
		case REDIS_PUSH_CONFIRMED:
			on_confirmed(s);
			break;
		case REDIS_PUSH_ERROR:
			on_error(s, m.text);
			break;
		case REDIS_PUSH_NONE:
			if (!redis_read(&s->redis)) {
				s->behind = false;
				return;
			}
			break;
		case REDIS_PUSH_OTHER: /* the answer to a keep-alive */
			break;
		}
	}
}

static void on_redis(struct rsub *s, short revents, int64_t now_ms)
{
	switch (redis_step(&s->redis, revents, now_ms)) {
	case REDIS_CAME:
		subscribe(s);
		break;
	case REDIS_WENT:
		on_lost(s);
		break;
	case REDIS_FAILED:
		trouble_tell(&s->redis.trouble);
		stop(s, EXIT_PERM);
		return;
	case REDIS_SAME:
		break;
	}
	if (s->redis.state == REDIS_UP)
		on_replies(s, now_ms);
	redis_flush(&s->redis, now_ms);
}

/* ---- the loop ---- */

static void on_output(struct rsub *s)
{
	if (out_flush(&s->out) == 0) {
		if (!out_pending(&s->out) && s->out.b.cap > LARGE)
			buf_free(&s->out.b);
		return;
	}
	if (errno == EPIPE)
		msg_info("the reader of standard output has gone");
	else
		msg_error("cannot write standard output: %s", strerror(errno));
	fail(s, EXIT_TEMP);
}

/* Milliseconds until --idle-exit, -1 never. */
static int idle_timeout_ms(const struct rsub *s, int64_t now_ms)
{
	int64_t left = s->last_ms + s->idle_exit_ms - now_ms;

	if (!s->idle_exit_ms || s->stopping)
		return -1;
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static void on_signal(struct rsub *s)
{
	int stops = wake_stops();

	if (stops > 1)
		die(EXIT_TEMP, "ended by a second signal with output left");
	if (!stops)
		return;
	source_stop(&s->source);
	stop(s, EXIT_DONE);
}

static void on_source(struct rsub *s, bool readable, int64_t now_ms)
{
	int status = source_serve(&s->source, readable);

	if (status)
		fail(s, status);
	if (now_ms - s->tick_ms < TICK_MS)
		return;
	s->tick_ms = now_ms;
	source_tick(&s->source);
}

static void run(struct rsub *s, int wake_fd)
{
	while (!s->stopping ||
		(out_pending(&s->out) && !s->broken && !source_gave_up(&s->source))) {
		int64_t now_ms = wake_now_ms();
		/* While output is pending the link is left alone, and its silence is our own. */
		bool leave = s->stopping || (s->redis.state == REDIS_UP && out_pending(&s->out));
		int timeout = wake_least(metrics_tick(now_ms), idle_timeout_ms(s, now_ms));
		struct pollfd p[] = {
			{.fd = wake_fd, .events = POLLIN},
			{.fd = STDOUT_FILENO, .events = out_events(&s->out)},
			{.fd = leave || s->behind ? -1 : redis_fd(&s->redis),
				.events = redis_events(&s->redis)},
			{.fd = s->source.server.fd, .events = POLLIN},
		};

		if (s->source.ledger)
			timeout = wake_least(timeout, TICK_MS);

		if (!leave)
			timeout = s->behind
				? 0
				: wake_least(timeout, redis_timeout_ms(&s->redis, now_ms));
		if (poll(p, 4, timeout) < 0) {
			if (errno != EINTR)
				die(EXIT_TEMP, "cannot poll: %s", strerror(errno));
			continue;
		}
		now_ms = wake_now_ms();
		if (p[0].revents)
			on_signal(s);
		if (p[1].revents & OUT_GONE && !out_pending(&s->out))
			buf_putc(&s->out.b, s->end); /* the write tells the reason */
		if (leave) {
			redis_heard(&s->redis, now_ms);
			s->last_ms = now_ms;
		} else {
			on_redis(s, p[2].revents, now_ms);
		}
		on_source(s, p[3].revents, now_ms);
		on_output(s);
		if (idle_timeout_ms(s, now_ms) == 0)
			stop(s, EXIT_TIMEOUT);
	}
}

/* With a socket: what is still open is waited for, and what remains so is told. */
static void drain(struct rsub *s, int wake_fd)
{
	int status = EXIT_DONE;

	source_end(&s->source, !s->broken && !out_pending(&s->out));
	while (source_drains(&s->source, &s->out, &status)) {
		struct pollfd p[] = {
			{.fd = wake_fd, .events = POLLIN},
			{.fd = s->source.server.fd, .events = POLLIN},
		};

		poll(p, 2, 100);
		if (p[0].revents)
			on_signal(s);
		metrics_tick(wake_now_ms());
	}
	if (status)
		fail(s, status);
	status = source_left(&s->source);
	if (status)
		fail(s, status);
}

static int finish(struct rsub *s, int wake_fd)
{
	if (s->gap)
		say_gap(s, "has been");
	drain(s, wake_fd);
	if (!s->broken && !s->source.closed && out_close(&s->out))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	redis_close(&s->redis);
	metrics_flush();
	if (s->refused)
		msg_warn("%llu messages were refused", (unsigned long long)s->refused);
	return s->status == EXIT_DONE && s->refused ? EXIT_REFUSED : s->status;
}

/* With room in front for the command's name. */
static const char **names(const struct arg_str *a, const char *what)
{
	const char **list = mem_alloc(((size_t)a->count + 1) * sizeof(*list));

	for (int i = 0; i < a->count; i++) {
		if (!a->sval[i][0])
			opt_bad("a %s must not be empty", what);
		list[i + 1] = a->sval[i];
	}
	return list;
}

static const char *const examples[] = {
	"rsub -p 'sse:*' | evkey .tenantId | kwrite -t '{channel#sse:}'",
	"rsub -u \"$CACHE\" --raw -c 10 news",
	NULL,
};

int main(int argc, char **argv)
{
	static const struct opt_page page = {
		.prog = "rsub",
		.summary = "Prints what is published on Redis channels as records.",
		.examples = examples,
		.libraries = {link_library},
	};
	struct rsub *s = &self;
	struct redis_opts redis;
	struct opt_common common;
	struct source_opts source;
	struct arg_str *patterns = arg_strn(
		"p", "pattern", "PATTERN", 0, 1000, "subscribe to the channels that match");
	struct arg_str *count = arg_str0("c", "count", "COUNT", "end after COUNT records");
	struct arg_str *idle =
		arg_str0(NULL, "idle-exit", "TIME", "end with 99 when nothing comes for TIME");
	struct arg_lit *raw = arg_lit0(NULL, "raw", "print payloads alone, one a line");
	struct arg_lit *nul = arg_lit0("0", NULL, "end lines with NUL instead of LF");
	struct arg_str *max_line =
		arg_str0(NULL, "max-line", "SIZE", "longest line printed (default 64M)");
	struct arg_str *channels = arg_strn(NULL, NULL, "CHANNEL", 0, 1000, "a channel's name");
	struct arg_end *end = arg_end(8);
	int wake_fd;

	source_opts(&source);
	redis_opts(&redis);
	opt_common(&common);
	void *table[] = {patterns, count, idle, raw, nul, max_line, SOURCE_ENTRIES(source),
		REDIS_ENTRIES(redis), OPT_COMMON_ENTRIES(common), channels, end};
	opt_parse(argc, argv, table, &common, &page);

	if (!channels->count && !patterns->count)
		opt_bad("name a CHANNEL or a -p PATTERN");
	s->channel_count = channels->count;
	s->channels = names(channels, "CHANNEL");
	s->pattern_count = patterns->count;
	s->patterns = names(patterns, "PATTERN");
	for (int i = 0; patterns->count && i < channels->count; i++)
		if (strpbrk(channels->sval[i], "*?["))
			msg_warn("'%s' is the name of a channel; -p goes before each pattern",
				channels->sval[i]);
	s->raw = raw->count;
	s->end = nul->count ? '\0' : '\n';
	s->left = opt_int(count, "--count", -1, 1, INT64_MAX);
	s->idle_exit_ms = opt_duration_ms(idle, "--idle-exit", 0);
	s->max_line = (size_t)opt_size(max_line, "--max-line", LINE_MAX_DEFAULT);
	source_take(&s->source, &source);
	metrics_counts(METRICS_IN | METRICS_ERRORS);
	metrics_counter("gaps_total", "Interruptions in which messages may be missing.",
		METRICS_PIPELINE, &s->gaps);
	redis_open(&s->redis, &redis, REDIS_SUBSCRIBER);
	wake_fd = wake_open();
	out_open(&s->out, STDOUT_FILENO);
	source_open(&s->source, false, WINDOW);
	if (s->source.ledger)
		s->account = ledger_assign(s->source.ledger, NULL, -1, NULL);
	s->last_ms = wake_now_ms();
	run(s, wake_fd);
	return finish(s, wake_fd);
}
