/* SPDX-License-Identifier: ISC */
/* To which partition records go.
 *
 * A record without a key may go anywhere. librdkafka sends ten milliseconds of them to one
 * partition chosen at random. That makes its batches uneven and costs a third more time than runs
 * of some hundred to each partition in turn (measured with 245 bytes, six partitions, 2.0.2). */
#ifndef EVPIPE_PARTITION_H
#define EVPIPE_PARTITION_H

#include "kafka/conf.h"
#include "kafka/topics.h"

#include <stdbool.h>
#include <stdint.h>

struct delivery;

struct partitioner {
	bool in_runs; /* else librdkafka chooses, as -X wants it */
	/* internal */
	int32_t (*hash)(const rd_kafka_topic_t *rkt, const void *key, size_t len, int32_t count,
		void *rkt_opaque, void *msg_opaque); /* NULL: no key says where a record goes */
	bool takes_none, takes_empty; /* a key that is not there, or empty, is as any other */
	_Atomic uint64_t run;
	size_t topics;
};

/* The state of one topic, in its `own`. Threads of librdkafka use the atomic members, too. */
struct partition_state {
	const struct partitioner *all;
	_Atomic uint64_t run, run_length;
	_Atomic int32_t run_partition;
	_Atomic int32_t partitions; /* as librdkafka has it; 0: not known */
	uint64_t turn;
	int32_t turn_partitions;
	uint32_t firsts_out; /* of first.c */
	/* A message of which it is wanted to which partition it goes, and where that is; -1: not
	 * known yet. */
	struct delivery *_Atomic first;
	_Atomic int32_t first_at;
	uint32_t strays; /* of batch.c */
	size_t number; /* of the topics, in the order of their first use */
};

/* Takes the place of the partitioner that @conf names, unless sticky.partitioning.linger.ms is set:
 * with that librdkafka spreads records without a key in its own way. */
void partition_open(struct partitioner *all, struct kafka_conf *conf);
/* Whether the key alone says to which partition a record goes. */
static inline bool partition_is_by_key(
	const struct partitioner *all, const void *key, size_t key_len)
{
	return all->hash && (key ? key_len || all->takes_empty : all->takes_none);
}
/* For topics_open; @partitioner is that. */
void partition_prepare(void *partitioner, struct topic *t, rd_kafka_topic_conf_t *conf);

/* A turn of the loop: the next record without a key begins another run. */
static inline void partition_next_run(struct partitioner *all)
{
	all->run++;
}

/* To which partition the next record without a key will go; -1: not known. Where it goes in the
 * end, run_partition tells once librdkafka has taken it. */
int32_t partition_guess(const struct partition_state *s);
/* It will go to this one, or to the next behind it that has a leader. */
void partition_run_at(struct partition_state *s, int32_t partition);

/* Among how many partitions keys choose, the same until partition_next_run; 0: not known. */
static inline int32_t partition_count(struct partition_state *p)
{
	if (p->turn != p->all->run)
		p->turn_partitions = p->partitions;
	p->turn = p->all->run;
	return p->turn_partitions;
}

#endif
