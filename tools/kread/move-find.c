/* SPDX-License-Identifier: ISC */
#include "base/mem.h"
#include "base/msg.h"
#include "base/num.h"
#include "json/json.h"
#include "kread/moved.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- messages of the map ---- */

/* A message of the map: runs, or the position of a group. */
struct entry {
	char *topic, *to, *group;
	int64_t partition, to_partition, offset;
	struct move_run *runs;
	size_t count;
};

static void free_entry(struct entry *e)
{
	free(e->topic);
	free(e->to);
	free(e->group);
	free(e->runs);
}

static bool take_number(const struct json_value *v, int64_t *n)
{
	char text[32];

	if (v->type != JSON_NUMBER || !v->integer || v->text.len >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)v->text.len, v->text.p);
	return num_i64(text, n) == 0 && *n >= 0;
}

static bool take_text(const struct json_value *v, char **text)
{
	struct buf b = {0};
	struct span s;

	if (v->type != JSON_STRING || json_string(v, &b, &s))
		return false;
	free(*text);
	*text = span_text(s);
	buf_free(&b);
	return true;
}

static bool take_run(struct span text, struct move_run *r)
{
	int64_t *to[] = {&r->from, &r->to, &r->count};
	struct json_value v;
	struct json j;

	json_init(&j, text);
	if (json_enter(&j, '['))
		return false;
	for (size_t i = 0; i < 3; i++)
		if (json_element(&j, &v) != 1 || !take_number(&v, to[i]))
			return false;
	return r->count > 0 && r->from <= INT64_MAX - r->count && r->to <= INT64_MAX - r->count;
}

static bool take_runs(struct span text, struct entry *e)
{
	struct json_value v;
	struct json j;
	int got;

	json_init(&j, text);
	if (json_enter(&j, '['))
		return false;
	while ((got = json_element(&j, &v)) == 1) {
		e->runs = mem_realloc(e->runs, (e->count + 1) * sizeof(*e->runs));
		if (v.type != JSON_ARRAY || !take_run(v.text, &e->runs[e->count]))
			return false;
		e->count++;
	}
	return got == 0;
}

static bool take_member(const struct json_value *key, const struct json_value *v, struct entry *e)
{
	if (json_is(key, "topic"))
		return take_text(v, &e->topic);
	if (json_is(key, "to"))
		return take_text(v, &e->to);
	if (json_is(key, "group"))
		return take_text(v, &e->group);
	if (json_is(key, "partition"))
		return take_number(v, &e->partition) && e->partition <= INT32_MAX;
	if (json_is(key, "to_partition"))
		return take_number(v, &e->to_partition) && e->to_partition <= INT32_MAX;
	if (json_is(key, "offset"))
		return take_number(v, &e->offset);
	if (json_is(key, "runs"))
		return v->type == JSON_ARRAY && take_runs(v->text, e);
	return true;
}

static bool parse(struct span text, struct entry *e)
{
	struct json_value key, value;
	struct json j;
	int got;

	json_init(&j, text);
	if (json_enter(&j, '{'))
		return false;
	while ((got = json_member(&j, &key, &value)) == 1)
		if (!take_member(&key, &value, e))
			return false;
	return got == 0 && json_done(&j) == 0 && e->topic && e->partition >= 0 &&
		(e->group ? e->offset >= 0 : e->to && e->to_partition >= 0 && e->count);
}

/* ---- what it says ---- */

static struct move_part *find(struct move *m, const struct entry *e)
{
	struct move_part *p;

	for (p = m->parts; p < m->parts + m->count; p++)
		if (p->partition == e->partition && p->to_partition == e->to_partition &&
			!strcmp(p->topic, e->topic) && !strcmp(p->to, e->to))
			return p;
	m->parts = mem_realloc(m->parts, (m->count + 1) * sizeof(*m->parts));
	p = &m->parts[m->count++];
	*p = (struct move_part){.topic = mem_dup(e->topic),
		.to = mem_dup(e->to),
		.partition = (int32_t)e->partition,
		.to_partition = (int32_t)e->to_partition,
		.position = -1};
	return p;
}

/* A segment that has grown is written anew, and takes the place of what it was. */
static void add_runs(struct move_part *p, const struct entry *e)
{
	const struct move_run *before = p->count ? &p->runs[p->segment] : NULL;

	if (before && before->from == e->runs[0].from && before->to == e->runs[0].to)
		p->count = p->segment;
	p->segment = p->count;
	p->runs = mem_realloc(p->runs, (p->count + e->count) * sizeof(*p->runs));
	memcpy(p->runs + p->count, e->runs, e->count * sizeof(*p->runs));
	p->count += e->count;
}

/* Of partitions of which there are no runs yet, too. */
static void note_position(struct move *m, const struct entry *e)
{
	struct move_noted *n;

	if (strcmp(e->group, m->group) != 0)
		return;
	for (n = m->noted; n < m->noted + m->noted_count; n++)
		if (n->partition == e->partition && strcmp(n->topic, e->topic) == 0)
			break;
	if (n == m->noted + m->noted_count) {
		m->noted = mem_realloc(m->noted, (m->noted_count + 1) * sizeof(*m->noted));
		n = &m->noted[m->noted_count++];
		*n = (struct move_noted){mem_dup(e->topic), (int32_t)e->partition, -1};
	}
	n->position = e->offset;
}

void move_take(struct move *m, struct span value)
{
	struct entry e = {.partition = -1, .to_partition = -1, .offset = -1};
	struct buf text = {0};

	/* The scanner reads a little beyond the end. */
	buf_span(&text, value);
	if (!parse(buf_as_span(&text), &e))
		msg_warn("the map, topic '%s', has a message that is none of kwrite --map: '%.*s'",
			m->map, (int)(value.len < 80 ? value.len : 80), value.p);
	else if (e.group)
		note_position(m, &e);
	else
		add_runs(find(m, &e), &e);
	buf_free(&text);
	free_entry(&e);
}

void move_at(struct move *m, const char *topic, int32_t partition, int64_t position)
{
	for (struct move_part *p = m->parts; p < m->parts + m->count; p++)
		if (p->partition == partition && strcmp(p->topic, topic) == 0)
			p->position = position;
}

void move_use_noted(struct move *m)
{
	for (size_t i = 0; i < m->noted_count; i++)
		move_at(m, m->noted[i].topic, m->noted[i].partition, m->noted[i].position);
}

/* ---- where to go on ---- */

/* Offsets of the old cluster that have a later copy: intervals, from the highest to the lowest. */
struct covered {
	struct {
		int64_t from, end;
	} * list;
	size_t count, size;
};

/* The first offset from @from on that is not covered. */
static int64_t first_free(const struct covered *c, int64_t from)
{
	for (size_t i = c->count; i-- > 0;)
		if (c->list[i].from > from)
			break;
		else if (c->list[i].end > from)
			from = c->list[i].end;
	return from;
}

static void cover(struct covered *c, int64_t from, int64_t end)
{
	size_t at = c->count;

	if (c->count == c->size) {
		c->size = c->size ? c->size * 2 : 64;
		c->list = mem_realloc(c->list, c->size * sizeof(*c->list));
	}
	/* Mostly it is lower than all of them. */
	for (; at > 0 && c->list[at - 1].from < from; at--)
		c->list[at] = c->list[at - 1];
	c->list[at].from = from;
	c->list[at].end = end;
	c->count++;
}

/* The place here of the first last copy of a record from @position on. *@behind: how many records
 * before it are not here yet, as far as is known. */
static int64_t go_on(const struct move_part *p, int64_t position, int64_t *behind)
{
	struct covered c = {0};
	int64_t best = -1, end = 0, last = 0;

	for (size_t i = p->count; i-- > 0;) {
		const struct move_run *r = &p->runs[i];
		int64_t run_end = r->from + r->count;
		int64_t from = r->from > position ? r->from : position;

		if (r->to + r->count > end)
			end = r->to + r->count;
		if (run_end > last)
			last = run_end;
		if (from >= run_end)
			continue;
		from = first_free(&c, from);
		if (from < run_end && (best < 0 || r->to + (from - r->from) < best))
			best = r->to + (from - r->from);
		cover(&c, r->from, run_end);
	}
	free(c.list);
	*behind = position > last ? position - last : 0;
	return best < 0 ? end : best;
}

int64_t move_position(const struct move *m, const char *topic, int32_t partition)
{
	int64_t best = -1, behind;
	bool any = false;

	for (const struct move_part *p = m->parts; p < m->parts + m->count; p++)
		any = any ||
			(p->to_partition == partition && !strcmp(p->to, topic) && p->position >= 0);
	for (const struct move_part *p = m->parts; any && p < m->parts + m->count; p++) {
		int64_t at;

		if (p->to_partition != partition || strcmp(p->to, topic) != 0)
			continue;
		at = go_on(p, p->position < 0 ? 0 : p->position, &behind);
		if (behind)
			msg_warn(
				"topic '%s', partition %" PRId32 ": the last %" PRId64
				" offsets that the group has read in the old cluster are not in the map: records of them may come again",
				topic, partition, behind);
		if (best < 0 || at < best)
			best = at;
	}
	return best;
}

void move_close(struct move *m)
{
	for (size_t i = 0; i < m->count; i++) {
		free(m->parts[i].topic);
		free(m->parts[i].to);
		free(m->parts[i].runs);
	}
	for (size_t i = 0; i < m->noted_count; i++)
		free(m->noted[i].topic);
	free(m->parts);
	free(m->noted);
}
