/* SPDX-License-Identifier: ISC */
/* Why records wait although brokers answer: librdkafka sends again what a broker refuses for the
 * time being, and keeps what has no leader, without a word. Says once of each partition what holds
 * it up, and once when it goes on. While no record is on its way, asks whether brokers answer. */
#ifndef KWRITE_STALL_H
#define KWRITE_STALL_H

#include "flow/sink.h"
#include "kafka/kafka.h"
#include "kafka/listing.h"

#include <stdbool.h>
#include <stdint.h>

enum { STALL_MAX = 64 }; /* partitions told of at a time; of more nothing is said */

struct stall {
	/* internal */
	struct kafka *kafka;
	const struct sink *sink;
	struct listing listing;
	struct stalled {
		char topic[256];
		int32_t partition; /* -1: of the topic it is not known which one */
		char why[200];
		int64_t seen_ms;
	} list[STALL_MAX];
	int count;
	uint64_t head; /* of the sink, when it last moved … */
	int64_t since_ms, asked_ms; /* … and when that was; the last question for metadata */
};

/* Call once @k is started. */
void stall_open(struct stall *st, struct kafka *k, const struct sink *s);
/* Call each turn, with whether Kafka answers. */
void stall_serve(struct stall *st, bool up, int64_t now_ms);
/* A record was written. */
void stall_written(struct stall *st, const char *topic, int32_t partition);
/* Whether stall_written has something to do. */
static inline bool stall_listens(const struct stall *st)
{
	return st->count;
}
/* Returns false while a question is out: see listing_close. */
bool stall_close(struct stall *st);

#endif
