/* SPDX-License-Identifier: ISC */
/* DESIGN: entries go in transactions, one at a time, of what has come since the last one, up to
 * BATCH_MOST:
 *
 * 	MULTI	XADD …	XADD …	EXEC
 *
 * so that a server which refuses to write for a moment (OOM, NOREPLICAS, MISCONF) refuses all of
 * it. If it took a later entry and not an earlier one, order would be lost; and with --id offset
 * the earlier one could never be added again, but would count as one that is there.
 *
 * 	head <= from <= next <= tail	slots
 *
 * EXEC's answer says what has become of each entry of [from, next). They are done once ROLE behind
 * it has said that the server is a primary still: the client gives EXEC's tag a second time then.
 * After a lost connection all that are not done are sent again.
 *
 * An EXEC's tag has the slot behind its last. In a cluster: spread.c; but with --id offset a
 * transaction has one stream, since another one may be at another server, and that server's ROLE
 * may be answered sooner: the transactions are confirmed in any order. */
#define _GNU_SOURCE
#include "rpub/rpub.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"
#include "redis/request.h"

#include <stdio.h>
#include <string.h>

enum { BATCH_MOST = 1024 };

/* ---- commands ---- */

struct span stream_key(const struct rpub *s)
{
	const char *constant = template_constant(s->template);

	return constant ? (struct span){constant, strlen(constant)} : buf_as_span(&s->channel);
}

/* Whether the record may be added to the transaction that is being made. */
static bool fits(struct rpub *s)
{
	struct rpub_stream *t = &s->stream;

	if (!s->redis.cluster)
		return true;
	if (t->batch)
		return t->key.len == stream_key(s).len &&
			memcmp(t->key.p, stream_key(s).p, t->key.len) == 0;
	buf_clear(&t->key);
	buf_span(&t->key, stream_key(s));
	return true;
}

/* The line's command, and MULTI in front of the first one. Returns 0 with the command begun, or
 * -1. */
static int begin(struct rpub *s, const struct record *r, struct span line, struct record_error *e)
{
	struct buf *out =
		s->stream.batch ? redis_more(&s->redis) : redis_begin(&s->redis, stream_key(s));

	if (!s->stream.batch)
		request_begin(out, 1, "MULTI");
	if (entry_put(s, r, line, out, e) == 0)
		return 0;
	redis_cancel(&s->redis);
	return -1;
}

static void commit(struct rpub *s, uint64_t i)
{
	if (!s->stream.batch++)
		redis_commit(&s->redis, STREAM_MULTI);
	redis_commit(&s->redis, i);
	rpub_slot(s, i)->sent = true;
	rpub_slot(s, i)->id = s->stream.id;
}

static void execute(struct rpub *s)
{
	if (!s->stream.batch)
		return;
	request_begin(redis_more(&s->redis), 1, "EXEC");
	redis_commit(&s->redis, STREAM_EXEC | s->stream.next);
	for (uint64_t i = s->stream.from; i < s->stream.next; i++)
		rpub_slot(s, i)->batch_end = s->stream.next;
	s->stream.batch = 0;
	s->stream.has_refused = false;
	s->stream.executing = true;
}

/* ---- lines ---- */

/* Returns false when no further line is to be taken now. */
static bool on_line(struct rpub *s, struct span text)
{
	struct rpub_stream *t = &s->stream;
	struct record_error e = {0};
	struct record r;
	bool is_record, bad = command_read(s, text, &r, &is_record, &e);

	if (!bad && !fits(s))
		return false;
	if (!bad && t->by_offset) {
		if (t->batch && known_asks(s, &r))
			return false;
		if (!known_good(s, &r, text))
			return false;
	}
	if (bad || begin(s, &r, text, &e))
		sink_refuse_line(&s->sink, &r.seq, is_record, &e);
	else if (sink_take(&s->sink, &r.seq))
		commit(s, s->sink.tail - 1);
	else
		redis_cancel(&s->redis);
	t->next = s->sink.tail;
	return true;
}

/* Returns false when it is of no use in this transaction. */
static bool send_again(struct rpub *s, uint64_t i)
{
	struct rpub_slot *slot = rpub_slot(s, i);
	struct span text = sink_text(&s->sink, &slot->slot);
	struct record_error error;
	struct record r;
	bool is_record;

	if (slot->slot.refused || slot->slot.done)
		return true;
	/* This cannot fail: the same line was encoded before. */
	if (command_read(s, text, &r, &is_record, &error))
		die(EXIT_TEMP, "cannot encode a record again: %s", error.message);
	if (!fits(s))
		return false;
	if (begin(s, &r, text, &error))
		die(EXIT_TEMP, "cannot encode a record again: %s", error.message);
	commit(s, i);
	return true;
}

bool stream_takes(const struct rpub *s)
{
	return !s->stream.executing && !s->stream.known.answers && !s->stream.is_stalled &&
		s->stream.next == s->sink.tail;
}

void stream_lines(struct rpub *s)
{
	struct rpub_stream *t = &s->stream;
	struct span text;

	if (t->spreads) {
		spread_lines(s);
		return;
	}
	if (t->executing || t->known.answers || (t->is_stalled && s->now_ms < s->try_ms))
		return;
	if (t->next < s->sink.head)
		t->next = s->sink.head;
	t->from = t->next;
	while (t->next < s->sink.tail && t->batch < BATCH_MOST && send_again(s, t->next))
		t->next++;
	while (t->next == s->sink.tail && t->batch < BATCH_MOST && sink_next(&s->sink, &text))
		if (!on_line(s, text))
			break;
	execute(s);
}

/* ---- results ---- */

static void note_away(struct rpub *s, struct span text)
{
	snprintf(s->stream.away, sizeof(s->stream.away), "%.*s", (int)text.len, text.p);
}

/* An error of one XADD, as it was queued or executed. */
static void on_entry_error(struct rpub *s, uint64_t i, struct span text)
{
	if (command_refused(s, i, text, "an entry"))
		s->stream.has_refused = true;
	else
		note_away(s, text);
}

/* With --id offset an id that is not above the last one is that of an entry which is there. */
static bool is_there(const struct rpub *s, struct span error)
{
	return s->stream.by_offset &&
		span_starts(error, "ERR The ID specified in XADD is equal or smaller");
}

void stream_serves(struct rpub *s)
{
	struct rpub_stream *t = &s->stream;

	if (!t->is_stalled)
		return;
	t->is_stalled = false;
	s->backoff_ms = 0;
	msg_warn("redis at %s serves again after %.1f s", redis_name(&s->redis),
		(double)(s->now_ms - t->stalled_ms) / 1000);
	metrics_set_ready(redis_is_there(&s->redis));
}

bool stream_entry(struct rpub *s, uint64_t i, struct resp *elements)
{
	struct resp_value v;

	switch (resp_next(elements, &v)) {
	case RESP_STRING:
		id_parse(v.text, &rpub_slot(s, i)->id);
		return true;
	case RESP_ERROR:
		if (is_there(s, v.text))
			return true;
		on_entry_error(s, i, v.text);
		if (s->stream.away[0])
			sink_die(&s->sink, EXIT_TEMP,
				"line %llu: redis at %s has refused an entry among others: %s",
				rpub_line(s, i), redis_name(&s->redis), s->stream.away);
		return true;
	default:
		redis_lose(&s->redis, SPAN("the answer to EXEC is none"));
		return false;
	}
}

static void on_executed(struct rpub *s, uint64_t to, const struct link_reply *reply)
{
	struct resp elements = reply->elements;

	s->stream.executing = false;
	stream_serves(s);
	for (uint64_t i = s->stream.from; i < to; i++) {
		const struct rpub_slot *slot = rpub_slot(s, i);

		if (slot->slot.refused || slot->slot.done || !slot->sent)
			continue;
		if (!stream_entry(s, i, &elements))
			return;
	}
}

/* The server refuses to write. One that is a replica now is no longer the one to ask, and one that
 * runs a script does not say what it is. */
void stream_wait(struct rpub *s)
{
	struct rpub_stream *t = &s->stream;
	struct span why = {t->away, strlen(t->away)};

	if (span_starts(why, "READONLY") || span_starts(why, "MASTERDOWN") ||
		span_starts(why, "BUSY ")) {
		redis_lose(&s->redis, why);
		return;
	}
	if (!t->is_stalled) {
		msg_warn("redis at %s: %s; trying again", redis_name(&s->redis), t->away);
		redis_count_outage();
		metrics_set_ready(false);
		t->stalled_ms = s->now_ms;
	}
	t->is_stalled = true;
	s->try_ms = s->now_ms + wake_backoff_ms(&s->backoff_ms, 100, 2000);
}

/* What the server may say of the reason stands behind a colon. */
void stream_note_abort(struct rpub *s, struct span text, bool has_refused)
{
	const char *why = memmem(text.p, text.len, "because of: ", 12);
	struct span rest = text;

	if (why)
		rest = (struct span){why + 12, (size_t)(text.p + text.len - why) - 12};
	if (redis_fault(rest) == REDIS_FAULT_CONFIG || span_starts(rest, "ERR unknown command"))
		sink_die(&s->sink, EXIT_PERM, "redis at %s refuses EXEC: %.*s%s",
			redis_name(&s->redis), (int)(rest.len < 200 ? rest.len : 200), rest.p,
			redis_advice(&s->redis, rest));
	if (!s->stream.away[0] && !has_refused)
		note_away(s, rest);
}

/* The transaction was not made. */
static void on_aborted(struct rpub *s, struct span text)
{
	struct rpub_stream *t = &s->stream;

	/* Without the records that were refused it is made again at once. */
	stream_note_abort(s, text, t->has_refused);
	t->executing = false;
	/* In a cluster another transaction may have to be made again, too, which is in front of
	 * this one. */
	if (t->next > t->from)
		t->next = t->from;
	if (t->away[0])
		stream_wait(s);
	t->away[0] = '\0';
}

static void on_confirmed(struct rpub *s, uint64_t to)
{
	for (uint64_t i = to; i-- > s->sink.head && rpub_slot(s, i)->batch_end == to;)
		if (!rpub_slot(s, i)->slot.refused)
			sink_done(sink_slot(&s->sink, i));
}

static void on_exec(struct rpub *s, enum redis_got got, uint64_t to, const struct link_reply *reply)
{
	if (got == REDIS_AGAIN) {
		s->stream.executing = s->stream.is_stalled = false;
		s->stream.next = s->sink.head;
		s->stream.away[0] = '\0';
	} else if (reply->value.type == RESP_ERROR) {
		on_aborted(s, reply->value.text);
	} else if (reply->value.type == RESP_ARRAY) {
		on_executed(s, to, reply);
	} else {
		on_confirmed(s, to);
	}
}

void stream_result(struct rpub *s, enum redis_got got, const struct link_reply *reply)
{
	bool is_error = got == REDIS_REPLY && reply->value.type == RESP_ERROR;
	struct span text = reply->value.text;

	if (reply->tag >= START_TAG)
		start_result(s, got, reply);
	else if (reply->tag >= KNOWN_TAG)
		known_result(s, got, reply);
	else if (reply->tag >= STREAM_EXEC && s->stream.spreads)
		spread_exec(s, got, reply->tag - STREAM_EXEC, reply);
	else if (reply->tag >= STREAM_EXEC)
		on_exec(s, got, reply->tag - STREAM_EXEC, reply);
	else if (reply->tag == STREAM_MULTI && is_error && redis_fault(text) != REDIS_FAULT_AWAY)
		sink_die(&s->sink, EXIT_PERM, "redis at %s refuses MULTI: %.*s%s",
			redis_name(&s->redis), (int)(text.len < 200 ? text.len : 200), text.p,
			redis_advice(&s->redis, text));
	else if (reply->tag == STREAM_MULTI && is_error)
		note_away(s, text);
	else if (is_error)
		on_entry_error(s, reply->tag, text);
}
