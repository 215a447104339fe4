/* SPDX-License-Identifier: ISC */
#include "kafka/query.h"
#include "kafka/protocol-parts.h"

#include "base/mem.h"

#include <stdlib.h>

/* ---- places ---- */

struct query_place *query_add_place(struct query_places *all, struct span topic, int32_t partition)
{
	struct query_place *p;

	/* At powers of two the list is full. */
	if ((all->count & (all->count - 1)) == 0)
		all->list = mem_realloc(
			all->list, (all->count ? 2 * all->count : 1) * sizeof(*all->list));
	p = &all->list[all->count++];
	*p = (struct query_place){.topic = proto_text(topic), .partition = partition, .offset = -1};
	return p;
}

void query_places_free(struct query_places *all)
{
	for (size_t i = 0; i < all->count; i++)
		free(all->list[i].topic);
	free(all->list);
	*all = (struct query_places){0};
}

/* How many from the @i-th on are of one topic. */
static size_t run_of(const struct query_places *all, size_t i)
{
	size_t n = 1;

	while (i + n < all->count && strcmp(all->list[i].topic, all->list[i + n].topic) == 0)
		n++;
	return n;
}

void query_put_list_offsets(struct buf *b, int16_t version, const struct query_places *all)
{
	int32_t topics = 0;

	for (size_t i = 0; i < all->count; i += run_of(all, i))
		topics++;
	proto_put_i32(b, -1);
	if (version >= 2)
		proto_put_i8(b, 0);
	proto_put_i32(b, topics);
	for (size_t i = 0; i < all->count;) {
		size_t n = run_of(all, i);

		proto_put_string(b, all->list[i].topic);
		proto_put_i32(b, (int32_t)n);
		for (; n > 0; n--, i++) {
			proto_put_i32(b, all->list[i].partition);
			if (version >= 4)
				proto_put_i32(b, -1);
			proto_put_i64(b, all->list[i].time_ms);
		}
	}
}

int query_read_list_offsets(struct span body, int16_t version, struct query_places *all)
{
	struct proto_in in = proto_in(body);

	if (version >= 2)
		proto_i32(&in);
	for (int32_t topics = proto_count(&in, 6); topics > 0 && !in.bad; topics--) {
		struct span topic = proto_string(&in);

		for (int32_t n = proto_count(&in, 22); n > 0 && !in.bad; n--) {
			struct query_place *p = query_add_place(all, topic, proto_i32(&in));

			p->error = proto_i16(&in);
			p->time_ms = proto_i64(&in);
			p->offset = proto_i64(&in);
			if (version >= 4)
				proto_i32(&in);
		}
	}
	return proto_whole(&in);
}

void query_put_offset_fetch(struct buf *b, const char *group)
{
	proto_put_string(b, group);
	proto_put_i32(b, -1);
}

int query_read_offset_fetch(
	struct span body, int16_t version, int16_t *error, struct query_places *all)
{
	struct proto_in in = proto_in(body);

	if (version >= 3)
		proto_i32(&in);
	for (int32_t topics = proto_count(&in, 6); topics > 0 && !in.bad; topics--) {
		struct span topic = proto_string(&in);

		for (int32_t n = proto_count(&in, 16); n > 0 && !in.bad; n--) {
			struct query_place *p = query_add_place(all, topic, proto_i32(&in));

			p->offset = proto_i64(&in);
			if (version >= 5)
				proto_i32(&in);
			proto_string(&in);
			p->error = proto_i16(&in);
		}
	}
	*error = proto_i16(&in);
	return proto_whole(&in);
}

/* ---- groups ---- */

void query_put_find_coordinator(struct buf *b, int16_t version, const char *group)
{
	proto_put_string(b, group);
	if (version >= 1)
		proto_put_i8(b, 0);
}

int query_read_find_coordinator(struct span body, int16_t version, struct query_coordinator *c)
{
	struct proto_in in = proto_in(body);

	*c = (struct query_coordinator){0};
	if (version >= 1)
		proto_i32(&in);
	c->error = proto_i16(&in);
	if (version >= 1)
		proto_string(&in);
	c->broker.id = proto_i32(&in);
	c->broker.host = proto_text(proto_string(&in));
	c->broker.port = proto_i32(&in);
	if (proto_whole(&in) == 0 && !c->error)
		return 0;
	free(c->broker.host);
	c->broker.host = NULL;
	return proto_whole(&in);
}

void query_put_describe_groups(struct buf *b, int16_t version, const char *group)
{
	proto_put_i32(b, 1);
	proto_put_string(b, group);
	if (version >= 3)
		proto_put_i8(b, 0);
}

/* A consumer's part, as its own protocol has it. Another protocol's stays unread. */
static void read_assignment(struct span text, struct query_places *all)
{
	struct proto_in in = proto_in(text.p ? text : SPAN(""));

	proto_i16(&in);
	for (int32_t topics = proto_count(&in, 6); topics > 0 && !in.bad; topics--) {
		struct span topic = proto_string(&in);

		for (int32_t n = proto_count(&in, sizeof(uint32_t)); n > 0; n--)
			query_add_place(all, topic, proto_i32(&in));
	}
}

static void read_member(struct proto_in *in, int16_t version, struct query_member *m)
{
	*m = (struct query_member){.id = proto_text(proto_string(in))};
	if (version >= 4)
		proto_string(in);
	m->client = proto_text(proto_string(in));
	m->host = proto_text(proto_string(in));
	proto_bytes(in);
	read_assignment(proto_bytes(in), &m->places);
}

int query_read_describe_groups(struct span body, int16_t version, struct query_group *g)
{
	struct proto_in in = proto_in(body);
	int32_t n;

	*g = (struct query_group){0};
	if (version >= 1)
		proto_i32(&in);
	if (proto_count(&in, 14) != 1)
		return -1;
	g->error = proto_i16(&in);
	proto_string(&in);
	g->state = proto_text(proto_string(&in));
	proto_string(&in);
	g->protocol = proto_text(proto_string(&in));
	n = proto_count(&in, 14);
	g->members = mem_alloc((size_t)(n + 1) * sizeof(*g->members));
	while (g->member_count < n && !in.bad)
		read_member(&in, version, &g->members[g->member_count++]);
	if (version >= 3)
		proto_i32(&in);
	return proto_whole(&in);
}

void query_put_consumer_group(struct buf *b, const char *group)
{
	proto_put_i8(b, 0); /* the header's tags */
	proto_put_i8(b, 1 + 1);
	proto_put_compact(b, group);
	proto_put_i8(b, 0);
	proto_put_i8(b, 0);
}

static void read_parts(struct proto_in *in, struct query_places *all)
{
	enum { ID_SIZE = 16 }; /* of a topic */

	for (int32_t topics = proto_compact_count(in, ID_SIZE + 3); topics > 0 && !in->bad;
		topics--) {
		struct span topic;

		proto_i64(in);
		proto_i64(in);
		topic = proto_compact_string(in);
		for (int32_t n = proto_compact_count(in, sizeof(uint32_t)); n > 0 && !in->bad; n--)
			query_add_place(all, topic, proto_i32(in));
		proto_skip_tags(in);
	}
	proto_skip_tags(in);
}

static void read_consumer(struct proto_in *in, struct query_member *m)
{
	struct query_places target = {0}; /* that it is to read soon */

	*m = (struct query_member){.id = proto_text(proto_compact_string(in))};
	proto_compact_string(in); /* group.instance.id */
	proto_compact_string(in); /* the rack */
	proto_i32(in);
	m->client = proto_text(proto_compact_string(in));
	m->host = proto_text(proto_compact_string(in));
	for (int32_t n = proto_compact_count(in, 1); n > 0 && !in->bad; n--)
		proto_compact_string(in); /* a topic that it has subscribed to */
	proto_compact_string(in); /* or their pattern */
	read_parts(in, &m->places);
	read_parts(in, &target);
	query_places_free(&target);
	proto_skip_tags(in);
}

int query_read_consumer_group(struct span body, struct query_group *g)
{
	enum { MEMBER_LEAST = 16, GROUP_LEAST = 20 };
	struct proto_in in = proto_in(body);
	int32_t n;

	*g = (struct query_group){0};
	proto_skip_tags(&in);
	proto_i32(&in);
	if (proto_compact_count(&in, GROUP_LEAST) != 1)
		return -1;
	g->error = proto_i16(&in);
	proto_compact_string(&in); /* its text */
	proto_compact_string(&in);
	g->state = proto_text(proto_compact_string(&in));
	proto_i64(&in); /* two epochs */
	g->protocol = proto_text(proto_compact_string(&in));
	n = proto_compact_count(&in, MEMBER_LEAST);
	g->members = mem_alloc((size_t)(n + 1) * sizeof(*g->members));
	while (g->member_count < n && !in.bad)
		read_consumer(&in, &g->members[g->member_count++]);
	proto_i32(&in);
	proto_skip_tags(&in);
	proto_skip_tags(&in);
	return proto_whole(&in);
}

void query_group_free(struct query_group *g)
{
	for (int32_t i = 0; i < g->member_count; i++) {
		free(g->members[i].id);
		free(g->members[i].client);
		free(g->members[i].host);
		query_places_free(&g->members[i].places);
	}
	free(g->members);
	free(g->state);
	free(g->protocol);
	*g = (struct query_group){0};
}

int query_read_list_groups(struct span body, int16_t version, int16_t *error, struct catalog *names)
{
	struct proto_in in = proto_in(body);

	if (version >= 1)
		proto_i32(&in);
	*error = proto_i16(&in);
	for (int32_t n = proto_count(&in, 4); n > 0 && !in.bad; n--) {
		struct span group = proto_string(&in);

		proto_string(&in); /* of consumers, of workers of Connect, … */
		if (!in.bad)
			catalog_add(names, group);
	}
	return proto_whole(&in);
}

/* ---- configurations ---- */

void query_put_describe_configs(
	struct buf *b, enum query_resource type, const char *name, const char *property)
{
	proto_put_i32(b, 1);
	proto_put_i8(b, (int8_t)type);
	proto_put_string(b, name);
	proto_put_i32(b, 1);
	proto_put_string(b, property);
	proto_put_i8(b, 0);
}

int query_read_describe_configs(
	struct span body, int16_t *error, struct span *text, struct span *value)
{
	struct proto_in in = proto_in(body);

	*text = *value = SPAN_NONE;
	proto_i32(&in);
	if (proto_count(&in, 11) != 1)
		return -1;
	*error = proto_i16(&in);
	*text = proto_string(&in);
	proto_i8(&in);
	proto_string(&in);
	if (proto_count(&in, 11) == 0)
		return proto_whole(&in);
	proto_string(&in);
	*value = proto_string(&in);
	/* Flags and synonyms follow. */
	return in.bad ? -1 : 0;
}
