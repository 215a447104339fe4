/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/brokers.h"

#include "base/mem.h"
#include "base/msg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* A connection that comes back sooner is not worth a sentence. librdkafka tries again after
	 * a tenth of a second, and after two more: a broker that starts again may refuse once. */
	AWAY_GRACE_MS = 500,
	AWAITED_MS = 5000, /* so long the sentence waits for its remedy, or another address */
	SILENT_MS = 5000,
	/* Connections: a broker that is shut down and a proxy in front of it end one or two. */
	CUTS = 5,
	/* Requests of other partitions, which are answered before the one that is too large. */
	CUT_ANSWERS = 16,
	/* librdkafka may wait for 15 s until it connects again. */
	CUT_APART_MS = 20000,
};

void brokers_open(struct brokers *b)
{
	*b = (struct brokers){0};
	pthread_mutex_init(&b->lock, NULL);
}

void brokers_close(struct brokers *b)
{
	free(b->away);
	free(b->cuts);
	free(b->names);
	tries_free(&b->tries);
	pthread_mutex_destroy(&b->lock);
}

/* The name in "sasl_ssl://host:port/1" is host:port, whichever of the connections to that broker is
 * meant. librdkafka has no brackets around an address of IPv6 that is advertised. */
static bool broker_name(const char *text, size_t len, char *name, size_t size)
{
	const char *scheme = memmem(text, len, "://", 3), *slash, *colon;
	bool is_bare;

	if (scheme) {
		len -= (size_t)(scheme + 3 - text);
		text = scheme + 3;
	}
	slash = memchr(text, '/', len);
	colon = slash ? memrchr(text, ':', (size_t)(slash - text)) : NULL;
	if (!colon)
		return false;
	is_bare = *text != '[' && memchr(text, ':', (size_t)(colon - text));
	snprintf(name, size, is_bare ? "[%.*s]%.*s" : "%.*s%.*s", (int)(colon - text), text,
		(int)(slash - colon), colon);
	return true;
}

void brokers_cut_after(char *text)
{
	char *after = strstr(text, " (after ");

	if (after)
		*after = '\0';
}

/* The entry of that name; NULL: none. */
static struct brokers_lost *find(struct brokers *b, const char *name)
{
	for (int i = 0; i < b->away_count; i++)
		if (strcmp(b->away[i].name, name) == 0)
			return &b->away[i];
	return NULL;
}

static struct brokers_name *find_name(struct brokers *b, const char *name)
{
	for (int i = 0; i < b->name_count; i++)
		if (strcmp(b->names[i].name, name) == 0)
			return &b->names[i];
	return NULL;
}

void brokers_resolved(struct brokers *b, const char *host, const char *port, int addresses)
{
	struct brokers_name *n;
	char name[sizeof(n->name)];

	snprintf(name, sizeof(name), "%s:%s", host, port);
	pthread_mutex_lock(&b->lock);
	n = find_name(b, name);
	if (!n && addresses > 1 && b->name_count < BROKERS_AWAY_MAX) {
		b->names = mem_realloc(b->names, (size_t)(b->name_count + 1) * sizeof(*b->names));
		n = &b->names[b->name_count++];
		memcpy(n->name, name, sizeof(name));
	}
	if (n)
		n->addresses = addresses;
	pthread_mutex_unlock(&b->lock);
}

void brokers_tried(struct brokers *b, int64_t now_ms, const char *host, const char *port)
{
	char name[sizeof(b->tries.list->name)];

	snprintf(name, sizeof(name), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
	pthread_mutex_lock(&b->lock);
	tries_begin(&b->tries, now_ms, name);
	pthread_mutex_unlock(&b->lock);
}

void brokers_greeted(struct brokers *b, int64_t now_ms, const char *broker)
{
	char name[sizeof(b->tries.list->name)];

	if (!broker_name(broker, strlen(broker), name, sizeof(name)))
		return;
	pthread_mutex_lock(&b->lock);
	tries_begin(&b->tries, now_ms, name);
	pthread_mutex_unlock(&b->lock);
}

void brokers_welcomed(struct brokers *b, const char *broker)
{
	char name[sizeof(b->tries.list->name)];

	if (!broker_name(broker, strlen(broker), name, sizeof(name)))
		return;
	pthread_mutex_lock(&b->lock);
	tries_end(&b->tries, name);
	pthread_mutex_unlock(&b->lock);
}

/* The same, made if need be; NULL: there is no room. */
static struct brokers_lost *lost(struct brokers *b, int64_t now_ms, const char *name)
{
	struct brokers_lost *a = find(b, name);
	const struct brokers_name *n;

	if (!a && b->away_count < BROKERS_AWAY_MAX) {
		if (!b->away)
			b->away = mem_alloc(BROKERS_AWAY_MAX * sizeof(*b->away));
		a = &b->away[b->away_count++];
		n = find_name(b, name);
		*a = (struct brokers_lost){.since_ms = now_ms, .untried = n ? n->addresses : 1};
		snprintf(a->name, sizeof(a->name), "%s", name);
	}
	return a;
}

static bool is_node(const struct brokers *b, int32_t id)
{
	for (int i = 0; i < b->node_count; i++)
		if (b->nodes[i] == id)
			return true;
	return false;
}

/* Of "host:port/1: reason"; of "host:port/bootstrap: reason" it is -1. */
static int32_t node_of(const char *text, const char *reason)
{
	const char *slash = memrchr(text, '/', (size_t)(reason - text));
	char *end;
	long id = slash ? strtol(slash + 1, &end, 10) : -1;

	return slash && end == reason ? (int32_t)id : -1;
}

void brokers_away(struct brokers *b, int64_t now_ms, const char *text)
{
	const char *reason = strstr(text, ": ");
	char name[sizeof(b->away->name)];
	struct brokers_lost *a;

	if (!reason || !broker_name(text, (size_t)(reason - text), name, sizeof(name)))
		return;
	pthread_mutex_lock(&b->lock);
	/* The request that was waited for has failed; librdkafka sends it again. */
	b->due_ms = 0;
	tries_end(&b->tries, name);
	a = lost(b, now_ms, name);
	if (a) {
		a->back = false;
		a->was_there |= is_node(b, node_of(text, reason));
		/* Of the same address it tells once in half a minute. */
		a->untried = strncmp(reason, ": Connect to ", 13) == 0 ? a->untried - 1 : 0;
		if (!a->explained) {
			snprintf(a->cause, sizeof(a->cause), "%s", reason + 2);
			brokers_cut_after(a->cause);
		}
	}
	pthread_mutex_unlock(&b->lock);
}

void brokers_explain(struct brokers *b, int64_t now_ms, const char *name, const char *cause,
	const char *remedy, bool passing, bool all)
{
	struct brokers_lost *a;

	pthread_mutex_lock(&b->lock);
	a = find(b, name);
	if (!a && all)
		a = lost(b, now_ms, name);
	if (a && !a->back) {
		/* Of a connection that is refused the client's own words say as much, and which
		 * address it was. */
		if (!passing || !strstr(a->cause, "refused"))
			snprintf(a->cause, sizeof(a->cause), "%s", cause);
		snprintf(a->remedy, sizeof(a->remedy), "%s",
			passing && a->was_there && !all ? "" : remedy);
		a->explained = true;
		a->at_once = !passing;
	}
	pthread_mutex_unlock(&b->lock);
}

bool brokers_tries(struct brokers *b, int64_t now_ms, const char *name)
{
	const struct tries_one *y;
	bool slow;

	pthread_mutex_lock(&b->lock);
	y = tries_find(&b->tries, name);
	slow = y && tries_is_slow(y, now_ms);
	pthread_mutex_unlock(&b->lock);
	return slow;
}

void brokers_looked(struct brokers *b, int64_t now_ms)
{
	pthread_mutex_lock(&b->lock);
	for (int i = 0; i < b->tries.count; i++)
		b->tries.list[i].looked |= tries_is_slow(&b->tries.list[i], now_ms);
	for (int i = 0; i < b->away_count; i++)
		b->away[i].looked = true;
	pthread_mutex_unlock(&b->lock);
}

bool brokers_wonder(struct brokers *b, int64_t now_ms)
{
	bool wonder = false;

	pthread_mutex_lock(&b->lock);
	for (int i = 0; i < b->away_count; i++)
		wonder |= !b->away[i].looked && !b->away[i].back;
	for (int i = 0; i < b->tries.count; i++) {
		const struct tries_one *y = &b->tries.list[i];

		wonder |= !y->looked && tries_is_slow(y, now_ms) && !find(b, y->name);
	}
	pthread_mutex_unlock(&b->lock);
	return wonder;
}

bool brokers_were_there(struct brokers *b)
{
	bool were;

	pthread_mutex_lock(&b->lock);
	were = b->node_ms > 0;
	pthread_mutex_unlock(&b->lock);
	return were;
}

int64_t brokers_answered_ms(struct brokers *b)
{
	int64_t at_ms;

	pthread_mutex_lock(&b->lock);
	at_ms = b->answered_ms;
	pthread_mutex_unlock(&b->lock);
	return at_ms;
}

void brokers_all_away(struct brokers *b)
{
	pthread_mutex_lock(&b->lock);
	b->answered = false;
	b->due_ms = 0;
	pthread_mutex_unlock(&b->lock);
}

void brokers_asked(struct brokers *b, int64_t now_ms, int64_t wait_ms)
{
	int64_t due_ms = now_ms + SILENT_MS + wait_ms;

	pthread_mutex_lock(&b->lock);
	if (!b->due_ms || due_ms < b->due_ms)
		b->due_ms = due_ms;
	pthread_mutex_unlock(&b->lock);
}

bool brokers_answered(struct brokers *b, int64_t now_ms, const char *broker, int32_t id)
{
	char name[sizeof(b->away->name)];
	struct brokers_lost *a;
	bool news;

	pthread_mutex_lock(&b->lock);
	news = !b->answered || b->silent;
	b->answered = true;
	b->due_ms = 0;
	b->answered_ms = now_ms;
	if (id >= 0) {
		b->node_ms = now_ms;
		if (b->node_count < BROKERS_AWAY_MAX && !is_node(b, id))
			b->nodes[b->node_count++] = id;
	}
	a = broker && b->away_count && broker_name(broker, strlen(broker), name, sizeof(name))
		? find(b, name)
		: NULL;
	if (a)
		news = a->back = true;
	pthread_mutex_unlock(&b->lock);
	return news;
}

/* Its entry; made if need be when @make. NULL: there is none, or no room. */
static struct brokers_cut *cut_of(struct brokers *b, const char *broker, bool make)
{
	char name[sizeof(b->cuts->name)];

	if ((!make && !b->cut_count) || !broker_name(broker, strlen(broker), name, sizeof(name)))
		return NULL;
	for (int i = 0; i < b->cut_count; i++)
		if (strcmp(b->cuts[i].name, name) == 0)
			return &b->cuts[i];
	if (!make || b->cut_count == BROKERS_CUTS_MAX)
		return NULL;
	if (!b->cuts)
		b->cuts = mem_alloc(BROKERS_CUTS_MAX * sizeof(*b->cuts));
	b->cuts[b->cut_count] = (struct brokers_cut){.is_new = true};
	memcpy(b->cuts[b->cut_count].name, name, sizeof(name));
	return &b->cuts[b->cut_count++];
}

void brokers_connected(struct brokers *b, const char *broker)
{
	struct brokers_cut *c;

	pthread_mutex_lock(&b->lock);
	c = cut_of(b, broker, false);
	if (c)
		c->is_new = true;
	pthread_mutex_unlock(&b->lock);
}

/* Whether the next cut would not belong to the last ones. */
static bool is_over(const struct brokers_cut *c, int64_t now_ms)
{
	return c->answers && (c->answers >= CUT_ANSWERS || now_ms - c->last_ms >= CUT_APART_MS);
}

bool brokers_wrote(struct brokers *b, int64_t now_ms, const char *broker, bool cut)
{
	struct brokers_cut *c;
	bool news = false;

	pthread_mutex_lock(&b->lock);
	c = cut_of(b, broker, cut);
	/* Of several requests on one connection the first counts. */
	if (c && cut && c->is_new) {
		c->count = is_over(c, now_ms) ? 1 : c->count + 1;
		c->last_ms = now_ms;
		c->answers = 0;
		c->is_new = false;
		news = c->count == CUTS;
	} else if (c && !cut) {
		c->answers++;
		news = c->reported && is_over(c, now_ms);
	}
	pthread_mutex_unlock(&b->lock);
	return news;
}

static void tell_cuts(struct brokers *b, int64_t now_ms)
{
	for (struct brokers_cut *c = b->cuts; c && c < b->cuts + b->cut_count; c++) {
		if (is_over(c, now_ms))
			c->count = 0;
		if (c->reported == (c->count >= CUTS))
			continue;
		c->reported = !c->reported;
		if (c->reported)
			msg_warn(
				"broker %s cuts the connection each time records are sent to it: is a request larger than its socket.request.max.bytes? raise that, or send less at once (-X batch.size, smaller records); trying again",
				c->name);
		else
			msg_warn("broker %s takes records again", c->name);
	}
}

void brokers_tell_cuts(struct brokers *b, int64_t now_ms)
{
	pthread_mutex_lock(&b->lock);
	tell_cuts(b, now_ms);
	pthread_mutex_unlock(&b->lock);
}

void brokers_await(struct brokers *b, bool diagnosis)
{
	pthread_mutex_lock(&b->lock);
	b->awaits = diagnosis;
	pthread_mutex_unlock(&b->lock);
}

/* When it is worth a sentence, if it is still away. */
static int64_t tell_ms(const struct brokers *b, const struct brokers_lost *a)
{
	bool waits = !a->explained && (b->awaits || a->untried > 0);

	return a->since_ms + (waits ? AWAITED_MS : AWAY_GRACE_MS);
}

bool brokers_tick(struct brokers *b, int64_t now_ms)
{
	bool up, silent;

	pthread_mutex_lock(&b->lock);
	up = b->answered;
	b->next_ms = INT64_MAX;
	for (int i = b->away_count; i-- > 0;) {
		struct brokers_lost *a = &b->away[i];

		if (a->back) {
			if (a->reported)
				msg_warn("broker %s is back", a->name);
			*a = b->away[--b->away_count];
			continue;
		}
		/* An answer from a bootstrap address proves nothing while the brokers that it names
		 * are away. */
		if (b->node_ms <= a->since_ms)
			up = false;
		if (!a->reported && (a->at_once || now_ms >= tell_ms(b, a))) {
			a->reported = true;
			msg_warn("cannot reach broker %s: %s; waiting for it%s%s%s", a->name,
				a->cause, *a->remedy ? " (" : "", a->remedy, *a->remedy ? ")" : "");
		}
		if (!a->reported && tell_ms(b, a) < b->next_ms)
			b->next_ms = tell_ms(b, a);
	}
	tell_cuts(b, now_ms);
	silent = b->due_ms && now_ms >= b->due_ms;
	if (silent && !b->silent)
		msg_warn("the brokers do not answer; waiting for them");
	else if (!silent && b->silent && up)
		msg_warn("the brokers answer again");
	b->silent = silent;
	pthread_mutex_unlock(&b->lock);
	return up && !silent;
}

int64_t brokers_next_ms(struct brokers *b)
{
	int64_t at_ms;

	pthread_mutex_lock(&b->lock);
	at_ms = b->next_ms;
	pthread_mutex_unlock(&b->lock);
	return at_ms;
}

void brokers_put_away(struct brokers *b, struct buf *text)
{
	pthread_mutex_lock(&b->lock);
	if (b->away_count)
		buf_printf(text, ", waiting for broker %s", b->away[0].name);
	else
		buf_puts(text, ", waiting for the brokers");
	pthread_mutex_unlock(&b->lock);
}

bool brokers_told(struct brokers *b)
{
	bool told = false;

	pthread_mutex_lock(&b->lock);
	for (int i = 0; i < b->away_count; i++)
		told |= b->away[i].reported && !b->away[i].back;
	pthread_mutex_unlock(&b->lock);
	return told;
}

void brokers_put_why(struct brokers *b, struct buf *text)
{
	pthread_mutex_lock(&b->lock);
	if (b->away_count)
		buf_printf(text, "cannot reach broker %s: %s", b->away[0].name, b->away[0].cause);
	else
		buf_puts(text,
			b->silent ? "no broker has answered for five seconds"
				  : "no broker has answered yet");
	pthread_mutex_unlock(&b->lock);
}
