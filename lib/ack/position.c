/* SPDX-License-Identifier: ISC */
#include "ack/position.h"

static bool take_number(struct span *line, int64_t max, int64_t *n)
{
	struct span word = span_word(line);

	*n = 0;
	for (size_t i = 0; i < word.len; i++) {
		int digit = word.p[i] - '0';

		if (digit < 0 || digit > 9 || *n > (max - digit) / 10)
			return false;
		*n = *n * 10 + digit;
	}
	return word.len > 0;
}

bool ack_place_take(struct span *line, struct span *topic, int32_t *partition)
{
	int64_t n;

	*topic = span_word(line);
	if (!topic->len || !take_number(line, INT32_MAX, &n))
		return false;
	*partition = (int32_t)n;
	return true;
}

bool ack_offset_take(struct span *line, int64_t *offset)
{
	struct span rest = *line;

	if (!span_is(span_word(&rest), "-"))
		return take_number(line, INT64_MAX, offset);
	*line = rest;
	*offset = -1;
	return true;
}

void ack_offset_put(struct buf *b, int64_t offset)
{
	if (offset < 0)
		buf_putc(b, '-');
	else
		buf_int(b, offset);
}
