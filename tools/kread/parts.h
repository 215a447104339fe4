/* SPDX-License-Identifier: ISC */
/* The partitions that are read, and from where to where. Ranges are resolved to offsets before the
 * first record is read: a reading that has an end then ends whatever happens to the topic. */
#ifndef EVPIPE_KREAD_PARTS_H
#define EVPIPE_KREAD_PARTS_H

#include "ack/ledger.h"
#include "base/buf.h"
#include "flow/source.h"
#include "kafka/kafka.h"
#include "kafka/listing.h"
#include "kread/ids.h"
#include "kread/marks.h"
#include "kread/offsets.h"
#include "kread/place.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of whether the log is the one that was read (follow.h). DUE: librdkafka does not know the
 * partition now. */
enum kread_proof { KREAD_PROOF_NONE, KREAD_PROOF_DUE, KREAD_PROOF_ASKED };

/* A partition that is read. Offsets are -1 while not known. */
struct kread_part {
	char *topic;
	int32_t partition;
	rd_kafka_topic_t *rkt; /* without a group: what rd_kafka_consume_start was given */
	int64_t given; /* where librdkafka was told to begin; maybe a logical offset */
	int64_t begin; /* records before it are left out */
	int64_t end; /* done when it is reached */
	int64_t next; /* after the last record that was emitted */
	int64_t flushed_next; /* `next` as of the last time all output had been written */
	int64_t committed; /* or asked to be; -1 after a commit that failed */
	int64_t stored; /* what the broker has said that it has, or has no topic for */
	uint64_t flushes; /* source.flushes when `next` changed last */
	bool fresh; /* its offsets have to be asked for */
	bool done; /* has reached its end */
	bool leaving; /* it is taken away: its records are no longer emitted */
	bool given_again; /* it was assigned while it was ours, and no message has come since */
	bool paused; /* by a rebalance, and no message has come since */
	/* Whether what comes follows what was read (follow.h). */
	struct marks marks; /* of records that were read */
	char id[MARKS_ID_SIZE]; /* of the topic that they are of; "": not known */
	char past_id[MARKS_ID_SIZE]; /* that it had before */
	unsigned id_since; /* it is taken from the answer to a later question than this */
	unsigned sought; /* parts.pulls when librdkafka was told last to seek */
	enum kread_proof proof;
	bool prove_again; /* kafka_changes has moved meanwhile */
	int repeats; /* of the proof, for that reason */
	int64_t hold_ms; /* until then there is no other proof */
	bool end_seen; /* in place of the record that was asked for, the end of the log has come */
	struct kread_mark tried; /* what the record that was asked for is compared with */
	int64_t same, other; /* up to here the log is the same, from here on another */
	int64_t replayed; /* the last offset that came again after a proof; -1 */
	struct ledger_part *account; /* with a socket */
	uint64_t covered; /* how many of its records the last commit asked for covers */
	struct buf head; /* {"topic":"x","partition":3,"offset": */
};

struct parts_failure {
	int64_t since_ms; /* since when all have failed; 0: the last one has not */
	bool told;
};

/* Questions to the brokers, and their answers, about partitions that are being resolved. */
struct parts_questions {
	struct listing listing;
	int topics_known; /* of the command line */
	rd_kafka_resp_err_t told; /* why it was asked again */
	struct parts_failure failure; /* of a question for offsets */
	bool misses_topic; /* one of them does not exist: all are asked for */
	rd_kafka_topic_partition_list_t *low, *high, *from, *until;
};

struct parts {
	/* set by the program */
	struct kafka *kafka;
	rd_kafka_queue_t *messages; /* where those of all partitions go */
	struct source *source; /* whose ledger has an account of each partition */
	const char **topics; /* names, or "^regex" */
	int topic_count;
	const char *partitions; /* "0,3-5" or NULL */
	struct kread_place from, until;
	struct offsets list; /* goes before `from` */
	bool has_until, to_end, follow_new;
	bool places_alone; /* partitions are resolved, and not fetched */

	struct kread_part *parts; /* by topic and partition */
	size_t part_count;
	unsigned pulls; /* how many times messages were taken from librdkafka */
	const char *gap_stops; /* the option by which a gap ends reading; NULL: none */
	unsigned
		/* kafka_changes when proofs were asked for last */
		changes;
	struct ids ids;
	unsigned
		/* the same when they were asked for last */
		ids_changes;
	int64_t ids_ms; /* when they are asked for again */
	uint64_t gaps, lost; /* counters: lost counts records */
	bool known; /* the group has assigned partitions, or all ranges are resolved */
	/* for -e, of partitions just assigned: nothing is taken before they are known */
	bool need_ends;
	/* internal */
	struct parts_questions questions;
	/* the partition of the message before */
	struct kread_part *last;
	const rd_kafka_topic_t *last_rkt;
};

/* Checks the form of -p. Dies with 100. */
void parts_check_list(const char *text);

/* NULL: not read (any more). */
struct kread_part *parts_find(const struct parts *r, const char *topic, int32_t partition);
/* The same for a message. Call parts_new_batch between batches: it remembers librdkafka's
 * pointers. */
static inline struct kread_part *parts_of(struct parts *r, const rd_kafka_message_t *m)
{
	if (!r->last || m->rkt != r->last_rkt || m->partition != r->last->partition) {
		r->last = parts_find(r, rd_kafka_topic_name(m->rkt), m->partition);
		r->last_rkt = m->rkt;
	}
	return r->last;
}
static inline void parts_new_batch(struct parts *r)
{
	r->last = NULL;
}
/* Pointers to other partitions move, here and in parts_remove. */
struct kread_part *parts_add(struct parts *r, const char *topic, int32_t partition);
void parts_remove(struct parts *r, struct kread_part *p);
/* Its present assignment ends; the next begins at @next, -1: at its beginning. Its end, if it has
 * one, is asked for anew. */
void parts_restart(struct parts *r, struct kread_part *p, int64_t next);
/* The end of @p is reached: it is not fetched any more. */
void parts_done(struct parts *r, struct kread_part *p);
/* Stops fetching, or resumes it. librdkafka remembers this beyond the assignment. */
void parts_pause(struct parts *r, const struct kread_part *p, bool pause);
/* The next record to emit is at @next. */
static inline void parts_advance(const struct parts *r, struct kread_part *p, int64_t next)
{
	if (p->flushes != r->source->flushes) {
		p->flushes = r->source->flushes;
		p->flushed_next = p->next;
	}
	p->next = next;
}
/* librdkafka says that the end of a partition is at the message's offset. */
void parts_eof(struct parts *r, const rd_kafka_message_t *m);
bool parts_all_done(const struct parts *r);
/* Looks the topics up, resolves the ranges of partitions not known before, and starts them. Returns
 * false until it is done: call it again when librdkafka has woken the loop, and a little later when
 * no question is out. Dies with 100. */
bool parts_resolve(struct parts *r);
/* Asks for the ends of partitions that have none, for -e. As above. */
bool parts_find_ends(struct parts *r);
static inline bool parts_is_asking(const struct parts *r)
{
	return listing_is_out(&r->questions.listing);
}
/* Appends, to the source's output, where the next reading would go on: at the end of each partition
 * where it has one, else where it begins. */
void parts_print_places(const struct parts *r);
/* Tells the metrics how far behind each partition is. */
void parts_lag(const struct parts *r);

#endif
