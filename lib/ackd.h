/* SPDX-License-Identifier: ISC */
/* The acknowledgement socket as a source sees it: listens, greets, feeds the ledger with what filters
 * and sinks report, and keeps to the rules of evpipe-ack(7): one sink, no stale run, no garbage.
 * Never blocks, except ackd_open, which asks once whether somebody else listens on the path. */
#ifndef EVPIPE_ACKD_H
#define EVPIPE_ACKD_H

#include "buf.h"
#include "ledger.h"

#include <stdbool.h>
#include <stdint.h>

struct ackd {
	int fd; /* for poll: POLLIN; -1: off */
	char run[LABEL_RUN_LEN + 1];
	unsigned connections; /* open ones that have said hello */
	bool had_sink; /* a sink has said hello, ever */
	bool has_sink; /* … and is connected */
	bool is_txn; /* … as one that writes transactions: the source does not commit */
	bool sink_idle; /* it holds nothing: said `idle`, and no `busy` or report since */
	bool sink_lost; /* its connection has ended without bye: stop reading, exit 111 */
	/* Not 0: the source is to stop and to exit with this status and sentence. */
	int trouble_status;
	char trouble[320];
	uint64_t garbage, stale; /* connections closed for it; reports of another run */
	/* internal */
	struct ledger *ledger;
	char *path;
	int listen_fd;
	struct ackd_peer *peers;
	/* Appends the consumer group's metadata, in base64, for a transaction's answer. */
	void (*metadata)(void *ctx, struct buf *out);
	void *ctx;
};

/* Makes a new RUN and listens on @path (mode 0600). A path that answers dies with 100; a dead socket
 * file is replaced; dies with 100 when it cannot be made. */
void ackd_open(struct ackd *d, const char *path, struct ledger *l);
/* A question that waits for a gap is answered when the gap closes, or with `again RUN` as soon as the
 * same peer asks anew (it has got more records in between, perhaps those of the gap). */
void ackd_on_txn(struct ackd *d, void (*metadata)(void *ctx, struct buf *out), void *ctx);
/* Accepts, reads, writes what goes. Call when fd is readable, and in any case once a second. */
void ackd_serve(struct ackd *d, int64_t now_us);
/* Tells all that N was the last number of a clean stop. Call before standard output is closed.
 * Returns true when it has left for each peer; else call ackd_serve until ackd_flushed. */
void ackd_end(struct ackd *d);
bool ackd_flushed(const struct ackd *d);
/* Tells all to stop. */
void ackd_stop(struct ackd *d, const char *reason);
/* Closes all and removes the socket file. */
void ackd_close(struct ackd *d);

#endif
