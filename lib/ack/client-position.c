/* SPDX-License-Identifier: ISC */
/* Positions that the sink keeps: where reading begins, and going back. */
#include "ack/client-parts.h"

void ack_keep_positions(struct ack *a, const struct ack_keeper *keeper, void *ctx)
{
	a->keeper = keeper;
	a->keeper_ctx = ctx;
}

bool ack_client_on_assigned(struct ack *a, struct span line)
{
	struct ack_assigned to;

	if (!a->keeper || !ack_place_take(&line, &to.topic, &to.partition) ||
		!ack_offset_take(&line, &to.low) || !ack_offset_take(&line, &to.high) ||
		!ack_offset_take(&line, &to.committed) || to.low < 0 || to.high < 0)
		return false;
	to.cluster = span_word(&line);
	if (!to.cluster.len)
		to.cluster = SPAN("-");
	a->keeper->assigned(a->keeper_ctx, &to);
	return true;
}

bool ack_client_on_from(struct ack *a, struct span line)
{
	struct span topic;
	int32_t partition;
	int64_t number;

	if (!a->keeper || !ack_place_take(&line, &topic, &partition) ||
		!ack_offset_take(&line, &number) || number < 1 || line.len)
		return false;
	a->keeper->from(a->keeper_ctx, topic, partition, (uint64_t)number);
	return true;
}

static void say(
	struct ack *a, const char *word, struct span topic, int32_t partition, int64_t offset)
{
	if (a->state != ACK_UP)
		return;
	ack_client_end_list(a);
	buf_printf(
		&a->out, "%s %s %.*s %d ", word, a->run, (int)topic.len, topic.p, (int)partition);
	ack_offset_put(&a->out, offset);
	buf_putc(&a->out, '\n');
}

void ack_keep_place(struct ack *a)
{
	a->keeps_place = true;
}

void ack_place(struct ack *a, struct span text)
{
	if (a->state != ACK_UP)
		return;
	ack_client_end_list(a);
	buf_printf(&a->out, "place %s ", a->run);
	if (text.p)
		buf_base64(&a->out, text.p, text.len);
	else
		buf_putc(&a->out, '-');
	buf_putc(&a->out, '\n');
}

void ack_start(struct ack *a, struct span topic, int32_t partition, int64_t offset)
{
	say(a, "start", topic, partition, offset);
}

void ack_back(struct ack *a, struct span topic, int32_t partition, int64_t offset)
{
	say(a, "back", topic, partition, offset);
}
