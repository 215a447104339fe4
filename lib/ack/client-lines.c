/* SPDX-License-Identifier: ISC */
/* Messages with so many labels that they take several lines: names of sets, and questions. */
#include "ack/client-parts.h"

#include "base/msg.h"

#include <stdio.h>

enum { LINE_BYTES = 256 << 10 }; /* about; a source takes a megabyte */

/* Lines of labels, while there are more than @keep bytes of them. */
static void put_lines(
	struct ack *a, const char *verb, const char *name, struct span *labels, size_t keep)
{
	while (labels->len > keep) {
		size_t n = labels->len < LINE_BYTES ? labels->len : LINE_BYTES;

		while (n < labels->len && labels->p[n] != ' ')
			n++;
		buf_puts(&a->out, verb);
		buf_puts(&a->out, a->run);
		buf_puts(&a->out, name);
		buf_putc(&a->out, ' ');
		buf_put(&a->out, labels->p, n);
		buf_putc(&a->out, '\n');
		n += n < labels->len;
		labels->p += n;
		labels->len -= n;
	}
}

bool ack_name(struct ack *a, const char *name, struct span labels)
{
	char word[LABEL_NAME_MAX + 2];

	if (a->state != ACK_UP)
		return false;
	snprintf(word, sizeof(word), " %s", name);
	ack_client_end_list(a);
	put_lines(a, "set ", word, &labels, 0);
	return true;
}

void ack_ask(struct ack *a, struct span labels)
{
	if (!a->on)
		return;
	if (a->state != ACK_UP)
		trouble_set(&a->trouble, EXIT_TEMP, "the source has gone and cannot be asked");
	ack_client_end_list(a);
	put_lines(a, "also ", "", &labels, LINE_BYTES);
	buf_puts(&a->out, "offsets ");
	buf_puts(&a->out, a->run);
	if (labels.len)
		buf_putc(&a->out, ' ');
	buf_span(&a->out, labels);
	buf_putc(&a->out, '\n');
	a->questions++;
	a->has_reply = a->aborted = false;
}
