/* SPDX-License-Identifier: ISC */
/* Open numbers, for metrics and for complaints. */
#include "ack/ledger-parts.h"

struct ledger_counts ledger_counts(const struct ledger *l)
{
	return l->counts;
}

static struct ledger_open open_at(const struct ledger *l, uint32_t e, uint64_t count)
{
	const struct ledger_entry *x = &l->entries[e];

	return (struct ledger_open){x->part, x->number, x->at, x->low, count};
}

bool ledger_first_open(const struct ledger *l, struct ledger_open *o)
{
	if (l->head == NONE)
		return false;
	*o = open_at(l, l->head, l->counts.open);
	return true;
}

void ledger_each_open(const struct ledger *l, const struct ledger_part *p,
	void (*fn)(void *ctx, const struct ledger_open *o), void *ctx)
{
	for (uint32_t e = p->head; e != NONE; e = l->entries[e].part_after) {
		struct ledger_open o = open_at(l, e, 1);

		fn(ctx, &o);
		while (l->entries[e].is_exact && o.number < l->entries[e].last) {
			o.number++;
			o.at++;
			fn(ctx, &o);
		}
	}
}

/* Whether nobody says that it holds an open number: it is below one that the sink has reported or
 * asks about, although the sink has not named it, or the sink is idle and nothing moves: a slow
 * program that says nothing of itself keeps its sink idle most of the time. */
static bool is_overdue(const struct ledger *l, const struct ledger_entry *x,
	enum ledger_members members, bool moves)
{
	if (members == LEDGER_FILTER_BUSY)
		return false;
	if (members == LEDGER_SINK_IDLE && !moves)
		return true;
	if (l->waits_to && x->asked == l->question)
		return false;
	return x->number <= l->reported || x->number <= l->waits_to;
}

uint64_t ledger_stalled(struct ledger *l, enum ledger_members members, int64_t now_us,
	int64_t limit_us, void (*fn)(void *ctx, const struct ledger_open *o), void *ctx)
{
	uint64_t sum = 0, settled = l->counts.final + l->counts.dropped + l->counts.dead;
	bool moves = settled != l->settled_before;

	l->settled_before = settled;
	for (struct ledger_part *p = l->parts; p; p = p->after) {
		uint32_t first = NONE;
		uint64_t count = 0;

		for (uint32_t e = p->head; e != NONE; e = l->entries[e].part_after) {
			struct ledger_entry *x = &l->entries[e];

			if (!is_overdue(l, x, members, moves)) {
				x->overdue_us = 0;
				continue;
			}
			if (!x->overdue_us)
				x->overdue_us = now_us ? now_us : 1;
			if (now_us - x->overdue_us < limit_us)
				continue;
			if (first == NONE)
				first = e;
			count += x->count;
		}
		if (first == NONE)
			continue;
		if (fn) {
			struct ledger_open o = open_at(l, first, count);

			fn(ctx, &o);
		}
		sum += count;
	}
	return sum;
}
