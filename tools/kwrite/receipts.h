/* SPDX-License-Identifier: ISC */
/* Receipts, --receipts FD: a JSON object a line of where Kafka has each record, in the order of
 * input. While nobody reads them records wait. */
#ifndef EVPIPE_KWRITE_RECEIPTS_H
#define EVPIPE_KWRITE_RECEIPTS_H

#include "base/opt.h"
#include "base/out.h"
#include "kwrite/delivery.h"

#include <poll.h>
#include <stdbool.h>

struct receipts {
	bool on, is_broken;
	/* internal */
	struct out out;
	bool raw;
	struct buf from; /* of the record that is told: where it comes from */
};

/* Takes the descriptor over. @taken: one that is in use, -1: none. Dies with 100 when it is not
 * open for writing. */
void receipts_open(struct receipts *r, const struct arg_str *fd, int taken, bool raw);
/* For the sink: takes a record that is released. */
void receipts_add(struct receipts *r, const struct delivery *d, struct span line);
static inline bool receipts_full(const struct receipts *r)
{
	return r->on && out_pending(&r->out) >= OUT_BLOCK;
}
void receipts_poll(const struct receipts *r, struct pollfd *p);
/* Writes what can be written now. Sets is_broken when the reader has gone; dies with 111 on another
 * error. */
void receipts_flush(struct receipts *r, const struct pollfd *p);
/* Writes the rest, and waits for that. Dies with 111. */
void receipts_close(struct receipts *r);

#endif
