/* SPDX-License-Identifier: ISC */
/* From a body to the records that go to Kafka. */
#ifndef KHTTP_RECORDS_H
#define KHTTP_RECORDS_H

#include "base/buf.h"
#include "json/json.h"
#include "khttp/media.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* p NULL: no key, a tombstone. */
struct message {
	struct span key, value;
	rd_kafka_headers_t *headers; /* NULL: none */
	int32_t partition; /* RD_KAFKA_PARTITION_UA: by key */
	int64_t timestamp; /* ms; 0: now */
};

struct records {
	struct message *list; /* spans of the body, and of scratch */
	size_t count;
	size_t bytes; /* keys, values, and something for each */
	struct buf scratch;
};

/* How the body is read. */
struct records_how {
	enum media type;
	int32_t partition; /* that the path names; RD_KAFKA_PARTITION_UA: none, and records may name theirs */
	bool compat; /* null is no tombstone */
};

/* Reads {"records":[…]}, @body validated; or lines, each a record of evpipe-record(5), @text. Returns 0; or the status of a refusal:
 * 400 with @errors, the members of a list; 422 with @why. Free with records_free in all cases. */
int records_read(struct records *rs, const struct records_how *how, const struct json_value *body,
	struct buf *errors, char *why, size_t why_size);
int records_read_lines(struct records *rs, const struct records_how *how, struct span text,
	struct buf *errors, char *why, size_t why_size);
void records_free(struct records *rs);

#endif
