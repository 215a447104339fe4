/* SPDX-License-Identifier: ISC */
/* Topics, groups and the cluster, as text and as JSON. */
#define _GNU_SOURCE
#include "kcheck/paint.h"

#include "base/msg.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdio.h>

/* An offset, or "-". */
static void put_offset(struct buf *b, const char *before, int64_t offset)
{
	buf_puts(b, before);
	if (offset < 0)
		buf_putc(b, '-');
	else
		buf_int(b, offset);
}

static void put_json_offset(struct buf *b, const char *name, int64_t offset)
{
	if (offset < 0)
		buf_printf(b, ",\"%s\":null", name);
	else
		buf_printf(b, ",\"%s\":%" PRId64, name, offset);
}

/* Begins an object with its first member. */
static void begin(struct buf *b, const char *name, const char *text)
{
	size_t start = b->len;

	paint_member(b, name, text);
	b->p[start] = '{';
}

/* ---- the cluster ---- */

static void cluster_json(struct buf *b, const struct proto_metadata *m)
{
	begin(b, "cluster", m->cluster ? m->cluster : "");
	buf_printf(b, ",\"ok\":true,\"controller\":%d,\"brokers\":[", m->controller);
	for (int32_t i = 0; i < m->broker_count; i++) {
		buf_printf(b, "%s{\"id\":%d", i ? "," : "", m->brokers[i].id);
		paint_member(b, "host", m->brokers[i].host);
		buf_printf(b, ",\"port\":%d", m->brokers[i].port);
		if (m->brokers[i].rack)
			paint_member(b, "rack", m->brokers[i].rack);
		buf_putc(b, '}');
	}
	buf_puts(b, "]}\n");
}

void show_cluster(const struct show *s, struct buf *b, const struct check *c)
{
	const struct proto_metadata *m = c->via ? &c->via_address->talk.metadata : NULL;

	if (!m)
		return;
	if (s->json) {
		cluster_json(b, m);
		return;
	}
	buf_puts(b, "cluster ");
	paint_text(b, m->cluster ? m->cluster : "-");
	buf_printf(b, "  %d %s\n", m->broker_count, PLURAL(m->broker_count, "broker", "brokers"));
	for (int32_t i = 0; i < m->broker_count; i++) {
		const struct proto_broker *k = &m->brokers[i];
		char port[16];

		snprintf(port, sizeof(port), "%d", k->port);
		buf_printf(b, "  broker %d  ", k->id);
		paint_at(b, k->host, port);
		if (k->rack) {
			buf_puts(b, "  rack ");
			paint_text(b, k->rack);
		}
		buf_puts(b, k->id == m->controller ? "  controller\n" : "\n");
	}
}

/* ---- topics ---- */

static void topic_json(struct buf *b, const struct view_topic *t, bool asked_time)
{
	begin(b, "topic", t->t.name);
	paint_verdict(b, &t->verdict);
	put_json_offset(b, "min_insync_replicas", t->min_isr);
	buf_puts(b, ",\"partitions\":[");
	for (int32_t i = 0; t->ends && i < t->t.partition_count; i++) {
		const struct proto_partition *p = &t->t.partitions[i];

		buf_printf(b, "%s{\"partition\":%d,\"leader\":%d,\"replicas\":[", i ? "," : "",
			p->id, p->leader);
		paint_ids(b, p->replicas, p->replica_count, ",");
		buf_puts(b, "],\"isr\":[");
		paint_ids(b, p->isr, p->isr_count, ",");
		buf_putc(b, ']');
		put_json_offset(b, "begin", t->ends[i].begin);
		put_json_offset(b, "end", t->ends[i].end);
		if (asked_time)
			put_json_offset(b, "offset", t->ends[i].at);
		buf_putc(b, '}');
	}
	buf_puts(b, "]}\n");
}

void show_no_topic(const struct show *s, struct buf *b)
{
	if (!s->json)
		buf_puts(b, "no topic (Kafka names those alone that the user may DESCRIBE)\n");
}

void show_topic(const struct show *s, struct buf *b, const struct view_topic *t, bool asked_time)
{
	if (s->json) {
		topic_json(b, t, asked_time);
		return;
	}
	paint(s, b, !t->verdict.status, t->verdict.status ? "FAIL" : "good");
	buf_puts(b, "  topic ");
	paint_text(b, t->t.name);
	if (t->ends)
		buf_printf(b, "  %d %s", t->t.partition_count,
			PLURAL(t->t.partition_count, "partition", "partitions"));
	if (t->min_isr >= 0)
		buf_printf(b, "  min.insync.replicas %d", t->min_isr);
	buf_putc(b, '\n');
	for (int32_t i = 0; t->ends && i < t->t.partition_count; i++) {
		const struct proto_partition *p = &t->t.partitions[i];

		buf_printf(b, "  partition %d", p->id);
		put_offset(b, "  leader ", p->leader);
		buf_puts(b, "  replicas");
		paint_ids(b, p->replicas, p->replica_count, " ");
		buf_puts(b, "  in sync");
		paint_ids(b, p->isr, p->isr_count, " ");
		put_offset(b, "  offsets ", t->ends[i].begin);
		put_offset(b, " to ", t->ends[i].end);
		if (asked_time)
			put_offset(b, "  at that time ", t->ends[i].at);
		buf_putc(b, '\n');
	}
}

/* ---- groups ---- */

static int64_t lag_of(const struct view_group *g, size_t i)
{
	int64_t lag = g->ends[i] - g->committed.list[i].offset;

	if (g->ends[i] < 0 || g->committed.list[i].offset < 0)
		return -1;
	return lag > 0 ? lag : 0;
}

static void group_json(struct buf *b, const struct view_group *g)
{
	begin(b, "group", g->name);
	paint_verdict(b, &g->verdict);
	paint_member(b, "state", g->group.state ? g->group.state : "");
	put_json_offset(b, "coordinator", g->coordinator);
	paint_member(b, "coordinator_at", g->where);
	put_json_offset(b, "lag", g->lag);
	buf_puts(b, ",\"members\":[");
	for (int32_t i = 0; i < g->group.member_count; i++) {
		const struct query_member *m = &g->group.members[i];

		if (i)
			buf_putc(b, ',');
		begin(b, "id", m->id);
		paint_member(b, "client", m->client);
		paint_member(b, "host", m->host);
		buf_puts(b, ",\"partitions\":[");
		for (size_t k = 0; k < m->places.count; k++) {
			if (k)
				buf_putc(b, ',');
			begin(b, "topic", m->places.list[k].topic);
			buf_printf(b, ",\"partition\":%d}", m->places.list[k].partition);
		}
		buf_puts(b, "]}");
	}
	buf_puts(b, "],\"positions\":[");
	for (size_t i = 0; g->ends && i < g->committed.count; i++) {
		if (i)
			buf_putc(b, ',');
		begin(b, "topic", g->committed.list[i].topic);
		buf_printf(b, ",\"partition\":%d", g->committed.list[i].partition);
		put_json_offset(b, "committed", g->committed.list[i].offset);
		put_json_offset(b, "end", g->ends[i]);
		put_json_offset(b, "lag", lag_of(g, i));
		buf_putc(b, '}');
	}
	buf_puts(b, "]}\n");
}

static void put_members(struct buf *b, const struct view_group *g)
{
	for (int32_t i = 0; i < g->group.member_count; i++) {
		const struct query_member *m = &g->group.members[i];
		const char *topic = "";

		buf_puts(b, "  member ");
		paint_text(b, m->client);
		buf_putc(b, ' ');
		paint_text(b, m->host);
		buf_puts(b, " reads");
		for (size_t k = 0; k < m->places.count; k++) {
			if (strcmp(topic, m->places.list[k].topic) != 0) {
				buf_putc(b, ' ');
				paint_text(b, m->places.list[k].topic);
			}
			topic = m->places.list[k].topic;
			buf_printf(b, " %d", m->places.list[k].partition);
		}
		buf_puts(b, m->places.count ? "\n" : " nothing\n");
	}
}

void show_group(const struct show *s, struct buf *b, const struct view_group *g)
{
	if (s->json) {
		group_json(b, g);
		return;
	}
	paint(s, b, !g->verdict.status, g->verdict.status ? "FAIL" : "good");
	buf_puts(b, "  group ");
	paint_text(b, g->name);
	buf_puts(b, "  ");
	paint_text(b, g->group.state && *g->group.state ? g->group.state : "-");
	buf_puts(b, "  coordinator");
	if (g->coordinator >= 0) {
		buf_printf(b, " %d at ", g->coordinator);
		paint_text(b, g->where);
	} else
		buf_puts(b, " -");
	buf_printf(b, "  %d %s", g->group.member_count,
		PLURAL(g->group.member_count, "member", "members"));
	put_offset(b, "  lag ", g->lag);
	buf_putc(b, '\n');
	put_members(b, g);
	for (size_t i = 0; g->ends && i < g->committed.count; i++) {
		buf_puts(b, "  ");
		paint_text(b, g->committed.list[i].topic);
		buf_printf(b, " %d", g->committed.list[i].partition);
		put_offset(b, "  committed ", g->committed.list[i].offset);
		put_offset(b, "  end ", g->ends[i]);
		put_offset(b, "  lag ", lag_of(g, i));
		buf_putc(b, '\n');
	}
}
