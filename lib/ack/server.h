/* SPDX-License-Identifier: ISC */
/* The acknowledgement socket as a source sees it: listens, greets, feeds the ledger with what
 * filters and sinks report, and keeps to the rules of evpipe-ack(7): one sink, no stale run, no
 * garbage. Never blocks, except ack_server_open, which asks once whether somebody else listens on
 * the path. A peer that does not read holds up nobody, and is cut off when more than 16 MiB wait
 * for it. */
#ifndef EVPIPE_ACK_SERVER_H
#define EVPIPE_ACK_SERVER_H

#include "base/buf.h"
#include "ack/ledger.h"
#include "ack/position.h"
#include "base/trouble.h"
#include "net/peers.h"

#include <stdbool.h>
#include <stdint.h>

/* What a sink that keeps positions says. Spans are valid until the return. */
struct ack_positions {
	/* The answer to `assigned`; @offset -1: where the group is. */
	void (*start)(void *ctx, struct span topic, int32_t partition, int64_t offset);
	/* The sink has lost what it had from this offset on. Answer with ack_server_from, even if
	 * the partition is not assigned any more. */
	void (*back)(void *ctx, struct span topic, int32_t partition, int64_t offset);
};

/* Of a source whose positions are a text of its own, which a txn keeps with its transactions. */
struct ack_place {
	/* The text that stands with the last transaction that was committed; p NULL: none does.
	 * Valid until the return. */
	void (*kept)(void *ctx, struct span text);
	/* Appends the text to be kept with the transaction that ledger_txn has just taken. */
	void (*put)(void *ctx, struct buf *out);
};

struct ack_server {
	int fd; /* for poll: POLLIN; -1: off */
	char run[LABEL_RUN_LEN + 1];
	unsigned connections; /* open ones that have said hello */
	bool had_sink; /* a sink has said hello, ever */
	bool has_sink; /* … and is connected */
	bool is_txn; /* … and writes transactions: the source does not commit */
	bool keeps_positions; /* … and decides where each partition is read from */
	bool sink_idle; /* the sink holds nothing: `idle` has come, and no `busy` or report since */
	bool sink_reported; /* the sink has reported a record, ever */
	uint64_t bare; /* records that have come to the sink without a label */
	unsigned busy; /* filters that have said that they hold records */
	bool sink_lost; /* its connection has ended without bye: stop reading, exit 111 */
	struct trouble trouble; /* with a status: the source stops and exits with it */
	/* … and commits nothing more: the ledger may be wrong about what is final */
	bool void_account;
	uint64_t garbage, stale; /* connections closed for garbage; reports of another run */
	/* internal */
	struct ledger *ledger;
	struct peers peers;
	bool ended, asked; /* `end` has been sent; a transaction waits for its answer */
	/* Appends the consumer group's metadata, in base64, for a transaction's answer. false: no
	 * position may be committed under them, since the group has given the partitions away. */
	bool (*metadata)(void *ctx, struct buf *out);
	/* Appends what is to be kept with a position of the partition, as it is; nothing: it has
	 * none. May be NULL. */
	void (*note)(void *ctx, const struct ledger_part *p, int64_t position, struct buf *out);
	void *ctx;
	const struct ack_positions *positions;
	void *positions_ctx;
	const struct ack_place *place;
	void *place_ctx;
};

/* Makes a new RUN and, with a @path, listens on it (mode 0600). A path that answers dies with 100;
 * a dead socket file is replaced; dies with 100 when it cannot be made. */
void ack_server_open(struct ack_server *d, const char *path, struct ledger *l);
/* Without it a sink that writes transactions is refused. */
void ack_server_on_txn(
	struct ack_server *d, bool (*metadata)(void *ctx, struct buf *out), void *ctx);
/* Positions of a transaction go without a note, unless this is called as well; @note has the same
 * ctx. */
void ack_server_on_note(struct ack_server *d,
	void (*note)(void *ctx, const struct ledger_part *p, int64_t position, struct buf *out));
/* Without it a sink is not asked where to begin. @p stays. */
void ack_server_on_positions(struct ack_server *d, const struct ack_positions *p, void *ctx);
/* With it a sink that writes transactions has to keep a place, and is given no positions. @p
 * stays. */
void ack_server_on_place(struct ack_server *d, const struct ack_place *p, void *ctx);
/* Asks the sink that keeps positions where to begin; tells it which records are the new ones. */
void ack_server_assigned(struct ack_server *d, const struct ack_assigned *a);
void ack_server_from(struct ack_server *d, struct span topic, int32_t partition, uint64_t number);
/* Takes a connected stream socket over, as if it had been accepted. */
void ack_server_add(struct ack_server *d, int fd);
/* Accepts, reads, sends. Call when fd is readable, and in any case once a second. */
void ack_server_serve(struct ack_server *d, int64_t now_us);
/* Tells all, also those to come, that the last number given was the last of a clean stop. Call
 * before standard output is closed, and ack_server_serve until ack_server_flushed. */
void ack_server_end(struct ack_server *d);
/* Whether nothing waits to be sent to those who have said hello. */
bool ack_server_flushed(const struct ack_server *d);
/* Tells all to stop. */
void ack_server_stop(struct ack_server *d, const char *reason);
/* Appends the names of the filters that are connected, with commas between them. */
void ack_server_filters(const struct ack_server *d, struct buf *names);
/* Closes all and removes the socket file. */
void ack_server_close(struct ack_server *d);

#endif
