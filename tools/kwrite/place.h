/* SPDX-License-Identifier: ISC */
/* kwrite --txn --positions TOPIC: where a source without offsets of Kafka has come to. It is a text
 * of the source's, which is written to a compacted topic in the same transaction as the records,
 * and given back to the source when it is started again.
 *
 * DESIGN: the topic's partition 0 has a record for each transaction, with the transactional id as
 * its key; the last one that was committed counts. It stands near the end, so reading begins there,
 * and goes further back only when it is not found. The end is the partition's as it stands once
 * this kwrite's id has fenced all others: up to there nothing may be left undecided, so
 * transactions of other ids that are open there are waited for. */
#ifndef KWRITE_PLACE_H
#define KWRITE_PLACE_H

#include "base/buf.h"
#include "flow/sink.h"
#include "kafka/kafka.h"
#include "kafka/silence.h"
#include "kafka/topics.h"

#include <stdbool.h>
#include <stdint.h>

struct place {
	const char *name; /* of the topic; NULL: no place is kept */
	const char *id; /* the transactional id */
	struct topics *topics;
	/* internal */
	struct kafka *kafka; /* the producer; this and the sink are set by txn_open */
	struct sink *sink;
	struct topic *topic;
	struct kafka_conf conf; /* the reader's, until it is started */
	struct kafka reader;
	struct silence silence;
	rd_kafka_topic_t *rkt; /* the reader's */
	int look; /* how often it began to read */
	int64_t end; /* -1: not known yet */
	bool has_found, is_told;
	struct buf text; /* what was found last */
	struct buf value; /* what is written */
	unsigned out; /* messages without a report */
};

/* Prepares the reader; @base: the producer's configuration, before it is started. Returns 0, or -1
 * and why. */
int place_open(struct place *p, const struct kafka_conf *base, struct trouble *why);
/* Does a step of reading, which may take 100 ms; returns whether the source was told. Trouble is
 * the producer's. */
bool place_read(struct place *p);
/* Whether place_read has to wait for an event of the producer's. */
bool place_waits(const struct place *p);
/* Writes the text, in base64, within the transaction. Trouble is the producer's. */
void place_write(struct place *p, struct span base64);
static inline bool place_is_written(const struct place *p)
{
	return !p->out;
}
/* Takes a delivery report if it is of a place. */
bool place_takes(struct place *p, const rd_kafka_message_t *report);

#endif
