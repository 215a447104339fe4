/* SPDX-License-Identifier: ISC */
/* DESIGN
 * Two connections to Redis: on one, c->ears, come pushes alone, on the other, c->redis, go
 * commands.
 *
 * - A push names an id and mostly has the reply with it; then no command is needed to get it. Else,
 *   and when more than
 *   one reply is awaited, the key is read.
 * - Subscriptions are confirmed in the order in which they were asked for. The first one of a
 *   connection is that of the
 *   own channel: it is confirmed, and from then on nothing is missed, so the keys of all calls are
 *   read once. A
 *   call whose channel is not the own one has its key read when that is confirmed.
 * - A result of a command carries the number of its call; a call that has ended meanwhile has no
 *   number any more.
 * - What the table says is so before a result is called back, since the program may send or cancel
 *   in it. */
#include "evcorr/parts.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { LOOK_MS = 1000 }; /* for the last look at a key */

/* ---- the end of a call ---- */

/* It has ended, and its slot is free, before the program is told. */
static void finish(struct calls *c, struct table_call *call, struct span line)
{
	struct calls_result result = {.call = table_number(&c->table, call),
		.user = call->user,
		.line = line,
		.had = call->had,
		.is_last = true};

	buf_clear(&c->last_id);
	buf_span(&c->last_id, table_id(call));
	result.id = buf_as_span(&c->last_id);
	calls_cancel(c, result.call);
	c->result(c->self, &result);
}

void calls_give(struct calls *c, struct table_call *call, struct span line)
{
	struct calls_result result = {.call = table_number(&c->table, call),
		.user = call->user,
		.id = table_id(call),
		.line = line,
		.had = ++call->had};

	if (call->had == c->replies)
		finish(c, call, line);
	else
		c->result(c->self, &result);
}

void calls_time_out(struct calls *c, struct table_call *call)
{
	c->timeouts++;
	if (call->is_sent)
		keys_leave_mark(c, call);
	finish(c, call, SPAN_NONE);
}

void calls_end_input(struct calls *c)
{
	c->ends_input = true;
}

/* ---- calls ---- */

bool calls_hears(const struct calls *c)
{
	return c->is_heard && c->redis.state == REDIS_UP;
}

size_t calls_room(const struct calls *c)
{
	if (c->trouble.status || !calls_hears(c) || c->has_ended ||
		c->filling.len >= CALLS_FILLING_MAX)
		return 0;
	return c->table.cap - c->table.count;
}

static struct table_call *add(
	struct calls *c, struct span id, int64_t timeout_ms, void *user, bool is_sent)
{
	struct table_call *call;

	if (timeout_ms < 0)
		timeout_ms = 0;
	call = table_add(&c->table, id, c->now_ms + timeout_ms);
	if (!call)
		return NULL;
	call->given_ms = timeout_ms;
	call->user = user;
	call->is_sent = is_sent;
	call->is_foreign = !ident_is_own(&c->ident, id);
	if (call->is_foreign && c->ears.state == REDIS_UP)
		ears_listen(c, call);
	return call;
}

uint64_t calls_send(struct calls *c, const struct record *r, int64_t timeout_ms, void *user,
	struct record_error *e)
{
	int64_t now_ms = wake_epoch_ms();
	struct table_call *call;
	struct ident_call found;

	if (ident_read(&c->ident, r, &c->scratch, &found, e))
		return 0;
	if (found.bad && found.deadline_ms < 0) {
		record_refuse(e, CLASS_INVALID_RECORD, "header '%s' cannot be read", found.bad);
		return 0;
	}
	buf_clear(&c->headers);
	if (!found.id.p) {
		buf_clear(&c->new_id);
		ident_make(&c->ident, &c->new_id);
		found.id = buf_as_span(&c->new_id);
		ident_put_id(&c->ident, found.id, &c->headers);
	}
	if (c->reply_topic.p && !found.topic.p)
		ident_put_reply_to(&c->ident, c->reply_topic, c->reply_partition, &c->headers);
	if (found.deadline_ms < 0)
		ident_put_deadline(&c->ident, now_ms + timeout_ms, &c->headers);
	else
		timeout_ms = found.deadline_ms - now_ms;
	call = add(c, found.id, timeout_ms, user, true);
	if (!call) {
		record_refuse(e, CLASS_INVALID_RECORD, "a call with this id is on its way already");
		return 0;
	}
	/* What nobody waits for any more need not be asked. */
	if (timeout_ms <= 0)
		return table_number(&c->table, call);
	if (c->headers.len)
		ident_splice(r, buf_as_span(&c->headers), &c->filling);
	else
		buf_span(&c->filling, r->line);
	buf_putc(&c->filling, '\n');
	return table_number(&c->table, call);
}

uint64_t calls_wait(struct calls *c, struct span id, int64_t timeout_ms, void *user)
{
	struct table_call *call = add(c, id, timeout_ms, user, false);

	if (!call)
		return 0;
	/* With a channel of its own it is read once that is confirmed. */
	if (!call->is_foreign)
		keys_look(c, call);
	return table_number(&c->table, call);
}

struct span calls_id(const struct calls *c, uint64_t number)
{
	const struct table_call *call = table_numbered(&c->table, number);

	return call ? table_id(call) : SPAN_NONE;
}

void calls_cancel(struct calls *c, uint64_t number)
{
	struct table_call *call = table_numbered(&c->table, number);

	if (!call)
		return;
	if (call->is_foreign)
		ears_stop(c, call);
	table_remove(&c->table, call);
}

/* ---- the loop ---- */

/* A time-out may be shorter than the way to Redis: then all keys are looked at when it is there. */
static bool is_coming(const struct calls *c)
{
	return c->redis.state == REDIS_AWAY && !c->redis.reported_away &&
		(c->redis.is_quiet || c->now_ms < c->opened_ms + LOOK_MS);
}

static void on_due(struct calls *c)
{
	struct table_call *call;

	while ((call = table_first(&c->table)) && call->due_ms <= c->now_ms) {
		if (call->is_last_look || (c->redis.state != REDIS_UP && !is_coming(c))) {
			calls_time_out(c, call);
			continue;
		}
		call->is_last_look = true;
		table_set_due(&c->table, call, c->now_ms + LOOK_MS);
		if (c->redis.state == REDIS_UP)
			keys_look(c, call);
	}
}

int calls_poll(struct calls *c, struct pollfd *p)
{
	int n = 0;

	c->redis_fds = redis_poll(&c->redis, p);
	n += c->redis_fds;
	c->ears_fds = redis_poll(&c->ears, p + n);
	n += c->ears_fds;
	if (!c->argv || c->has_ended)
		return n;
	child_poll(&c->child, p + n);
	return n + CHILD_FDS;
}

int calls_timeout_ms(const struct calls *c, int64_t now_ms)
{
	int timeout_ms =
		wake_least(redis_timeout_ms(&c->redis, now_ms), redis_timeout_ms(&c->ears, now_ms));
	const struct table_call *first = table_first(&c->table);
	int64_t left = first ? first->due_ms - now_ms : -1;

	if (first)
		timeout_ms = wake_least(timeout_ms,
			left < 0	       ? 0
				: left > 60000 ? 60000
					       : (int)left);
	if (c->end_by_ms && !c->has_ended)
		timeout_ms = wake_least(
			timeout_ms, c->end_by_ms > now_ms ? (int)(c->end_by_ms - now_ms) : 0);
	return timeout_ms;
}

void calls_serve(struct calls *c, const struct pollfd *p, int64_t now_ms)
{
	c->now_ms = now_ms;
	keys_serve(c, p);
	ears_serve(c, p + c->redis_fds);
	if (c->looks_again && c->redis.state == REDIS_UP)
		keys_look_at_all(c);
	command_serve(c, p + c->redis_fds + c->ears_fds);
	on_due(c);
}

void calls_flush(struct calls *c, int64_t now_ms)
{
	c->now_ms = now_ms;
	command_feed(c);
	redis_flush(&c->redis, now_ms);
	redis_flush(&c->ears, now_ms);
}

bool calls_over(const struct calls *c)
{
	if (c->table.count || (c->argv && !c->has_ended))
		return false;
	return c->redis.state != REDIS_UP || (!c->out && !c->done_count);
}

/* ---- the command line ---- */

void calls_opts(struct calls_opts *o)
{
	o->reply_to = arg_str0(NULL, "reply-to", "TOPIC[/PARTITION]",
		"where the reply is to be written, if the request does not say it");
	o->timeout =
		arg_str0(NULL, "timeout", "TIME", "how long a reply is waited for (default 5s)");
	o->node = arg_str0(NULL, "node", "NAME",
		"who makes the ids, and is woken for their replies (default: this process)");
	o->in_flight =
		arg_str0(NULL, "in-flight", "N", "calls on their way at a time (default 10000)");
	o->replies = arg_str0(NULL, "replies", "N", "replies that each call awaits (default 1)");
	ident_opts(&o->ident);
	redis_opts(&o->redis);
}

void calls_open(struct calls *c, const struct calls_opts *o, calls_result_fn *result, void *self)
{
	const char *reply_to = o->reply_to ? opt_text(o->reply_to, "--reply-to") : NULL;

	*c = (struct calls){.result = result, .self = self, .now_ms = wake_now_ms()};
	c->opened_ms = c->now_ms;
	ident_open(&c->ident, &o->ident, o->node ? opt_text(o->node, "--node") : NULL);
	if (reply_to &&
		ident_parse_reply_to((struct span){reply_to, strlen(reply_to)}, &c->reply_topic,
			&c->reply_partition))
		opt_bad("--reply-to takes TOPIC or TOPIC/PARTITION, not '%s'", reply_to);
	c->timeout_ms = opt_duration_ms(o->timeout, "--timeout", 5000);
	c->replies = (unsigned)opt_int(o->replies, "--replies", 1, 1, 10000);
	table_open(&c->table,
		o->in_flight ? (uint32_t)opt_int(o->in_flight, "--in-flight", 10000, 1, 1000000)
			     : 10000);
	redis_open(&c->redis, &o->redis, REDIS_COMMANDS);
	redis_open(&c->ears, &o->redis, REDIS_SUBSCRIBER);
	metrics_counter("call_timeouts_total", "Calls that had no reply in time.", METRICS_TOOL,
		&c->timeouts);
	metrics_counter("stray_replies_total", "Replies that no call waited for: late, or twice.",
		METRICS_TOOL, &c->strays);
	if (o->command)
		command_start(c, o);
}

void calls_close(struct calls *c)
{
	if (c->argv)
		child_kill(&c->child);
	redis_close(&c->redis);
	redis_close(&c->ears);
	table_close(&c->table);
	buf_free(&c->giving);
	buf_free(&c->filling);
	buf_free(&c->done);
}
