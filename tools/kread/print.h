/* SPDX-License-Identifier: ISC */
/* A message as a record, evpipe-record(5). */
#ifndef EVPIPE_KREAD_PRINT_H
#define EVPIPE_KREAD_PRINT_H

#include "flow/source.h"
#include "kread/parts.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/* Appends the record and its line end to the source's output, with a number if the source has a ledger.
 * @inline_json: a payload that is a JSON object or array is printed as such (-j). */
void print_record(struct source *s, const struct kread_part *p, const rd_kafka_message_t *m,
	bool inline_json);

#endif
