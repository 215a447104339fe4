/* SPDX-License-Identifier: ISC */
/* DESIGN: as in kafka/listing: while positions are out their thread owns error, list and group;
 * `answered` hands them back. The thread takes no signals: they are the loop's. */
#include "kwrite/positions.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static void *run(void *positions)
{
	struct positions *p = positions;
	int wake_fd = p->kafka->wake_in;

	p->error = rd_kafka_send_offsets_to_transaction(p->kafka->rk, p->list, p->group, SEND_MS);
	p->answered = true;
	/* A full pipe wakes the loop, too. */
	if (write(wake_fd, "", 1) < 0)
		return NULL;
	return NULL;
}

static void start(struct positions *p)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	p->has_thread = pthread_create(&p->thread, NULL, run, p) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!p->has_thread)
		run(p);
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
	struct buf bytes = {0};

	p->list = rd_kafka_topic_partition_list_new(16);
	p->group = NULL;
	p->error = NULL;
	p->is_out = true;
	p->answered = false;
	if (cluster.len)
		base64.len -= cluster.len + 1;
	if (buf_unbase64(&bytes, base64) == 0)
		p->error = rd_kafka_consumer_group_metadata_read(&p->group, bytes.p, bytes.len);
	buf_free(&bytes);
	while (rest.len && p->group) {
		struct span topic = span_word(&rest), partition = span_word(&rest),
			    offset = span_word(&rest);

		if (!offset.len)
			break;
		add(p->list, topic, partition, offset);
	}
	if (p->group && p->list->cnt)
		start(p);
	else
		p->answered = true;
	return p->group || p->error;
}

bool positions_are_out(const struct positions *p)
{
	return p->is_out && !p->answered;
}

bool positions_take(struct positions *p)
{
	if (!p->is_out || !p->answered)
		return false;
	if (p->has_thread)
		pthread_join(p->thread, NULL);
	p->has_thread = p->is_out = false;
	if (p->group)
		rd_kafka_consumer_group_metadata_destroy(p->group);
	rd_kafka_topic_partition_list_destroy(p->list);
	return true;
}

void positions_drop(struct positions *p)
{
	if (p->has_thread)
		pthread_join(p->thread, NULL);
	p->has_thread = false;
	if (positions_take(p) && p->error)
		rd_kafka_error_destroy(p->error);
}
