/* SPDX-License-Identifier: ISC */
/* DESIGN: as in kafka/listing: while the call is out its thread owns `error`, and what fn reads;
 * `answered` hands them back. */
#include "kwrite/call.h"

#include "base/thread.h"

#include <unistd.h>

static void *run(void *call)
{
	struct call *c = call;
	int wake_fd = c->kafka->wake_in;

	c->error = c->fn(c->self);
	c->answered = true;
	/* A full pipe wakes the loop, too. */
	if (write(wake_fd, "", 1) < 0)
		return NULL;
	return NULL;
}

void call_start(struct call *c, struct kafka *k, call_fn *fn, void *self)
{
	*c = (struct call){.kafka = k, .fn = fn, .self = self, .is_out = true};
	c->has_thread = thread_start(&c->thread, run, c);
	if (!c->has_thread)
		run(c);
}

void call_answer(struct call *c, rd_kafka_error_t *error)
{
	*c = (struct call){.error = error, .is_out = true, .answered = true};
}

bool call_waits(const struct call *c)
{
	return c->is_out && !c->answered;
}

bool call_take(struct call *c)
{
	if (!c->is_out || !c->answered)
		return false;
	if (c->has_thread)
		pthread_join(c->thread, NULL);
	c->has_thread = c->is_out = false;
	return true;
}

bool call_wait(struct call *c, int limit_ms)
{
	if (c->has_thread && thread_join(c->thread, limit_ms))
		c->has_thread = false;
	return call_take(c);
}
