/* SPDX-License-Identifier: ISC */
#include "ack/list.h"

#include "base/msg.h"
#include "json/json.h"

static void put_space(struct buf *b)
{
	if (b->len)
		buf_putc(b, ' ');
}

struct span ack_list_text(struct ack_list *l)
{
	if (l->from) {
		put_space(&l->text);
		buf_int(&l->text, (int64_t)l->from);
		if (l->to > l->from) {
			buf_putc(&l->text, '-');
			buf_int(&l->text, (int64_t)l->to);
		}
	}
	l->from = l->to = 0;
	return buf_as_span(&l->text);
}

void ack_list_add(struct ack_list *l, const struct ack_label *label)
{
	if (label->number) {
		if (!l->from || label->number != l->to + 1) {
			ack_list_text(l);
			l->from = label->number;
		}
		l->to = label->number;
	} else if (label->text.p) {
		ack_list_text(l);
		put_space(&l->text);
		/* Some encoders write "1.2\/3". */
		if (json_unescape(&l->text, label->text))
			die(EXIT_TEMP, "a label holds half of a surrogate pair");
	}
}

void ack_list_clear(struct ack_list *l)
{
	buf_clear(&l->text);
	l->from = l->to = 0;
}

void ack_list_free(struct ack_list *l)
{
	buf_free(&l->text);
	l->from = l->to = 0;
}
