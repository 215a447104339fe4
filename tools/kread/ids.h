/* SPDX-License-Identifier: ISC */
/* The ids of topics, which a topic that is deleted and made anew has not again. They are asked of
 * the brokers without waiting; librdkafka can from 2.3 on. With an older one, or older brokers, no
 * topic has an id. */
#ifndef EVPIPE_KREAD_IDS_H
#define EVPIPE_KREAD_IDS_H

#include "kafka/kafka.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

enum { IDS_MS = 1000 }; /* a question without an answer fails then */

/* All zero: nothing was asked. */
struct ids {
	bool is_out; /* a question was asked, and its answer has not been taken */
	bool answered; /* the answer that was taken last is no error */
	unsigned asked; /* how many questions were asked */
	/* internal */
	rd_kafka_queue_t *answers; /* NULL before the first question */
	rd_kafka_event_t *answer; /* the last one; NULL: none since the last question */
};

/* Whether a question can be asked now: none is out, and librdkafka knows ids. */
bool ids_may_ask(const struct ids *i);
/* Asks for the ids of @count topics, and forgets the last answer. */
void ids_ask(struct ids *i, struct kafka *k, const char **topics, size_t count);
/* Takes the answer. false: there is none to take. Call when the client's wake_fd was readable. */
bool ids_take(struct ids *i);
/* The id of a topic by the last answer, in base64; "": not known. Valid until the next question. */
const char *ids_of(const struct ids *i, const char *topic);
void ids_close(struct ids *i);

#endif
