/* SPDX-License-Identifier: ISC */
/* Partitions and their positions: what the source says of them, what Redis has, and what follows
 * when the two differ. */
#include "rapply/rapply.h"

#include "base/mem.h"
#include "base/msg.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const char *places_name(const struct place *p)
{
	static char text[320];

	snprintf(text, sizeof(text), "topic '%s', partition %" PRId32, p->topic, p->partition);
	return text;
}

/* ---- the table ---- */

static bool is_place(const struct place *p, struct span topic, int32_t partition)
{
	return p->partition == partition && span_is(topic, p->topic);
}

static struct place *find(struct rapply *s, struct span topic, int32_t partition)
{
	struct places *all = &s->places;
	struct place *p;

	if (all->last && is_place(all->last, topic, partition))
		return all->last;
	for (size_t i = 0; i < all->count; i++)
		if (is_place(all->p[i], topic, partition))
			return all->last = all->p[i];
	if (all->count == all->cap) {
		all->cap = all->cap ? 2 * all->cap : 16;
		all->p = mem_realloc(all->p, all->cap * sizeof(*all->p));
	}
	p = mem_alloc(sizeof(*p));
	*p = (struct place){.topic = mem_printf("%.*s", (int)topic.len, topic.p),
		.partition = partition,
		.applied = -1,
		.taken = -1,
		.passed = -1,
		.next = -1,
		.flight = -1,
		.applied_ts = -1,
		.proof = -1,
		.lost = PLACE_LOST_NONE};
	p->key = mem_printf("%s:%s:%" PRId32, s->position, p->topic, partition);
	if (s->spots)
		p->home = spots_home(s, p);
	all->p[all->count++] = p;
	s->look_due = true;
	return all->last = p;
}

struct place *places_of(struct rapply *s, const struct record *r, int64_t *offset)
{
	int64_t partition = record_int(&r->partition, -1);
	struct span topic;

	*offset = record_int(&r->offset, -1);
	if (!s->position || r->topic.type != JSON_STRING || partition < 0 ||
		partition > INT32_MAX || *offset < 0)
		return NULL;
	buf_clear(&s->scratch);
	/* No topic of Kafka is empty or holds a NUL. */
	if (json_string(&r->topic, &s->scratch, &topic) || !topic.len ||
		memchr(topic.p, '\0', topic.len))
		return NULL;
	return find(s, topic, (int32_t)partition);
}

void places_free(struct rapply *s)
{
	for (size_t i = 0; i < s->places.count; i++) {
		struct place *p = s->places.p[i];

		free(p->topic);
		free(p->key);
		free(p->cluster);
		buf_free(&p->list);
		free(p);
	}
	free(s->places.p);
}

/* ---- the text of a position: OFFSET CLUSTER TIME ---- */

void places_text(const struct place *p, int64_t offset, int64_t ts, struct buf *out)
{
	ack_offset_put(out, offset);
	buf_putc(out, ' ');
	buf_puts(out, p->cluster ? p->cluster : "-");
	/* Of use to what reads the record again, and that names its cluster. */
	if (ts < 0 || !p->cluster)
		return;
	buf_putc(out, ' ');
	buf_int(out, ts);
}

void places_read(struct rapply *s, struct place *p, struct span text, int64_t *offset, int64_t *ts)
{
	struct span rest = text, cluster;

	if (!ack_offset_take(&rest, offset))
		sink_die(&s->sink, EXIT_PERM,
			"the key '%s' in redis holds no position, but '%.*s': give another --position",
			p->key, (int)(text.len < 60 ? text.len : 60), text.p);
	cluster = span_word(&rest);
	if (!ack_offset_take(&rest, ts))
		*ts = -1;
	if (!cluster.len || span_is(cluster, "-"))
		return;
	if (p->cluster && !span_is(cluster, p->cluster))
		sink_die(&s->sink, EXIT_PERM,
			"%s: the position in redis (key '%s') is not of this topic, but of the kafka cluster %.*s: redis was copied from another site, or kafka made anew; delete the key to apply the topic from its beginning",
			places_name(p), p->key, (int)cluster.len, cluster.p);
	if (!p->cluster)
		p->cluster = mem_printf("%.*s", (int)cluster.len, cluster.p);
}

void places_made(struct rapply *s, bool is_new)
{
	for (size_t i = 0; i < s->places.count; i++) {
		struct place *p = s->places.p[i];

		if (!p->making)
			continue;
		p->making = false;
		p->there = is_new ? 0 : p->there + 1;
		return;
	}
}

/* A key of another type is nil for MGET as one that is not there. */
static void check_type(struct rapply *s, const struct place *p)
{
	enum { OFTEN = 3 }; /* a key that comes and goes between the two is not met so often */

	if (p->there >= OFTEN)
		sink_die(&s->sink, EXIT_PERM,
			"the key '%s' in redis holds no position, but a hash, list, set or the like: give another --position",
			p->key);
}

/* ---- where to begin ---- */

static void on_gap(struct rapply *s, const struct place *p)
{
	int64_t count = p->low - (p->applied + 1);

	s->gaps++;
	s->lost += (uint64_t)count;
	if (!s->gap_go)
		sink_die(&s->sink, EXIT_PERM,
			"%s: gap: kafka has deleted %" PRId64
			" offsets before they were applied, from %" PRId64 " to %" PRId64
			": go on without them with --on-gap go",
			places_name(p), count, p->applied + 1, p->low - 1);
	msg_error("%s: gap: kafka has deleted %" PRId64
		  " offsets before they were applied, from %" PRId64 " to %" PRId64,
		places_name(p), count, p->applied + 1, p->low - 1);
}

/* The next batch writes it. */
static void adopt(struct rapply *s, struct place *p)
{
	msg_warn("%s: no position in redis: taking over the group's, offset %" PRId64,
		places_name(p), p->committed);
	p->passed = p->committed - 1;
	p->passed_ts = -1;
	if (!s->spots)
		return;
	p->applied = p->passed;
	p->applied_ts = -1;
	p->adopts = true;
}

static void doubt_topic(const struct place *p, int64_t top)
{
	msg_warn(
		"%s: redis has offset %" PRId64
		" (key '%s'), and the group has no position: if the topic was made anew since, its records up to there are not applied; delete the key to apply the topic from its beginning",
		places_name(p), top, p->key);
}

/* Kafka forgets a group's position with the topic. The offsets alone do not tell a topic that was
 * made anew since, and is longer, from a group that has not committed yet: the last record that was
 * applied does, and comes once more. */
static bool begin_proof(struct place *p, int64_t top)
{
	if (top < p->low || p->committed >= 0)
		return false;
	if (p->applied < p->low || p->applied_ts < 0 || p->taken >= 0) {
		doubt_topic(p, top);
		return false;
	}
	p->proof = p->applied;
	p->proof_ts = p->applied_ts;
	return true;
}

void places_prove(struct rapply *s, struct place *p, int64_t offset, int64_t ts)
{
	int64_t at = p->proof;

	p->proof = -1;
	if (at < 0)
		return;
	if (offset != at)
		doubt_topic(p, at);
	else if (ts != p->proof_ts)
		sink_die(&s->sink, EXIT_PERM,
			"%s: the position in redis (key '%s') is not of this topic: the record at offset %" PRId64
			" that was applied has the time %" PRId64
			", and the one there now has %" PRId64
			": the topic was made anew; delete the key to apply the topic from its beginning",
			places_name(p), p->key, at, p->proof_ts, ts);
}

static int64_t where_to_begin(struct rapply *s, struct place *p)
{
	int64_t top = s->spots ? spots_top(p) : p->applied;

	if (p->applied < 0 && (!s->spots || p->is_new) && s->adopt && p->committed > 0) {
		adopt(s, p);
		return p->committed;
	}
	if (top + 1 > p->high && top >= 0)
		sink_die(&s->sink, EXIT_PERM,
			"%s: the position in redis (key '%s') is not of this topic: it is offset %" PRId64
			", and the topic ends at %" PRId64
			": the topic was made anew, or redis copied from another site; delete the key to apply the topic from its beginning",
			places_name(p), p->key, top, p->high);
	p->proof = -1;
	if (begin_proof(p, top))
		return p->proof;
	if (p->applied < 0) {
		msg_info("%s: no position in redis: beginning at offset %" PRId64, places_name(p),
			p->low);
		return p->low;
	}
	if (p->applied + 1 >= p->low)
		return p->applied + 1;
	on_gap(s, p);
	return p->low;
}

void places_answer(struct rapply *s, struct place *p)
{
	int64_t offset = where_to_begin(s, p);

	p->asked = false;
	ack_start(&s->sink.ack, (struct span){p->topic, strlen(p->topic)}, p->partition, offset);
}

/* ---- what Redis has ---- */

/* Records of the place that have been read will come once more. */
static void drop_taken(struct rapply *s, const struct place *p)
{
	for (uint64_t i = s->in_flight ? s->flight : s->sent; i < s->sink.tail; i++) {
		struct rapply_slot *slot = slot_at(s, i);

		if (slot->place != p || slot->slot.done)
			continue;
		slot->stale = true;
		if (i >= s->sent)
			sink_done(&slot->slot);
	}
}

/* Redis has lost its tail. */
void places_back(struct rapply *s, struct place *p, int64_t has)
{
	int64_t offset = has < 0 ? p->low : has + 1;

	s->backs++;
	if (!p->assigned)
		sink_die(&s->sink, EXIT_TEMP,
			"%s: redis has lost what was applied behind offset %" PRId64
			", and there is no source here that reads it again: run it again from there",
			places_name(p), has);
	msg_warn("%s: redis has lost what was applied: it had offset %" PRId64 ", and has %" PRId64
		 "; going back",
		places_name(p), p->applied, has);
	p->applied = p->taken = has;
	p->passed = p->proof = -1;
	p->backs++;
	drop_taken(s, p);
	ack_back(&s->sink.ack, (struct span){p->topic, strlen(p->topic)}, p->partition, offset);
}

bool places_found(struct rapply *s, struct place *p, struct span text)
{
	bool was_known = p->known, differs = true;
	int64_t has = -1, ts = -1;

	p->known = true;
	p->absent = !text.p;
	if (text.p) {
		places_read(s, p, text, &has, &ts);
		p->there = 0;
	} else {
		check_type(s, p);
	}
	if (!was_known || has > p->applied) {
		if (was_known)
			msg_info("%s: redis has offset %" PRId64 ", applied by another process",
				places_name(p), has);
		p->applied = has;
	} else if (has < p->applied) {
		places_back(s, p, has);
	} else {
		differs = false;
	}
	p->applied_ts = ts;
	if (p->asked)
		places_answer(s, p);
	return differs;
}

/* ---- what the source says ---- */

static void on_assigned(void *ctx, const struct ack_assigned *a)
{
	struct rapply *s = ctx;
	struct place *p = find(s, a->topic, a->partition);

	p->low = a->low;
	p->high = a->high;
	p->committed = a->committed;
	if (!span_is(a->cluster, "-") && !(p->cluster && span_is(a->cluster, p->cluster))) {
		free(p->cluster);
		p->cluster = mem_printf("%.*s", (int)a->cluster.len, a->cluster.p);
	}
	p->assigned = p->asked = true;
	s->look_due = true;
}

static void on_from(void *ctx, struct span topic, int32_t partition, uint64_t number)
{
	struct rapply *s = ctx;
	struct place *p = find(s, topic, partition);

	if (p->backs)
		p->backs--;
	if (number > p->from)
		p->from = number;
	/* None of the records that are kept has such a number. */
	p->number = 0;
	/* A line that has waited for this is taken in the next turn. */
	s->look_due = true;
}

void places_open(struct rapply *s)
{
	static const struct ack_keeper keeper = {.assigned = on_assigned, .from = on_from};

	if (s->position)
		ack_keep_positions(&s->sink.ack, &keeper, s);
}
