/* SPDX-License-Identifier: ISC */
/* What Redis answers, and what follows from it. */
#define _GNU_SOURCE
#include "rsub/streams.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/trouble.h"
#include "base/wake.h"
#include "redis/subscribe.h"

#include <stdio.h>
#include <string.h>

enum { REPLY_BYTES = 512 << 10 /* of new entries, about */, BATCH_FIRST = 16, BATCH_MOST = 1000 };

/* ---- pending entries ---- */

static void on_bad(struct streams *s)
{
	redis_lose(&s->redis, SPAN("an answer has another form than that of its command"));
}

static void next_stream(struct streams *s)
{
	enum streams_step next = s->step == STREAMS_OWN ? STREAMS_CLAIM : STREAMS_NEW;

	s->cursor = (struct id){0};
	s->has_asked = false;
	s->delivery_count = 0;
	if (++s->at < s->count)
		return;
	if (next == STREAMS_NEW && s->own_again) {
		s->own_again = false;
		next = STREAMS_OWN;
	} else if (next == STREAMS_CLAIM && (s->has_no_claim || s->now_ms < s->claim_ms)) {
		next = STREAMS_NEW;
	}
	if (s->step == STREAMS_CLAIM)
		s->claim_ms = s->now_ms + s->claim_idle_ms / 2;
	streams_step(s, next);
}

/* [[name, [entry, …]]] or nil. */
static void on_own(struct streams *s, struct stream *st, const struct link_reply *reply)
{
	struct resp c = reply->elements;
	struct id last = s->cursor;
	struct resp_value v = {0};

	if (reply->value.type == RESP_NIL || reply->value.n == 0) {
		next_stream(s);
		return;
	}
	resp_next(&c, &v);
	resp_next(&c, &v);
	resp_next(&c, &v);
	if (v.type != RESP_ARRAY || streams_take_pending(s, st, &c, v.n, &last) < 0)
		on_bad(s);
	else if (v.n == 0)
		next_stream(s);
	else
		s->cursor = last;
}

/* [cursor, [entry, …]], and from 7.0 on the ids that were pending and are gone. */
static void on_claim(struct streams *s, struct stream *st, const struct link_reply *reply)
{
	struct resp c = reply->elements;
	struct resp_value v;
	struct id last;

	if (reply->value.n < 2 || resp_next(&c, &v) != RESP_STRING ||
		id_parse(v.text, &s->cursor) || resp_next(&c, &v) != RESP_ARRAY ||
		streams_take_pending(s, st, &c, v.n, &last) < 0) {
		on_bad(s);
		return;
	}
	if (reply->value.n > 2 && resp_next(&c, &v) == RESP_ARRAY && v.n > 0)
		streams_gap(s, st, (uint64_t)v.n, "delivered and not acknowledged");
	if (!s->cursor.ms && !s->cursor.seq)
		next_stream(s);
}

static void on_deliveries(struct streams *s, const struct link_reply *reply)
{
	struct resp c = reply->elements;
	struct resp_value v;

	for (int64_t i = 0; i < reply->value.n && i <= STREAMS_PENDING; i++) {
		struct delivery *d = &s->deliveries[s->delivery_count];

		if (resp_next(&c, &v) != RESP_ARRAY || v.n != 4 ||
			resp_next(&c, &v) != RESP_STRING || id_parse(v.text, &d->id))
			return;
		resp_next(&c, &v);
		resp_next(&c, &v);
		resp_next(&c, &v);
		d->count = v.n;
		s->delivery_count++;
	}
}

static struct stream *stream_named(struct streams *s, struct span name, int hint)
{
	for (int i = 0; i < s->count; i++) {
		struct stream *st = &s->streams[(hint + i) % s->count];

		if (span_is(name, st->name))
			return st;
	}
	return NULL;
}

/* About how many new entries fit into a reply. */
static void set_batch(struct streams *s, int64_t entries, size_t bytes)
{
	size_t most = entries ? (size_t)REPLY_BYTES / (bytes / (size_t)entries + 1) : BATCH_MOST;
	size_t batch = s->batch * 2;

	batch = batch < most ? batch : most;
	s->batch = batch < BATCH_FIRST / 16 + 1 ? 1 : batch < BATCH_MOST ? batch : BATCH_MOST;
}

/* How many entries a reply has; -1: it is none. */
static int64_t count_new(const struct link_reply *reply)
{
	struct resp c = reply->elements;
	struct resp_value v;
	int64_t entries = 0;

	for (int64_t i = 0; reply->value.type == RESP_ARRAY && i < reply->value.n; i++) {
		uint64_t left;

		resp_next(&c, &v);
		resp_next(&c, &v);
		if (resp_next(&c, &v) != RESP_ARRAY)
			return -1;
		entries += v.n;
		left = (uint64_t)v.n;
		if (resp_skip(&c, &left) != RESP_NIL)
			return -1;
	}
	return entries;
}

static void take_new_entries(struct streams *s, const struct link_reply *reply, int hint)
{
	struct resp c = reply->elements;
	struct resp_value v;
	struct entry e;

	for (int64_t i = 0; i < reply->value.n; i++) {
		struct stream *st;

		resp_next(&c, &v);
		resp_next(&c, &v);
		st = stream_named(s, v.text, hint++);
		resp_next(&c, &v);
		if (st)
			st->is_asked = false;
		for (int64_t n = v.n; n > 0; n--) {
			if (!st || entry_take(&c, &e)) {
				on_bad(s);
				return;
			}
			streams_take_new(s, st, &e);
		}
		streams_hand_back(s, st);
	}
}

/* With -e: a stream that was asked for and gave nothing is at its end. */
static void end_streams(struct streams *s)
{
	for (int i = 0; i < s->count; i++) {
		struct stream *st = &s->streams[i];

		st->is_done = st->is_done || (s->to_end && st->is_asked);
		st->is_asked = false;
	}
}

/* [[name, [entry, …]], …] or nil. The next entries are asked for before these are printed. */
static void on_new_entries(struct streams *s, const struct link_reply *reply)
{
	int hint = s->first;
	int64_t entries = count_new(reply);
	size_t room = s->room_asked;

	if (entries < 0) {
		on_bad(s);
		return;
	}
	s->first = (hint + s->streams_asked) % s->count;
	if (!entries) {
		end_streams(s);
		return;
	}
	set_batch(s, entries, (size_t)(reply->elements.end - reply->elements.p));
	if (!s->to_end && s->count == 1 && entries >= (int64_t)room && s->group && !s->is_exact) {
		streams_ask(s, (size_t)entries);
		redis_flush(&s->redis, s->now_ms);
	}
	take_new_entries(s, reply, hint);
	if (s->to_end)
		end_streams(s);
}

/* ---- information, groups, XACK ---- */

static void deny_info(struct streams *s, struct span why)
{
	if (s->has_no_info)
		return;
	s->has_no_info = true;
	if (s->from_end && !s->group)
		source_end(s->source, EXIT_PERM,
			"redis at %s refuses XINFO, which --from '$' needs: %.*s",
			redis_name(&s->redis), (int)(why.len < 200 ? why.len : 200), why.p);
	else
		msg_warn(
			"redis at %s refuses XINFO: neither lag nor trimmed entries are noticed: %.*s",
			redis_name(&s->redis), (int)(why.len < 200 ? why.len : 200), why.p);
}

/* @lost as of info_lost. */
static void tell_lost(struct streams *s, const struct stream *st, int64_t lost)
{
	if (lost)
		streams_gap(s, st, lost < 0 ? 0 : (uint64_t)lost, "not read");
}

/* The stream was deleted and filled again: its ids begin anew, and those of before mean nothing. */
static void begin_anew(struct streams *s, struct stream *st)
{
	struct ledger *l = s->source->ledger;

	msg_warn(
		"redis at %s: stream '%s' was deleted: what comes in it now is read from the beginning",
		redis_name(&s->redis), st->name);
	tell_lost(s, st, info_gone(&st->losses, &st->info, st->read));
	st->losses = (struct info_losses){0};
	st->info = (struct info){0};
	st->rewound = st->read = (struct id){0};
	if (st->account && s->follows) {
		ledger_end(l, st->account);
		st->account = ledger_assign(l, st->name, streams_part(s, st), NULL);
		st->acked = 0;
	}
	xack_again(&st->acks);
	st->acks.head = st->acks.sent = st->acks.ready = st->base = st->acks.tail;
	st->begun = (struct id){0};
}

static void look_at(struct streams *s, struct stream *st, const struct info *i)
{
	if (!st->is_known) {
		st->is_known = true;
		st->end = i->last;
		st->is_done = s->to_end && !i->length;
		if (!s->group && s->from_end)
			st->read = i->last;
	} else if (st->has_read && id_compare(i->last, st->read) < 0) {
		begin_anew(s, st);
	}
}

static void on_info(struct streams *s, struct stream *st, const struct link_reply *reply)
{
	struct info i, *old = &st->info;
	struct span error = info_take(&i, reply, s->group, s->consumer);

	if (error.p) {
		if (span_starts(error, "WRONGTYPE"))
			streams_wrong_type(s, st, error);
		else
			deny_info(s, error);
		return;
	}
	look_at(s, st, &i);
	if (s->group) {
		st->has_group = i.has_group;
		st->had_group = st->had_group || i.has_group;
		if (!i.has_group) {
			tell_lost(s, st, info_passed(&st->losses, old, &i, st->read));
			return;
		}
	}
	if (!s->group || s->is_exact) {
		i.delivered = st->read;
		i.read = old->read;
		i.has_read = !s->is_exact || old->has_read;
	}
	tell_lost(s, st, info_lost(&st->losses, &i));
	if (st->losses.has_lag)
		metrics_lag(st->name, 0, (int64_t)st->losses.lag);
	*old = i;
	streams_missed(s, st, i.own);
}

static void on_group(struct streams *s, struct stream *st)
{
	char id[ID_TEXT];

	st->has_group = true;
	if (st->had_group) {
		msg_warn(
			"redis at %s: group '%s' of stream '%s' was gone; it is made again, from id %s on",
			redis_name(&s->redis), s->group, st->name, id_text(st->rewound, id).p);
		streams_know(s, st);
		st->rewound = st->read;
	} else {
		msg_info("redis at %s: group '%s' of stream '%s' is made", redis_name(&s->redis),
			s->group, st->name);
	}
	st->made_group = st->made_group || !st->had_group;
	st->had_group = true;
	st->losses.has_base = false;
}

static void on_ack(struct streams *s, struct stream *st, uint64_t count)
{
	if (s->is_exact)
		exact_confirmed(st, count);
	xack_confirm(&st->acks, count);
	if (!s->follows)
		return;
	st->acked += count;
	ledger_committed(s->source->ledger, st->account, st->acked);
}

/* ---- errors ---- */

/* What is there is looked at again, not too often. */
static void look_again(struct streams *s)
{
	for (int i = 0; i < s->count; i++)
		s->streams[i].has_group = false;
	s->retry_ms = s->now_ms + wake_backoff_ms(&s->backoff_ms, 10, 2000);
	streams_step(s, STREAMS_SETUP);
}

static void on_no_group(struct streams *s, struct span text)
{
	if (s->denied[0])
		source_end(s->source, EXIT_PERM, "redis at %s: %.*s: %s%s", redis_name(&s->redis),
			(int)(text.len < 200 ? text.len : 200), text.p, s->denied,
			redis_advice(&s->redis, (struct span){s->denied, strlen(s->denied)}));
	else
		look_again(s);
}

/* Returns whether the error is of the command alone. */
static bool on_common_error(struct streams *s, struct span text)
{
	bool is_unblocked = span_starts(text, "UNBLOCKED");

	/* Without sentinels there is no other server to go to. */
	if ((s->redis.sentinels && span_starts(text, "READONLY")) ||
		(is_unblocked && memmem(text.p, text.len, "master", 6)))
		redis_lose(&s->redis, text);
	else if (span_starts(text, "NOGROUP") || is_unblocked)
		on_no_group(s, text);
	else if (span_starts(text, "WRONGTYPE") && !s->has_no_info)
		look_again(s);
	else if (redis_fault(text) == REDIS_FAULT_AWAY && !span_starts(text, "EXECABORT"))
		streams_stall(s, text);
	else
		return true;
	return false;
}

static void on_error(struct streams *s, enum ask what, struct stream *st, struct span text)
{
	bool is_config =
		redis_fault(text) == REDIS_FAULT_CONFIG || span_starts(text, "ERR unknown");

	if (what == ASK_ACK)
		xack_again(&st->acks);
	s->info_is_refused |= what == ASK_QUEUE;
	/* Without memory a transaction takes no command at all, and reading goes on. */
	if (what == ASK_QUEUE && span_starts(text, "OOM ") && s->step != STREAMS_SETUP)
		return;
	if (what == ASK_GROUP && span_starts(text, "BUSYGROUP")) {
		st->has_group = st->had_group = true;
		return;
	}
	if (!on_common_error(s, text))
		return;
	s->may_not_ack |= what == ASK_ACK && is_config;
	/* Behind a MULTI that was refused all the others fail, or EXEC does. */
	if ((what == ASK_QUEUE || what == ASK_INFO) && (is_config || s->has_no_info)) {
		deny_info(s, text);
	} else if (what == ASK_INFO && span_starts(text, "EXECABORT")) {
		if (!s->info_is_refused)
			deny_info(s, text);
		s->info_is_refused = false;
	} else if (what == ASK_GROUP && span_starts(text, "NOPERM")) {
		snprintf(s->denied, sizeof(s->denied), "%.*s", (int)text.len, text.p);
	} else if ((what == ASK_CLAIM || what == ASK_DELIVERIES) && !s->max_deliveries) {
		msg_warn(
			"redis at %s refuses XAUTOCLAIM: entries of dead consumers are left to them: %.*s",
			redis_name(&s->redis), (int)(text.len < 200 ? text.len : 200), text.p);
		s->has_no_claim = true;
		streams_step(s, STREAMS_NEW);
	} else if (what < ASK_QUIET) {
		streams_refused(s, what, st, text);
	}
}

/* ---- all results ---- */

static void on_reply(struct streams *s, enum ask what, struct stream *st, uint64_t count,
	unsigned round, const struct link_reply *reply)
{
	if (reply->value.type == RESP_ERROR) {
		if (what != ASK_ACK || round == (st->acks.round & 0xff))
			on_error(s, what, st, reply->value.text);
		return;
	}
	if (what >= ASK_GROUP && what < ASK_QUIET &&
		(s->step != STREAMS_SETUP || what == ASK_GROUP))
		streams_serve_again(s);
	switch (what) {
	case ASK_INFO:
		on_info(s, st, reply);
		break;
	case ASK_GROUP:
		on_group(s, st);
		break;
	case ASK_OWN:
		/* What was not taken is pending, and comes again. */
		if (s->step == STREAMS_OWN)
			on_own(s, st, reply);
		break;
	case ASK_DELIVERIES:
		on_deliveries(s, reply);
		break;
	case ASK_CLAIM:
		if (s->step == STREAMS_CLAIM)
			on_claim(s, st, reply);
		break;
	case ASK_NEW:
		on_new_entries(s, reply);
		break;
	case ASK_ACK:
		if (round == (st->acks.round & 0xff))
			on_ack(s, st, count);
		break;
	default:
		break;
	}
}

/* Whether the answer that was lost had entries is not known. */
static void lose_count(struct streams *s)
{
	for (int i = 0; s->group && !s->is_exact && i < s->count; i++)
		s->streams[i].info.has_read = false;
}

static void take(struct streams *s, enum redis_got got, const struct link_reply *reply)
{
	enum ask what = (enum ask)(reply->tag >> 56);
	unsigned round = reply->tag >> 48 & 0xff;
	struct stream *st = &s->streams[reply->tag >> 24 & 0xffffff];
	uint64_t count = reply->tag & 0xffffff;

	if (ask_is_quiet(what, count))
		s->quiet--;
	else if (what != ASK_ACK)
		s->asked--;
	if (what == ASK_RENEW || what == ASK_BACK)
		streams_claimed(s, what, st, count, got == REDIS_REPLY ? reply : NULL);
	if (got == REDIS_REPLY)
		on_reply(s, what, st, count, round, reply);
	else if (what == ASK_ACK && round == (st->acks.round & 0xff))
		xack_again(&st->acks);
	else if (what == ASK_NEW)
		lose_count(s);
}

void streams_results(struct streams *s)
{
	struct link_reply reply;
	enum redis_got got;

	while (!(source_phase(s->source) == SOURCE_READING && out_pending(&s->source->out))) {
		got = redis_next(&s->redis, &reply);
		if (got == REDIS_NONE && !(s->redis.state == REDIS_UP && redis_read(&s->redis))) {
			s->is_behind = false;
			return;
		}
		if (got != REDIS_NONE)
			take(s, got, &reply);
	}
	s->is_behind = true;
}
