/* SPDX-License-Identifier: ISC */
/* From a line to a message: the record's fields, the templates' expansions, the size on the
 * wire. */
#ifndef KWRITE_MESSAGE_H
#define KWRITE_MESSAGE_H

#include "base/buf.h"
#include "kafka/topics.h"
#include "record/keytype.h"
#include "record/record.h"
#include "record/template.h"

#include <stdbool.h>
#include <stdint.h>

enum { PARTITION_KEEP = -2, PARTITION_HAVE = -3, BATCH_BYTES = 1000000 };

/* How lines become messages. */
struct shape {
	struct template *topic, *key; /* key may be NULL */
	/* RD_KAFKA_PARTITION_UA: by key; PARTITION_KEEP: the record's; PARTITION_HAVE:
	 * the record's if it has one, else by key */
	int32_t partition;
	bool now, raw, compressed;
	bool maps; /* where a record stood is wanted */
	bool framed; /* with raw: a line is a frame (base/line.h) */
	char end; /* of a line that is no frame */
	bool skip_empty; /* an empty line is no message */
	struct keytype key_type; /* keys are the digits of numbers, and are written in this form */
	struct span raw_key; /* with raw: of all messages */
	/* "NAME=VALUE", "NAME" for one without a value: headers of each message, behind the
	 * record's own */
	const char **headers;
	int header_count;
	/* internal */
	struct topic *constant; /* the topic, when it is the same for all */
	struct buf name, scratch, keys;
	bool zero_reported; /* the record with the time 0 */
};

struct message {
	struct topic *topic;
	struct span key, payload; /* p == NULL: none */
	rd_kafka_headers_t *headers; /* the caller's to destroy; may be NULL */
	int32_t partition;
	int64_t ts; /* 0: now; -1: none */
	size_t bytes; /* what it may take in a batch */
	/* Where it stood, if shape->maps. The span points into the line. */
	struct span from_topic;
	int32_t from_partition;
	int64_t from_offset;
	bool is_record; /* set even when it is refused, as is seq */
	struct json_value seq;
};

enum outcome {
	READY,
	WAIT, /* for what is known of its topic, or for room: try again after events */
	REFUSED,
	SKIPPED /* the line is no message */
};

/* Spans of @m point into the line and into shape->scratch, which may be cleared once they are not
 * needed; WAIT also says that the scratch is full. @m is all zero before. */
enum outcome message_make(struct shape *shape, struct topics *ts, struct span line,
	struct message *m, struct record_error *e);
/* The same for a line that was READY once, whose topic stands in @m. Uses the whole scratch; false:
 * it is no longer what it was. */
bool message_again(struct shape *shape, struct span line, struct message *m);

#endif
