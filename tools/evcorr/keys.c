/* SPDX-License-Identifier: ISC */
/* Keys of Redis: replies are read, deleted once they have been dealt with, and marks are left. */
#include "evcorr/parts.h"

#include "base/msg.h"
#include "redis/request.h"

#include <stdlib.h>
#include <string.h>

enum {
	LATE_MIN_MS = 1000,
	LATE_MAX_MS = 3600000,
};

/* Of commands whose answer says nothing. */
#define TAG_NONE (UINT64_C(1) << 60)

void keys_leave_mark(struct calls *c, const struct table_call *call)
{
	int64_t ms = call->given_ms;
	struct buf *out;

	buf_clear(&c->words);
	ident_put_mark(table_id(call), &c->words);
	out = redis_begin(&c->redis, buf_as_span(&c->words));
	if (!out)
		return;
	request_begin(out, 5, "SET");
	request_word(out, buf_as_span(&c->words));
	request_text(out, "1");
	request_text(out, "PX");
	request_number(out, ms < LATE_MIN_MS ? LATE_MIN_MS : ms > LATE_MAX_MS ? LATE_MAX_MS : ms);
	redis_commit(&c->redis, TAG_NONE);
	c->out++;
}

/* ---- reading keys ---- */

void keys_look(struct calls *c, const struct table_call *call)
{
	struct buf *out;

	buf_clear(&c->words);
	ident_put_key(table_id(call), &c->words);
	out = redis_begin(&c->redis, buf_as_span(&c->words));
	if (!out) {
		c->looks_again = true;
		return;
	}
	request_begin(out, 4, "LRANGE");
	request_word(out, buf_as_span(&c->words));
	request_number(out, 0);
	request_number(out, (int64_t)c->replies - 1);
	redis_commit(&c->redis, table_number(&c->table, call));
	c->out++;
}

void keys_look_at_all(struct calls *c)
{
	const struct table_call *call;

	c->looks_again = false;
	for (uint32_t at = 0; (call = table_each(&c->table, &at));)
		keys_look(c, call);
}

static void on_list(struct calls *c, uint64_t number, const struct link_reply *reply)
{
	struct resp elements = reply->elements;
	struct table_call *call = NULL;
	struct resp_value v;

	for (int64_t i = 0; i < reply->value.n; i++) {
		resp_next(&elements, &v);
		call = table_numbered(&c->table, number);
		if (!call)
			return;
		if (i >= call->had && v.type == RESP_STRING)
			calls_give(c, call, v.text);
	}
}

static void tell_unreadable(struct calls *c, struct table_call *call, struct span why)
{
	if (call->is_unreadable)
		return;
	call->is_unreadable = true;
	buf_clear(&c->words);
	ident_put_key(table_id(call), &c->words);
	msg_warn("redis at %s has no replies in the key '%.*s': %.*s", redis_name(&c->redis),
		(int)(c->words.len < 100 ? c->words.len : 100), c->words.p, (int)why.len, why.p);
}

/* @call: whose key was read; or NULL. */
static void on_error(struct calls *c, struct table_call *call, struct span text)
{
	int len = (int)(text.len < 200 ? text.len : 200);

	if (redis_fault(text) == REDIS_FAULT_AWAY)
		redis_lose(&c->redis, text);
	else if (redis_fault(text) == REDIS_FAULT_CONFIG ||
		span_starts(text, "ERR unknown command"))
		trouble_set(&c->trouble, EXIT_PERM,
			"redis at %s refuses to hand out replies: %.*s%s", redis_name(&c->redis),
			len, text.p, redis_advice(&c->redis, text));
	else if (call)
		tell_unreadable(c, call, (struct span){text.p, (size_t)len});
}

static void on_result(struct calls *c, enum redis_got got, const struct link_reply *reply)
{
	struct table_call *call = table_numbered(&c->table, reply->tag);

	c->out--;
	if (got == REDIS_REPLY && reply->value.type == RESP_ERROR)
		on_error(c, call, reply->value.text);
	else if (got == REDIS_REPLY && reply->value.type == RESP_ARRAY)
		on_list(c, reply->tag, reply);
	call = table_numbered(&c->table, reply->tag);
	if (call && call->is_last_look)
		calls_time_out(c, call);
	else if (call && got == REDIS_AGAIN)
		c->looks_again = true;
}

void keys_serve(struct calls *c, const struct pollfd *p)
{
	struct link_reply reply;
	enum redis_got got;

	if (redis_step(&c->redis, p, c->now_ms) == REDIS_FAILED)
		trouble_take(&c->trouble, &c->redis.trouble);
	while ((got = redis_next(&c->redis, &reply)) != REDIS_NONE)
		on_result(c, got, &reply);
	if (c->looks_again && c->redis.state == REDIS_UP)
		keys_look_at_all(c);
}

void calls_taken(struct calls *c, struct span id)
{
	buf_clear(&c->words);
	ident_put_key(id, &c->words);
	request_word(&c->done, buf_as_span(&c->words));
	c->done_count++;
}

void calls_let_go(struct calls *c)
{
	struct span words = buf_as_span(&c->done), key;
	struct buf *out;

	if (!c->done_count || c->redis.state != REDIS_UP)
		return;
	if (!c->redis.cluster) {
		out = redis_begin(&c->redis, SPAN_NONE);
		request_begin(out, c->done_count + 1, "UNLINK");
		buf_span(out, words);
		redis_commit(&c->redis, TAG_NONE);
		c->out++;
	}
	/* "$LEN\r\nKEY\r\n": in a cluster keys are at several nodes. */
	while (c->redis.cluster && words.len) {
		const char *line = (const char *)memchr(words.p, '\n', words.len) + 1;

		key = (struct span){line, strtoul(words.p + 1, NULL, 10)};
		out = redis_begin(&c->redis, key);
		if (!out)
			break;
		request_begin(out, 2, "UNLINK");
		request_word(out, key);
		redis_commit(&c->redis, TAG_NONE);
		c->out++;
		words.len -= (size_t)(key.p + key.len + 2 - words.p);
		words.p = key.p + key.len + 2;
	}
	buf_clear(&c->done);
	c->done_count = 0;
}
