/* SPDX-License-Identifier: ISC */
/* What the loop (evbatch.c) and the output of batches (output.c) share. */
#ifndef EVBATCH_H
#define EVBATCH_H

#include "ack/client.h"
#include "ack/label.h"
#include "base/buf.h"
#include "base/child.h"
#include "base/out.h"
#include "base/trouble.h"
#include "evbatch/numbers.h"
#include "flow/input.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	EVBATCH_RUNS_MAX = 64,
	EVBATCH_RING = EVBATCH_RUNS_MAX + 1, /* and one to fill */
};

enum evbatch_state { BATCH_FILLING, BATCH_RUNS, BATCH_WAITS, BATCH_DONE, BATCH_IS_WRITTEN };

/* A batch of records. */
struct evbatch_batch {
	enum evbatch_state state;
	struct buf input;
	uint64_t records, first_line;
	int64_t since_ms; /* when its first record came */
	int64_t backoff_ms, retry_ms;
	unsigned attempts;
	struct child command;
	int64_t lingers_ms; /* since when the command has ended and its output has not; 0: it has */
	bool is_named; /* the process that holds the output */
	bool labelled;
	char run[LABEL_RUN_LEN + 1];
	struct numbers numbers;
	struct buf set; /* RUN ":" and the numbers, or their name */
	bool is_naming; /* the name is on its way to the source */
	uint32_t part, parts; /* lines of the output: written and refused; all */
	size_t at; /* of the next line in the output */
};

struct evbatch {
	struct input in;
	struct out out;
	struct ack ack;
	char **argv;
	uint64_t batch_records;
	int64_t batch_ms;
	unsigned runs; /* -P */
	struct evbatch_batch ring[EVBATCH_RING];
	uint64_t head, tail;
	unsigned running;
	struct trouble trouble; /* why it ends early */
	int reported; /* the status of the trouble that was said */
	bool closed; /* by the reader of standard output */
	struct buf scratch, seq;
	uint64_t names; /* given */
};

static inline struct evbatch_batch *evbatch_at(struct evbatch *s, uint64_t i)
{
	return &s->ring[i % EVBATCH_RING];
}

/* ---- evbatch.c ---- */

bool evbatch_is_full(const struct evbatch *s, const struct evbatch_batch *b);
/* Says s->trouble, to the source too when it is permanent; input ends, and the batches from @cut on
 * are forgotten: neither written nor reported. */
void evbatch_give_up(struct evbatch *s, uint64_t cut);

/* ---- runs.c ---- */

/* Starts what is due and has a run free for it. */
void runs_start(struct evbatch *s, int64_t now_ms);
/* Fills in CHILD_FDS entries for each that runs, and returns how many; runs_serve takes them back
 * after poll. */
nfds_t runs_poll(struct evbatch *s, struct pollfd *p);
void runs_serve(struct evbatch *s, const struct pollfd *p, int64_t now_ms);
/* Milliseconds until a batch is due, or something is to be said, that nothing else will wake; -1
 * none. */
int runs_due_ms(struct evbatch *s, int64_t now_ms);
/* Whether the oldest batch has been here for so long that the source is to know. */
bool runs_are_slow(struct evbatch *s, int64_t now_ms);

/* ---- output.c ---- */

/* Writes what batches that are done have made, in order, up to OUT_BLOCK. Returns 0; or -1 when the
 * batch at the head must not be written: a record of it was refused, or the reason is in
 * s->trouble. */
int output_write(struct evbatch *s);
/* Whether there is something to write and room for it. */
bool output_can_write(struct evbatch *s);

#endif
