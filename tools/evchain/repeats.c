/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evchain/repeats.h"

#include "base/line.h"
#include "base/mem.h"
#include "evchain/entry.h"
#include "evchain/find.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- places ---- */

static uint64_t mix(uint64_t h, struct span s)
{
	uint64_t part;

	for (; s.len >= 8; s.p += 8, s.len -= 8) {
		memcpy(&part, s.p, 8);
		h = (h ^ part) * 0x9e3779b97f4a7c15;
		h ^= h >> 29;
	}
	part = s.len;
	memcpy(&part, s.p, s.len);
	h = (h ^ part ^ (uint64_t)s.len << 56) * 0x9e3779b97f4a7c15;
	return h ^ h >> 32;
}

/* Of a record that was made of a part of another one: which part. */
static struct span part_of(const struct json_value *seq)
{
	const char *dot = seq->text.len ? memchr(seq->text.p, '.', seq->text.len) : NULL;

	return dot ? (struct span){dot, (size_t)(seq->text.p + seq->text.len - dot)} : SPAN("");
}

/* 0: the record has no seq, or no place that it can be read from again. */
static uint64_t hash_of(const struct record *r)
{
	uint64_t h = 1;

	if (r->seq.type != JSON_STRING)
		return 0;
	if (r->topic.type == JSON_STRING && r->offset.type == JSON_NUMBER) {
		h = mix(mix(mix(h, r->topic.text), r->partition.text), r->offset.text);
	} else if (r->id.type == JSON_STRING &&
		(r->stream.type == JSON_STRING || r->stream_b64.type == JSON_STRING)) {
		h = mix(mix(mix(h, r->stream.text), r->stream_b64.text), r->id.text);
	} else {
		return 0;
	}
	h = mix(h, part_of(&r->seq));
	return h ? h : 1;
}

/* ---- the table: linear probing ---- */

static uint64_t mask_of(const struct repeats *r)
{
	return 2 * r->window - 1;
}

static void put(struct repeats *r, uint64_t hash, uint64_t n)
{
	uint64_t i = hash & mask_of(r);

	while (r->table[i].hash)
		i = (i + 1) & mask_of(r);
	r->table[i] = (struct repeats_slot){hash, n};
}

/* Moves back what stands behind the slot and would not be found any more. */
static void take_out(struct repeats *r, uint64_t hash, uint64_t n)
{
	uint64_t mask = mask_of(r), i = hash & mask, j;

	while (r->table[i].n != n || r->table[i].hash != hash)
		i = (i + 1) & mask;
	for (j = (i + 1) & mask; r->table[j].hash; j = (j + 1) & mask)
		if (((j - r->table[j].hash) & mask) >= ((j - i) & mask)) {
			r->table[i] = r->table[j];
			i = j;
		}
	r->table[i].hash = 0;
}

void repeats_add(struct repeats *r, const struct record *record)
{
	uint64_t n = r->size++, hash, *place;

	if (!r->window)
		return;
	place = &r->places[n & (r->window - 1)];
	hash = record ? hash_of(record) : 0;
	if (*place)
		take_out(r, *place, n - r->window);
	*place = hash;
	if (hash)
		put(r, hash, n);
}

uint64_t repeats_find(const struct repeats *r, const struct record *record)
{
	uint64_t hash = r->window ? hash_of(record) : 0, found = UINT64_MAX;

	if (!hash)
		return UINT64_MAX;
	/* The last one of that place: a topic may have been made anew. */
	for (uint64_t i = hash & mask_of(r); r->table[i].hash; i = (i + 1) & mask_of(r))
		if (r->table[i].hash == hash && (found == UINT64_MAX || r->table[i].n > found))
			found = r->table[i].n;
	return found;
}

/* ---- the log ---- */

static bool same(const struct json_value *a, const struct json_value *b)
{
	return a->type == b->type && a->text.len == b->text.len &&
		(!a->text.len || memcmp(a->text.p, b->text.p, a->text.len) == 0);
}

static bool same_record(const struct record *a, const struct record *b)
{
	struct span x = part_of(&a->seq), y = part_of(&b->seq);

	/* With one seq a filter has made two records of one: that is no repeat. */
	return !same(&a->seq, &b->seq) && x.len == y.len && memcmp(x.p, y.p, x.len) == 0 &&
		same(&a->topic, &b->topic) && same(&a->partition, &b->partition) &&
		same(&a->offset, &b->offset) && same(&a->ts, &b->ts) &&
		same(&a->headers, &b->headers) && same(&a->key, &b->key) &&
		same(&a->key_b64, &b->key_b64) && same(&a->payload, &b->payload) &&
		same(&a->payload_b64, &b->payload_b64) && same(&a->stream, &b->stream) &&
		same(&a->stream_b64, &b->stream_b64) && same(&a->id, &b->id);
}

bool repeats_is(struct repeats *r, const struct files *f, uint64_t n, const struct record *record)
{
	struct record_error error;
	struct record old;
	struct entry e;

	buf_clear(&r->line);
	if (find_read(f, n, &r->line) || entry_parse(buf_as_span(&r->line), &e) || e.n != n ||
		record_parse(&old, e.record, &error) || !same_record(&old, record))
		return false;
	r->count++;
	return true;
}

static void note(struct repeats *r, struct span line)
{
	struct record_error error;
	struct record record;
	struct entry e;

	if (entry_parse(line, &e) || e.n < r->size)
		return;
	r->size = e.n;
	repeats_add(r, record_parse(&record, e.record, &error) == 0 ? &record : NULL);
}

static void read_segment(struct repeats *r, const struct files *f, const struct segment *s)
{
	int fd = open(s->path, O_RDONLY | O_CLOEXEC);
	enum line_status got;
	struct span text;
	struct line l;

	if (fd < 0)
		return;
	if (r->size > s->first)
		lseek(fd, find_entry(fd, index_find(f->dir, r->size), r->size), SEEK_SET);
	line_init(&l, fd, '\n', SIZE_MAX / 4);
	while ((got = line_next(&l, &text)) == LINE_WHOLE || got == LINE_NONE)
		if (got == LINE_WHOLE)
			note(r, text);
		else if (line_read(&l) < 0)
			break;
	line_free(&l);
	close(fd);
}

void repeats_open(struct repeats *r, uint64_t window, const struct files *f, uint64_t size)
{
	size_t places = window * sizeof(*r->places), table = 2 * window * sizeof(*r->table);

	*r = (struct repeats){.window = window};
	if (!window)
		return;
	r->places = mem_alloc(places);
	r->table = mem_alloc(table);
	memset(r->places, 0, places);
	memset(r->table, 0, table);
	r->size = size > window ? size - window : 0;
	for (size_t i = 0; i < f->count; i++)
		if (f->segments[i].last >= r->size)
			read_segment(r, f, &f->segments[i]);
	r->size = size;
}

void repeats_close(struct repeats *r)
{
	free(r->places);
	free(r->table);
	buf_free(&r->line);
}
