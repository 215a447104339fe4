/* SPDX-License-Identifier: ISC */
#include "khttp/consumer.h"

#include "base/mem.h"

#include <stdlib.h>

struct consumers {
	struct khttp *k;
};

struct consumers *consumers_open(struct khttp *k)
{
	struct consumers *cs = mem_alloc(sizeof(*cs));

	*cs = (struct consumers){.k = k};
	return cs;
}

void consumers_request(struct consumers *cs, const struct consumer_call *c)
{
	(void)cs;
	http_error(c->call.r, 404, "The specified consumer instance was not found.");
}

int consumers_fd(const struct consumers *cs)
{
	(void)cs;
	return -1;
}

int consumers_timeout_ms(const struct consumers *cs, int64_t now_ms)
{
	(void)cs;
	(void)now_ms;
	return -1;
}

void consumers_serve(struct consumers *cs, int64_t now_ms)
{
	(void)cs;
	(void)now_ms;
}

void consumers_leave(struct consumers *cs)
{
	(void)cs;
}

bool consumers_close(struct consumers *cs)
{
	free(cs);
	return true;
}

void consumers_metrics(struct consumers *cs, struct buf *out)
{
	(void)cs;
	(void)out;
}
