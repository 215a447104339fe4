/* SPDX-License-Identifier: ISC */
/* Consumer groups: the coordinator, which is dialled; state, members, positions, lag. */
#define _GNU_SOURCE
#include "kcheck/parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { AGAIN_MS = 100 }; /* between two questions for a coordinator that is being made */

struct talk *views_via(const struct views *v)
{
	struct check_address *a = NULL;

	/* Rather a broker that is advertised than an address of -b, which may be any. */
	for (size_t i = 0; i < v->check->count && !a; i++)
		if (v->check->listeners[i]->broker_count)
			a = check_usable(v->check->listeners[i]);
	for (size_t i = 0; i < v->check->count && !a; i++)
		a = check_usable(v->check->listeners[i]);
	return a ? &a->talk : NULL;
}

int views_status(const struct views *v)
{
	int status = check_worst(v->check)->status;

	return status ? status : EXIT_TEMP;
}

bool views_ask(struct views *v, struct talk *t)
{
	talk_send(t, wake_now_us());
	return v->await(t);
}

/* ---- the coordinator ---- */

static int fail(struct view_group *g, int status, const char *text, const char *remedy)
{
	g->verdict.status = status;
	snprintf(g->verdict.text, sizeof(g->verdict.text), "group '%s': %.500s", g->name, text);
	snprintf(g->verdict.remedy, sizeof(g->verdict.remedy), "%s", remedy);
	return -1;
}

/* @who has not answered the last question, or not as Kafka does. */
static int fail_answer(struct view_group *g, const struct talk *t, const char *who)
{
	char text[120];

	snprintf(text, sizeof(text), "%s %s", who,
		t->done				  ? "gives an answer that is none of Kafka's"
			: t->fault == TALK_SILENT ? "does not answer within --timeout"
						  : "closes the connection without an answer");
	return fail(g, !t->done && t->fault == TALK_SILENT ? EXIT_TIMEOUT : EXIT_TEMP, text, "");
}

static int fail_code(const struct views *v, struct view_group *g, int16_t error)
{
	check_group_error(&g->verdict, g->name, v->check->conf->as.login.user, error);
	return -1;
}

/* Waits a moment. Returns whether there is time left for another question. */
static bool may_ask_again(const struct views *v)
{
	if (wake_stops() || wake_now_us() + AGAIN_MS * 1000 >= v->until_us)
		return false;
	poll(NULL, 0, AGAIN_MS);
	return true;
}

/* The first question makes the topic of the groups' positions, which takes a moment. */
static int find_coordinator(struct views *v, struct view_group *g, struct query_coordinator *c)
{
	for (;;) {
		struct talk *t = views_via(v);
		int16_t version;
		struct buf *b = t
			? talk_request(t, PROTO_FIND_COORDINATOR, QUERY_FIND_COORDINATOR_MIN,
				  QUERY_FIND_COORDINATOR_MAX, &version)
			: NULL;

		if (!b)
			return fail(g, views_status(v), "no broker can be asked", "");
		query_put_find_coordinator(b, version, g->name);
		if (!views_ask(v, t) || query_read_find_coordinator(t->answer, version, c))
			return fail_answer(g, t, "the broker that was asked for its coordinator");
		if (!c->error)
			return 0;
		if (!check_group_is_passing(c->error) || !may_ask_again(v))
			return fail_code(v, g, c->error);
	}
}

/* Dials it like any listener. NULL: it cannot be used, and the verdict says why. */
static struct talk *reach_coordinator(struct views *v, struct view_group *g)
{
	struct query_coordinator c = {0};
	struct check_address *a;
	struct check_listener *l;
	char port[16];

	if (find_coordinator(v, g, &c))
		return NULL;
	g->coordinator = c.broker.id;
	snprintf(port, sizeof(port), "%d", c.broker.port);
	l = check_add(v->check, c.broker.host, port, c.broker.id, wake_now_us());
	free(c.broker.host);
	snprintf(g->where, sizeof(g->where), "%s", l->name);
	if (!v->settle())
		return NULL;
	a = check_usable(l);
	if (a)
		return &a->talk;
	check_group_unreached(&g->verdict, g->name, l);
	return NULL;
}

/* ---- what it tells ---- */

/* A group of the newer protocol is "Dead" in the older one's words, and so is one that does not exist. */
static int ask_consumer_group(struct views *v, struct view_group *g, struct talk *t)
{
	struct query_group found;
	int16_t version;
	struct buf *b = talk_request(t, PROTO_CONSUMER_GROUP_DESCRIBE,
		QUERY_CONSUMER_GROUP_DESCRIBE, QUERY_CONSUMER_GROUP_DESCRIBE, &version);

	if (!b)
		return 0;
	query_put_consumer_group(b, g->name);
	if (!views_ask(v, t))
		return fail_answer(g, t, "its coordinator");
	if (query_read_consumer_group(t->answer, &found)) {
		query_group_free(&found);
		return fail_answer(g, t, "its coordinator");
	}
	if (found.error == PROTO_GROUP_NOT_FOUND) {
		query_group_free(&found);
		return 0;
	}
	query_group_free(&g->group);
	g->group = found;
	return found.error ? fail_code(v, g, found.error) : 0;
}

static int ask_group(struct views *v, struct view_group *g, struct talk *t)
{
	int16_t version;
	struct buf *b;

	do {
		b = talk_request(t, PROTO_DESCRIBE_GROUPS, QUERY_DESCRIBE_GROUPS_MIN,
			QUERY_DESCRIBE_GROUPS_MAX, &version);
		if (!b)
			return 0;
		query_group_free(&g->group);
		query_put_describe_groups(b, version, g->name);
		if (!views_ask(v, t) || query_read_describe_groups(t->answer, version, &g->group))
			return fail_answer(g, t, "its coordinator");
	} while (check_group_is_passing(g->group.error) && may_ask_again(v));
	if (g->group.error)
		return fail_code(v, g, g->group.error);
	return strcmp(g->group.state, "Dead") == 0 ? ask_consumer_group(v, g, t) : 0;
}

static int ask_committed(struct views *v, struct view_group *g, struct talk *t)
{
	int16_t version, error = 0;
	struct buf *b = talk_request(
		t, PROTO_OFFSET_FETCH, QUERY_OFFSET_FETCH_MIN, QUERY_OFFSET_FETCH_MAX, &version);

	if (!b)
		return 0;
	query_put_offset_fetch(b, g->name);
	if (!views_ask(v, t) || query_read_offset_fetch(t->answer, version, &error, &g->committed))
		return fail_answer(g, t, "its coordinator");
	return error ? fail_code(v, g, error) : 0;
}

static int by_place(const void *a, const void *b)
{
	const struct query_place *p = a, *q = b;
	int order = strcmp(p->topic, q->topic);

	return order ? order : (p->partition > q->partition) - (p->partition < q->partition);
}

/* Partitions that members read, and in which it has no position yet, beside those with one. */
static void add_unread(struct view_group *g)
{
	size_t count = g->committed.count;

	for (int32_t i = 0; i < g->group.member_count; i++)
		for (size_t k = 0; k < g->group.members[i].places.count; k++) {
			const struct query_place *p = &g->group.members[i].places.list[k];

			if (count && bsearch(p, g->committed.list, count, sizeof(*p), by_place))
				continue;
			query_add_place(&g->committed, (struct span){p->topic, strlen(p->topic)},
				p->partition)
				->offset = -1;
		}
	if (g->committed.count)
		qsort(g->committed.list, g->committed.count, sizeof(*g->committed.list), by_place);
}

static void note(struct view_group *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct view_group *g, const char *fmt, ...)
{
	char *text = g->verdict.note;
	size_t size = sizeof(g->verdict.note), n = strlen(text);
	va_list ap;

	n += (size_t)snprintf(text + n, size - n, n ? "; " : "group '%.255s' ", g->name);
	va_start(ap, fmt);
	vsnprintf(text + n, size - n, fmt, ap);
	va_end(ap);
}

static void note_members(struct view_group *g)
{
	bool is_dead = g->group.state && strcmp(g->group.state, "Dead") == 0;

	if (g->group.state && !g->group.member_count)
		note(g,
			is_dead && !g->committed.count
				? "does not exist yet: it has no member and no position"
				: "has no member: nobody reads");
}

/* What is odd about a position; @ends: of its partition, NULL: not told. Returns whether it is. */
static bool note_place(
	struct view_group *g, const struct query_place *p, const struct view_ends *ends)
{
	const char *why = NULL;
	int64_t bound = 0;

	if (!ends || p->offset < 0)
		return false;
	if (ends->end >= 0 && p->offset > ends->end) {
		bound = ends->end;
		why = "is beyond the end, %lld: the topic was truncated, or made anew";
	} else if (p->offset < ends->begin) {
		bound = ends->begin;
		why = "is before the beginning, %lld: what it has not read there was deleted";
	}
	if (!why)
		return false;
	note(g, "has the position %lld in topic '%.255s', partition %d, which ",
		(long long)p->offset, p->topic, p->partition);
	snprintf(g->verdict.note + strlen(g->verdict.note),
		sizeof(g->verdict.note) - strlen(g->verdict.note), why, (long long)bound);
	return true;
}

static const struct view_ends *find_ends(
	const struct view_topics *topics, const struct query_place *p)
{
	for (size_t i = 0; i < topics->count; i++) {
		const struct view_topic *t = &topics->list[i];

		if (!t->ends || strcmp(t->t.name, p->topic))
			continue;
		for (int32_t k = 0; k < t->t.partition_count; k++)
			if (t->t.partitions[k].id == p->partition)
				return &t->ends[k];
	}
	return NULL;
}

/* The ends of the partitions in which it has a position: a look at their topics has them. */
static void add_lag(struct views *v, struct view_group *g)
{
	const char **names = mem_alloc((g->committed.count + 1) * sizeof(*names));
	struct view_topics topics = {0};
	size_t n = 0, unread = 0;
	bool is_odd = false;

	for (size_t i = 0; i < g->committed.count; i++)
		if (!i || strcmp(g->committed.list[i].topic, g->committed.list[i - 1].topic) != 0)
			names[n++] = g->committed.list[i].topic;
	names[n] = NULL;
	g->ends = mem_alloc((g->committed.count + 1) * sizeof(*g->ends));
	if (n)
		views_topics(v, names, &topics);
	for (size_t i = 0; i < g->committed.count; i++) {
		const struct query_place *p = &g->committed.list[i];
		const struct view_ends *ends = find_ends(&topics, p);

		g->ends[i] = ends ? ends->end : -1;
		if (g->ends[i] >= 0 && p->offset >= 0)
			g->lag += g->ends[i] > p->offset ? g->ends[i] - p->offset : 0;
		unread += p->offset < 0;
		is_odd = is_odd || note_place(g, p, ends);
	}
	if (unread)
		note(g, "has no position yet in %zu of the partitions that it reads", unread);
	views_topics_free(&topics);
	free(names);
}

void views_group(struct views *v, const char *name, struct view_group *out)
{
	struct talk *t;

	*out = (struct view_group){.name = name, .coordinator = -1, .lag = -1};
	t = reach_coordinator(v, out);
	if (!t || ask_group(v, out, t) || ask_committed(v, out, t))
		return;
	if (out->committed.count)
		qsort(out->committed.list, out->committed.count, sizeof(*out->committed.list),
			by_place);
	out->lag = 0;
	note_members(out);
	add_unread(out);
	add_lag(v, out);
	snprintf(out->verdict.text, sizeof(out->verdict.text), "good");
}

void views_group_free(struct view_group *g)
{
	query_group_free(&g->group);
	query_places_free(&g->committed);
	free(g->ends);
	*g = (struct view_group){0};
}
