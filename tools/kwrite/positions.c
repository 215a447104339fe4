/* SPDX-License-Identifier: ISC */
#include "kwrite/positions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEND_MS = 10000 }; /* rd_kafka_send_offsets_to_transaction cannot be resumed */

void positions_open(struct positions *p, struct kafka *k)
{
	*p = (struct positions){.kafka = k};
}

/* @offset: "O" or "O,BASE64": the position, and what the source wants to be kept with it. */
static void add(rd_kafka_topic_partition_list_t *list, struct span topic, struct span partition,
	struct span offset)
{
	const char *comma = memchr(offset.p, ',', offset.len);
	rd_kafka_topic_partition_t *to;
	struct buf note = {0};
	char name[256];

	snprintf(name, sizeof(name), "%.*s", (int)topic.len, topic.p);
	/* A space, a comma or the NUL behind the text ends each number. */
	to = rd_kafka_topic_partition_list_add(list, name, (int32_t)strtol(partition.p, NULL, 10));
	to->offset = strtoll(offset.p, NULL, 10);
	if (comma)
		buf_unbase64(&note,
			(struct span){comma + 1, offset.len - (size_t)(comma + 1 - offset.p)});
	to->metadata = note.p; /* freed with the list */
	to->metadata_size = note.len;
}

static rd_kafka_error_t *send_offsets(void *positions)
{
	struct positions *p = positions;

	return rd_kafka_send_offsets_to_transaction(p->kafka->rk, p->list, p->group, SEND_MS);
}

struct span positions_cluster(struct span reply)
{
	struct span group = span_word(&reply);
	const char *comma = group.len ? memchr(group.p, ',', group.len) : NULL;

	return comma ? (struct span){comma + 1, group.len - (size_t)(comma + 1 - group.p)}
		     : (struct span){0};
}

bool positions_send(struct positions *p, struct span rest)
{
	struct span base64 = span_word(&rest), cluster = positions_cluster(base64);
	rd_kafka_error_t *error = NULL;
	struct buf bytes = {0};

	p->list = rd_kafka_topic_partition_list_new(16);
	p->group = NULL;
	if (cluster.len)
		base64.len -= cluster.len + 1;
	if (buf_unbase64(&bytes, base64) == 0)
		error = rd_kafka_consumer_group_metadata_read(&p->group, bytes.p, bytes.len);
	buf_free(&bytes);
	while (rest.len && p->group) {
		struct span topic = span_word(&rest), partition = span_word(&rest),
			    offset = span_word(&rest);

		if (!offset.len)
			break;
		add(p->list, topic, partition, offset);
	}
	if (p->group && p->list->cnt)
		call_start(&p->call, p->kafka, send_offsets, p);
	else
		call_answer(&p->call, error);
	return p->group || error;
}

static void release(struct positions *p)
{
	if (p->group)
		rd_kafka_consumer_group_metadata_destroy(p->group);
	rd_kafka_topic_partition_list_destroy(p->list);
}

bool positions_take(struct positions *p)
{
	if (!call_take(&p->call))
		return false;
	release(p);
	return true;
}

void positions_drop(struct positions *p)
{
	/* librdkafka keeps to its time, or it is stuck for good. */
	if (!call_wait(&p->call, 2 * SEND_MS))
		return;
	release(p);
	if (p->call.error)
		rd_kafka_error_destroy(p->call.error);
}
