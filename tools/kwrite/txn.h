/* SPDX-License-Identifier: ISC */
/* kwrite --txn: records, and the positions of what they were made of, become visible in one
 * step. */
#ifndef KWRITE_TXN_H
#define KWRITE_TXN_H

#include "ack/client.h"
#include "base/buf.h"
#include "flow/sink.h"
#include "kafka/kafka.h"
#include "kwrite/call.h"
#include "kwrite/place.h"
#include "kwrite/positions.h"

#include <stdbool.h>
#include <stdint.h>

struct txn_opts {
	struct arg_str *id, *positions;
};
void txn_opts(struct txn_opts *o);
#define TXN_ENTRIES(o) (o).id, (o).positions
/* Dies with 100. @path: of the socket. */
void txn_check(const struct txn_opts *o, const char *path);
/* Before the client is made: with --txn delivery reports are events, which txn_poll hands on. */
void txn_prepare(const struct txn_opts *o, rd_kafka_conf_t *conf);

typedef void txn_delivery_fn(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque);

/* Labels of one kind in a row, from a byte of the list on. */
struct txn_run {
	enum ack_kind kind;
	size_t from;
};

/* Where the last record of the transaction stands in a partition. */
struct txn_end {
	const struct topic *topic;
	int32_t partition;
	int64_t offset;
};

struct txn {
	const char *id; /* NULL: no transactions */
	struct sink *sink;
	struct kafka *kafka;
	struct place *place;
	struct positions positions;
	struct call call; /* to begin, commit or abort */
	rd_kafka_queue_t *queue; /* of delivery reports */
	txn_delivery_fn *told;
	enum { TXN_STARTING, TXN_PLACING, TXN_OPEN, TXN_ASKED, TXN_SENDING, TXN_COMMITTING } state;
	uint64_t begun, asked; /* sink->tail when it began, when the source was asked */
	uint64_t moved; /* sink->tail in the last turn */
	int64_t moved_ms; /* when sink->tail last moved */
	int64_t first_ms, asked_ms;
	int64_t open_ms; /* since when it has records, or may have had */
	int64_t timeout_ms; /* the coordinator's */
	struct ack_list labels; /* of records that were released */
	struct txn_run *runs;
	size_t run_count;
	uint64_t delivered;
	struct txn_end *ends;
	size_t end_count, end_capacity;
	const struct topic *anew; /* its offsets went back; NULL: those of none did */
	bool is_sent; /* a place, in SENDING */
	bool ends_with_trouble; /* txn_fail was called */
	struct buf
		/* the source's reply whose positions are being committed, or were last */
		committed;
};

/* @p stays. @told: the client's delivery reports, with --txn. */
void txn_open(
	struct txn *t, struct place *p, struct sink *s, struct kafka *k, txn_delivery_fn *told);
/* In place of rd_kafka_poll, with --txn or without. */
void txn_poll(struct txn *t, int timeout_ms);
/* Aborts the transaction, and serves what comes meanwhile. false: that is not done, or not by
 * then. */
bool txn_abort(struct txn *t, int64_t until_ms);
/* The sink's `settle`: reports this once the present transaction is committed. */
void txn_settle(struct txn *t, enum ack_kind kind, const struct ack_label *label);
/* Kafka has a record of the transaction there. */
void txn_written(struct txn *t, const struct topic *topic, int32_t partition, int64_t offset);
/* Does what is due. Call each turn, before lines are taken. */
void txn_step(struct txn *t, int64_t now_ms);
/* Whether lines may be taken. */
bool txn_accepts(const struct txn *t, int64_t now_ms);
/* Milliseconds until txn_step is to be called; -1 none. */
int txn_timeout_ms(const struct txn *t, int64_t now_ms);
/* After the end of input, with all delivered: whether the last one is committed. */
bool txn_is_done(const struct txn *t);
/* Returns false while a call is out: then the client must not be stopped. */
bool txn_close(struct txn *t);
/* The sink's `take_back`: aborts what is open, if brokers answer within a second, so that
 * readers need not wait until the coordinator does. */
void txn_take_back(void *txn);
/* Aborts and ends the program. */
_Noreturn void txn_fail(struct txn *t, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same, for what befell the client. */
_Noreturn void txn_trouble(struct txn *t, const struct trouble *why);

#endif
