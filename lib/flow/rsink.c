/* SPDX-License-Identifier: ISC */
#include "flow/rsink.h"

#include "base/metrics.h"
#include "base/wake.h"

bool rsink_wait(struct sink *s, struct redis *r, struct pollfd *p, bool takes, int timeout_ms)
{
	int64_t now_ms = wake_now_ms();
	nfds_t count = SINK_FDS;

	sink_poll(s, p, takes);
	count += (nfds_t)redis_poll(r, &p[SINK_FDS]);
	timeout_ms = wake_least(timeout_ms, sink_timeout_ms(s, now_ms));
	if (poll(p, count, wake_least(timeout_ms, redis_timeout_ms(r, now_ms))) >= 0)
		return true;
	wake_poll_failed();
	return false;
}

enum redis_news rsink_step(struct sink *s, struct redis *r, const struct pollfd *p, int64_t now_ms)
{
	bool was_there = redis_is_there(r);
	enum redis_news news = redis_step(r, &p[SINK_FDS], now_ms);

	if (news == REDIS_FAILED)
		sink_die(s, r->trouble.status, "%s", r->trouble.text);
	if (news != REDIS_SAME || was_there != redis_is_there(r))
		metrics_set_ready(redis_is_there(r));
	return news;
}

void rsink_flush(struct sink *s, struct redis *r, int64_t now_ms)
{
	sink_flush(s, now_ms);
	if (input_ended(&s->in))
		redis_hurry(r);
	redis_flush(r, now_ms);
}
