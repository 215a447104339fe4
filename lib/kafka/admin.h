/* SPDX-License-Identifier: ISC */
/* Questions of the Admin API about one topic or broker, and what their answers say.
 *
 * An answer comes as an event on the queue of the question; the caller polls it and destroys the
 * event. Nothing here waits. */
#ifndef EVPIPE_ADMIN_H
#define EVPIPE_ADMIN_H

#include <librdkafka/rdkafka.h>
#include <stdint.h>

struct admin_question {
	const char *topic; /* NULL: it is about the broker */
	int32_t broker; /* the one that is asked; of a topic -1: librdkafka chooses */
	int timeout_ms;
	void *opaque; /* rd_kafka_event_opaque() of the answer */
	rd_kafka_queue_t *answers;
};

/* Asks for the configuration (DescribeConfigs, KIP-133). */
void admin_ask_configs(rd_kafka_t *rk, const struct admin_question *q);
/* Takes the answer. Returns 0 and sets *@resource to the topic or broker with its entries, or
 * returns why there is none: then *@resource is NULL, or names what the error is about. It is valid
 * as long as the event. */
rd_kafka_resp_err_t admin_configs(
	rd_kafka_event_t *event, const rd_kafka_ConfigResource_t **resource);
/* Takes the answer to CreateTopics of one topic. Returns 0, or why the topic was not created;
 * *@text is then the broker's own words, valid as long as the event, or NULL. */
rd_kafka_resp_err_t admin_created(rd_kafka_event_t *event, const char **text);

#endif
