/* SPDX-License-Identifier: ISC */
/* The consumer group: partitions come and go, positions are committed. See group.c for the
 * rules. */
#ifndef EVPIPE_KREAD_GROUP_H
#define EVPIPE_KREAD_GROUP_H

#include "flow/source.h"
#include "kafka/kafka.h"
#include "kread/keeper.h"
#include "kread/move.h"
#include "kread/parts.h"
#include "kread/unheard.h"

#include <stdbool.h>
#include <stdint.h>

struct group {
	/* set by the program */
	const char *name; /* NULL: no group */
	/* positions: of what is final if the source replays, else of what has left the process */
	bool commit;
	struct kafka *kafka;
	struct parts *parts;
	struct source *source;
	struct keeper *keeper;
	const struct move *move; /* where to go on when the group has no position */
	int64_t poll_interval_ms; /* max.poll.interval.ms */
	/* Where a partition begins for which the group has no position; LATEST: only those that
	 * were there at the start, and only at the first assignment. */
	enum group_begin { GROUP_EARLIEST, GROUP_LATEST, GROUP_ERROR } begin;

	rd_kafka_queue_t *queue; /* events of the group; messages have a queue of their own */
	bool committing; /* a commit is not answered yet */
	/* internal */
	rd_kafka_queue_t *answers; /* to commits */
	bool commit_failed, commit_again; /* commit_again: with the same members it may succeed */
	struct listing listing; /* for positions */
	struct listing lookup; /* for what may have been meant by `missing` */
	struct unheard unheard;
	char *missing; /* a topic that does not exist, while all topics are asked for */
	bool subscribed, had_assignment;
	const struct rd_kafka_metadata *at_start; /* for LATEST */
	rd_kafka_topic_partition_list_t *arriving; /* partitions whose positions are asked for */
	bool arriving_cooperative;
	bool need_ids; /* of their topics */
	int64_t ask_ms; /* when to ask again */
	unsigned asks_failed; /* since the last answer */
	bool is_refused; /* the last commit, for good: the trouble is in kafka */
	int64_t forward_ms; /* when to look for partitions that were given again */
	bool no_metadata; /* the brokers take none with a commit */
	rd_kafka_topic_partition_list_t
		*past; /* up to where this process read partitions that it gave up */
	rd_kafka_topic_partition_list_t *leaving; /* partitions on their way out */
	bool leaving_cooperative, leaving_committed;
	int64_t leaving_retry_ms; /* when a commit that failed is tried again */
	int64_t leave_by_ms;
	bool closing; /* the group is being left */
	/* Rebalance callbacks still expected before partitions that we kept can be committed
	 * (librdkafka takes a commit under an old generation for the loss of all partitions), and
	 * until when to expect them. */
	int rejoining;
	int64_t rejoin_by_ms;
};

/* Makes the queues. The client must have group_on_rebalance for a callback. */
void group_open(struct group *g);
/* librdkafka gives or takes partitions; @err tells which. */
void group_on_rebalance(
	struct group *g, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list);
/* Reads auto.offset.reset and sets it to what reading needs: librdkafka goes to the beginning when
 * a position is no longer there (follow.h says the rest). */
void group_take_reset(struct group *g, struct kafka_conf *conf);
/* Appends the metadata that is to be committed with this position of @p: the marks of the records
 * below. */
void group_note(const struct group *g, struct kread_part *p, int64_t position, struct buf *out);
/* Commits without waiting, unless an answer is still out. */
void group_commit(struct group *g);
/* Subscribes; takes answers to commits; looks up positions of partitions that are given, and
 * releases those that are taken away. Call each turn. Dies with 100. */
void group_serve(struct group *g);
/* A topic of the subscription does not exist: group_serve tells it, once all topics are known. */
void group_misses(struct group *g, const char *topic);
/* Whether the message was taken before: a message that is taken while a rebalance pauses its
 * partition comes twice. The answer to a proof is none, though its offset is the same. Call with
 * each message of a partition before it is emitted. */
static inline bool group_again(struct kread_part *p, const rd_kafka_message_t *m)
{
	bool paused = p->paused && !p->proof;

	p->paused = false;
	return paused && m->offset == p->next - 1;
}
/* Keeps where reading of a partition ended that is given up. */
void group_remember(struct group *g, const struct kread_part *p);
/* Commits and leaves. Call each turn until it returns true: the group is left. */
bool group_leave(struct group *g);
/* Whether the group was left. If not, librdkafka must not be stopped: that would wait for the
 * same. */
bool group_is_left(const struct group *g);
/* Returns false when librdkafka must not be stopped: see listing_close. */
bool group_close(struct group *g);

#endif
