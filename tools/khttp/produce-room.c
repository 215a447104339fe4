/* SPDX-License-Identifier: ISC */
/* The room for records on their way to Kafka, of which one topic may not have all while it
 * waits. */
#include "khttp/error.h"
#include "khttp/slots.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
	STALL_MS = 5000, /* a topic that waits so long for Kafka's answer is bounded by itself */
	STALLED_PART = 8, /* of all the room */
};

static struct share **find_share(struct produces *all, const char *topic)
{
	struct share **s;
	size_t hash = 5381;

	for (const char *c = topic; *c; c++)
		hash = hash * 33 + (unsigned char)*c;
	s = &all->shares[hash % SHARES];
	while (*s && strcmp((*s)->topic, topic))
		s = &(*s)->next;
	return s;
}

void room_enter(struct produce *p, const char *topic)
{
	struct share **place = find_share(p->k->produces, topic), *s = *place;

	if (!s) {
		s = *place = mem_alloc(sizeof(*s));
		*s = (struct share){.topic = mem_dup(topic)};
	}
	p->share = s;
	p->older = s->newest;
	*(s->newest ? &s->newest->newer : &s->oldest) = p;
	s->newest = p;
	s->bytes += p->bytes;
	p->k->produces->count++;
	p->k->produces->bytes += p->bytes;
}

void room_leave(struct produce *p)
{
	struct share *s = p->share, **place;

	*(p->older ? &p->older->newer : &s->oldest) = p->newer;
	*(p->newer ? &p->newer->older : &s->newest) = p->older;
	s->bytes -= p->bytes;
	p->k->produces->count--;
	p->k->produces->bytes -= p->bytes;
	if (s->oldest)
		return;
	place = find_share(p->k->produces, s->topic);
	*place = s->next;
	free(s->topic);
	free(s);
}

bool produce_fits(const struct call *c, size_t bytes)
{
	struct produces *all = c->k->produces;
	const struct share *s = *find_share(all, http_param(c->r, "topic"));

	if (!khttp_kafka_answers(c->k, c->r))
		return false;
	if (all->bytes && all->bytes + bytes > all->max_bytes)
		error_unavailable(c->r, "Bridge is overloaded, please retry later");
	else if (s && s->bytes + bytes > all->max_bytes / STALLED_PART &&
		c->k->now_ms - s->oldest->begun_ms >= STALL_MS)
		error_unavailable(c->r,
			"Kafka has not answered for records of %s for %" PRId64 " ms", s->topic,
			c->k->now_ms - s->oldest->begun_ms);
	else
		return true;
	return false;
}
