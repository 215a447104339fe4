/* SPDX-License-Identifier: ISC */
/* Messages. A message that fewer than --min-receivers clients got is held: all behind it that were
 * sent come again, so that the order stays, and it is published by itself, again and again, until
 * enough clients get it. */
#include "rpub/rpub.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"

#include <string.h>

static void send_line(struct rpub *s, uint64_t i)
{
	redis_commit(&s->redis, i);
	rpub_slot(s, i)->sent = true;
	s->out++;
}

static void on_line(struct rpub *s, struct span text)
{
	struct record_error e = {0};
	struct record r;
	bool is_record;

	if (command_put(s, text, &r, &is_record, &e))
		sink_refuse_line(&s->sink, &r.seq, is_record, &e);
	else if (sink_take(&s->sink, &r.seq))
		send_line(s, s->sink.tail - 1);
	else
		redis_cancel(&s->redis);
}

bool publish_takes(const struct rpub *s)
{
	return !s->holds;
}

void publish_lines(struct rpub *s)
{
	struct span text;

	while (sink_next(&s->sink, &text))
		on_line(s, text);
}

/* ---- results ---- */

static void take_back(struct rpub *s, uint64_t i)
{
	rpub_slot(s, i)->sent = false;
	s->unsent++;
}

static void hold(struct rpub *s, uint64_t i, int64_t receivers)
{
	if (!s->holds)
		msg_warn(
			"line %llu: published to %lld subscribers of %lld; it is held until there are so many",
			rpub_line(s, i), (long long)receivers, (long long)s->min_receivers);
	s->holds = true;
	s->held = i;
	s->try_ms = s->now_ms + wake_backoff_ms(&s->backoff_ms, 50, 1000);
	take_back(s, i);
}

static void let_go(struct rpub *s, uint64_t i)
{
	s->holds = false;
	s->backoff_ms = 0;
	msg_warn("line %llu: published to enough subscribers now", rpub_line(s, i));
}

static void on_published(struct rpub *s, uint64_t i, int64_t receivers)
{
	struct rpub_slot *slot = rpub_slot(s, i);

	if (s->holds && i != s->held) {
		take_back(s, i);
		return;
	}
	/* A node of a cluster counts its own subscribers alone. */
	if (!receivers && !s->holds && (!s->redis.cluster || s->to_shard)) {
		s->receivers_zero++;
		msg_info("line %llu: published to no subscriber", rpub_line(s, i));
	}
	if (receivers < s->min_receivers && s->refuses_few) {
		sink_refuse(&s->sink, i, CLASS_REDIS, !s->raw,
			"published to %lld subscribers, fewer than %lld", (long long)receivers,
			(long long)s->min_receivers);
		return;
	}
	if (receivers < s->min_receivers) {
		hold(s, i, receivers);
		return;
	}
	if (s->holds)
		let_go(s, i);
	slot->receivers = receivers;
	sink_done(&slot->slot);
}

static void on_error(struct rpub *s, uint64_t i, struct span text)
{
	if (!command_refused(s, i, text, "to publish")) {
		take_back(s, i);
		redis_lose(&s->redis, text);
	} else if (s->holds && i == s->held) {
		s->holds = false;
	}
}

void publish_result(struct rpub *s, enum redis_got got, const struct link_reply *reply)
{
	s->out--;
	if (got == REDIS_AGAIN)
		take_back(s, reply->tag);
	else if (reply->value.type == RESP_ERROR)
		on_error(s, reply->tag, reply->value.text);
	else
		on_published(s, reply->tag, reply->value.n);
}

/* ---- again ---- */

static void send_again(struct rpub *s, uint64_t i)
{
	struct rpub_slot *slot = rpub_slot(s, i);
	struct record_error error;
	struct record r;
	bool is_record;

	if (slot->sent || slot->slot.refused)
		return;
	/* This cannot fail: the same line was encoded before. */
	if (command_put(s, sink_text(&s->sink, &slot->slot), &r, &is_record, &error))
		die(EXIT_TEMP, "cannot encode a record again: %s", error.message);
	send_line(s, i);
	s->unsent--;
}

void publish_again(struct rpub *s)
{
	if (s->holds) {
		if (!s->out && s->now_ms >= s->try_ms)
			send_again(s, s->held);
		return;
	}
	msg_info("%llu %s sent again", (unsigned long long)s->unsent,
		PLURAL(s->unsent, "record without a reply is", "records without a reply are"));
	for (uint64_t i = s->sink.head; s->unsent && i < s->sink.tail; i++)
		send_again(s, i);
}
