/* SPDX-License-Identifier: ISC */
/* What the parts of produce.h share: a request whose records are on their way to Kafka. */
#ifndef KHTTP_SLOTS_H
#define KHTTP_SLOTS_H

#include "khttp/idem.h"
#include "khttp/produce.h"
#include "khttp/writers.h"

struct slot {
	struct produce *p;
	int64_t offset;
	int32_t partition;
	int16_t err; /* rd_kafka_resp_err_t */
	bool maybe; /* after an error: it may have been written all the same */
};

struct produce {
	struct khttp *k;
	struct http_request *r; /* NULL: nobody waits for an answer */
	struct idem_entry *key; /* its Idempotency-Key; NULL: none */
	struct share *share;
	struct produce *older, *newer; /* of the share */
	struct produce *before, *after; /* of those with a key, whose time is not over */
	bool timed; /* it is one of them */
	size_t count, left; /* left: without an answer of Kafka; one more while it begins */
	size_t bytes;
	int64_t begun_ms;
	int partitions; /* that the topic has; -1: not known */
	bool fails; /* ?errors=fail */
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

/* The error of a slot is that there is no such topic, or partition. */
bool slot_is_missing(const struct slot *s);
int slot_status(const struct produce *p, const struct slot *s);
void slot_text(const struct produce *p, const struct slot *s, char *text, size_t size);
/* Answers when Kafka has answered for all; and those that have come again with the same key. */
void produce_answer(struct produce *p, struct idem *idem);

#endif
