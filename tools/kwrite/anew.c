/* SPDX-License-Identifier: ISC */
#include "kwrite/anew.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "kafka/verdict.h"

#include <poll.h>

enum {
	/* So often is one record sent anew; once when the partition was asked for by number. */
	TRIES = 5,
	AWAIT_MS = 15000,
	SLICE_MS = 100,
};

void anew_open(struct anew *a, struct topics *ts, struct deliveries *ds, const struct shape *shape,
	bool off)
{
	*a = (struct anew){.off = off, .topics = ts, .deliveries = ds, .shape = *shape};
	a->shape.name = a->shape.scratch = a->shape.keys = (struct buf){0};
}

bool anew_takes(struct anew *a, struct delivery *d, rd_kafka_resp_err_t err)
{
	unsigned tries = err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION &&
			a->shape.partition != RD_KAFKA_PARTITION_UA
		? 1
		: TRIES;

	if (a->off || d->slot.refused || !verdict_is_gone(err) || d->tries >= tries)
		return false;
	d->tries++;
	if (d->topic->state == TOPIC_USABLE)
		msg_warn("topic '%s': %s: it is asked about again, and its records are sent anew",
			d->topic->name, kafka_why(err));
	topic_renew(d->topic);
	if (a->count == a->capacity) {
		a->capacity = a->capacity ? a->capacity * 2 : 1024;
		a->list = mem_realloc(a->list, a->capacity * sizeof(*a->list));
	}
	a->list[a->count++] = d;
	return true;
}

void anew_await(struct anew *a, struct topic *t)
{
	const struct kafka *k = a->topics->kafka;
	int64_t until_ms = wake_now_ms() + AWAIT_MS;
	enum topic_state state;

	topic_renew(t);
	while ((state = topic_look(a->topics, t)) != TOPIC_USABLE && state != TOPIC_UNKNOWN &&
		wake_now_ms() < until_ms) {
		struct pollfd p = {.fd = k->wake_fd, .events = POLLIN};

		poll(&p, 1, SLICE_MS);
		kafka_woken(a->topics->kafka);
		topics_serve(a->topics);
	}
}

/* Returns whether the record is dealt with. */
static bool send_one(struct anew *a, struct delivery *d)
{
	struct message m = {.topic = d->topic};

	switch (topic_look(a->topics, d->topic)) {
	case TOPIC_USABLE:
		break;
	case TOPIC_UNKNOWN:
		deliveries_fail(a->deliveries, d, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
		return true;
	case TOPIC_NEW:
	case TOPIC_ASKED:
	case TOPIC_SEEKING:
	case TOPIC_COPYING:
	case TOPIC_CREATING:
		return false;
	}
	if (!message_again(&a->shape, sink_text(a->deliveries->sink, &d->slot), &m))
		deliveries_fail(a->deliveries, d, RD_KAFKA_RESP_ERR__FAIL);
	m.ts = d->ts;
	if (!d->answered && deliveries_produce(a->deliveries, d, &m))
		return true;
	if (m.headers)
		rd_kafka_headers_destroy(m.headers);
	return d->answered;
}

void anew_serve(struct anew *a)
{
	size_t kept = 0, count = a->count;

	for (size_t i = 0; i < count; i++) {
		struct delivery *d = a->list[i];
		bool done = send_one(a, d);

		/* Refused at once, it keeps its turn. */
		if (!done || a->count > count)
			a->list[kept++] = d;
		a->count = count;
	}
	a->count = kept;
}
