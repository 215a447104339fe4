/* SPDX-License-Identifier: ISC */
/* Questions to the brokers by any number of requests at once. Those for the topics that wait
 * together share one answer. */
#ifndef KHTTP_ASK_H
#define KHTTP_ASK_H

#include "kafka/listing.h"

struct asks;

/* @md: of all topics, or NULL; @offsets: or NULL. Valid until it returns. */
typedef void ask_fn(void *ctx, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md,
	const rd_kafka_topic_partition_list_t *offsets);

/* @answers, whether Kafka answers anybody, is looked at when a question had no answer: then it is
 * asked again. */
struct asks *asks_open(struct kafka *k, const bool *answers);
/* The brokers are asked at once whether they answer, as they are from time to time. */
void asks_probe(struct asks *a);
/* For all topics of the cluster; no topic is created by that. @fn is called from asks_serve. */
void ask_topics(struct asks *a, ask_fn *fn, void *ctx);
/* As listing_ask_offsets. Takes @list over. */
void ask_offsets(struct asks *a, rd_kafka_topic_partition_list_t *list, ask_fn *fn, void *ctx);
/* Nobody waits for the answer any more: @fn is not called with that @ctx. */
void asks_forget(struct asks *a, const void *ctx);
/* Takes answers and asks what waits. Call each turn. */
void asks_serve(struct asks *a, int64_t now_ms);
/* False: a question is still out; then the client must not be stopped. */
bool asks_close(struct asks *a);

/* The topic of that name, without an error; NULL: there is none. */
const rd_kafka_metadata_topic_t *ask_find(const struct rd_kafka_metadata *md, const char *topic);
const rd_kafka_metadata_partition_t *ask_find_partition(
	const rd_kafka_metadata_topic_t *t, int32_t partition);

#endif
