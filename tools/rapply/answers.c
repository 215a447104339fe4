/* SPDX-License-Identifier: ISC */
/* What the servers of a cluster answer. */
#include "rapply/spots.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "rapply/rapply.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- errors ---- */

/* @what was refused, if it is. */
static void on_error(struct rapply *s, const char *what, struct span error)
{
	enum redis_fault fault = replies_fault(error);

	s->spots->failed = true;
	snprintf(s->why, sizeof(s->why), "%.*s", (int)(error.len < 180 ? error.len : 180), error.p);
	/* The first script of a batch brings its text again. */
	if (span_starts(error, "NOSCRIPT"))
		return;
	if (fault != REDIS_FAULT_AWAY)
		replies_refused(s, what, s->why);
	replies_begin_wait(s, s->why, s->spots->round == ROUND_LOOK);
}

/* @slot -1: the list of the slots in use. Valid until the next call. */
static const char *position_of(struct rapply *s, const struct place *p, int slot)
{
	static char what[200];
	struct span key = slot < 0 ? spots_list_key(s, p) : spots_key(s, p, slot);

	snprintf(what, sizeof(what), "the position, key '%.*s'",
		(int)(key.len < 160 ? key.len : 160), key.p);
	return what;
}

/* ---- scripts ---- */

static uint64_t record_at(struct rapply *s, const struct sent *t, int64_t n)
{
	uint64_t i = t->first;

	while (n-- > 0)
		i = slot_at(s, i)->more;
	return i;
}

/* Pairs of a record's number and the reason. */
static void take_refusals(struct rapply *s, const struct sent *t, struct resp *walk, int64_t count)
{
	struct resp_value n, why;

	for (; count > 1; count -= 2) {
		resp_next(walk, &n);
		resp_next(walk, &why);
		if (n.type == RESP_INTEGER && n.n >= 0 && n.n < t->records &&
			why.type == RESP_STRING)
			replies_keep_refusal(s, record_at(s, t, n.n), why.text);
	}
}

static void on_applied(struct rapply *s, struct sent *t)
{
	t->ok = true;
	t->spot->written = s->batch;
	if (t->spot->place) {
		t->spot->applied = t->spot->flight;
		t->spot->applied_ts = t->spot->flight_ts;
	}
}

static void on_script(struct rapply *s, struct sent *t, const struct link_reply *reply)
{
	struct resp walk = reply->elements;
	struct resp_value status, text, why;

	if (reply->value.type != RESP_ARRAY || reply->value.n < 2 ||
		resp_next(&walk, &status) != RESP_INTEGER ||
		resp_next(&walk, &text) != RESP_STRING) {
		on_error(s, "a batch",
			reply->value.type == RESP_ERROR ? reply->value.text
							: SPAN("a script has another answer"));
		return;
	}
	if (status.n == 1) {
		s->spots->failed = true;
		spots_found(s, t->spot, text.text.len ? text.text : SPAN_NONE);
		return;
	}
	resp_next(&walk, &why);
	take_refusals(s, t, &walk, reply->value.n - 3);
	if (status.n == 0) {
		on_applied(s, t);
		return;
	}
	if (t->spot->place && text.text.len)
		spots_found(s, t->spot, text.text);
	on_error(s, "a batch", why.text);
}

/* ---- positions ---- */

static void on_init(struct rapply *s, struct spot *spot, const struct link_reply *reply)
{
	struct resp walk = reply->elements;
	struct resp_value status, text;

	if (reply->value.type != RESP_ARRAY || resp_next(&walk, &status) != RESP_INTEGER ||
		resp_next(&walk, &text) != RESP_STRING) {
		on_error(s, "a batch",
			reply->value.type == RESP_ERROR ? reply->value.text
							: SPAN("a script has another answer"));
	} else if (status.n == 1) {
		spots_found(s, spot, text.text);
	} else {
		spot->known = true;
		spot->applied = spot->place->applied;
		spot->applied_ts = spot->place->applied_ts;
	}
}

static void on_look(struct rapply *s, size_t i, const struct link_reply *reply)
{
	const struct look *l = &s->spots->looks[i];

	if (s->spots->round == ROUND_INIT)
		on_init(s, spots_at(s, l->place, l->slot), reply);
	else if (reply->value.type == RESP_ERROR)
		on_error(s, position_of(s, l->place, s->spots->round == ROUND_USE ? -1 : l->slot),
			reply->value.text);
	else if (s->spots->round == ROUND_USE)
		spots_at(s, l->place, l->slot)->used = true;
	else
		looks_take(s, i, reply->value.type == RESP_STRING ? reply->value.text : SPAN_NONE);
}

static void on_replicas(struct rapply *s, const struct resp_value *v)
{
	if (v->type == RESP_ERROR)
		on_error(s, "WAIT, which --wait needs", v->text);
	else if (v->n < s->wait)
		s->spots->is_short = true;
}

/* ---- the end of a round ---- */

/* The records of scripts that were applied are done, whatever became of the others. */
static void finish_applied(struct rapply *s)
{
	for (size_t n = 0; n < s->spots->sent_count; n++) {
		const struct sent *t = &s->spots->sent[n];
		uint64_t i = t->first;

		for (uint32_t left = t->ok ? t->records : 0; left; left--) {
			struct rapply_slot *slot = slot_at(s, i);

			sink_done(&slot->slot);
			batch_pass(slot->place, slot->offset, slot->ts);
			i = slot->more;
		}
	}
}

static void land_spots(struct rapply *s)
{
	for (size_t n = 0; n < s->spots->sent_count; n++)
		s->spots->sent[n].spot->flight = -1;
}

static void on_batch_failed(struct rapply *s)
{
	land_spots(s);
	replies_refuse_all(s);
	if (!s->wait)
		finish_applied(s);
	batch_failed(s);
}

static void on_short(struct rapply *s)
{
	s->shortfalls++;
	if (!s->is_short)
		msg_warn("redis at %s: fewer replicas than --wait %d have the last batch; waiting",
			redis_name(&s->redis), s->wait);
	s->is_short = true;
	s->spots->round = ROUND_REPLICAS;
	shards_ask_replicas(s);
}

static void on_batch(struct rapply *s)
{
	if (s->spots->is_short && s->redis.state == REDIS_UP) {
		on_short(s);
		return;
	}
	if (s->is_short)
		msg_warn("redis at %s: the replicas have it", redis_name(&s->redis));
	s->is_short = s->spots->is_short = false;
	land_spots(s);
	for (size_t i = 0; i < s->places.count; i++) {
		struct place *p = s->places.p[i];

		if (p->flight > p->applied) {
			p->applied = p->flight;
			p->applied_ts = p->flight_ts;
		}
		p->flight = -1;
	}
	replies_end_wait(s);
	replies_refuse_all(s);
	batch_done(s);
}

static bool go_back(struct rapply *s, struct place *p)
{
	if (p->lost == PLACE_LOST_NONE)
		return false;
	places_back(s, p, p->lost);
	p->lost = PLACE_LOST_NONE;
	return true;
}

void answers_go_back(struct rapply *s)
{
	bool any = false;

	for (size_t i = 0; i < s->places.count; i++)
		any |= go_back(s, s->places.p[i]);
	if (any)
		batch_rebuild(s);
}

static void on_looked(struct rapply *s, bool failed)
{
	if (failed)
		s->look_due = true;
	else
		looks_end(s);
	if (!failed && s->waits && s->waits_to_look)
		replies_end_wait(s);
}

static void answer(struct rapply *s, bool failed)
{
	for (size_t i = 0; i < s->places.count; i++) {
		struct place *p = s->places.p[i];

		if (p->asked && p->all_due && !failed) {
			/* A partition that was here before, and of which redis has lost something
			 * since. What it had printed of it may still stand in the pipe. */
			s->spots->differs |= go_back(s, p);
			places_answer(s, p);
		}
		p->all_due = false;
	}
}

void answers_end_round(struct rapply *s)
{
	struct spots *sp = s->spots;
	enum round round = sp->round;
	bool failed = sp->failed;

	sp->round = ROUND_NONE;
	sp->failed = false;
	if (round == ROUND_LOOK)
		on_looked(s, failed);
	else if ((round == ROUND_BATCH || round == ROUND_REPLICAS) && failed)
		on_batch_failed(s);
	else if (round == ROUND_BATCH || round == ROUND_REPLICAS)
		on_batch(s);
	if (round == ROUND_LOOK)
		answer(s, failed);
	if (sp->differs && !s->in_flight)
		batch_rebuild(s);
	sp->differs = false;
}

void answers_take(struct rapply *s)
{
	struct link_reply reply;
	enum redis_got got;

	while ((got = redis_next(&s->redis, &reply)) != REDIS_NONE) {
		if (got == REDIS_AGAIN)
			s->spots->failed = true;
		else if (reply.tag == TAG_REPLICAS)
			on_replicas(s, &reply.value);
		else if (reply.tag >= TAG_LOOK)
			on_look(s, reply.tag - TAG_LOOK, &reply);
		else
			on_script(s, &s->spots->sent[reply.tag - TAG_SCRIPT], &reply);
		if (!--s->spots->out)
			answers_end_round(s);
	}
}

void answers_lost(struct rapply *s)
{
	s->look_due = true;
	/* The replicas may be those of another server than the one that was written to. */
	if (s->wait && s->in_flight)
		s->spots->failed = true;
}
