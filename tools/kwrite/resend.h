/* SPDX-License-Identifier: ISC */
/* Records of a batch that the broker has refused: one of them may be at fault, the others are good.
 *
 * A broker judges a batch as a whole. So the records of a refused batch are sent again, in order,
 * by a second client in small batches, and those of a small batch that is refused by a third one,
 * whose batches have one record: that answer counts. Until all of them are answered the client that
 * was refused sends nothing to that partition: the thread of librdkafka that takes the refusal
 * stops the partition before it sends the next batch. Batches that were already out behind the
 * refused one fail for their sequence numbers, and the same client sends them again in order, under
 * a new epoch, once the partition goes on. The first record of a partition that is sent again goes
 * alone, as with the first client (first.h).
 *
 * In a transaction nothing is sent again: it cannot be committed after a refusal (txn.h,
 * blame.h). */
#ifndef KWRITE_RESEND_H
#define KWRITE_RESEND_H

#include "flow/sink.h"
#include "kafka/kafka.h"
#include "kwrite/message.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct delivery;

enum resend_first { RESEND_NONE, RESEND_OUT, RESEND_WRITTEN };

/* A partition to which the client that was refused sends nothing. */
struct resend_stop {
	struct resend_stop *next;
	char *topic;
	int32_t partition;
	size_t count; /* refused records; one was refused alone */
	size_t left; /* of them, those whose own answer is not there */
	bool too_large; /* the batch was */
	bool found; /* one of its records was so alone */
	enum resend_first first; /* the first record that is sent again */
};

/* What one client was refused, another one sends again. */
struct resend_stage {
	struct kafka *refused, client;
	rd_kafka_conf_t *conf; /* of client, until that is started */
	size_t out; /* records that client has */
	bool resumed; /* a partition of refused, whose threads do not know yet */
	pthread_mutex_t mutex; /* of stops */
	struct resend_stop *stops;
	struct delivery **waiting; /* to be sent again, in the order of their refusal */
	size_t count, capacity;
	bool has_news; /* something may be sent that could not be sent before */
};

enum { RESEND_STAGES = 2 };

struct resend {
	/* internal */
	bool off;
	struct kafka *first; /* client */
	const struct sink *sink;
	struct shape shape; /* of records that are made again, with buffers of its own */
	struct kafka_resolves resolves;
	struct resend_stage stages[RESEND_STAGES];
};

/* Call before the first client is started with @c, from which the others get what they need.
 * @shape: as lines became messages. @off: for transactions; then nothing is taken over. */
void resend_prepare(struct resend *r, struct kafka *first, struct kafka_conf *c,
	const struct sink *sink, const struct shape *shape, bool off);
/* A client, @rk, reports a record. true: it is taken over, since it was refused in a batch and will
 * be sent again. Else, when it was sent again, this is its answer. */
bool resend_takes(
	struct resend *r, struct delivery *d, const rd_kafka_t *rk, const rd_kafka_message_t *m);
/* Makes the message of a record, or of its dead letter, as it was made first. Its spans are valid
 * until the next one is made with @shape; its headers are the caller's, also when this fails. */
bool resend_make(
	struct shape *shape, const struct sink *sink, struct delivery *d, struct message *m);
/* Sends what waits and takes what is reported. Call each turn; the first client's wake_fd tells of
 * reports. */
void resend_serve(struct resend *r);
/* Ends the clients that it has started. */
void resend_close(struct resend *r);

#endif
