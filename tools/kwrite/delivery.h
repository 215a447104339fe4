/* SPDX-License-Identifier: ISC */
/* Records between their line and Kafka's answer. A delivery report only marks its record;
 * deliveries_judge looks at marked records in the order of input and refuses those that Kafka has
 * refused. */
#ifndef KWRITE_DELIVERY_H
#define KWRITE_DELIVERY_H

#include "flow/sink.h"
#include "kafka/kafka.h"
#include "kwrite/deadletters.h"
#include "kwrite/message.h"
#include "kwrite/stall.h"
#include "kwrite/txn.h"

#include <stdbool.h>
#include <stdint.h>

struct map_place;

/* A record on its way: the sink's slot, and where Kafka has it. */
struct delivery {
	struct sink_slot slot;
	struct topic *topic;
	size_t bytes; /* counted in topic->out_bytes */
	union {
		int64_t ts; /* until it is answered */
		int64_t offset;
	};
	char *text; /* to be freed: its dead letter */
	struct map_place *from; /* see map.h; NULL: no map is kept */
	int64_t from_offset;
	int32_t partition;
	rd_kafka_resp_err_t err;
	bool taken; /* by librdkafka: its partition was there */
	bool answered; /* Kafka has the record, or will not have it: err */
	bool is_first; /* see first.h */
	unsigned char tries; /* see anew.h */
};

struct anew;
struct blame;
struct firsts;
struct resend;

struct deliveries {
	struct sink *sink;
	struct kafka *kafka;
	struct deadletters *dead;
	struct txn *txn;
	struct resend *resend;
	struct anew *anew;
	struct firsts *firsts;
	struct blame *blame; /* takes the reports; NULL: none */
	struct stall *stall;
	bool raw; /* lines are payloads, not records */
	/* internal */
	uint64_t
		/* records before this one are done, refused, or wait for their dead letter */
		judged;
	size_t failed; /* records whose failure is not judged */
};

/* Takes the line of sink_next, which has become the message. NULL: it is another source's. */
struct delivery *deliveries_take(struct deliveries *ds, const struct message *m);
/* Hands the message to librdkafka, with its headers. false: there is no room. */
bool deliveries_produce(struct deliveries *ds, struct delivery *d, struct message *m);
/* The same with another client. Returns librdkafka's error, with which nothing is done. */
rd_kafka_resp_err_t deliveries_hand_over(
	rd_kafka_t *rk, rd_kafka_topic_t *rkt, struct delivery *d, struct message *m);
/* Takes a delivery report. @rk: of which client. */
void deliveries_report(struct deliveries *ds, const rd_kafka_t *rk, const rd_kafka_message_t *m);
/* Whether no broker has said that it has what is reported as written: that is trouble. */
bool deliveries_unproven(struct kafka *k, const rd_kafka_message_t *m);
/* As if Kafka had refused the record so. */
void deliveries_fail(struct deliveries *ds, struct delivery *d, rd_kafka_resp_err_t err);
/* Call each turn after reports were taken, and after messages were produced. */
void deliveries_judge(struct deliveries *ds);
/* Appends to @out the line of a delivered record with where it was written; a payload as it
 * came. */
void deliveries_hand_on(
	const struct deliveries *ds, const struct delivery *d, struct span line, struct buf *out);

#endif
