/* SPDX-License-Identifier: ISC */
#include "kwrite/partition.h"

#include "base/mem.h"
#include "base/wake.h"

enum { RUN_LENGTH = 300 };

/* The next partition for records without a key. */
static int32_t next_run(struct partition_state *s, const rd_kafka_topic_t *rkt, int32_t count)
{
	int32_t p = s->run_partition, next;

	if (s->run == s->all->run && s->run_length++ < RUN_LENGTH && p < count)
		return p;
	s->run = s->all->run;
	s->run_length = 1;
	p = next = (p + 1) % count;
	/* The next that has a leader; the next when none has one. */
	do {
		if (rd_kafka_topic_partition_available(rkt, p))
			break;
		p = (p + 1) % count;
	} while (p != next);
	s->run_partition = p;
	return p;
}

/* As murmur2_random, but for records without a key. */
static int32_t choose(const rd_kafka_topic_t *rkt, const void *key, size_t key_len, int32_t count,
	void *rkt_opaque, void *msg_opaque)
{
	struct partition_state *s = rkt_opaque;
	int32_t p;

	if (s->partitions != count)
		s->partitions = count;
	if (key)
		p = rd_kafka_msg_partitioner_murmur2_random(
			rkt, key, key_len, count, rkt_opaque, msg_opaque);
	else
		p = next_run(s, rkt, count);
	if (msg_opaque == s->first && msg_opaque)
		s->first_at = p;
	return p;
}

void partition_run_at(struct partition_state *s, int32_t partition)
{
	s->run_partition = partition - 1;
	s->run = s->all->run - 1;
}

int32_t partition_guess(const struct partition_state *s)
{
	int32_t count = s->partitions, p = s->run_partition;

	if (count == 0)
		return -1;
	if (s->run == s->all->run && s->run_length < RUN_LENGTH && p < count)
		return p;
	return (p + 1) % count;
}

void partition_prepare(void *partitioner, struct topic *t, rd_kafka_topic_conf_t *conf)
{
	struct partitioner *all = partitioner;
	struct partition_state *s = mem_alloc(sizeof(*s));

	*s = (struct partition_state){.all = all, .number = all->topics++};
	/* Start at a random partition: a program that runs once a record would always use the
	 * first. */
	s->run_partition = (int32_t)(wake_now_us() & 0xffff);
	t->own = s;
	if (!all->in_runs)
		return;
	rd_kafka_topic_conf_set_opaque(conf, s);
	rd_kafka_topic_conf_set_partitioner_cb(conf, choose);
}
