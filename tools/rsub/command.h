/* SPDX-License-Identifier: ISC */
/* Words of a command in RESP. */
#ifndef EVPIPE_RSUB_COMMAND_H
#define EVPIPE_RSUB_COMMAND_H

#include "base/buf.h"
#include "rsub/id.h"

/* The head of a command of @words words, and the first of them. */
void command_begin(struct buf *b, size_t words, const char *name);
void command_word(struct buf *b, struct span word);
static inline void command_text(struct buf *b, const char *word)
{
	command_word(b, (struct span){word, strlen(word)});
}
void command_number(struct buf *b, int64_t n);
void command_id(struct buf *b, struct id id);

#endif
