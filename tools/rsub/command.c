/* SPDX-License-Identifier: ISC */
#include "rsub/command.h"

#include <inttypes.h>
#include <stdio.h>

void command_word(struct buf *b, struct span word)
{
	buf_putc(b, '$');
	buf_int(b, (int64_t)word.len);
	buf_put(b, "\r\n", 2);
	buf_span(b, word);
	buf_put(b, "\r\n", 2);
}

void command_begin(struct buf *b, size_t words, const char *name)
{
	buf_putc(b, '*');
	buf_int(b, (int64_t)words);
	buf_put(b, "\r\n", 2);
	command_text(b, name);
}

void command_number(struct buf *b, int64_t n)
{
	char text[24];

	command_word(b, (struct span){text, (size_t)sprintf(text, "%" PRId64, n)});
}

void command_id(struct buf *b, struct id id)
{
	char text[ID_TEXT];

	command_word(b, id_text(id, text));
}
