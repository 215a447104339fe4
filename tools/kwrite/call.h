/* SPDX-License-Identifier: ISC */
/* A call for transactions that waits, made by a thread, which wakes the client's loop and ends.
 * While it is out no other call for transactions may be made, and the client must not be stopped.
 *
 * librdkafka's calls can be given a short time and be made again until they are done, but that is
 * not safe: what an earlier call has left on its way to librdkafka's thread gives its result to a
 * later one, even to a call of another function, which then says that it is done and has done
 * nothing (seen with 2.0.2; rd_kafka_txn_op_req is the same in 2026). So each call gets all the
 * time that it may take. */
#ifndef KWRITE_CALL_H
#define KWRITE_CALL_H

#include "kafka/kafka.h"

#include <pthread.h>
#include <stdbool.h>

typedef rd_kafka_error_t *call_fn(void *self);

struct call {
	rd_kafka_error_t *error; /* the answer; owned by whoever takes it. NULL: done */
	bool is_out; /* its answer has not been taken */
	/* internal */
	struct kafka *kafka;
	call_fn *fn;
	void *self;
	pthread_t thread;
	bool has_thread;
	_Atomic bool answered;
};

/* Calls fn(@self) in the thread, which must not serve callbacks: the client's delivery reports are
 * events. */
void call_start(struct call *c, struct kafka *k, call_fn *fn, void *self);
/* Without a call: @error is the answer. */
void call_answer(struct call *c, rd_kafka_error_t *error);
/* The answer has not come yet. */
bool call_waits(const struct call *c);
/* Takes the answer. false: there is none, or it has not come yet. */
bool call_take(struct call *c);
/* The same, after a wait of @limit_ms at most, in whole seconds. */
bool call_wait(struct call *c, int limit_ms);

#endif
