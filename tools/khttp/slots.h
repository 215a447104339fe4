/* SPDX-License-Identifier: ISC */
/* What the parts of produce.h share: a request whose records are on their way to Kafka. */
#ifndef KHTTP_SLOTS_H
#define KHTTP_SLOTS_H

#include "khttp/feed.h"
#include "khttp/idem.h"
#include "khttp/produce.h"
#include "khttp/writers.h"

struct slot {
	struct produce *p;
	union {
		int64_t timestamp; /* until Kafka has answered; 0: none */
		int64_t offset;
	};
	int32_t partition;
	int16_t err; /* rd_kafka_resp_err_t */
	bool maybe; /* after an error: it may have been written all the same */
	bool oversize; /* it was not sent: see writers_fits */
};

struct produce {
	struct khttp *k;
	struct http_request *r; /* NULL: nobody waits for an answer */
	struct idem_entry *key; /* its Idempotency-Key; NULL: none */
	struct share *share;
	struct produce *older, *newer; /* of the share */
	struct produce *before, *after; /* of those with a key, whose time is not over */
	bool timed; /* it is one of them */
	struct feed *feed; /* a large body; NULL: all was sent at once */
	size_t count, left; /* left: without an answer of Kafka; one more while it begins */
	size_t bytes;
	int64_t begun_ms;
	int partitions; /* that the topic has; -1: not known */
	bool fails; /* ?errors=fail */
	bool patient; /* it has, or had, a key */
	produce_fn *fn; /* of produce_record; NULL */
	void *ctx;
	struct slot slots[];
};

/* What a topic has of the room for records on their way. */
struct share {
	struct share *next;
	char *topic;
	size_t bytes;
	struct produce *oldest, *newest;
};

enum { SHARES = 256 };

/* All of them. */
struct produces {
	struct khttp *k;
	size_t count, bytes, max_bytes; /* of records on their way */
	struct writers *writers;
	struct idem *idem;
	int64_t timeout_ms; /* for an answer to a request with a key; 0: none */
	struct produce *first, *last; /* of those, while they have time */
	struct share *shares[SHARES];
};

/* ---- produce-room.c ---- */

/* It takes its bytes of the room, for records of this topic; it gives them back. */
void room_enter(struct produce *p, const char *topic);
void room_leave(struct produce *p);

/* ---- produce-answer.c ---- */

/* The error of a slot is that there is no such topic, or partition. */
bool slot_is_missing(const struct slot *s);
/* It is that Kafka has not answered: 503 or 504, whatever the reference says. */
bool slot_had_no_answer(const struct slot *s);
int slot_status(const struct produce *p, const struct slot *s);
void slot_text(const struct produce *p, const struct slot *s, char *text, size_t size);
/* Answers when Kafka has answered for all; and those that have come again with the same key. */
void produce_answer(struct produce *p, struct idem *idem);

#endif
