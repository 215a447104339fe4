/* SPDX-License-Identifier: ISC */
/* Whether a consumer is in its group. */
#ifndef EVPIPE_KAFKA_GENERATION_H
#define EVPIPE_KAFKA_GENERATION_H

#include "base/buf.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/* Whether the client has a generation of its group: not while it joins anew, nor after it has left
 * or was thrown out. The group's metadata are put into @metadata (may be NULL) in base64. It waits
 * for librdkafka's main thread. */
bool generation_held(rd_kafka_t *rk, struct buf *metadata);

#endif
