/* SPDX-License-Identifier: ISC */
/* Positions are committed. */
#include "khttp/instance.h"

#include "kafka/generation.h"

static bool has_moved(const struct consumer_part *p)
{
	return p->next >= 0 && p->next != p->committed;
}

/* librdkafka takes the answer to a commit under a past generation for the loss of all, and joins
 * anew: what is sent while it joins would let no joining end. */
static bool is_outside(const struct instance *i)
{
	return (i->mode == MODE_TOPICS || i->mode == MODE_PATTERN) &&
		(i->all->now_ms < i->rejoin_by_ms || !generation_held(i->kafka.rk, NULL));
}

uint64_t commit_send(
	struct instance *i, const rd_kafka_topic_partition_list_t *list, rd_kafka_resp_err_t *err)
{
	rd_kafka_topic_partition_list_t *own = rd_kafka_topic_partition_list_new(8);
	bool some;

	for (struct consumer_part *p = i->parts; !list && p < i->parts + i->part_count; p++)
		if (p->next >= 0)
			rd_kafka_topic_partition_list_add(own, p->topic, p->partition)->offset =
				p->next;
	some = list || own->cnt;
	*err = some && is_outside(i) ? RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION
				     : RD_KAFKA_RESP_ERR_NO_ERROR;
	if (some && !*err)
		*err = rd_kafka_commit_queue(i->kafka.rk, list ? list : own, i->answers, NULL,
			(void *)(uintptr_t)(i->commits + 1));
	rd_kafka_topic_partition_list_destroy(own);
	return some && !*err ? ++i->commits : 0;
}

void commit_moved(struct instance *i)
{
	bool moved = false;
	rd_kafka_resp_err_t err;

	for (size_t n = 0; n < i->part_count; n++)
		moved = moved || has_moved(&i->parts[n]);
	if (!moved || i->own_commit)
		return;
	i->own_commit = commit_send(i, NULL, &err);
	for (size_t n = 0; i->own_commit && n < i->part_count; n++)
		i->parts[n].committed = i->parts[n].next;
}

void commit_positions(struct instance *i)
{
	if (!i->leaving)
		commit_moved(i);
}
