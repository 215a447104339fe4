/* SPDX-License-Identifier: ISC */
/* Runs: numbers of one partition that share an entry.
 *
 * DESIGN: a run whose numbers and offsets both follow each other is exact: it can be cut again at
 * any number, and nothing is lost by it. ledger_emit makes such runs. Each lies in a block of
 * numbers, so that the run of a number is found by looking for those before, back to the block's
 * beginning.
 *
 * In order accounting a filter that drops may leave any number of records open, and the next report
 * of the sink settles them all. When many entries are open, neighbours of one partition become one,
 * but for the newest ones, of which the sink's next reports will speak. As one fetch brings many
 * records of one partition, most of these runs are exact, too. Where that is not enough, runs of a
 * partition are joined that other partitions' numbers stand between. In such a run a number cannot
 * be told from one of another partition: it is settled as a whole when the sink reports a number
 * above its last one, and until then the position stays before it. That may repeat records after a
 * crash, and lose none. A transaction must not repeat any: it gets exact runs only. */
#include "ack/ledger-parts.h"

enum { EXACT_MAX = 1 << 18 };

/* Joins an entry with the next one of its partition. */
static void join(struct ledger *l, uint32_t e, bool exact)
{
	uint32_t next = l->entries[e].part_after;
	struct ledger_entry *x = &l->entries[e], add = l->entries[next];

	/* The numbers stay open: only their entry goes. */
	ledger_entry_forget(l, next);
	x->part->open += add.count;
	l->counts.open += add.count;
	l->counts.open_bytes += add.bytes;
	x->last = add.last;
	x->count += add.count;
	x->bytes += add.bytes;
	x->is_exact = exact;
}

static bool is_neighbour(const struct ledger_entry *a, const struct ledger_entry *b)
{
	return a->is_exact && b->is_exact && a->last + 1 == b->number && a->low == b->low &&
		a->at + (int64_t)a->count == b->at;
}

/* One pass over a partition's entries below @bound. @any: those too that are no neighbours, two by
 * two. */
static void thin_part(struct ledger *l, struct ledger_part *p, uint64_t bound, bool any)
{
	uint32_t e = p->head;

	while (e != NONE && l->entries[e].part_after != NONE) {
		const struct ledger_entry *x = &l->entries[e];
		const struct ledger_entry *next = &l->entries[x->part_after];
		bool exact = is_neighbour(x, next);

		if (next->number >= bound)
			return;
		if ((!exact && !any) || x->split || next->split) {
			e = x->part_after;
			continue;
		}
		join(l, e, exact);
		if (any)
			e = l->entries[e].part_after;
	}
}

void ledger_thin(struct ledger *l)
{
	uint32_t keep = l->keep, e = l->tail, before;

	/* Entries, not numbers: a run of the newest ones is exact. */
	for (uint32_t i = 1; i < keep && l->entries[e].before != NONE; i++)
		e = l->entries[e].before;
	for (struct ledger_part *p = l->parts; p; p = p->after)
		thin_part(l, p, l->entries[e].number, false);
	do {
		before = l->open;
		for (struct ledger_part *p = l->parts; p && !l->exact && l->open > keep + keep / 2;
			p = p->after)
			thin_part(l, p, l->entries[e].number, true);
	} while (l->open < before);
	l->thin_at = l->open < keep ? 2 * keep : l->open + keep;
}

void ledger_keep(struct ledger *l, uint32_t entries)
{
	l->keep = entries;
	l->thin_at = 2 * entries;
}

void ledger_keep_exact(struct ledger *l)
{
	l->exact = true;
}

bool ledger_has_room(const struct ledger *l)
{
	return !l->exact || l->open < EXACT_MAX;
}

/* The run that a number is in, or may be. */
static uint32_t run_of(const struct ledger *l, uint64_t number)
{
	uint32_t found = NONE;

	for (uint32_t e = l->head; e != NONE && l->entries[e].number <= number;
		e = l->entries[e].after) {
		const struct ledger_entry *x = &l->entries[e];

		if (x->count == 1 || number > x->last)
			continue;
		if (x->is_exact)
			return e;
		found = e;
	}
	return found;
}

bool ledger_run_has(const struct ledger *l, uint64_t number)
{
	return l->order && run_of(l, number) != NONE;
}

uint32_t ledger_entry_cut(struct ledger *l, uint32_t e, uint64_t number)
{
	uint64_t n = number - l->entries[e].number;
	uint32_t later = ledger_entry_split(l, e);
	struct ledger_entry *x = &l->entries[e], *y = &l->entries[later];
	uint64_t bytes = x->bytes / x->count * n;

	x->last = number - 1;
	x->count = n;
	x->bytes = bytes;
	y->number = number;
	y->count -= n;
	y->bytes -= bytes;
	y->at += (int64_t)n;
	y->ordinal += n;
	ledger_entry_add(l, later);
	return later;
}

uint32_t ledger_entry_carve(struct ledger *l, uint64_t number, uint64_t to, bool *in_run)
{
	uint32_t e = ledger_entry_around(l, number);

	if (e == NONE && l->order)
		e = run_of(l, number);
	*in_run = e != NONE && !l->entries[e].is_exact;
	if (e == NONE || *in_run)
		return NONE;
	if (l->entries[e].number < number)
		e = ledger_entry_cut(l, e, number);
	if (l->entries[e].last > to)
		ledger_entry_cut(l, e, to + 1);
	return e;
}

/* A run settles as one. */
static void vouch(struct ledger *l, uint32_t e)
{
	struct ledger_entry *x = &l->entries[e];

	x->part->moved = true;
	l->counts.vouched += x->count;
	ledger_entry_tell(l, x, LEDGER_DROP, 0);
	ledger_entry_forget(l, e);
}

void ledger_pass_over(struct ledger *l, uint64_t number)
{
	uint32_t e = l->head;

	while (e != NONE && l->entries[e].number < number) {
		uint32_t after = l->entries[e].after;

		if (l->entries[e].last >= number && l->entries[e].is_exact) {
			ledger_entry_cut(l, e, number);
			after = l->entries[e].after;
		}
		if (l->entries[e].last < number)
			vouch(l, e);
		e = after;
	}
}

void ledger_pass_all(struct ledger *l)
{
	ledger_pass_over(l, l->last + 1);
}
