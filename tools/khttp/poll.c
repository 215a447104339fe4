/* SPDX-License-Identifier: ISC */
/* GET of an instance's records.
 *
 * Records are taken from librdkafka into i->held, POLL_RECORDS at most. An answer is made of the
 * first of them, which stay there until it was written: then positions move behind them; when it
 * was not, the next poll gets them. One answer is on its way at a time; further polls wait for it,
 * in their order. */
#include "khttp/instance.h"
#include "khttp/peers.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	TIMEOUT_MS = 100,
	TIMEOUT_MAX_MS = 300000,
	HELD_BYTES = POLL_BYTES,
	ALL_HELD_BYTES = 32 << 20, /* by all instances; beyond that each has HELD_FEW_BYTES */
	HELD_FEW_BYTES = 64 << 10,
	RESETS_MAX = 5,
};

/* ---- records come ---- */

/* librdkafka tells that the end of a partition is at @offset. */
static void take_end(struct instance *i, struct consumer_part *p, int64_t offset)
{
	bool holds = false;

	for (size_t n = 0; n < i->held_count; n++)
		holds = holds || part_of(i, i->held[n]) == p;
	/* The last offsets may have no records: they are marks of transactions, or were compacted
	 * away. */
	if (!holds && offset > p->next)
		p->next = offset;
}

static void count_held(struct instance *i, const rd_kafka_message_t *m, bool more)
{
	size_t n = m->len + m->key_len;

	i->held_bytes += more ? n : -n;
	i->all->held_bytes += more ? n : -n;
}

void poll_drop(struct instance *i, rd_kafka_message_t *m)
{
	count_held(i, m, false);
	rd_kafka_message_destroy(m);
}

static bool take(struct instance *i, rd_kafka_message_t *m)
{
	struct consumer_part *p = part_of(i, m);
	bool paused;

	if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		error_take(i, m);
		return false;
	}
	if (!p)
		return false;
	error_over(i, p);
	if (!group_started(i, p))
		return false;
	if (m->err) {
		take_end(i, p, m->offset);
		return false;
	}
	paused = p->paused;
	p->paused = false;
	/* librdkafka up to 2.0 gives what it was about to give when a rebalance paused the
	 * partition twice. */
	if (paused && m->offset == p->taken - 1)
		return false;
	p->taken = m->offset + 1;
	if (p->next < 0)
		p->next = m->offset;
	i->held[i->held_count++] = m;
	count_held(i, m, true);
	return true;
}

static bool has_room(const struct instance *i)
{
	return i->held_count < POLL_RECORDS && i->held_bytes < HELD_BYTES &&
		(i->held_bytes < HELD_FEW_BYTES || i->all->held_bytes < ALL_HELD_BYTES);
}

bool poll_is_full(const struct instance *i, const struct wait *w)
{
	return i->held_count >= w->max_records || i->held_bytes >= w->max_bytes || !has_room(i);
}

void poll_take(struct instance *i)
{
	rd_kafka_message_t *m;
	size_t n = 0, before = i->held_bytes;

	if (i->closing)
		return;
	while (has_room(i) && (m = rd_kafka_consume_queue(i->messages, 0))) {
		n++;
		if (!take(i, m))
			rd_kafka_message_destroy(m);
	}
	if (n)
		kafka_taken(
			&i->kafka, n, i->held_bytes - before, rd_kafka_queue_length(i->messages));
}

/* ---- answers ---- */

/* Prints records, as many as the poll may have. Returns how many; 0: it has answered with an
 * error. */
static size_t print(struct instance *i, const struct wait *w, struct buf *body)
{
	size_t n = 0, most = w->max_bytes < POLL_BYTES ? w->max_bytes : POLL_BYTES;

	buf_putc(body, '[');
	for (; n < i->held_count && n < w->max_records; n++) {
		const char *flaw = i->all->k->compat ? print_flaw(i->format, i->held[n]) : NULL;
		size_t before = body->len;

		if (flaw && n)
			break;
		if (flaw) {
			http_error(w->request, 406, "%s", flaw);
			return 0;
		}
		if (n)
			buf_putc(body, ',');
		print_json(body, i->format, i->held[n]);
		if (n && body->len >= most) {
			body->len = before;
			break;
		}
		if (body->len >= w->max_bytes) {
			http_error(w->request, 422,
				"Response exceeds the maximum number of bytes the consumer can receive");
			return 0;
		}
	}
	buf_putc(body, ']');
	return n;
}

static void answer_held(struct instance *i, struct wait *w)
{
	struct buf body = {0};
	size_t n = print(i, w, &body);

	wait_answered(w);
	if (!n) {
		buf_free(&body);
		return;
	}
	i->out = n;
	i->out_to = w;
	i->all->bytes += body.len;
	http_reply(w->request, 200, media_name(w->media), &body);
}

static void answer_none(struct wait *w)
{
	struct buf body = {0};

	buf_puts(&body, "[]");
	http_reply(w->request, 200, media_name(w->media), &body);
}

void poll_answer(struct instance *i, struct wait *w)
{
	if (i->held_count) {
		answer_held(i, w);
		return;
	}
	wait_answered(w);
	answer_none(w);
}

static void answer_error(struct instance *i, struct wait *w)
{
	wait_answered(w);
	http_error(w->request, i->error_status, "%s", i->error);
	error_told(i);
}

/* An error ends the streams of the instance. */
static void fail_streams(struct instance *i)
{
	bool some = false, all = true;

	for (struct wait *w = i->waits; w; w = w->next)
		if (w->kind == WAIT_STREAM) {
			some = true;
			all = stream_fail(w, i->error_status, i->error) && all;
		}
	if (some && all)
		error_told(i);
}

void poll_go_on(struct instance *i)
{
	struct wait *next;

	if (i->read) {
		if (!i->closing)
			read_go_on(i);
		return;
	}
	poll_take(i);
	poll_settle(i, false);
	if (error_is_new(i) && !i->held_count && !i->out_to && !i->closing)
		fail_streams(i);
	for (struct wait *w = i->waits; w && !i->out_to && !i->receipt && !i->closing; w = next) {
		next = w->next;
		if (w->kind == WAIT_STREAM && i->held_count)
			stream_wake(w);
		if (w->kind != WAIT_POLL || w->answered)
			continue;
		if (i->held_count)
			answer_held(i, w);
		else if (error_is_new(i))
			answer_error(i, w);
		else
			break;
	}
}

void poll_due(struct wait *w)
{
	if (!w->instance->closing && error_is_again(w->instance))
		answer_error(w->instance, w);
	else
		answer_none(w);
}

/* What was out has arrived, or has not. */
static void end_out(struct instance *i, bool whole)
{
	for (size_t n = 0; whole && n < i->out; n++) {
		struct consumer_part *p = part_of(i, i->held[n]);

		if (p)
			p->next = i->held[n]->offset + 1;
		poll_drop(i, i->held[n]);
	}
	if (whole) {
		i->all->records += i->out;
		i->held_count -= i->out;
		memmove(i->held, i->held + i->out, i->held_count * sizeof(*i->held));
	} else {
		i->all->given_back += i->out;
	}
	i->out = 0;
}

void poll_written(struct wait *w, bool whole)
{
	struct instance *i = w->instance;

	i->out_to = NULL;
	if (!whole || w->kind == WAIT_STREAM) {
		end_out(i, whole);
		return;
	}
	i->receipt = http_receipt(w->request, peers_is_second(w->request));
	i->all->unsettled = true;
}

/* A proxy that has not said what it is would get the same records for ever. Who comes again after
 * so many resets is alive. Returns whether the records have arrived. */
static bool has_arrived(struct instance *i, enum http_received got)
{
	if (got == HTTP_RECEIVED && i->resets < RESETS_MAX)
		i->resets = 0;
	if (got != HTTP_RESET)
		return got == HTTP_RECEIVED;
	if (i->resets < RESETS_MAX && ++i->resets < RESETS_MAX)
		return false;
	if (!i->all->told_resets)
		msg_warn(
			"consumer %s of group %s: %u answers in a row were reset when they had arrived, as a proxy does, so they count as read; it should send Via or X-Forwarded-For (haproxy: option forwardfor), which spares the repeats",
			i->name, i->group, i->resets);
	i->all->told_resets = true;
	return true;
}

void poll_settle(struct instance *i, bool asked)
{
	enum http_received got;

	if (!i->receipt)
		return;
	got = http_received(i->receipt);
	if (got == HTTP_CONFIRMED && asked)
		got = HTTP_RECEIVED;
	if (got < HTTP_RECEIVED)
		return;
	http_receipt_free(i->receipt);
	i->receipt = NULL;
	end_out(i, has_arrived(i, got));
}

/* ---- the request ---- */

static bool read_number(struct http_request *r, const char *name, int64_t *n, struct buf *errors)
{
	const char *text = http_query(r, name);

	if (!text || num_i64(text, n) == 0)
		return true;
	body_wrong(errors, "query parameter %s: instance type string is invalid. Expected integer",
		name);
	return false;
}

bool poll_read(struct http_request *r, struct poll_limits *l)
{
	struct buf errors = {0};

	*l = (struct poll_limits){
		.timeout_ms = TIMEOUT_MS, .max_bytes = INT64_MAX, .max_records = POLL_RECORDS};
	if (read_number(r, "timeout", &l->timeout_ms, &errors) &&
		read_number(r, "max_bytes", &l->max_bytes, &errors) &&
		read_number(r, "max_records", &l->max_records, &errors))
		return true;
	error_schema(r, &errors);
	return false;
}

/* What the client gets; MEDIA_NONE: nothing that it likes. */
static enum media choose(const struct instance *i, const struct call *c)
{
	const enum media offered[] = {print_media[i->format], MEDIA_EVENTS, MEDIA_LINES,
		i->format == FORMAT_JSON && !c->k->compat ? MEDIA_PLAIN : MEDIA_NONE, MEDIA_NONE};

	return route_accept(c->r, offered, c->k->compat);
}

void poll_request(struct instance *i, const struct call *c)
{
	struct poll_limits l;
	enum media media;
	struct wait *w;

	if (!poll_read(c->r, &l))
		return;
	if (i->mode == MODE_NOTHING) {
		http_error(c->r, 500,
			"Consumer is not subscribed to any topics or assigned any partitions");
		return;
	}
	media = choose(i, c);
	if (media == MEDIA_NONE) {
		http_error(c->r, 406,
			"Consumer format does not match the embedded format requested by the Accept header.");
		return;
	}
	if (media == MEDIA_EVENTS || media == MEDIA_LINES) {
		stream_open(i, c->r, media == MEDIA_LINES);
		return;
	}
	if (l.timeout_ms < 0) {
		http_error(c->r, c->k->compat ? 500 : 422, "Timeout must not be negative");
		return;
	}
	if (l.timeout_ms > TIMEOUT_MAX_MS)
		l.timeout_ms = TIMEOUT_MAX_MS;
	error_ask(i);
	w = wait_open(i, c->r, WAIT_POLL, i->all->now_ms + l.timeout_ms);
	if (!w)
		return;
	if (i->receipt)
		i->all->unsettled = true;
	w->media = media;
	w->max_bytes = l.max_bytes < 0 ? 0 : (size_t)l.max_bytes;
	w->max_records = l.max_records < 1 ? 1 : (size_t)l.max_records;
	poll_go_on(i);
	/* Now that all is known it need not wait for the next turn. */
	if (!w->answered && !l.timeout_ms) {
		wait_answered(w);
		poll_due(w);
	}
}
