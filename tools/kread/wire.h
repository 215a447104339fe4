/* SPDX-License-Identifier: ISC */
/* A look behind librdkafka's interface, at how a message lies in memory; tests/unit/test-wire.c
 * fails if a version of librdkafka lays it out in another way.
 *
 * Asking librdkafka for headers costs it an allocation even if a message has none: a fifth of all
 * that a record costs kread. A message of the present format (v2) stands in memory as it came over
 * the wire: key, length of the payload as a varint, payload, number of headers. If the key's end,
 * the length and the beginning of the payload agree with that, the byte behind the payload is the
 * number of headers. */
#ifndef EVPIPE_KREAD_WIRE_H
#define EVPIPE_KREAD_WIRE_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/* true: the message has no headers. false: ask librdkafka. */
bool wire_has_no_headers(const rd_kafka_message_t *m);

#endif
