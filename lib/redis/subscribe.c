/* SPDX-License-Identifier: ISC */
#include "redis/subscribe.h"

#include "redis/fault.h"

void redis_subscribe(struct redis *r, int count, const char *const *names)
{
	link_words(link_begin(&r->node.link), count, names);
}

/* The rest of the message comes as values that are no push. */
static enum resp_type take_large_name(struct redis_message *m, int64_t bytes)
{
	m->pattern = m->channel = m->payload = SPAN_NONE;
	m->too_big = (size_t)bytes;
	return RESP_STRING;
}

/* A message's rest, behind the word that says what it is. */
static enum resp_type take_message(
	struct resp *c, bool pattern, size_t max_payload, struct redis_message *m)
{
	struct resp_value v;
	enum resp_type got;

	m->pattern = SPAN_NONE;
	if (pattern) {
		got = resp_next(c, &v);
		if (got != RESP_STRING)
			return got == RESP_LARGE ? take_large_name(m, v.n) : got;
		m->pattern = v.text;
	}
	got = resp_next(c, &v);
	if (got != RESP_STRING)
		return got == RESP_LARGE ? take_large_name(m, v.n) : got;
	m->channel = v.text;
	c->max_string = max_payload;
	got = resp_next(c, &v);
	m->payload = v.text;
	m->too_big = got == RESP_LARGE ? (size_t)v.n : 0;
	return got == RESP_LARGE ? RESP_STRING : got;
}

/* Takes the rest of a push that is no message, if all of it has come. */
static enum redis_push take_other(struct resp *c, uint64_t left, struct span what)
{
	if (resp_skip(c, &left) != RESP_NIL)
		return REDIS_PUSH_NONE;
	if (span_is(what, "pong"))
		return REDIS_PUSH_PONG;
	if (span_is(what, "sunsubscribe"))
		return REDIS_PUSH_GONE;
	return span_is(what, "subscribe") || span_is(what, "psubscribe") ||
			span_is(what, "ssubscribe")
		? REDIS_PUSH_CONFIRMED
		: REDIS_PUSH_OTHER;
}

static enum redis_push take_array(
	struct resp *c, int64_t n, size_t max_payload, struct redis_message *m)
{
	struct resp_value what;
	bool pattern;

	if (n == 0)
		return REDIS_PUSH_OTHER;
	if (resp_next(c, &what) != RESP_STRING)
		return what.type == RESP_MORE || what.type == RESP_BAD
			? REDIS_PUSH_NONE
			: take_other(c, (uint64_t)n - 1, SPAN_NONE);
	pattern = n == 4 && span_is(what.text, "pmessage");
	if (!pattern &&
		!(n == 3 && (span_is(what.text, "message") || span_is(what.text, "smessage"))))
		return take_other(c, (uint64_t)n - 1, what.text);
	switch (take_message(c, pattern, max_payload, m)) {
	case RESP_STRING:
		return REDIS_PUSH_MESSAGE;
	case RESP_MORE:
		return REDIS_PUSH_NONE;
	default:
		c->why = c->why ? c->why : "a message is no list of strings";
		return REDIS_PUSH_NONE;
	}
}

enum redis_push redis_next_push(struct redis *r, size_t max_payload, struct redis_message *m)
{
	struct resp *at = link_pushed(&r->node.link), c = *at;
	enum redis_push push = REDIS_PUSH_OTHER;
	struct resp_value v;
	size_t longest;

	if (c.max_string < max_payload)
		c.max_string = max_payload;
	longest = c.max_string;
	switch (resp_next(&c, &v)) {
	case RESP_ARRAY:
		push = take_array(&c, v.n, max_payload, m);
		break;
	case RESP_ERROR:
		m->text = v.text;
		push = REDIS_PUSH_ERROR;
		break;
	case RESP_MORE:
		if (!at->skip)
			return REDIS_PUSH_NONE;
		at->p = c.p;
		at->skip = c.skip;
		return REDIS_PUSH_NONE;
	default:
		break;
	}
	/* Pattern, channel and payload. */
	if (push == REDIS_PUSH_NONE && !c.why && (size_t)(at->end - at->p) / 4 > longest)
		c.why = "a push is too long";
	if (c.why)
		link_bad(&r->node.link, c.why);
	if (push == REDIS_PUSH_NONE || c.why)
		return REDIS_PUSH_NONE;
	at->p = c.p;
	at->skip = c.skip;
	if (push == REDIS_PUSH_PONG) {
		r->node.is_asked = false;
		r->node.has_answered = true;
	}
	if (!r->node.is_useful && (push == REDIS_PUSH_MESSAGE || push == REDIS_PUSH_PONG)) {
		r->node.is_useful = true;
		dial_reset(&r->node.link.dial);
	}
	return push;
}

bool redis_is_pong(struct redis *r, struct span error)
{
	bool was_asked = r->node.is_asked;

	r->node.is_asked = false;
	/* A server that has answered a PING knows the command: what it may still refuse has a name
	 * of its own. */
	return was_asked && !(r->node.has_answered && redis_fault(error) == REDIS_FAULT_COMMAND);
}
