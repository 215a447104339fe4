/* SPDX-License-Identifier: ISC */
#include "rsub/pubsub.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"
#include "record/record.h"

#include <stdlib.h>
#include <string.h>

enum {
	SHOWN_MAX = 10,
	COMMAND_NAMES = 10000,
	SLOW_MS = 100, /* standard output was full for so long while messages waited */
};

/* ---- messages ---- */

static void refuse(struct pubsub *s, enum errclass c, struct span channel, const char *why)
{
	s->whole->refused++;
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
static void put_head(struct pubsub *s, const struct redis_message *m)
{
	struct buf *h = &s->head;
	struct span pattern = m->pattern.p ? m->pattern : SPAN("");

	if (!h->len || !same(&s->channel, m->channel) || !same(&s->pattern, pattern)) {
		buf_clear(h);
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
	buf_span(&s->source->out.b, buf_as_span(h));
}

static void on_message(struct pubsub *s, const struct redis_message *m)
{
	struct buf *b = &s->source->out.b;
	size_t before = b->len;

	metrics.records_in++;
	if (m->too_big) {
		refuse(s, CLASS_TOO_LARGE, m->channel,
			m->channel.p ? "the payload is longer than --max-line"
				     : "the name of its channel is longer than --max-line");
		return;
	}
	if (s->raw) {
		buf_span(b, m->payload);
	} else {
		put_head(s, m);
		if (s->whole->account)
			source_put_seq(s->source, b);
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
	source_emit(s->source, s->whole->account, 0, 0, m->payload.len, s->now_us);
}

/* ---- Redis ---- */

/* A command has a limit of a million words. */
static void ask_for(struct pubsub *s, const struct names *n, const char *command)
{
	for (int i = 0; i < n->count; i += COMMAND_NAMES) {
		int count = n->count - i < COMMAND_NAMES ? n->count - i : COMMAND_NAMES;
		const char *kept = n->list[i];

		n->list[i] = command;
		redis_subscribe(&s->redis, count + 1, n->list + i);
		n->list[i] = kept;
	}
	s->unconfirmed += n->count;
}

static void subscribe(struct pubsub *s)
{
	s->unconfirmed = 0;
	ask_for(s, &s->channels, s->shard ? "SSUBSCRIBE" : "SUBSCRIBE");
	ask_for(s, &s->patterns, "PSUBSCRIBE");
}

#define SLOW                                                                                       \
	"; standard output was full, and redis cuts a slow subscriber off: see its "               \
	"client-output-buffer-limit pubsub"

static void say_gap(struct pubsub *s, const char *been)
{
	msg_error("gap: the %s redis at %s %s lost for %.1f s: "
		  "what was published meanwhile is lost%s",
		s->is_restart ? "unit was started again, and" : "connection to",
		redis_name(&s->redis), been, (double)(wake_now_ms() - s->gap_since_ms) / 1000,
		s->was_slow ? SLOW : "");
	s->has_gap = s->is_restart = s->was_slow = false;
}

static void on_confirmed(struct pubsub *s)
{
	if (s->unconfirmed == 0 || --s->unconfirmed)
		return;
	whole_ready(s->whole, &s->is_ready, true);
	msg_info("subscribed at redis at %s", redis_name(&s->redis));
	if (s->has_gap)
		say_gap(s, "was");
}

static void on_lost(struct pubsub *s)
{
	s->is_behind = false;
	whole_ready(s->whole, &s->is_ready, false);
	if (s->unconfirmed || s->has_gap)
		return;
	s->has_gap = true;
	s->was_slow = s->rested_ms >= SLOW_MS;
	s->gap_since_ms = s->redis.away_ms;
	s->whole->gaps++;
}

static void on_error(struct pubsub *s, struct span text)
{
	enum redis_fault fault = redis_fault(text);
	const struct names *n = s->channels.count ? &s->channels : &s->patterns;

	if (!s->unconfirmed) {
		if (!redis_is_pong(&s->redis, text))
			redis_lose(&s->redis, text);
		return;
	}
	if (s->redis.cluster && (span_starts(text, "MOVED ") || span_starts(text, "ASK "))) {
		redis_lose(&s->redis, text);
		return;
	}
	/* What was confirmed before is refused for good only by a reason of the configuration. */
	if (fault == REDIS_FAULT_AWAY || (fault == REDIS_FAULT_COMMAND && s->has_gap)) {
		redis_lose(&s->redis, text);
		return;
	}
	source_end(s->source, EXIT_PERM, "redis at %s refuses the subscription: %.*s (%s%s'%s')%s",
		redis_name(&s->redis), (int)(text.len < 200 ? text.len : 200), text.p,
		s->channels.count + s->patterns.count > 1 ? "one of several, such as " : "",
		n == &s->patterns ? "pattern " : "channel ", n->list[1],
		redis_advice(&s->redis, text));
}

/* Prints what has come, up to a block of output; what is left stays for the next turn. */
static void on_replies(struct pubsub *s, int64_t now_ms)
{
	struct redis_message m;

	s->is_behind = true;
	s->now_us = now_ms * 1000;
	while (source_phase(s->source) == SOURCE_READING &&
		out_pending(&s->source->out) < OUT_BLOCK) {
		switch (redis_next_push(&s->redis, s->max_line, &m)) {
		case REDIS_PUSH_MESSAGE:
			on_message(s, &m);
			s->source->record_ms = now_ms;
			break;
		case REDIS_PUSH_CONFIRMED:
			on_confirmed(s);
			break;
		case REDIS_PUSH_ERROR:
			on_error(s, m.text);
			break;
		case REDIS_PUSH_NONE:
			if (!redis_read(&s->redis)) {
				s->is_behind = false;
				return;
			}
			break;
		case REDIS_PUSH_GONE:
			redis_lose(&s->redis, SPAN("the slot of the channels has moved"));
			break;
		case REDIS_PUSH_PONG:
		case REDIS_PUSH_OTHER:
			break;
		}
	}
}

static void on_redis(struct pubsub *s, const struct pollfd *p, int64_t now_ms)
{
	switch (redis_step(&s->redis, p, now_ms)) {
	case REDIS_CAME:
		subscribe(s);
		break;
	case REDIS_WENT:
		on_lost(s);
		break;
	case REDIS_FAILED:
		source_end(s->source, s->redis.trouble.status, "%s", s->redis.trouble.text);
		return;
	case REDIS_SAME:
		/* All that had come was read in the last turn, and that was not the end. */
		if (!s->is_behind && !s->rested)
			s->rested_ms = 0;
		break;
	}
	if (s->redis.state == REDIS_UP)
		on_replies(s, now_ms);
	redis_flush(&s->redis, now_ms);
}

/* ---- the whole ---- */

/* Nobody was subscribed between the last run of the unit and this one. */
static void begin_with_gap(struct pubsub *s)
{
	const char *until = getenv("EVPIPE_READ_UNTIL");

	s->gap_since_ms = until ? strtoll(until, NULL, 10) : 0;
	s->has_gap = s->is_restart = s->gap_since_ms > 0;
	s->whole->gaps += s->has_gap;
}

/* What a sentinel tells begins with + or -, like +switch-master. */
static bool are_events(const struct names *n, const char *first)
{
	for (int i = 1; i <= n->count; i++)
		if (!*n->list[i] || !strchr(first, *n->list[i]))
			return false;
	return true;
}

void pubsub_open(struct pubsub *s, const struct redis_url *url)
{
	begin_with_gap(s);
	redis_open_at(&s->redis, url, REDIS_SUBSCRIBER);
	if (!s->shard && are_events(&s->channels, "+-") && are_events(&s->patterns, "+-*?[\\"))
		redis_takes_sentinel(&s->redis);
	if (s->shard)
		redis_follow(&s->redis, s->channels.list[1]);
}

int pubsub_poll(struct pubsub *s, struct pollfd *p)
{
	s->rests = source_phase(s->source) != SOURCE_READING ||
		(s->redis.state == REDIS_UP && out_pending(&s->source->out));
	return s->rests || s->is_behind ? 0 : redis_poll(&s->redis, p);
}

int pubsub_timeout_ms(const struct pubsub *s, int64_t now_ms)
{
	if (s->rests)
		return -1;
	return s->is_behind ? 0 : redis_timeout_ms(&s->redis, now_ms);
}

void pubsub_serve(struct pubsub *s, const struct pollfd *p, int64_t now_ms)
{
	if (!s->rests) {
		on_redis(s, s->is_behind ? NULL : p, now_ms);
	} else {
		redis_heard(&s->redis, now_ms);
		s->rested_ms += now_ms - s->served_ms;
	}
	s->served_ms = now_ms;
	s->rested = s->rests;
	if (source_phase(s->source) != SOURCE_READING && s->has_gap)
		say_gap(s, "has been");
}

void pubsub_close(struct pubsub *s)
{
	if (s->has_gap)
		say_gap(s, "has been");
	redis_close(&s->redis);
}
