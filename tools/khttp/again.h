/* SPDX-License-Identifier: ISC */
/* A broker judges a batch as a whole, and a batch has records of several requests. So each record of a refused batch is sent
 * again by itself, by a second client whose batches have one record, and that answer counts. They go in the order of their
 * refusal; what was sent behind them meanwhile may stand before them. */
#ifndef KHTTP_AGAIN_H
#define KHTTP_AGAIN_H

#include "kafka/kafka.h"

#include <stdbool.h>
#include <stddef.h>

struct khttp;

struct again {
	/* internal */
	struct khttp *k;
	struct kafka client;
	bool started, failed;
	size_t out; /* records that it has */
};

/* Takes over a record that the first client reports as refused with its batch: @m->_private comes back with the second's
 * report. False: the report counts, or @rk is the second client. */
bool again_takes(struct again *a, const rd_kafka_t *rk, const rd_kafka_message_t *m);
/* Takes reports. Call each turn. */
void again_serve(struct again *a);
void again_close(struct again *a);

#endif
