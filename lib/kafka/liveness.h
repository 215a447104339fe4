/* SPDX-License-Identifier: ISC */
/* A probe of one client: tells brokers.h of each request that leaves and of each answer that comes.
 *
 * The C API of librdkafka reports a connection that fails, and neither one that is back nor a
 * broker that does not answer. Its interceptors show both. They run in the threads of librdkafka's
 * brokers. */
#ifndef EVPIPE_LIVENESS_H
#define EVPIPE_LIVENESS_H

#include "kafka/brokers.h"

#include <librdkafka/rdkafka.h>

struct liveness {
	struct brokers *brokers;
	int64_t fetch_wait_ms; /* how long a broker may keep a request for messages */
	_Atomic unsigned changes; /* see kafka_changes */
	/* errno, when there are no file descriptors for a broker: librdkafka does not say so, and
	 * is slow or stands still. */
	_Atomic int lacks;
	int wake_fd; /* a byte is written when brokers_tick has something new to say */
};

/* The client that is made with @conf is watched. @l must live as long as that client. */
void liveness_watch(struct liveness *l, rd_kafka_conf_t *conf);

#endif
