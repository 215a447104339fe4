/* SPDX-License-Identifier: ISC */
/* The client of kwrite --txn: its delivery reports are events, and its transaction is aborted while
 * they are taken. */
#include "base/wake.h"
#include "kwrite/txn.h"

enum { TURN_MS = 10, TAKE_BACK_MS = 1000 };

void txn_prepare(const struct txn_opts *o, rd_kafka_conf_t *conf)
{
	if (!o->id->count)
		return;
	rd_kafka_conf_set_dr_msg_cb(conf, NULL);
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
}

void txn_poll(struct txn *t, int timeout_ms)
{
	const rd_kafka_message_t *m;
	rd_kafka_event_t *event;

	if (!t->id)
		rd_kafka_poll(t->kafka->rk, timeout_ms);
	while (t->id && (event = rd_kafka_queue_poll(t->queue, timeout_ms))) {
		if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_DR)
			kafka_take_event(t->kafka, event);
		else
			while ((m = rd_kafka_event_message_next(event)))
				t->told(t->kafka->rk, m, NULL);
		rd_kafka_event_destroy(event);
		timeout_ms = 0;
	}
}

static rd_kafka_error_t *abort_transaction(void *rk)
{
	return rd_kafka_abort_transaction(rk, -1);
}

bool txn_abort(struct txn *t, int64_t until_ms)
{
	call_start(&t->call, t->kafka, abort_transaction, t->kafka->rk);
	/* It waits until the reports of what it gives up have been taken. */
	while (call_waits(&t->call) && wake_now_ms() < until_ms)
		txn_poll(t, TURN_MS);
	if (!call_take(&t->call))
		return false;
	if (!t->call.error)
		return true;
	rd_kafka_error_destroy(t->call.error);
	return false;
}

void txn_take_back(void *txn)
{
	struct txn *t = txn;
	int64_t until_ms = wake_now_ms() + TAKE_BACK_MS;

	if (!t->id || t->ends_with_trouble || t->state <= TXN_PLACING || !t->kafka->up)
		return;
	/* While positions are sent, or a commit is on its way, no other call may be made. */
	while (call_waits(&t->positions.call) && wake_now_ms() < until_ms)
		txn_poll(t, TURN_MS);
	if (!call_waits(&t->positions.call) && !t->call.is_out)
		txn_abort(t, until_ms);
}

bool txn_close(struct txn *t)
{
	if (t->call.is_out && !call_take(&t->call))
		return false;
	if (t->queue)
		rd_kafka_queue_destroy(t->queue);
	return true;
}
