/* SPDX-License-Identifier: ISC */
/* From a body to the records that go to Kafka. */
#ifndef KHTTP_RECORDS_H
#define KHTTP_RECORDS_H

#include "base/buf.h"
#include "http/http.h"
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
	size_t count, room;
	size_t bytes; /* keys, values, headers, and something for each */
	struct buf scratch;
};

/* How the body is read. */
struct records_how {
	enum media type;
	/* that the path names; RD_KAFKA_PARTITION_UA: none, and records may name theirs */
	int32_t partition;
	bool compat; /* null is no tombstone */
};

/* A body that is read from its beginning to its end, all at once or so many bytes at a time. */
struct records_reader {
	struct records_how how;
	struct http_body *file; /* the body that is read; NULL: it stands by itself */
	size_t window; /* bytes of text that are read at once, or one record; 0: all */
	/* What is wrong with it so far: 0; 400 with errors, the members of a list; 422 with why. */
	int status;
	struct buf errors;
	char why[400];
	/* own */
	struct records *rs;
	bool refused;
	bool decodes; /* something of it may stand in the scratch */
	size_t taken; /* of this window */
	struct json j;
	struct span lines; /* what is left */
	size_t number; /* of the next record, or line */
	struct json_value ahead; /* an element for which the last window had no room */
	char where[40];
};

/* Begins to read {"records":[…]}, @body validated; or lines, each a record of evpipe-record(5),
 * @text. `how`, `file` and `window` are set, and all else is 0. Returns whether there is a list of
 * records; else the status is 400. */
bool records_begin(struct records_reader *in, const struct json_value *body, struct span text);
/* The next ones take the place of what is in @rs, which must be 0 at first. Returns false at the
 * end, and when nothing that follows can change the status. Free with records_free. The text of
 * those before is given back. */
bool records_next(struct records_reader *in, struct records *rs);
void records_free(struct records *rs);

#endif
