/* SPDX-License-Identifier: ISC */
/* Correlation ids, and the headers in which a call stands: read out of a record, spliced into a
 * record's line.
 *
 * An id is bytes, of any value: the name of its key in Redis is made of hexadecimal digits. An id
 * of ours is a UUID of version 7 (RFC 9562): 48 bits of milliseconds, 12 bits that count within
 * them, 30 bits that are random for each process, 32 bits for the node, so that ids of a process
 * are in order of time, and those of a process that was started again are others. It is text, or 16
 * bytes with the preset `spring`. */
#ifndef EVPIPE_EVCORR_IDENT_H
#define EVPIPE_EVCORR_IDENT_H

#include "base/opt.h"
#include "record/record.h"

enum {
	IDENT_MAX = 1024, /* bytes of an id; a longer one is refused */
	IDENT_UUID = 16,
};

/* ---- the names of the headers ---- */

struct ident_opts {
	struct arg_str *preset, *id, *reply_to, *partition, *deadline, *status;
};
void ident_opts(struct ident_opts *o);
#define IDENT_ENTRIES(o) (o).preset, (o).id, (o).reply_to, (o).partition, (o).deadline, (o).status

struct ident {
	struct span id, reply_to, deadline, status;
	struct span
		/* of the reply, 4 bytes, big-endian; p NULL: reply_to is TOPIC or
		 * TOPIC/PARTITION */
		partition;
	bool raw_id; /* an id of ours is 16 bytes, not text */
	bool iso_deadline; /* a deadline is written as RFC 3339 has it, not in milliseconds */
	/* internal: new ids */
	uint32_t node, run;
	uint64_t last_ms;
	unsigned count;
};
/* Takes the options; dies with 100. @node names the node that makes ids; NULL: one of its own for
 * this process. */
void ident_open(struct ident *i, const struct ident_opts *o, const char *node);

/* ---- out of a record ---- */

struct ident_call {
	struct span id; /* p NULL: none, or an empty one */
	struct span topic; /* where the reply goes to; p NULL: not said */
	int32_t partition; /* -1: not said */
	int64_t deadline_ms; /* since the epoch; -1: none */
	int status; /* 100-599; another value is not ours; -1: none */
	const char *
		/* the name of a header that cannot be read, a partition or a deadline; NULL:
		 * none */
		bad;
};
/* Reads all of them; of two headers of one name the last counts. Spans are of the record or of
 * @scratch, which is cleared. Returns 0, or -1 and @e: an id that is too long. */
int ident_read(const struct ident *i, const struct record *r, struct buf *scratch,
	struct ident_call *call, struct record_error *e);

/* ---- into a record ---- */

/* A new id, of ours: appended to @b. */
void ident_make(struct ident *i, struct buf *b);
/* Append headers to @b, with a comma in front of each: for ident_splice. */
void ident_put_id(const struct ident *i, struct span id, struct buf *b);
void ident_put_reply_to(const struct ident *i, struct span topic, int32_t partition, struct buf *b);
void ident_put_deadline(const struct ident *i, int64_t deadline_ms, struct buf *b);
void ident_put_status(const struct ident *i, int status, struct buf *b);
/* Appends the record's line with @headers, as ident_put_… have made them, behind those it has. No
 * LF. */
void ident_splice(const struct record *r, struct span headers, struct buf *out);

/* ---- in Redis, and on a command line ---- */

/* "evcorr:{HEX}": the key of the list of an id's replies. The braces make one slot of it and of the
 * key of its mark, in a cluster. */
void ident_put_key(struct span id, struct buf *b);
/* "evcorr:{HEX}:late": its mark. */
void ident_put_mark(struct span id, struct buf *b);
/* The channel on which one that waits for the id is woken: "evcorr:node:HHHHHHHH" for a UUID of
 * version 7, "evcorr:id:HEX" for any other. */
#define IDENT_OF_ID "evcorr:id:"
void ident_put_channel(struct span id, struct buf *b);
/* The channel of the ids that ident_make makes; and whether an id's channel is that one. */
void ident_put_own_channel(const struct ident *i, struct buf *b);
bool ident_is_own(const struct ident *i, struct span id);
/* Digits alone, as keys and pushes have them. Appends the bytes. Returns 0 or -1, as below. */
int ident_parse_hex(struct span digits, struct buf *id);
void ident_put_hex(struct span id, struct buf *b);
/* As a user writes it: the text itself, or hex:DIGITS. Appends the bytes. Returns 0, or -1: empty,
 * too long, or bad digits. */
int ident_parse(const char *text, struct buf *id);
/* As ident_parse reads it: for messages, and for a user to copy. */
void ident_print(struct span id, struct buf *b);
/* "TOPIC" or "TOPIC/PARTITION". Returns 0, or -1 when it is neither; *@partition is -1 without
 * one. */
int ident_parse_reply_to(struct span text, struct span *topic, int32_t *partition);

#endif
