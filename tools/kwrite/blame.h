/* SPDX-License-Identifier: ISC */
/* Which record of a refused batch is at fault, in a transaction.
 *
 * After a refusal a transaction can only be aborted, and with it the program ends. To name the
 * record, the batch's records are tried: each half in a transaction of its own that is aborted,
 * then the halves of the refused half, down to one record. Newer versions of librdkafka know the
 * record from the broker. */
#ifndef KWRITE_BLAME_H
#define KWRITE_BLAME_H

#include "kwrite/delivery.h"

struct blame {
	rd_kafka_t *rk;
	struct txn *txn;
	const struct sink *sink;
	struct shape *shape; /* of records that are made again */
	struct delivery **tried; /* the batch's records */
	size_t count, out;
	bool refused; /* one of those that were tried last */
	int64_t until_ms; /* then it gives up */
};

/* Aborts the transaction in which @d was refused together with others, and returns the first of
 * these that is refused alone; NULL: none is, or Kafka does not answer in time. Blocks for seconds,
 * 20 at most; delivery reports come through ds->blame. */
struct delivery *blame_find(struct deliveries *ds, struct delivery *d);
/* Takes a delivery report. */
void blame_report(struct blame *b, const rd_kafka_message_t *m);

#endif
