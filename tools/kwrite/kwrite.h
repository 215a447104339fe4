/* SPDX-License-Identifier: ISC */
/* kwrite's state, and what its files do for each other. See kwrite.c for the design. */
#ifndef EVPIPE_KWRITE_H
#define EVPIPE_KWRITE_H

#include "ack/client.h"
#include "base/buf.h"
#include "base/errclass.h"
#include "flow/input.h"
#include "kafka/kafka.h"
#include "kafka/topics.h"
#include "kwrite/partition.h"
#include "base/out.h"
#include "record/record.h"
#include "record/template.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- kwrite-message.c: from a line to a message ---- */

enum { PARTITION_KEEP = -2, BATCH_BYTES = 1000000 };

/* How lines become messages. */
struct shape {
	struct template *topic, *key; /* key may be NULL */
	int32_t partition; /* RD_KAFKA_PARTITION_UA: by key; PARTITION_KEEP: the record's */
	bool now, raw, compressed;
	/* internal */
	struct topic *constant; /* the topic, when it is the same for all */
	struct buf name, scratch, keys;
};

struct message {
	struct topic *topic;
	struct span key, payload; /* p == NULL: none */
	rd_kafka_headers_t *headers; /* the caller's to destroy; may be NULL */
	int32_t partition;
	int64_t ts; /* 0: now */
	size_t bytes; /* what it may take in a batch */
	bool is_record; /* set even when it is refused, as is seq */
	struct json_value seq; /* absent where it accounts for nothing */
};

enum outcome {
	READY,
	WAIT, /* for what is known of its topic, or for room: try again after events */
	REFUSED
};

/* Spans of @m point into the line and the shape, valid until the scratch is cleared. WAIT is also for
 * that, which batch_send does. @m is all zero before. */
enum outcome message_make(struct shape *shape, struct topics *ts, struct span line,
	struct message *m, struct record_error *e);

/* ---- kwrite-batch.c: handed over partition by partition ---- */

enum { BATCH = 512, BATCH_SCRATCH = 128 << 10, BATCH_LISTS = 64 };

struct batch {
	struct waiting {
		struct message m;
		uint64_t slot;
		uint16_t next; /* of its list */
	} waiting[BATCH];
	struct batch_list {
		uint16_t first, last, count;
	} lists[BATCH_LISTS];
	size_t count, left; /* added, and not sent of these */
};

/* ---- kwrite-ring.c: records on their way ---- */

enum { RING = 32768, WINDOW_BYTES = 8 << 20 };

/* A record on its way. */
struct slot {
	uint64_t place, number; /* of its line */
	size_t len;
	struct topic *topic;
	size_t bytes; /* counted in topic->out_bytes */
	uint64_t label; /* its number, or the place of its text */
	uint32_t label_len; /* of that text; 0: a number */
	int32_t partition; /* where it was written */
	int64_t offset;
	rd_kafka_resp_err_t err;
	bool done, refused;
	bool big; /* a line over the limit, of which only the beginning is there */
};

/* Labels of one kind in a row, from a byte of the list on. */
struct txn_run {
	enum ack_kind kind;
	size_t from;
};

struct txn {
	const char *id; /* NULL: no transactions */
	enum { TXN_STARTING, TXN_OPEN, TXN_ASKED, TXN_SENDING, TXN_COMMITTING } state;
	uint64_t begun, asked; /* records read before it began, before the source was asked */
	uint64_t moved; /* records read when last looked, … */
	int64_t moved_ms; /* … and when there were more */
	int64_t first_ms, asked_ms;
	struct ack_list labels; /* what it has settled */
	struct txn_run *runs;
	size_t run_count;
	uint64_t delivered;
	struct buf committed; /* the reply that is being, or was committed last */
};

struct kwrite {
	struct kafka kafka;
	struct topics topics;
	struct input in;
	struct ack ack;
	int signal_fd;

	struct shape shape;
	struct batch batch;
	struct partitioner partitioner;

	struct slot slots[RING];
	uint64_t tail, head; /* tail <= i < head; slot i at i % RING */
	struct span text; /* the line that was read last */
	bool held; /* it could not be handed over yet */
	bool mute; /* a record was refused under `stop`: those behind it are not reported */

	struct txn txn;

	const char *dead_topic; /* for dead letters; NULL: none */
	struct topic *letters; /* the same, once it was asked about */
	uint64_t refusing; /* the slot of a dead letter that is being made */

	bool pass; /* records go on to standard output */
	bool gone; /* … whose reader has gone */
	struct out out;
};

bool ring_has_room(const struct kwrite *s);
/* The line in s->text has become a message. */
void ring_take(struct kwrite *s, const struct message *m, const struct ack_label *label);
/* Hands the message of that slot over, with its headers. false: there is no room. */
bool ring_produce(struct kwrite *s, uint64_t slot, struct message *m);
/* The line in s->text is refused. */
void ring_refuse(struct kwrite *s, const struct ack_label *label, bool is_record,
	const struct record_error *e);
/* A line over the limit is refused. */
void ring_refuse_big(struct kwrite *s);
/* Marks the slot of a message that Kafka has, or will not have. */
void ring_on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque);
/* Lets go of what is done, in input order: reports it, or hands it on while standard output takes it. */
void ring_release(struct kwrite *s);
/* Whether more could be let go now. */
bool ring_has_done(const struct kwrite *s);

bool batch_is_full(const struct kwrite *s);
/* The message of the slot that was taken last; its headers are the batch's. */
void batch_add(struct kwrite *s, const struct message *m);
/* Hands over what was added. false: librdkafka has no room for all, try again after events, and add
 * nothing before. */
bool batch_send(struct kwrite *s);

/* ---- kwrite-dead.c: dead letters to a topic ---- */
/* Whether it is known that they can be written. */
bool letters_ready(struct kwrite *s);
/* Whether one more fits into a batch. */
bool letters_have_room(const struct kwrite *s);
/* Produces that of the slot `refusing`, which is done once the broker has it. */
void letters_give(void *kwrite, struct span letter);
void letters_delivered(struct kwrite *s, struct slot *slot, rd_kafka_resp_err_t err);

/* ---- kwrite-txn.c: exactly once ---- */
void txn_open(struct kwrite *s, const char *id);
/* Something is settled when the present transaction is committed. */
void txn_take(struct kwrite *s, enum ack_kind kind, const struct ack_label *label);
/* Does what is due. Call each turn, before lines are taken. */
void txn_step(struct kwrite *s, int64_t now_ms);
/* Whether lines may be taken. */
bool txn_accepts(const struct kwrite *s, int64_t now_ms);
/* Milliseconds until txn_step is to be called; -1 none. */
int txn_timeout_ms(const struct kwrite *s, int64_t now_ms);
/* Nothing is taken that is not committed. */
bool txn_is_empty(const struct kwrite *s);
/* After the end of input, with all delivered: whether the last one is committed. */
bool txn_is_done(const struct kwrite *s);
/* Aborts and ends the program. */
_Noreturn void txn_fail(struct kwrite *s, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
