/* SPDX-License-Identifier: ISC */
/* What is printed of a message: a record, evpipe-record(5), or its payload alone. */
#ifndef EVPIPE_KREAD_PRINT_H
#define EVPIPE_KREAD_PRINT_H

#include "base/opt.h"
#include "flow/source.h"
#include "kread/parts.h"
#include "record/keytype.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/* -j, --key-type, --raw, -0, --framing, --no-end. */
struct print_opts {
	struct arg_lit *json, *raw, *nul, *no_end;
	struct arg_str *framing, *key_type;
};
void print_opts(struct print_opts *o);
#define PRINT_ENTRIES(o) (o).json, (o).key_type, (o).raw, (o).nul, (o).framing, (o).no_end

struct print {
	bool raw; /* payloads alone */
	/* internal */
	bool inline_json, framed, no_end;
	char end;
	struct keytype key_type;
	bool told_key; /* that a key is not of the type */
};

/* Dies with 100. @count: how many records are printed at most, -1: any number. */
void print_take(struct print *p, const struct print_opts *o, int64_t count);
/* Appends the message and its end to the source's output, with a number if the source has a
 * ledger. */
void print_message(struct print *p, struct source *s, const struct kread_part *part,
	const rd_kafka_message_t *m);

#endif
