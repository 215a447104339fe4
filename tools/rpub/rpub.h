/* SPDX-License-Identifier: ISC */
/* rpub's state, and what its files do for each other. See rpub.c for the design. */
#ifndef EVPIPE_RPUB_H
#define EVPIPE_RPUB_H

#include "ack/client.h"
#include "flow/input.h"
#include "base/out.h"
#include "record/record.h"
#include "redis/redis.h"
#include "record/template.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	RING = 4096, /* a power of 2 */
	WINDOW = 1 << 20,
};

struct entry {
	uint64_t place, number; /* of the line */
	size_t len;
	uint64_t label; /* its number, or the place of its text */
	uint32_t label_len; /* of that text; 0: a number */
	int64_t receivers; /* as Redis has said */
	bool refused; /* by Redis, or before: there is no command */
};

struct rpub {
	struct redis redis;
	struct input in;
	struct ack ack;
	struct template *template;
	bool raw;
	struct buf prefix; /* of a PUBLISH to a constant channel, up to the payload's length */
	struct buf channel, scratch;
	unsigned digits; /* of the last payload's length */
	struct entry ring[RING];
	uint64_t done, confirmed, answered, sent, tail;
	bool role_out; /* a ROLE is unanswered; it was sent behind role_at records */
	uint64_t role_at;
	int64_t role_ms; /* when it was sent */
	bool hungry; /* no whole line is left in the block */
	bool mute; /* a record was refused under `stop`: those behind it are not reported */
	bool pass; /* records go on to standard output */
	bool gone; /* … whose reader has gone */
	struct out out;
};

/* ---- rpub-command.c: records to commands ---- */
/* Appends a PUBLISH to a constant channel, up to the payload's length. */
void command_prefix(struct buf *b, struct span channel);
/* Appends the line's command to what Redis is sent, and fills in @r. Returns 0, or -1 with nothing
 * appended; @is_record tells even then. */
int command_put(struct rpub *s, struct span line, struct record *r, bool *is_record,
	struct record_error *e);
/* Appends to @out the line of a record that was published, with where. */
void command_pass(struct rpub *s, struct span line, int64_t receivers, struct buf *out);

#endif
