/* SPDX-License-Identifier: ISC */
/* kwrite --dead-letter kafka:TOPIC: dead letters are messages without a key, in the order of input,
 * and their records are done once the brokers have them. A dead letter that cannot be written ends
 * the program: it is never lost, nor skipped.
 *
 * Nothing is read before the topic is known to exist. */
#ifndef KWRITE_DEADLETTERS_H
#define KWRITE_DEADLETTERS_H

#include "kafka/kafka.h"
#include "kwrite/message.h"

#include <stdbool.h>

struct delivery;

struct deadletters {
	const char *name; /* of their topic; NULL: none, and all functions do nothing */
	struct kafka *kafka;
	struct topics *topics;
	bool compressed; /* how long a letter may be is for the broker to say */
	struct topic *topic; /* internal: the same, once it was asked about */
};

/* Whether the topic is known to take them. Sets kafka's trouble when it is known not to. */
bool deadletters_ready(struct deadletters *l);
/* Whether one more fits: a batch must not grow over what the topic takes. */
static inline bool deadletters_have_room(const struct deadletters *l)
{
	const struct topic *t = l->topic;

	return !t || t->limit >= BATCH_BYTES || !t->out_bytes;
}
/* Produces the dead letter of a record. */
void deadletters_produce(struct deadletters *l, struct delivery *d, struct span letter);
/* Takes its delivery report. */
void deadletters_report(struct deadletters *l, struct delivery *d, rd_kafka_resp_err_t err);

#endif
