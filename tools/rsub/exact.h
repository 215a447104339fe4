/* SPDX-License-Identifier: ISC */
/* Exactly once: where streams were read to stands in the transactions of the sink, a kwrite --txn
 * --positions.
 *
 * DESIGN: the streams of a group are read with XREAD, in the order of their ids and by this rsub
 * alone, so that one id a stream says all: what stands up to it is in the sink's committed
 * transactions, or was dropped or made a dead letter. rsub gives the sink the ids with each
 * transaction, as a text; the sink gives back the text of the last one that was committed, at its
 * start and before anything is printed. A group's own position in Redis follows (XGROUP SETID), for
 * lag, for a run without transactions, and for when the sink has nothing: a stream is read from the
 * later one of the two on, since what is before either is final.
 *
 * The sink's id is not believed when the group was not there, or when the stream has never had so
 * high an id: then the stream was made anew, or is another one, and reading what may have come
 * before loses nothing.
 *
 * st->acks has the ids that were printed and that the group's position is not behind yet: the
 * ledger counts, and the ring knows the id of each count. */
#ifndef EVPIPE_RSUB_EXACT_H
#define EVPIPE_RSUB_EXACT_H

#include "base/buf.h"
#include "redis/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source;
struct stream;
struct streams;

/* Of a stream: what the sink has. */
struct exact_place {
	char *name;
	size_t name_len;
	struct id id;
	int64_t read; /* how many entries the group has read up to there; -1: not known */
};

struct exact {
	struct source *source;
	bool is_told; /* by the sink */
	/* internal */
	struct streams *readers; /* all connections */
	int count;
	struct exact_place *places; /* also of streams that are not read now: the text keeps them */
	size_t place_count;
};

/* Lets a sink that writes transactions come. @x and @readers stay. */
void exact_open(struct exact *x, struct source *source, struct streams *readers, int count);
void exact_close(struct exact *x);
/* Whether the pipeline's sink writes transactions. */
bool exact_is_on(const struct exact *x);
/* Decides where reading begins; the streams' information has come. Once, when it is told. */
void exact_begin(struct streams *s);
/* Moves the group's position to where all is final. */
void exact_ack(struct streams *s, struct stream *st);
/* The group's position is behind @count ids more: before these leave st->acks. */
void exact_confirmed(struct stream *st, uint64_t count);

#endif
