/* SPDX-License-Identifier: ISC */
/* What becomes of an entry that was read: a record, a dead letter, nothing since it is on its way,
 * or it is left to others. */
#include "rsub/streams.h"

#include "base/metrics.h"
#include "base/msg.h"

#include <stdio.h>

static void refuse(struct streams *s, struct stream *st, const struct entry *e, enum errclass c,
	const char *why)
{
	struct span line = buf_as_span(&s->record);
	char id[ID_TEXT];

	if (!dead_refuse(&s->whole->dead, c, (struct span){line.p, line.len - 1}, !s->raw, 0,
		    "stream '%s', id %s: %s", st->name, id_text(e->id, id).p, why)) {
		source_done(s->source);
	} else if (s->group && !s->is_exact) {
		xack_add(&st->acks, e->id);
	}
}

static void print(struct streams *s, struct stream *st, const struct entry *e, const char *why,
	enum errclass c)
{
	struct buf *out = why ? &s->record : &s->source->out.b;
	struct span head = buf_as_span(&st->head);
	size_t at, bytes;

	buf_clear(&s->record);
	at = out->len;
	bytes = entry_put(&s->form, s->source, head, st->account && !why, e, out);
	metrics.records_in++;
	s->source->record_ms = s->now_ms;
	if (!why && out->len - at > s->max_line) {
		out->len = at;
		entry_put(&s->form, s->source, head, false, e, &s->record);
		why = "its record is longer than --max-line";
		c = CLASS_TOO_LARGE;
	}
	if (why) {
		refuse(s, st, e, c, why);
		return;
	}
	source_emit(s->source, st->account, (int64_t)e->id.ms, (int64_t)e->id.seq, bytes,
		s->now_ms * 1000);
	if (s->group && (!s->follows || s->is_exact))
		xack_add(&st->acks, e->id);
}

static int64_t deliveries_of(const struct streams *s, struct id id)
{
	for (size_t i = 0; i < s->delivery_count; i++)
		if (id_compare(s->deliveries[i].id, id) == 0)
			return s->deliveries[i].count;
	return 0;
}

/* An entry that was pending: ours, or of a consumer that is dead. Returns 1 if it is gone. */
static uint64_t on_pending(struct streams *s, struct stream *st, const struct entry *e)
{
	char why[100];
	int64_t n = deliveries_of(s, e->id);

	if (id_set_has(&st->known, e->id))
		return 0;
	if (e->count < 0) {
		xack_add(&st->acks, e->id);
		return 1;
	}
	if (source_phase(s->source) != SOURCE_READING) {
		id_set_add(&st->back, e->id);
		return 0;
	}
	snprintf(why, sizeof(why), "it was delivered %lld %s, and never acknowledged", (long long)n,
		PLURAL(n, "time", "times"));
	print(s, st, e, s->max_deliveries && n >= s->max_deliveries ? why : NULL, CLASS_TIMEOUT);
	return 0;
}

void streams_take_new(struct streams *s, struct stream *st, const struct entry *e)
{
	if (e->count < 0)
		return;
	if (id_compare(e->id, st->rewound) <= 0 && s->group && st->has_read &&
		id_compare(e->id, st->read) <= 0) {
		/* It was read before the group was made anew. */
		if (id_set_has(&st->known, e->id))
			return;
		if (st->info.consumers <= 1) {
			xack_add(&st->acks, e->id);
			return;
		}
	}
	if (source_phase(s->source) != SOURCE_READING || st->is_done) {
		if (s->group && !s->is_exact)
			id_set_add(&st->back, e->id);
		return;
	}
	print(s, st, e, NULL, CLASS_NONE);
	if (!st->has_read || id_compare(st->read, e->id) < 0)
		st->read = e->id;
	st->has_read = true;
	st->info.read++;
	st->is_done = s->to_end && id_compare(e->id, st->end) >= 0;
}

int64_t streams_take_pending(
	struct streams *s, struct stream *st, struct resp *c, int64_t n, struct id *last)
{
	uint64_t gone = 0;
	struct entry e;

	for (int64_t i = 0; i < n; i++) {
		if (entry_take(c, &e))
			return -1;
		/* 6.2: an entry that is gone has not even an id. It is ours now, and OWN finds
		 * it. */
		if (e.count < 0 && s->step == STREAMS_CLAIM) {
			s->own_again = true;
			continue;
		}
		gone += on_pending(s, st, &e);
		*last = e.id;
	}
	if (gone)
		streams_gap(s, st, gone, "delivered and not acknowledged");
	streams_hand_back(s, st);
	return n;
}
