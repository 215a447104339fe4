/* SPDX-License-Identifier: ISC */
/* DESIGN: settled records wait in `open`. When it is time their segments are written, and they are
 * `sent`; when the brokers have these messages, the records are reported, and the next may be sent.
 * So a message of the map stands for as many records as came during the last one's way. */
#include "kwrite/map.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"
#include "json/json.h"
#include "kwrite/delivery.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WAIT_MS = 100, MANY = 1000 };

/* ---- places ---- */

struct map_place *map_place(struct map *m, const struct message *msg)
{
	struct map_place *p = m->last;

	if (p && p->partition == msg->from_partition && span_is(msg->from_topic, p->topic))
		return p;
	for (size_t i = 0; i < m->place_count; i++) {
		p = m->places[i];
		if (p->partition == msg->from_partition && span_is(msg->from_topic, p->topic)) {
			m->last = p;
			return p;
		}
	}
	p = mem_alloc(sizeof(*p));
	*p = (struct map_place){
		.topic = span_text(msg->from_topic), .partition = msg->from_partition};
	m->places = mem_realloc(m->places, (m->place_count + 1) * sizeof(struct map_place *));
	m->places[m->place_count++] = m->last = p;
	return p;
}

static struct map_segment *find_segment(
	struct map_place *p, const struct topic *to, int32_t partition)
{
	struct map_segment *s;

	for (size_t i = 0; i < p->count; i++)
		if (p->segments[i]->to == to && p->segments[i]->to_partition == partition)
			return p->segments[i];
	s = mem_alloc(sizeof(*s));
	*s = (struct map_segment){.to = to, .to_partition = partition};
	p->segments = mem_realloc(p->segments, (p->count + 1) * sizeof(struct map_segment *));
	return p->segments[p->count++] = s;
}

/* ---- messages of the map ---- */

static void produce(struct map *m)
{
	rd_kafka_resp_err_t err = rd_kafka_producev(m->kafka->rk, RD_KAFKA_V_RKT(m->topic->rkt),
		RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
		RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(m->key.p, m->key.len),
		RD_KAFKA_V_VALUE(m->value.p, m->value.len), RD_KAFKA_V_OPAQUE(m), RD_KAFKA_V_END);

	if (err)
		trouble_set(&m->kafka->trouble, EXIT_TEMP,
			"cannot write to the map, topic '%s': %s", m->name, kafka_why(err));
	else
		m->out++;
}

static void write_segment(struct map *m, const struct map_place *p, struct map_segment *s)
{
	buf_clear(&m->key);
	buf_clear(&m->value);
	buf_printf(&m->key, "run %s %" PRId32 " %s %" PRId32 " %" PRId64, p->topic, p->partition,
		s->to->name, s->to_partition, s->runs[0].to);
	buf_printf(&m->value,
		"{\"topic\":\"%s\",\"partition\":%" PRId32
		",\"to\":\"%s\",\"to_partition\":%" PRId32 ",\"runs\":[",
		p->topic, p->partition, s->to->name, s->to_partition);
	for (int i = 0; i < s->count; i++)
		buf_printf(&m->value, "%s[%" PRId64 ",%" PRId64 ",%" PRId64 "]", i ? "," : "",
			s->runs[i].from, s->runs[i].to, s->runs[i].count);
	buf_puts(&m->value, "]}");
	produce(m);
	s->is_dirty = false;
}

/* Another segment begins when this one is full, and when the source has gone back. */
static void add(struct map *m, struct map_place *p, const struct delivery *d)
{
	struct map_segment *s = find_segment(p, d->topic, d->partition);
	struct map_run *last = s->count ? &s->runs[s->count - 1] : NULL;
	int64_t from = d->from_offset, to = d->offset;

	if (last && from == last->from + last->count && to == last->to + last->count) {
		last->count++;
		s->is_dirty = true;
		return;
	}
	if (last && (s->count == MAP_RUNS || from < last->from + last->count || to < last->to)) {
		if (s->is_dirty)
			write_segment(m, p, s);
		s->count = 0;
	}
	s->runs[s->count++] = (struct map_run){from, to, 1};
	s->is_dirty = true;
}

void map_group(
	struct map *m, const char *group, const char *topic, int32_t partition, int64_t offset)
{
	if (!m->topic || !m->topic->rkt)
		return;
	buf_clear(&m->key);
	buf_clear(&m->value);
	buf_printf(&m->key, "group %s %s %" PRId32, group, topic, partition);
	buf_putc(&m->value, '{');
	json_put_member(&m->value, "group", (struct span){group, strlen(group)});
	buf_printf(&m->value, ",\"topic\":\"%s\",\"partition\":%" PRId32 ",\"offset\":%" PRId64 "}",
		topic, partition, offset);
	produce(m);
}

bool map_takes(struct map *m, const rd_kafka_message_t *report)
{
	char why[400];

	if (report->_private != m)
		return false;
	m->out--;
	if (deliveries_unproven(m->kafka, report))
		return true;
	snprintf(why, sizeof(why), "cannot write to the map, topic '%s': %s", m->name,
		kafka_why(report->err));
	if (report->err && !kafka_judge(m->kafka, report->err, why))
		trouble_set(&m->kafka->trouble, EXIT_TEMP, "%s", why);
	return true;
}

/* ---- labels ---- */

void map_settle(struct map *m, enum ack_kind kind, const struct ack_label *label)
{
	/* The sink releases the record at its head. */
	const struct delivery *d = (const struct delivery *)sink_slot(m->sink, m->sink->head);
	struct map_labels *l = &m->open;

	if (!l->kind_count || l->kinds[l->kind_count - 1].kind != kind) {
		ack_list_text(&l->list);
		l->kinds = mem_realloc(l->kinds, (l->kind_count + 1) * sizeof(*l->kinds));
		l->kinds[l->kind_count++] = (struct map_run_of_kind){kind, l->list.text.len};
	}
	ack_list_add(&l->list, label);
	if (!l->count++)
		m->first_ms = wake_now_ms();
	l->final += kind == ACK_FINAL;
	l->end = m->sink->head + 1;
	if (d->from && !d->slot.refused)
		add(m, d->from, d);
}

static void report(struct map *m, struct map_labels *l)
{
	struct span all = ack_list_text(&l->list);

	for (size_t i = 0; i < l->kind_count; i++) {
		size_t end = i + 1 < l->kind_count ? l->kinds[i + 1].from : all.len;
		struct span rest = {all.p + l->kinds[i].from, end - l->kinds[i].from};

		while (rest.len) {
			struct ack_label label = {.text = span_word(&rest)};

			if (label.text.len)
				ack_report(&m->sink->ack, l->kinds[i].kind, &label);
		}
	}
	metrics.forwarded += l->final;
	metrics.records_out += l->final;
	m->sink->settled = l->end;
	ack_list_clear(&l->list);
	l->kind_count = 0;
	l->count = l->final = 0;
}

/* ---- when ---- */

/* Whether the map can be written to; asks about it. */
static bool is_usable(struct map *m)
{
	if (!m->topic) {
		m->topic = topics_get(m->topics, (struct span){m->name, strlen(m->name)});
		if (!m->topic) {
			trouble_set(&m->kafka->trouble, EXIT_PERM,
				"'%s' cannot be a topic's name, for a map", m->name);
			return false;
		}
		m->topic->is_map = true;
	}
	if (!m->topic->rkt && topic_look(m->topics, m->topic) == TOPIC_UNKNOWN)
		trouble_set(&m->kafka->trouble, EXIT_PERM, "the map's topic, '%s', %s", m->name,
			m->topic->why);
	if (m->topic->state == TOPIC_USABLE && m->topic->limit_known && !m->topic->is_compacted)
		trouble_set(&m->kafka->trouble, EXIT_PERM,
			"topic '%s' is not compacted, and would lose the map: set cleanup.policy=compact on it, or name another",
			m->name);
	return m->topic->rkt;
}

static int64_t due_ms(const struct map *m)
{
	bool now = m->open.count >= MANY || input_ended(&m->sink->in) || m->sink->ack.ended ||
		!sink_has_room(m->sink);

	if (!m->open.count || m->sent.count)
		return INT64_MAX;
	return now ? 0 : m->first_ms + WAIT_MS;
}

static void write_all(struct map *m)
{
	struct map_labels empty = m->sent;

	for (size_t i = 0; i < m->place_count; i++)
		for (size_t j = 0; j < m->places[i]->count; j++)
			if (m->places[i]->segments[j]->is_dirty)
				write_segment(m, m->places[i], m->places[i]->segments[j]);
	m->sent = m->open;
	m->open = empty;
}

void map_step(struct map *m, int64_t now_ms)
{
	/* Records that the map may lack are not reported on the way out. */
	if (!m->name || m->kafka->trouble.status || !is_usable(m))
		return;
	if (m->sent.count && !m->out)
		report(m, &m->sent);
	if (now_ms >= due_ms(m))
		write_all(m);
	m->sink->owes = m->out && !m->open.count && !m->sent.count
		? "groups' positions are not in the map"
		: NULL;
	if (!m->open.count && !m->sent.count && !sink_count(m->sink))
		ack_idle(&m->sink->ack);
	else
		ack_busy(&m->sink->ack);
}

int map_timeout_ms(const struct map *m, int64_t now_ms)
{
	bool usable = m->name && m->topic && m->topic->rkt;
	int64_t at = usable ? due_ms(m) : INT64_MAX;

	if (at == INT64_MAX)
		return -1;
	return at > now_ms ? (int)(at - now_ms) : 0;
}

bool map_is_done(const struct map *m)
{
	return !m->name || (!m->open.count && !m->sent.count && !m->out);
}
