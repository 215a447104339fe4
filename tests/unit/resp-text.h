/* SPDX-License-Identifier: ISC */
/* Replies as text, by our parser and by hiredis's reader: for the unit test and the fuzz target. */
#ifndef EVPIPE_RESP_TEXT_H
#define EVPIPE_RESP_TEXT_H

#include "redis/resp.h"

#include <hiredis.h>

static inline void resp_text_value(struct buf *b, const struct resp_value *v)
{
	switch (v->type) {
	case RESP_INTEGER:
		buf_printf(b, ":%lld", (long long)v->n);
		break;
	case RESP_NIL:
		buf_puts(b, "nil");
		break;
	case RESP_ARRAY:
		buf_printf(b, "[%lld", (long long)v->n);
		break;
	case RESP_LARGE:
		buf_printf(b, "large %lld", (long long)v->n);
		break;
	default:
		buf_putc(b, v->type == RESP_STATUS ? '+' : v->type == RESP_ERROR ? '-' : '$');
		buf_span(b, v->text);
	}
	buf_putc(b, ' ');
}

/* Appends all values, the bytes coming @piece at a time, each time to another place. RESP_MORE or
 * RESP_BAD. */
static inline enum resp_type resp_text(
	struct buf *b, const char *p, size_t len, size_t piece, size_t max)
{
	struct resp r = {.max_string = max};
	struct buf in = {0};
	size_t at = 0, taken = 0;
	enum resp_type got = RESP_MORE;

	while (got == RESP_MORE && at < len) {
		size_t n = len - at < piece ? len - at : piece;
		struct buf moved = {0};
		struct resp_value v;

		if (taken < in.len)
			buf_put(&moved, in.p + taken, in.len - taken);
		buf_put(&moved, p + at, n);
		at += n;
		buf_free(&in);
		in = moved;
		r.p = in.p;
		r.end = in.p + in.len;
		while ((got = resp_next(&r, &v)) != RESP_MORE && got != RESP_BAD)
			resp_text_value(b, &v);
		taken = (size_t)(r.p - in.p);
	}
	buf_free(&in);
	return got;
}

static inline void resp_text_object(struct buf *b, const redisReply *o)
{
	static const enum resp_type types[] = {
		[REDIS_REPLY_STRING] = RESP_STRING,
		[REDIS_REPLY_STATUS] = RESP_STATUS,
		[REDIS_REPLY_ERROR] = RESP_ERROR,
		[REDIS_REPLY_INTEGER] = RESP_INTEGER,
		[REDIS_REPLY_NIL] = RESP_NIL,
		[REDIS_REPLY_ARRAY] = RESP_ARRAY,
	};
	struct resp_value v = {.type = types[o->type], .n = o->integer};

	if (o->type == REDIS_REPLY_ARRAY)
		v.n = (int64_t)o->elements;
	else if (o->str)
		v.text = (struct span){o->str, (size_t)o->len};
	resp_text_value(b, &v);
	for (size_t i = 0; o->type == REDIS_REPLY_ARRAY && i < o->elements; i++)
		resp_text_object(b, o->element[i]);
}

/* The same by hiredis, whole replies alone. Returns whether the bytes were RESP to it. */
static inline bool resp_text_hiredis(struct buf *b, const char *p, size_t len)
{
	redisReader *reader = redisReaderCreate();
	void *o = NULL;
	bool good = reader && redisReaderFeed(reader, p, len) == REDIS_OK;

	while (good && (good = redisReaderGetReply(reader, &o) == REDIS_OK) && o) {
		resp_text_object(b, o);
		freeReplyObject(o);
		o = NULL;
	}
	redisReaderFree(reader);
	return good;
}

#endif
