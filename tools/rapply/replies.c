/* SPDX-License-Identifier: ISC */
/* What Redis answers. */
#include "rapply/rapply.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"

#include <inttypes.h>
#include <stdio.h>

enum { WAIT_MIN_MS = 50, WAIT_MAX_MS = 1000 };

static int shown(struct span text)
{
	return (int)(text.len < 180 ? text.len : 180);
}

/* ---- the server takes nothing for the time being ---- */

void replies_begin_wait(struct rapply *s, const char *why, bool to_look)
{
	metrics.errors[CLASS_REDIS]++;
	if (!s->waits) {
		msg_warn("redis at %s takes no commands: %s; waiting", redis_name(&s->redis), why);
		redis_count_outage();
		s->waits = true;
		s->waits_since_ms = s->now_ms;
		s->backoff_ms = 0;
		metrics_set_ready(false);
	}
	s->waits_to_look = to_look;
	s->wait_until_ms = s->now_ms + wake_backoff_ms(&s->backoff_ms, WAIT_MIN_MS, WAIT_MAX_MS);
}

void replies_end_wait(struct rapply *s)
{
	if (!s->waits)
		return;
	msg_warn("redis at %s takes commands again after %.1f s", redis_name(&s->redis),
		(double)(s->now_ms - s->waits_since_ms) / 1000);
	s->waits = false;
	metrics_set_ready(redis_is_there(&s->redis));
}

enum redis_fault replies_fault(struct span error)
{
	/* The server gives a cause of its own behind these words. */
	static const char abort[] = "EXECABORT Transaction discarded because of: ";

	if (span_starts(error, abort))
		error = (struct span){error.p + sizeof(abort) - 1, error.len - sizeof(abort) + 1};
	if (span_starts(error, "UNBLOCKED") || span_starts(error, "EXECABORT"))
		return REDIS_FAULT_AWAY;
	/* Each server has it, unless it was taken away: ttl_ms needs it, whatever the record is. */
	if (span_starts(error, "ERR unknown command 'EVAL'") ||
		span_starts(error, "ERR unknown command `EVAL`"))
		return REDIS_FAULT_CONFIG;
	return redis_fault(error);
}

_Noreturn void replies_refused(struct rapply *s, const char *what, const char *why)
{
	sink_die(&s->sink, EXIT_PERM, "redis at %s refuses %s: %s%s", redis_name(&s->redis), what,
		why, redis_advice(&s->redis, (struct span){why, strlen(why)}));
}

static _Noreturn void positions_refused(struct rapply *s)
{
	char what[120];

	snprintf(what, sizeof(what), "the positions, keys %.60s:TOPIC:PARTITION", s->position);
	replies_refused(s, what, s->why);
}

/* ---- errors while the transaction is queued, or a script is run ---- */

void replies_keep_refusal(struct rapply *s, uint64_t i, struct span error)
{
	struct refusals *all = &s->refusals;
	struct refusal *r;

	if (all->count && all->p[all->count - 1].slot == i)
		return;
	if (all->count == all->cap) {
		all->cap = all->cap ? 2 * all->cap : 8;
		all->p = mem_realloc(all->p, all->cap * sizeof(*all->p));
	}
	r = &all->p[all->count++];
	error = redis_cause(error);
	r->slot = i;
	snprintf(r->text, sizeof(r->text), "redis says: %.*s", shown(error), error.p);
}

/* @is_record: a record's command, whose tag is the slot. */
static void on_command_error(struct rapply *s, bool is_record, uint64_t i, struct span error)
{
	enum redis_fault fault = replies_fault(error);

	if (fault == REDIS_FAULT_COMMAND && is_record) {
		replies_keep_refusal(s, i, error);
		return;
	}
	if (s->fault != REDIS_FAULT_COMMAND)
		return;
	s->fault = fault == REDIS_FAULT_COMMAND ? REDIS_FAULT_CONFIG : fault;
	snprintf(s->why, sizeof(s->why), "%.*s", shown(error), error.p);
	s->what[0] = '\0';
	if (is_record)
		snprintf(s->what, sizeof(s->what), "a command of line %llu",
			(unsigned long long)slot_at(s, i)->slot.number);
}

void replies_refuse_all(struct rapply *s)
{
	for (size_t n = 0; n < s->refusals.count; n++) {
		const struct refusal *r = &s->refusals.p[n];

		batch_refuse(s, r->slot,
			strstr(r->text, ": WRONGTYPE") ? CLASS_WRONG_TYPE : CLASS_REDIS, r->text);
	}
	s->refusals.count = 0;
}

/* EXECABORT: nothing was applied; or what was applied may be applied again. */
static void on_abort(struct rapply *s, struct span error)
{
	struct span why = error;

	if (s->fault == REDIS_FAULT_COMMAND && !s->refusals.count) {
		s->fault = replies_fault(error);
		s->what[0] = '\0';
		snprintf(s->why, sizeof(s->why), "%.*s", shown(error), error.p);
	} else if (s->fault != REDIS_FAULT_COMMAND) {
		why = (struct span){s->why, strlen(s->why)};
	}
	batch_failed(s);
	if (s->fault == REDIS_FAULT_COMMAND) {
		if (s->sink.in.dead.policy == DEAD_STOP)
			s->refusals.count = 1;
		replies_refuse_all(s);
	} else if (s->fault == REDIS_FAULT_CONFIG) {
		replies_refused(s, s->what[0] ? s->what : "a batch", s->why);
	} else if (span_starts(why, "READONLY")) {
		/* Another server is the primary, or this one will be again: the client says
		 * which. */
		metrics.errors[CLASS_REDIS]++;
		redis_lose(&s->redis, why);
	} else {
		replies_begin_wait(s, s->why, false);
	}
}

/* ---- EXEC ---- */

static bool has_positions(const struct rapply *s)
{
	for (size_t i = 0; i < s->places.count; i++)
		if (s->places.p[i]->flight >= 0)
			return true;
	return false;
}

/* The results of the records' commands, in their order; then those of the positions. Where a
 * position has passed the record, its fate is settled, whatever the reason. */
static void on_results(struct rapply *s, struct resp walk, bool is_settled)
{
	struct resp_value v;
	uint64_t left;

	for (uint64_t i = s->flight; i < s->sent; i++) {
		struct rapply_slot *slot = slot_at(s, i);

		for (uint32_t n = slot->slot.done ? 0 : slot->commands; n; n--) {
			if (resp_next(&walk, &v) == RESP_ERROR) {
				on_command_error(s, true, i, v.text);
				if (is_settled)
					replies_keep_refusal(s, i, v.text);
			}
			left = v.type == RESP_ARRAY ? (uint64_t)v.n : 0;
			resp_skip(&walk, &left);
		}
	}
}

static void on_applied(struct rapply *s, const struct link_reply *reply)
{
	bool is_settled = has_positions(s);

	s->refusals.count = 0;
	on_results(s, reply->elements, is_settled);
	if (s->fault != REDIS_FAULT_COMMAND && !is_settled) {
		on_abort(s, SPAN_NONE);
		return;
	}
	for (size_t i = 0; i < s->places.count; i++) {
		struct place *p = s->places.p[i];

		if (p->flight >= 0) {
			p->applied = p->flight;
			p->applied_ts = p->flight_ts;
		}
		p->flight = -1;
	}
	s->narrow = false;
	replies_end_wait(s);
	replies_refuse_all(s);
	if (!s->wait)
		batch_done(s);
	if (s->fault == REDIS_FAULT_CONFIG)
		replies_refused(s, s->what, s->why);
}

static void on_exec(struct rapply *s, const struct link_reply *reply)
{
	switch (reply->value.type) {
	case RESP_ARRAY:
		on_applied(s, reply);
		return;
	case RESP_NIL:
		/* A position has changed behind the question: the next answer says how. */
		s->narrow = true;
		batch_failed(s);
		return;
	default:
		on_abort(s, reply->value.text);
	}
}

static void on_replicas(struct rapply *s, const struct resp_value *v)
{
	if (!s->in_flight)
		return;
	if (v->type == RESP_ERROR) {
		if (replies_fault(v->text) != REDIS_FAULT_AWAY) {
			snprintf(s->why, sizeof(s->why), "%.*s", shown(v->text), v->text.p);
			replies_refused(s, "WAIT, which --wait needs", s->why);
		}
		redis_lose(&s->redis, v->text);
		return;
	}
	if (v->n < s->wait) {
		s->shortfalls++;
		if (!s->is_short)
			msg_warn("redis at %s: %" PRId64
				 " replicas have the last batch, and --wait asks for %d; waiting",
				redis_name(&s->redis), v->n, s->wait);
		s->is_short = true;
		batch_ask_replicas(s);
		return;
	}
	if (s->is_short)
		msg_warn("redis at %s: %" PRId64 " %s it", redis_name(&s->redis), v->n,
			PLURAL(v->n, "replica has", "replicas have"));
	s->is_short = false;
	batch_done(s);
}

/* ---- positions ---- */

static void on_positions(struct rapply *s, const struct link_reply *reply)
{
	struct resp walk = reply->elements;
	struct resp_value v;
	bool differs = false;

	for (size_t i = 0; i < s->look_count; i++) {
		struct place *p = s->look[i];

		resp_next(&walk, &v);
		/* An answer from before the last batch was applied comes before that batch's. */
		if (places_found(s, p, v.type == RESP_STRING ? v.text : SPAN_NONE))
			differs = true;
		if (i < s->look_watched)
			p->watch = s->watch;
	}
	if (s->waits && s->waits_to_look)
		replies_end_wait(s);
	if (differs)
		batch_rebuild(s);
}

static void on_look_error(struct rapply *s, struct span error)
{
	snprintf(s->why, sizeof(s->why), "%.*s", shown(error), error.p);
	if (replies_fault(error) != REDIS_FAULT_AWAY)
		positions_refused(s);
	s->look_due = true;
	replies_begin_wait(s, s->why, true);
}

/* As if the batch had been refused. */
static void on_make_error(struct rapply *s, struct span error)
{
	snprintf(s->why, sizeof(s->why), "%.*s", shown(error), error.p);
	if (replies_fault(error) != REDIS_FAULT_AWAY)
		positions_refused(s);
	if (span_starts(error, "READONLY"))
		redis_lose(&s->redis, error);
	else
		replies_begin_wait(s, s->why, false);
}

static void on_reply(struct rapply *s, const struct link_reply *reply)
{
	const struct resp_value *v = &reply->value;

	if (reply->tag == TAG_EXEC) {
		on_exec(s, reply);
	} else if (reply->tag == TAG_REPLICAS) {
		on_replicas(s, v);
	} else if (reply->tag == TAG_MGET) {
		s->looking = false;
		if (v->type == RESP_ARRAY)
			on_positions(s, reply);
		else
			on_look_error(s, v->text);
	} else if (reply->tag == TAG_MAKE) {
		places_made(s, v->type != RESP_NIL);
		if (v->type == RESP_ERROR)
			on_make_error(s, v->text);
	} else if (v->type == RESP_ERROR && reply->tag == TAG_WATCH) {
		on_look_error(s, v->text);
	} else if (v->type == RESP_ERROR) {
		on_command_error(s, reply->tag < TAG_MULTI, reply->tag, v->text);
	}
}

void replies_take(struct rapply *s)
{
	struct link_reply reply;
	enum redis_got got;

	if (s->spots) {
		answers_take(s);
		return;
	}
	while ((got = redis_next(&s->redis, &reply)) != REDIS_NONE)
		if (got == REDIS_REPLY)
			on_reply(s, &reply);
}

void replies_lost(struct rapply *s)
{
	if (s->spots) {
		answers_lost(s);
		return;
	}
	s->looking = false;
	s->look_due = true;
	s->watch++;
	for (size_t i = 0; i < s->places.count; i++)
		s->places.p[i]->making = false;
	if (s->in_flight)
		batch_failed(s);
}
