/* SPDX-License-Identifier: ISC */
/* What Kafka says in place of a message. */
#ifndef KREAD_REFUSAL_H
#define KREAD_REFUSAL_H

#include "flow/source.h"
#include "kread/group.h"
#include "kread/parts.h"

struct refusals {
	struct kafka *kafka;
	struct source *source;
	struct parts *parts;
	struct group *group;
	/* internal */
	rd_kafka_resp_err_t warned; /* what was warned of last */
};

/* Takes a message with an error: the reading ends, or goes on. Does not block. */
void refusal_take(struct refusals *r, const rd_kafka_message_t *m);

/* Brokers answer, but not a question for offsets: librdkafka says nothing of a partition that has
 * no leader. After two seconds that is told, once, until one is answered. */
void refusal_of_offsets(struct kafka *k, const struct listing *l, struct parts_failure *f);

#endif
