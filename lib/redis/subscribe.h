/* SPDX-License-Identifier: ISC */
/* Published messages and confirmations, for a client of the use REDIS_SUBSCRIBER. Spans point into
 * the receive buffer; nothing is copied. */
#ifndef EVPIPE_REDIS_SUBSCRIBE_H
#define EVPIPE_REDIS_SUBSCRIBE_H

#include "redis/client.h"

/* Asks for the channels or patterns: names[0] is the command, @count counts it too. Call while
 * REDIS_UP. */
void redis_subscribe(struct redis *r, int count, const char *const *names);

enum redis_push {
	REDIS_PUSH_NONE, /* no whole one has come */
	REDIS_PUSH_MESSAGE,
	REDIS_PUSH_CONFIRMED, /* one subscription */
	/* text: against a subscription, if one is not confirmed; else see redis_is_pong */
	REDIS_PUSH_ERROR,
	REDIS_PUSH_PONG, /* the answer to a keep-alive */
	/* the server has ended the subscription: the slot of the channel has moved */
	REDIS_PUSH_GONE,
	REDIS_PUSH_OTHER,
};
struct redis_message {
	struct span pattern, channel, payload; /* pattern.p NULL without one */
	/* bytes of a payload that was passed over, payload.p NULL; or of a name, channel.p NULL;
	 * else 0 */
	size_t too_big;
	struct span text;
};
/* The next one that has come. A payload longer than @max_payload is passed over, and so is a
 * message whose channel or pattern is longer than both @max_payload and 64 MB. Spans are valid
 * until the next call, redis_read or redis_step. Bytes that are no RESP lose the link:
 * REDIS_PUSH_NONE, and the next step reports it. */
enum redis_push redis_next_push(struct redis *r, size_t max_payload, struct redis_message *m);
/* Whether an error answers a keep-alive, which shows that the link is alive: the server refuses
 * PING, as with MISCONF. Any other error comes from between us and the server, and nobody knows
 * what it means for the subscriptions. */
bool redis_is_pong(struct redis *r, struct span error);
/* Reads once more, without a poll. Returns whether something came. The next step reports a loss. */
static inline bool redis_read(struct redis *r)
{
	return link_read(&r->target->link);
}

#endif
