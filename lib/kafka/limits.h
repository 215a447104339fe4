/* SPDX-License-Identifier: ISC */
/* What the configurations of a topic and of a broker say of the records that they take. */
#ifndef EVPIPE_LIMITS_H
#define EVPIPE_LIMITS_H

#include "kafka/kafka.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct topic;

/* Of the brokers: one is asked for all. At a request that is larger than its
 * socket.request.max.bytes a broker ends the connection, and says nothing. */
struct limits {
	size_t batch_max; /* that a request has room for; 0: not known */
	bool is_known; /* as far as it can be: a broker has answered, or may not */
	/* internal */
	struct kafka *kafka;
	rd_kafka_queue_t *answers;
};

void limits_open(struct limits *l, struct kafka *k);
void limits_close(struct limits *l);
/* Asks the broker of that number. One question at a time. */
void limits_ask(struct limits *l, int32_t broker);
/* Takes the answer. false: there is none, or not yet. */
bool limits_take(struct limits *l);
/* Takes over what the topic's configuration says. */
void limits_of_topic(
	const struct limits *l, struct topic *t, const rd_kafka_ConfigResource_t *config);

#endif
