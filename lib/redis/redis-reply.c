/* SPDX-License-Identifier: ISC */
/* What the server says: replies, published messages, and what an error means. */
#include "redis/redis-parts.h"

#include "base/msg.h"

#include <hiredis.h>

enum { ODD_REPLY_MAX = 1 << 20 }; /* replies read by hiredis: confirmations, errors, ROLE */

void redis_free_reply(struct redis *r)
{
	if (r->object)
		freeReplyObject(r->object);
	r->object = NULL;
}

static struct span object_text(const redisReply *o)
{
	return o->type == REDIS_REPLY_STRING || o->type == REDIS_REPLY_STATUS
		? (struct span){o->str, (size_t)o->len}
		: SPAN_NONE;
}

static enum redis_kind object_reply(const redisReply *o, struct redis_reply *reply)
{
	switch (o->type) {
	case REDIS_REPLY_INTEGER:
		reply->integer = o->integer;
		return REDIS_INTEGER;
	case REDIS_REPLY_NIL:
		return REDIS_NIL;
	case REDIS_REPLY_ARRAY:
		for (size_t i = 0; i < o->elements && i < 3; i++)
			reply->item[i] = object_text(o->element[i]);
		return REDIS_LIST;
	}
	reply->text = (struct span){o->str, (size_t)o->len};
	return o->type == REDIS_REPLY_ERROR	? REDIS_ERROR
		: o->type == REDIS_REPLY_STATUS ? REDIS_STATUS
						: REDIS_STRING;
}

/* By hiredis: fed in small pieces, since what it was fed beyond the reply is read again. */
static enum redis_kind next_any(struct redis *r, struct redis_reply *reply)
{
	redisReader *reader = redisReaderCreate();
	const char *p = r->in.p + r->at;
	size_t n = r->in.len - r->at, fed = 0;
	bool bad = false;

	if (!reader)
		die(EXIT_TEMP, "out of memory");
	while (!r->object && !bad && fed < n) {
		size_t piece = n - fed < 256 ? n - fed : 256;

		bad = redisReaderFeed(reader, p + fed, piece) != REDIS_OK ||
			redisReaderGetReply(reader, &r->object) != REDIS_OK;
		fed += piece;
	}
	if (bad || (!r->object && n > ODD_REPLY_MAX))
		redis_give_up(
			r, "this is not the redis protocol: %s", bad ? reader->errstr : "no end");
	fed -= reader->len - reader->pos;
	redisReaderFree(reader);
	if (!r->object)
		return REDIS_MORE;
	r->at += fed;
	return object_reply(r->object, reply);
}

/* A number and CR LF at *@p. 1 and *@p behind it; 0: there is more to come; -1: something else. */
static int number(const char **p, const char *end, int64_t *n)
{
	const char *s = *p;
	int64_t v = 0;

	for (; s < end && *s >= '0' && *s <= '9' && s - *p < 18; s++)
		v = v * 10 + (*s - '0');
	if (end - s < 2)
		return 0;
	if (s == *p || s[0] != '\r' || s[1] != '\n')
		return -1;
	*n = v;
	*p = s + 2;
	return 1;
}

static int bulk(const char **p, const char *end, size_t max, struct span *s)
{
	const char *q = *p + 1;
	int64_t n;
	int got;

	if (*p == end)
		return 0;
	if (**p != '$')
		return -1;
	got = number(&q, end, &n);
	if (got <= 0)
		return got;
	if ((size_t)n > max) {
		*s = (struct span){NULL, (size_t)n};
		*p = q;
		return 1;
	}
	if (end - q < n + 2)
		return 0;
	*s = (struct span){q, (size_t)n};
	*p = q + n + 2;
	return 1;
}

/* A published message, where it stands. -1: it is none. */
static int next_message(struct redis *r, struct redis_reply *reply)
{
	static const char plain[] = "*3\r\n$7\r\nmessage\r\n",
			  pattern[] = "*4\r\n$8\r\npmessage\r\n";
	const char *p = r->in.p + r->at, *end = r->in.p + r->in.len;
	size_t n = (size_t)(end - p);
	int got = 1;

	if (n < sizeof(pattern))
		return -1;
	reply->pattern = SPAN_NONE;
	if (memcmp(p, plain, sizeof(plain) - 1) == 0) {
		p += sizeof(plain) - 1;
	} else if (memcmp(p, pattern, sizeof(pattern) - 1) == 0) {
		p += sizeof(pattern) - 1;
		got = bulk(&p, end, SIZE_MAX / 2, &reply->pattern);
	} else {
		return -1;
	}
	if (got > 0)
		got = bulk(&p, end, SIZE_MAX / 2, &reply->channel);
	if (got > 0)
		got = bulk(&p, end, r->max_bulk, &reply->payload);
	if (got <= 0)
		return got;
	r->at = (size_t)(p - r->in.p);
	reply->too_big = 0;
	if (!reply->payload.p) {
		size_t have = r->in.len - r->at;

		reply->too_big = reply->payload.len;
		r->skip = reply->too_big + 2;
		have = have < r->skip ? have : r->skip;
		r->at += have;
		r->skip -= have;
	}
	return 1;
}

enum redis_kind redis_next(struct redis *r, struct redis_reply *reply)
{
	const char *p = r->in.p + r->at, *end = r->in.p + r->in.len;

	if (p == end)
		return REDIS_MORE;
	redis_free_reply(r);
	if (*p == ':') {
		int got;

		p++;
		got = number(&p, end, &reply->integer);
		if (got > 0)
			r->at = (size_t)(p - r->in.p);
		if (got >= 0)
			return got ? REDIS_INTEGER : REDIS_MORE;
	} else if (*p == '*') {
		int got = next_message(r, reply);

		if (got >= 0)
			return got ? REDIS_MESSAGE : REDIS_MORE;
	}
	*reply = (struct redis_reply){0};
	return next_any(r, reply);
}

enum redis_fault redis_judge(struct span error)
{
	/* To follow a redirection is a client of a cluster's, which this is not. */
	static const char *const config[] = {
		"NOAUTH", "NOPERM", "WRONGPASS", "DENIED", "MOVED ", "ASK ", "CROSSSLOT"};
	static const char *const away[] = {"LOADING", "MASTERDOWN", "TRYAGAIN", "BUSY ",
		"CLUSTERDOWN", "READONLY", "OOM ", "MISCONF", "NOREPLICAS",
		"ERR max number of clients"};

	for (size_t i = 0; i < sizeof(config) / sizeof(*config); i++)
		if (span_starts(error, config[i]))
			return REDIS_FAULT_CONFIG;
	for (size_t i = 0; i < sizeof(away) / sizeof(*away); i++)
		if (span_starts(error, away[i]))
			return REDIS_FAULT_AWAY;
	return REDIS_FAULT_COMMAND;
}
