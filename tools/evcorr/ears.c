/* SPDX-License-Identifier: ISC */
/* Pushes: channels are listened on, and what comes there ends calls. */
#include "evcorr/parts.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "redis/subscribe.h"

#include <string.h>

enum { PUSH_MAX = 1 << 20 }; /* bytes of a push; evcorr store's are shorter */

/* Asks for the channel of the call, whose key is read once that is confirmed. */
void ears_listen(struct calls *c, const struct table_call *call)
{
	buf_clear(&c->words);
	ident_put_channel(table_id(call), &c->words);
	buf_putc(&c->words, '\0');
	redis_subscribe(&c->ears, 2, (const char *const[]){"SUBSCRIBE", c->words.p});
	table_push(&c->unconfirmed, table_number(&c->table, call));
}

/* Another call may listen on the channel of a node. */
void ears_stop(struct calls *c, const struct table_call *call)
{
	if (c->ears.state != REDIS_UP)
		return;
	buf_clear(&c->words);
	ident_put_channel(table_id(call), &c->words);
	buf_putc(&c->words, '\0');
	if (strncmp(c->words.p, IDENT_OF_ID, strlen(IDENT_OF_ID)) == 0)
		redis_subscribe(&c->ears, 2, (const char *const[]){"UNSUBSCRIBE", c->words.p});
}

static void listen_anew(struct calls *c)
{
	const struct table_call *call;

	c->is_heard = false;
	c->unconfirmed.head = c->unconfirmed.tail;
	buf_clear(&c->words);
	ident_put_own_channel(&c->ident, &c->words);
	buf_putc(&c->words, '\0');
	redis_subscribe(&c->ears, 2, (const char *const[]){"SUBSCRIBE", c->words.p});
	for (uint32_t at = 0; (call = table_each(&c->table, &at));)
		if (call->is_foreign)
			ears_listen(c, call);
}

static void on_confirmed(struct calls *c)
{
	const struct table_call *call;

	if (!c->is_heard) {
		c->is_heard = true;
		c->looks_again = true;
	} else if (!table_is_empty(&c->unconfirmed)) {
		call = table_numbered(&c->table, table_pop(&c->unconfirmed));
		if (call)
			keys_look(c, call);
	}
}

/* "HEX" or "HEX RECORD". */
static void on_push(struct calls *c, struct span payload)
{
	struct span hex = span_word(&payload);
	struct table_call *call = NULL;

	buf_clear(&c->scratch);
	if (ident_parse_hex(hex, &c->scratch) == 0)
		call = table_find(&c->table, buf_as_span(&c->scratch));
	if (!call)
		c->strays++;
	else if (payload.len && c->replies == 1)
		calls_give(c, call, payload);
	else
		keys_look(c, call);
}

static void on_refused(struct calls *c, struct span text)
{
	enum redis_fault fault = redis_fault(text);

	if (c->is_heard && redis_is_pong(&c->ears, text))
		return;
	if (fault != REDIS_FAULT_CONFIG)
		redis_lose(&c->ears, text);
	else
		trouble_set(&c->trouble, EXIT_PERM, "redis at %s refuses the subscription: %.*s%s",
			redis_name(&c->ears), (int)(text.len < 200 ? text.len : 200), text.p,
			redis_advice(&c->ears, text));
}

static void on_pushes(struct calls *c)
{
	struct redis_message m;

	while (c->ears.state == REDIS_UP && !c->trouble.status)
		switch (redis_next_push(&c->ears, PUSH_MAX, &m)) {
		case REDIS_PUSH_MESSAGE:
			if (m.payload.p)
				on_push(c, m.payload);
			break;
		case REDIS_PUSH_CONFIRMED:
			on_confirmed(c);
			break;
		case REDIS_PUSH_ERROR:
			on_refused(c, m.text);
			break;
		case REDIS_PUSH_NONE:
			if (!redis_read(&c->ears))
				return;
			break;
		case REDIS_PUSH_GONE:
		case REDIS_PUSH_PONG:
		case REDIS_PUSH_OTHER:
			break;
		}
}

void ears_serve(struct calls *c, const struct pollfd *p)
{
	switch (redis_step(&c->ears, p, c->now_ms)) {
	case REDIS_CAME:
		listen_anew(c);
		break;
	case REDIS_WENT:
		c->is_heard = false;
		break;
	case REDIS_FAILED:
		trouble_take(&c->trouble, &c->ears.trouble);
		break;
	case REDIS_SAME:
		break;
	}
	on_pushes(c);
	metrics_up("redis", c->redis.reachable && c->ears.reachable);
}
