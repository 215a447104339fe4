/* SPDX-License-Identifier: ISC */
/* The consumer group: partitions come and go, positions are committed. See group.c for the rules. */
#ifndef EVPIPE_KREAD_GROUP_H
#define EVPIPE_KREAD_GROUP_H

#include "flow/source.h"
#include "kafka/kafka.h"
#include "kread/parts.h"

#include <stdbool.h>
#include <stdint.h>

struct group {
	/* set by the program */
	const char *name; /* NULL: no group */
	bool commit; /* positions: of what is final if the source replays, else of what has left the process */
	struct kafka *kafka;
	struct parts *parts;
	struct source *source;
	int64_t poll_interval_ms; /* max.poll.interval.ms */

	rd_kafka_queue_t *queue; /* events of the group; messages have a queue of their own */
	bool committing; /* a commit is not answered yet */
	/* internal */
	rd_kafka_queue_t *answers; /* to commits */
	bool commit_failed, commit_again; /* commit_again: with the same members it may succeed */
	rd_kafka_topic_partition_list_t *leaving; /* partitions on their way out */
	bool leaving_cooperative, leaving_committed;
	int64_t leaving_retry_ms; /* when a commit that failed is tried again */
	int64_t leave_by_ms;
	bool closing; /* the group is being left */
	/* Rebalance callbacks still expected before partitions that we kept can be committed (librdkafka takes
	 * a commit under an old generation for the loss of all partitions), and until when to expect them. */
	int rejoining;
	int64_t rejoin_by_ms;
};

/* Makes the queues. The client must have group_on_rebalance for a callback. */
void group_open(struct group *g);
/* librdkafka gives or takes partitions; @err tells which. */
void group_on_rebalance(
	struct group *g, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list);
/* Dies with 100. */
void group_subscribe(struct group *g);
/* Commits without waiting, unless an answer is still out. */
void group_commit(struct group *g);
/* Takes answers to commits, and releases partitions that are taken away. Call each turn. */
void group_serve(struct group *g);
/* Whether the message was taken before: a message that is taken while a rebalance pauses its partition comes
 * twice. Call with each message of a partition before it is emitted. */
static inline bool group_again(struct kread_part *p, const rd_kafka_message_t *m)
{
	bool paused = p->paused;

	p->paused = false;
	return paused && m->offset == p->next - 1;
}
/* Commits and leaves. Call each turn until it returns true: the group is left. */
bool group_leave(struct group *g);
/* Whether the group was left. If not, librdkafka must not be stopped: that would wait for the same. */
bool group_is_left(const struct group *g);
void group_close(struct group *g);

#endif
