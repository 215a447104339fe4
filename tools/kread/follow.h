/* SPDX-License-Identifier: ISC */
/* Whether what comes of a partition follows what was read of it. What does not is a gap: an error
 * message, a count, and with --on-gap stop the end.
 *
 * - Records that were deleted before they were read: the log begins behind the position.
 * - A position beyond the end, or one that no longer names the record it was taken behind: the log
 *   was
 *   truncated (an unclean election of a leader), or the topic was deleted and made anew. Then
 *   reading goes back
 *   to where the logs part, as far as marks tell (kread/marks.h), or to the beginning.
 *
 * When a position comes from a commit, reading begins at the record before it, which is compared
 * with its mark and left out: this is the proof. It is asked for anew when librdkafka has got
 * metadata, since it asks for them after each error of a fetch: after a change of the leader, and
 * after a topic was deleted; and when it has a new connection, since a broker that starts again may
 * have lost a tail, and metadata may come after records. librdkafka fetches by the topic's name up
 * to 2.9, and at the old position later too, and tells nothing of the change. Where changes come
 * faster than fetches are answered, records would never come: after some proofs in a row there is
 * none for two seconds.
 *
 * Where topics have ids (kread/ids.h) they are compared too, at each assignment and every ten
 * seconds: a topic with another id is read from its beginning, also where its records are alike or
 * were compacted away. */
#ifndef EVPIPE_KREAD_FOLLOW_H
#define EVPIPE_KREAD_FOLLOW_H

#include "base/opt.h"
#include "kread/parts.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

/* Reads --on-gap, NULL or an option's value, and registers the counters. Dies with 100. */
void follow_open(struct parts *r, const char *on_gap);
/* Reading of @p begins at the position @next, which a commit with this metadata has named. Returns
 * the offset to fetch from. */
int64_t follow_begin(
	struct parts *r, struct kread_part *p, int64_t next, const void *metadata, size_t size);
/* Asks for the ids of the topics that are read, and of those of @more, if there is @need, which is
 * no more then. Returns whether an answer is waited for, a second at most. */
bool follow_waits_for_ids(struct parts *r, const rd_kafka_topic_partition_list_t *more, bool *need);
/* @p is new: it is of the topic with the id that the last answer has. */
void follow_identify(const struct parts *r, struct kread_part *p);
/* Takes the answer, and reads a topic that has another id than before from its beginning; asks anew
 * when it is time to, with the topics of @more. follow_tick does it too. */
void follow_ids(struct parts *r, const rd_kafka_topic_partition_list_t *more);
/* Asks for the proof of each partition. */
void follow_prove(struct parts *r);
/* The same when kafka_changes has moved since the last time: librdkafka fetches again then, perhaps
 * of another log. Returns whether a message in hand, of @p (NULL: of none), may be of the log
 * before: it was taken before librdkafka was told to seek. One of a partition whose proof was asked
 * for earlier answers that. Call with each message. */
static inline bool follow_changes(struct parts *r, const struct kread_part *p)
{
	unsigned changes = kafka_changes(r->kafka);
	bool answers = p && p->proof == KREAD_PROOF_ASKED;

	if (changes == r->changes)
		return false;
	r->changes = changes;
	follow_prove(r);
	return p && p->proof && !answers;
}
/* Asks for the proofs that are due by kafka_changes, though no message has come since, and again
 * for those that could not be asked for. Call from time to time, with no message in hand. */
void follow_tick(struct parts *r);
/* The partition has no position, although this process has read it up to @next: it was made
 * anew. */
void follow_anew(struct parts *r, const char *topic, int32_t partition, int64_t next);

/* The sink has lost what it had from @next on: reading goes back there. */
void follow_back(struct parts *r, struct kread_part *p, int64_t next);

/* The records @from to @to - 1 were deleted before they were read. Returns whether reading may go
 * on, at @to. */
bool follow_lost(struct parts *r, const struct kread_part *p, int64_t from, int64_t to);

/* Use follow_takes. */
bool follow_judge(
	struct parts *r, struct kread_part *p, int64_t offset, const rd_kafka_message_t *m);
/* Whether the record @m at @offset is to be emitted; @m NULL: whether the end of the log is at
 * @offset. Moves p->next if reading goes back. */
static inline bool follow_takes(
	struct parts *r, struct kread_part *p, int64_t offset, const rd_kafka_message_t *m)
{
	return (offset == p->next && !p->proof) || follow_judge(r, p, offset, m);
}

#endif
