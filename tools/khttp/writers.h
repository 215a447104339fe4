/* SPDX-License-Identifier: ISC */
/* The producers: one for all requests; one for requests with an Idempotency-Key, which tries for as
 * long as the key is remembered; one that sends a record by itself.
 *
 * A producer that librdkafka has given up, or that has lost a record of which nobody knows whether
 * Kafka has it, takes no more records: librdkafka would hold all of its partitions until the broker
 * that does not answer has answered. Another one takes its place, and it ends when the last of its
 * records is answered for. */
#ifndef KHTTP_WRITERS_H
#define KHTTP_WRITERS_H

#include "khttp/records.h"

#include "kafka/kafka.h"

#include <stdbool.h>
#include <stdint.h>

struct khttp;
struct writers;

enum writer_kind {
	WRITER_PLAIN,
	WRITER_PATIENT, /* its records have IDEM_TTL_MS */
	WRITER_SINGLE, /* a batch has one record */
	WRITER_KINDS
};

/* @fn is called for each record with Kafka's report: in it writers_takes must be asked first.
 * Starts the first producer; dies with 100 or 111 when that cannot be. */
typedef void writers_fn(rd_kafka_t *rk, const rd_kafka_message_t *m, void *writer);
struct writers *writers_open(struct khttp *k, writers_fn *fn);
/* The topic, for writers_send until the loop turns. NULL: *@err says why there is none. */
rd_kafka_topic_t *writers_topic(
	struct writers *ws, enum writer_kind kind, const char *name, rd_kafka_resp_err_t *err);
/* Whether a broker takes a request with the record, as far as is known. One that is too large holds
 * up all behind it: the broker ends the connection and says nothing. Then the limit is asked for
 * anew. */
bool writers_fits(struct writers *ws, const struct message *m);
/* The largest batch; 0: not known. */
size_t writers_batch_max(const struct writers *ws);
/* Sends a record, whose headers it takes over when it succeeds; @opaque is `_private` of the
 * report. */
rd_kafka_resp_err_t writers_send(struct writers *ws, enum writer_kind kind, rd_kafka_topic_t *rkt,
	struct message *m, void *opaque);
/* Looks at a report. True: the record is sent anew, and another report will come. It was refused as
 * one of a batch; or its producer has ended before it was sent, and it (@age_ms) is younger than
 * message.timeout.ms, or than a few seconds where Kafka was silent. @timestamp: the record's, which
 * a report of an error does not tell. */
bool writers_takes(const rd_kafka_message_t *m, void *writer, int64_t timestamp, int64_t age_ms);
/* Why the record of that report has failed: the error that has ended its producer, if that is the
 * cause; also where librdkafka says that it is written, and no broker does. */
rd_kafka_resp_err_t writers_error(const rd_kafka_message_t *m, const void *writer);
/* Kafka does not know the topic, or not as it was. */
void writers_forget(struct writers *ws, const char *name);
/* Calls @fn for what Kafka has answered. Call each turn. Returns trouble that ends the program: a
 * configuration error. */
const struct trouble *writers_serve(struct writers *ws);
/* No record is on its way. */
void writers_close(struct writers *ws);

#endif
