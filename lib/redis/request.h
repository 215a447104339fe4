/* SPDX-License-Identifier: ISC */
/* Words of a command in RESP. */
#ifndef EVPIPE_REDIS_REQUEST_H
#define EVPIPE_REDIS_REQUEST_H

#include "base/buf.h"
#include "redis/id.h"

/* The head of a command of @words words, and the first of them. */
void request_begin(struct buf *b, size_t words, const char *name);
void request_word(struct buf *b, struct span word);
static inline void request_text(struct buf *b, const char *word)
{
	request_word(b, (struct span){word, strlen(word)});
}
void request_number(struct buf *b, int64_t n);
void request_id(struct buf *b, struct id id);

#endif
