/* SPDX-License-Identifier: ISC */
/* DESIGN: entries for a cluster go in rounds, of what has come since the last one, up to
 * ROUND_MOST. A round has a transaction for each stream, since EXEC takes keys of one slot alone;
 * they are on their way together. A stream has one transaction a round, and the next round waits
 * for the answers of all: so order is kept in each stream when a server refuses to write for a
 * moment, and no entry is held up by those of other streams but for a round.
 *
 * 	head <= from <= next <= tail	slots: [from, next) is the round
 *
 * What an aborted EXEC had is sent again in the next round. Of results that come later than those,
 * only that ROLE has confirmed an EXEC's array, or REDIS_AGAIN in its place, are left; after
 * REDIS_AGAIN all that are not done are sent again. A tag names the transaction's first slot and
 * its round. */
#include "rpub/rpub.h"

#include "base/mem.h"
#include "base/msg.h"
#include "redis/request.h"

#include <stdlib.h>
#include <string.h>

enum { ROUND_MOST = 1024 };

#define TAG_INDEX_BITS 44
#define NONE UINT64_MAX

struct spread_entry {
	uint64_t slot;
	const struct buf *text;
	size_t name, command, end; /* where they begin in the text: the stream's name, the XADD */
};

/* ---- what goes into a round ---- */

static struct span name_of(const struct spread_entry *e)
{
	return (struct span){e->text->p + e->name, e->command - e->name};
}

static int compare_names(struct span a, struct span b)
{
	int c = memcmp(a.p, b.p, a.len < b.len ? a.len : b.len);

	return c ? c : (a.len > b.len) - (a.len < b.len);
}

/* By stream, in each the order of the input. */
static int compare(const void *one, const void *other)
{
	const struct spread_entry *a = one, *b = other;
	int c = compare_names(name_of(a), name_of(b));

	return c ? c : (a->slot > b->slot) - (a->slot < b->slot);
}

/* Encodes the record behind the others of the round. Returns 0 or -1. */
static int encode(struct rpub *s, const struct record *r, struct span line, struct record_error *e)
{
	struct rpub_spread *w = &s->stream.spread;
	struct spread_entry entry = {.text = &w->text, .name = w->text.len};

	if (!w->entries)
		w->entries = mem_alloc(ROUND_MOST * sizeof(*w->entries));
	buf_span(&w->text, stream_key(s));
	entry.command = w->text.len;
	if (entry_put(s, r, line, &w->text, e)) {
		w->text.len = entry.name;
		return -1;
	}
	entry.end = w->text.len;
	w->entries[w->count] = entry;
	return 0;
}

static void add(struct rpub *s, uint64_t i)
{
	struct rpub_spread *w = &s->stream.spread;

	w->entries[w->count++].slot = i;
	rpub_slot(s, i)->executed = false;
}

static void new_line(struct rpub *s, struct span text)
{
	struct rpub_spread *w = &s->stream.spread;
	struct record_error e = {0};
	struct record r;
	bool is_record, bad = command_read(s, text, &r, &is_record, &e);

	if (bad || encode(s, &r, text, &e))
		sink_refuse_line(&s->sink, &r.seq, is_record, &e);
	else if (sink_take(&s->sink, &r.seq))
		add(s, s->sink.tail - 1);
	else
		w->text.len = w->entries[w->count].name;
	s->stream.next = s->sink.tail;
}

static void old_line(struct rpub *s, uint64_t i)
{
	struct rpub_slot *slot = rpub_slot(s, i);
	struct span text = sink_text(&s->sink, &slot->slot);
	struct record_error e;
	struct record r;
	bool is_record;

	if (slot->slot.refused || slot->slot.done || slot->executed)
		return;
	/* This cannot fail: the same line was encoded before. */
	if (command_read(s, text, &r, &is_record, &e) || encode(s, &r, text, &e))
		die(EXIT_TEMP, "cannot encode a record again: %s", e.message);
	add(s, i);
}

/* ---- sending ---- */

/* The transaction of the entries from @e on that are of one stream. Returns how many they are. */
static size_t send_stream(struct rpub *s, const struct spread_entry *e, size_t most)
{
	struct rpub_spread *w = &s->stream.spread;
	uint64_t first = e->slot;
	size_t n = 0;

	request_begin(redis_begin(&s->redis, name_of(e)), 1, "MULTI");
	redis_commit(&s->redis, STREAM_MULTI);
	do {
		struct rpub_slot *slot = rpub_slot(s, e[n].slot);

		buf_put(redis_more(&s->redis), w->text.p + e[n].command, e[n].end - e[n].command);
		redis_commit(&s->redis, e[n].slot);
		slot->sent = true;
		slot->batch_end = first;
		slot->round = w->round;
		n++;
		slot->after =
			n < most && !compare_names(name_of(e), name_of(e + n)) ? e[n].slot : NONE;
	} while (rpub_slot(s, e[n - 1].slot)->after != NONE);
	request_begin(redis_more(&s->redis), 1, "EXEC");
	redis_commit(&s->redis, STREAM_EXEC | (uint64_t)w->round << TAG_INDEX_BITS | first);
	rpub_slot(s, first)->executing = true;
	w->out++;
	return n;
}

static void send_round(struct rpub *s)
{
	struct rpub_spread *w = &s->stream.spread;

	w->round++;
	if (w->count > 1 && !template_constant(s->template))
		qsort(w->entries, w->count, sizeof(*w->entries), compare);
	for (size_t i = 0; i < w->count;)
		i += send_stream(s, w->entries + i, w->count - i);
	w->count = 0;
	buf_clear(&w->text);
	s->stream.has_refused = false;
	s->stream.executing = w->out > 0;
}

void spread_lines(struct rpub *s)
{
	struct rpub_stream *t = &s->stream;
	struct rpub_spread *w = &t->spread;
	struct span text;

	if (t->executing || (t->is_stalled && s->now_ms < s->try_ms))
		return;
	if (t->next < s->sink.head)
		t->next = s->sink.head;
	t->from = t->next;
	for (; t->next < s->sink.tail && w->count < ROUND_MOST; t->next++)
		old_line(s, t->next);
	while (t->next == s->sink.tail && w->count < ROUND_MOST && sink_next(&s->sink, &text))
		new_line(s, text);
	send_round(s);
}

/* ---- results ---- */

static void on_executed(struct rpub *s, uint64_t first, const struct link_reply *reply)
{
	struct resp elements = reply->elements;

	stream_serves(s);
	for (uint64_t i = first, after; i != NONE; i = after) {
		struct rpub_slot *slot = rpub_slot(s, i);

		after = slot->after;
		slot->executed = true;
		if (!slot->slot.refused && !stream_entry(s, i, &elements))
			return;
	}
}

static void on_aborted(struct rpub *s, uint64_t first, struct span text)
{
	bool has_refused = false;

	for (uint64_t i = first; i != NONE; i = rpub_slot(s, i)->after)
		has_refused = has_refused || rpub_slot(s, i)->slot.refused;
	s->stream.spread.aborted = true;
	stream_note_abort(s, text, has_refused);
}

static void on_confirmed(struct rpub *s, uint64_t first)
{
	for (uint64_t i = first, after; i != NONE; i = after) {
		struct rpub_slot *slot = rpub_slot(s, i);

		after = slot->after;
		if (!slot->slot.refused)
			sink_done(&slot->slot);
	}
}

/* All EXECs of the round are answered. */
static void end_round(struct rpub *s)
{
	struct rpub_stream *t = &s->stream;
	struct rpub_spread *w = &t->spread;

	t->executing = false;
	if (w->again) {
		for (uint64_t i = s->sink.head; i < s->sink.tail; i++)
			rpub_slot(s, i)->executed = false;
		t->next = s->sink.head;
		t->is_stalled = false;
	} else if (w->aborted) {
		t->next = t->from;
		/* Without the records that were refused it is made again at once. */
		if (t->away[0])
			stream_wait(s);
	}
	w->again = w->aborted = false;
	t->away[0] = '\0';
}

void spread_exec(struct rpub *s, enum redis_got got, uint64_t tag, const struct link_reply *reply)
{
	struct rpub_spread *w = &s->stream.spread;
	uint64_t first = tag & ((UINT64_C(1) << TAG_INDEX_BITS) - 1);
	uint16_t round = (uint16_t)(tag >> TAG_INDEX_BITS);
	struct rpub_slot *slot = rpub_slot(s, first);
	bool known = first >= s->sink.head && first < s->sink.tail && slot->batch_end == first &&
		slot->round == round;

	if (got == REDIS_AGAIN)
		w->again = true;
	if (known && slot->executing) {
		slot->executing = false;
		w->out--;
		if (got != REDIS_AGAIN && reply->value.type == RESP_ERROR)
			on_aborted(s, first, reply->value.text);
		else if (got != REDIS_AGAIN)
			on_executed(s, first, reply);
	} else if (known && got != REDIS_AGAIN) {
		on_confirmed(s, first);
	}
	if (!w->out && (s->stream.executing || w->again))
		end_round(s);
}
