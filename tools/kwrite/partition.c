/* SPDX-License-Identifier: ISC */
#include "kwrite/partition.h"

#include "base/mem.h"
#include "base/wake.h"

#include <string.h>

enum { RUN_LENGTH = 300 };

void partition_open(struct partitioner *all, struct kafka_conf *conf)
{
	static const struct {
		const char *name;
		struct partitioner is;
	} list[] = {
		{"murmur2_random", {.hash = rd_kafka_msg_partitioner_murmur2, .takes_empty = true}},
		{"consistent_random", {.hash = rd_kafka_msg_partitioner_consistent}},
		{"fnv1a_random", {.hash = rd_kafka_msg_partitioner_fnv1a, .takes_empty = true}},
		{"murmur2",
			{.hash = rd_kafka_msg_partitioner_murmur2,
				.takes_none = true,
				.takes_empty = true}},
		{"consistent",
			{.hash = rd_kafka_msg_partitioner_consistent,
				.takes_none = true,
				.takes_empty = true}},
		{"fnv1a",
			{.hash = rd_kafka_msg_partitioner_fnv1a,
				.takes_none = true,
				.takes_empty = true}},
		{"random", {.hash = NULL}},
	};
	const char *name;

	/* 10 is librdkafka's default. */
	if (kafka_conf_int(conf, "sticky.partitioning.linger.ms") != 10)
		return;
	name = kafka_conf_text(conf, "partitioner");
	for (size_t i = 0; i < sizeof(list) / sizeof(*list) && !all->in_runs; i++)
		if (strcmp(name, list[i].name) == 0) {
			*all = list[i].is;
			all->in_runs = true;
		}
	if (all->in_runs)
		rd_kafka_conf_set(conf->rd, "sticky.partitioning.linger.ms", "0", NULL, 0);
}

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

/* As the partitioner whose place it takes, but for records that no key sends anywhere. */
static int32_t choose(const rd_kafka_topic_t *rkt, const void *key, size_t key_len, int32_t count,
	void *rkt_opaque, void *msg_opaque)
{
	struct partition_state *s = rkt_opaque;
	int32_t p;

	if (s->partitions != count)
		s->partitions = count;
	if (partition_is_by_key(s->all, key, key_len))
		p = s->all->hash(rkt, key, key_len, count, rkt_opaque, msg_opaque);
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
