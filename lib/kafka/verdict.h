/* SPDX-License-Identifier: ISC */
/* A broker judges a batch as a whole: what its verdict says of one record in it. */
#ifndef EVPIPE_KAFKA_VERDICT_H
#define EVPIPE_KAFKA_VERDICT_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/* Whether the error says no more of a record than that it stood in a batch with one which may be at
 * fault. */
bool verdict_is_shared(rd_kafka_resp_err_t err);
/* Whether it says that the record, or its batch, has too many bytes. */
bool verdict_is_too_large(rd_kafka_resp_err_t err);
/* Whether it is about the record, alone in its batch. Else it is about the broker, or about what
 * both agree on. */
bool verdict_is_of_record(rd_kafka_resp_err_t err);
/* Whether it says that this producer, as it is set up, and the broker or the topic do not go
 * together. */
bool verdict_is_of_setup(rd_kafka_resp_err_t err);
/* Whether it says that the topic or the partition is not there. */
bool verdict_is_gone(rd_kafka_resp_err_t err);
/* Whether it says that the fault is another record's; only newer versions of librdkafka do. */
bool verdict_is_different(rd_kafka_resp_err_t err);

#endif
