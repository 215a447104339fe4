/* SPDX-License-Identifier: ISC */
/* rpub's state, and what its files do for each other. See rpub.c for the design. */
#ifndef EVPIPE_RPUB_H
#define EVPIPE_RPUB_H

#include "flow/sink.h"
#include "record/record.h"
#include "record/template.h"
#include "redis/client.h"

#include <stdbool.h>
#include <stdint.h>

/* A record on its way: the sink's slot, and Redis's reply. */
struct rpub_slot {
	struct sink_slot slot;
	int64_t receivers;
	bool sent; /* by a command whose tag is the slot's number; false: to be sent again */
};

struct rpub {
	struct redis redis;
	struct sink sink;
	struct template *template;
	bool raw;
	struct buf prefix; /* of a PUBLISH to a constant channel, up to the payload's length */
	struct buf channel, scratch;
	unsigned digits; /* of the last payload's length */
	uint64_t unsent; /* records to be sent again */
	uint64_t receivers_zero;
};

/* ---- command.c: records to commands ---- */
/* Appends a PUBLISH to a constant channel, up to the payload's length. */
void command_prefix(struct buf *b, struct span channel);
/* Begins the line's command for Redis, and fills in @r: redis_commit or redis_cancel is the caller's. Returns 0,
 * or -1 with nothing begun; @is_record tells even then. Call while REDIS_UP. */
int command_put(struct rpub *s, struct span line, struct record *r, bool *is_record,
	struct record_error *e);
/* Appends to @out the line of a record that was published, with where. */
void command_pass(struct rpub *s, struct span line, int64_t receivers, struct buf *out);

#endif
