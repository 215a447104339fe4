/* SPDX-License-Identifier: ISC */
/* Keeps a consumer's fetching going. Up to librdkafka 2.1 a broker's thread that finds the local
 * queue full looks again only after up to a second, and by then the queue has long been empty. From
 * 2.2 on there is a property for that, fetch.queue.backoff.ms, which kread sets; then these
 * functions do nothing. */
#ifndef EVPIPE_FETCHERS_H
#define EVPIPE_FETCHERS_H

#include "kafka/conf.h"

#include <stdbool.h>

struct fetchers {
	bool may_wake; /* this librdkafka needs it, and the login allows it */
	bool was_full;
	size_t full_messages, full_bytes; /* of the local queue */
	char *user, *password;
};

void fetchers_open(struct fetchers *f, const struct kafka_conf *c);
void fetchers_close(struct fetchers *f);
/* See kafka_taken. */
void fetchers_taken(struct fetchers *f, rd_kafka_t *rk, size_t messages, size_t bytes, size_t left);

#endif
