/* SPDX-License-Identifier: ISC */
#include "redis/request.h"

#include <inttypes.h>
#include <stdio.h>

void request_word(struct buf *b, struct span word)
{
	buf_putc(b, '$');
	buf_int(b, (int64_t)word.len);
	buf_put(b, "\r\n", 2);
	buf_span(b, word);
	buf_put(b, "\r\n", 2);
}

void request_begin(struct buf *b, size_t words, const char *name)
{
	buf_putc(b, '*');
	buf_int(b, (int64_t)words);
	buf_put(b, "\r\n", 2);
	request_text(b, name);
}

void request_number(struct buf *b, int64_t n)
{
	char text[24];

	request_word(b, (struct span){text, (size_t)sprintf(text, "%" PRId64, n)});
}

void request_id(struct buf *b, struct id id)
{
	char text[ID_TEXT];

	request_word(b, id_text(id, text));
}
