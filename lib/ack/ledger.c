/* SPDX-License-Identifier: ISC */
/*
 * DESIGN: entries of open numbers, in a pool that grows to the window and is found through a hash
 * table; numbers are dense, so that almost all chains have one entry. Records of one partition that
 * come together share an entry, a run; a report of some of them cuts it (ledger-runs.c). Two lists
 * run through the entries, both ascending: all open numbers, and those of one partition. So the
 * head of a partition's list holds its position back, and nothing is ever searched. A settled
 * number leaves at once. Remembered are only the parts of a label that was split, and the numbers
 * of ended assignments: so a late report differs from a second report.
 *
 * In order accounting more numbers are put together when many are open, so that what a filter drops
 * takes little memory.
 *
 * Files: ledger.c entries, partitions, positions and the window; ledger-report.c reports and
 * transactions; ledger-runs.c runs; ledger-open.c what is open. */
#include "ack/ledger-parts.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* At most so many entries of ended assignments are remembered. */
enum { ENDED_MAX = 1 << 16, KEEP_MIN = 2048, KEEP_MAX = 1 << 20 };
/* When a run is cut, each of its records counts as much as another: a large one has an entry of its
 * own. */
enum { RUN_BYTES = 256 << 10 };

/* ---- the table ---- */

uint32_t ledger_entry_find(const struct ledger *l, uint64_t number)
{
	uint32_t e = l->table[number & l->mask];

	while (e != NONE && l->entries[e].number != number)
		e = l->entries[e].chain;
	return e;
}

uint32_t ledger_entry_around(const struct ledger *l, uint64_t number)
{
	uint64_t n = number;
	uint32_t e = ledger_entry_find(l, n);

	while (e == NONE && n % LEDGER_BLOCK)
		e = ledger_entry_find(l, --n);
	if (e == NONE || l->entries[e].last < number || !l->entries[e].is_exact)
		return NONE;
	return e;
}

void ledger_entry_add(struct ledger *l, uint32_t e)
{
	uint32_t *slot = &l->table[l->entries[e].number & l->mask];

	l->entries[e].chain = *slot;
	*slot = e;
}

static void table_remove(struct ledger *l, uint32_t e)
{
	uint32_t *link = &l->table[l->entries[e].number & l->mask];

	while (*link != e)
		link = &l->entries[*link].chain;
	*link = l->entries[e].chain;
}

/* ---- entries ---- */

static void grow(struct ledger *l)
{
	uint32_t old = l->entry_count, count = old ? old * 2 : 256;
	size_t slots = (size_t)count * 2;

	l->entries = mem_realloc(l->entries, count * sizeof(*l->entries));
	l->table = mem_realloc(l->table, slots * sizeof(*l->table));
	memset(l->table, 0xff, slots * sizeof(*l->table));
	l->mask = (uint32_t)slots - 1;
	for (uint32_t e = l->head; e != NONE; e = l->entries[e].after)
		ledger_entry_add(l, e);
	for (uint32_t e = l->ended_head; e != NONE; e = l->entries[e].after)
		ledger_entry_add(l, e);
	for (uint32_t e = count; e-- > old;) {
		l->entries[e].after = l->free;
		l->free = e;
	}
	l->entry_count = count;
}

static void link_last(struct ledger *l, uint32_t e, uint32_t *head, uint32_t *tail)
{
	l->entries[e].before = *tail;
	l->entries[e].after = NONE;
	if (*tail == NONE)
		*head = e;
	else
		l->entries[*tail].after = e;
	*tail = e;
}

static void unlink_entry(struct ledger *l, uint32_t e, uint32_t *head, uint32_t *tail)
{
	struct ledger_entry *x = &l->entries[e];

	if (x->before == NONE)
		*head = x->after;
	else
		l->entries[x->before].after = x->after;
	if (x->after == NONE)
		*tail = x->before;
	else
		l->entries[x->after].before = x->before;
}

static void unlink_part(struct ledger *l, struct ledger_entry *x)
{
	if (x->part_before == NONE)
		x->part->head = x->part_after;
	else
		l->entries[x->part_before].part_after = x->part_after;
	if (x->part_after == NONE)
		x->part->tail = x->part_before;
	else
		l->entries[x->part_after].part_before = x->part_before;
	x->part->open -= x->count;
}

static void split_leave(struct ledger_entry *x)
{
	if (x->split && --x->split->members == 0) {
		free(x->split->seen);
		free(x->split);
	}
	x->split = NULL;
}

void ledger_entry_forget(struct ledger *l, uint32_t e)
{
	struct ledger_entry *x = &l->entries[e];

	table_remove(l, e);
	split_leave(x);
	if (x->part) {
		unlink_entry(l, e, &l->head, &l->tail);
		unlink_part(l, x);
		l->open--;
		l->counts.open -= x->count;
		l->counts.open_bytes -= x->bytes;
	} else {
		unlink_entry(l, e, &l->ended_head, &l->ended_tail);
		l->ended--;
	}
	x->after = l->free;
	l->free = e;
}

void ledger_entry_tell(const struct ledger *l, const struct ledger_entry *x, enum ledger_kind kind,
	int64_t taken_us)
{
	if (!l->settled)
		return;
	if (x->is_exact)
		l->settled(l->ctx, x->part, x->at, x->low, x->count, kind, taken_us);
	for (uint64_t i = 0; i < x->count && !x->is_exact; i++)
		l->settled(l->ctx, x->part, x->at, x->low, 1, kind, taken_us);
}

void ledger_entry_settle(struct ledger *l, uint32_t e, enum ledger_kind kind, int64_t now_us)
{
	struct ledger_entry *x = &l->entries[e];
	struct ledger_part *p = x->part;

	if (!p) {
		l->counts.late += x->count;
		ledger_entry_forget(l, e);
		return;
	}
	p->moved = true;
	switch (kind) {
	case LEDGER_FINAL:
		l->counts.final += x->count;
		break;
	case LEDGER_DROP:
		l->counts.dropped += x->count;
		break;
	case LEDGER_DEAD:
		l->counts.dead += x->count;
		break;
	}
	ledger_entry_tell(l, x, kind, now_us - x->emitted_us);
	ledger_entry_forget(l, e);
}

/* ---- positions, partitions ---- */

int64_t ledger_position(const struct ledger *l, const struct ledger_part *p)
{
	if (!p->moved)
		return -1;
	return p->head == NONE ? p->next : l->entries[p->head].at;
}

struct ledger_part *ledger_assign(
	struct ledger *l, const char *topic, int32_t partition, void *user)
{
	struct ledger_part *p = mem_realloc(NULL, sizeof(*p));

	*p = (struct ledger_part){.topic = topic,
		.partition = partition,
		.user = user,
		.next = -1,
		.head = NONE,
		.tail = NONE,
		.after = l->parts};
	if (l->parts)
		l->parts->before = p;
	l->parts = p;
	return p;
}

void ledger_end(struct ledger *l, struct ledger_part *p)
{
	while (p->head != NONE) {
		uint32_t e = p->head;
		struct ledger_entry *x = &l->entries[e];

		l->counts.ended += x->count;
		/* Of a run that could not be found again only this much is remembered. */
		if (!x->is_exact || x->number / LEDGER_BLOCK != x->last / LEDGER_BLOCK) {
			if (x->last >= l->known)
				l->known = x->last + 1;
			ledger_entry_forget(l, e);
			continue;
		}
		l->open--;
		l->counts.open -= x->count;
		l->counts.open_bytes -= x->bytes;
		unlink_entry(l, e, &l->head, &l->tail);
		unlink_part(l, x);
		x->part = NULL;
		if (x->split)
			x->split->ended = true;
		link_last(l, e, &l->ended_head, &l->ended_tail);
		l->ended++;
	}
	while (l->ended > ENDED_MAX) {
		if (l->entries[l->ended_head].last >= l->known)
			l->known = l->entries[l->ended_head].last + 1;
		ledger_entry_forget(l, l->ended_head);
	}
	l->uncommitted -= p->emitted - p->committed;
	if (p->before)
		p->before->after = p->after;
	else
		l->parts = p->after;
	if (p->after)
		p->after->before = p->before;
	free(p);
}

struct ledger_part *ledger_next_part(const struct ledger *l, const struct ledger_part *p)
{
	return p ? p->after : l->parts;
}

uint64_t ledger_part_open(const struct ledger_part *p)
{
	return p->open;
}

/* ---- emitting ---- */

static uint32_t take_free(struct ledger *l)
{
	uint32_t e;

	if (l->free == NONE)
		grow(l);
	e = l->free;
	l->free = l->entries[e].after;
	return e;
}

uint32_t ledger_entry_split(struct ledger *l, uint32_t before)
{
	uint32_t e = take_free(l);
	struct ledger_entry *x = &l->entries[e], *b = &l->entries[before];

	*x = *b;
	x->before = before;
	b->after = e;
	if (x->after == NONE)
		*(x->part ? &l->tail : &l->ended_tail) = e;
	else
		l->entries[x->after].before = e;
	if (!x->part) {
		l->ended++;
		return e;
	}
	x->part_before = before;
	b->part_after = e;
	if (x->part_after == NONE)
		x->part->tail = e;
	else
		l->entries[x->part_after].part_before = e;
	l->open++;
	return e;
}

/* Whether the next number can be put to the newest entry: it belongs there, and nothing was said of
 * that. */
static bool goes_on(const struct ledger *l, const struct ledger_part *p, int64_t at, int64_t low,
	size_t bytes, int64_t now_us)
{
	const struct ledger_entry *x;

	if (p->tail == NONE || p->tail != l->tail)
		return false;
	x = &l->entries[p->tail];
	return x->last == l->last && x->emitted_us == now_us && x->low == low &&
		x->at + (int64_t)x->count == at && x->is_exact && x->bytes + bytes <= RUN_BYTES &&
		x->number / LEDGER_BLOCK == (l->last + 1) / LEDGER_BLOCK && !x->split &&
		!x->asked && !x->overdue_us;
}

/* An entry of no number yet, the newest. */
static uint32_t begin_entry(
	struct ledger *l, struct ledger_part *p, int64_t at, int64_t low, int64_t now_us)
{
	uint32_t e = take_free(l);

	l->entries[e] = (struct ledger_entry){
		.number = l->last + 1,
		.is_exact = true,
		.part = p,
		.at = at,
		.low = low,
		.emitted_us = now_us,
		.ordinal = p->emitted,
		.part_before = p->tail,
		.part_after = NONE,
	};
	if (p->tail == NONE)
		p->head = e;
	else
		l->entries[p->tail].part_after = e;
	p->tail = e;
	link_last(l, e, &l->head, &l->tail);
	ledger_entry_add(l, e);
	l->open++;
	return e;
}

uint64_t ledger_emit(struct ledger *l, struct ledger_part *p, int64_t at, int64_t low, size_t bytes,
	int64_t now_us)
{
	struct ledger_entry *x;
	uint32_t e;

	if (l->order && l->open >= l->thin_at)
		ledger_thin(l);
	e = goes_on(l, p, at, low, bytes, now_us) ? p->tail : begin_entry(l, p, at, low, now_us);
	x = &l->entries[e];
	x->last = ++l->last;
	x->count++;
	x->bytes += bytes;
	p->next = at + 1;
	p->open++;
	p->emitted++;
	l->uncommitted++;
	l->counts.emitted++;
	l->counts.open++;
	l->counts.open_bytes += bytes;
	return l->last;
}

void ledger_skip(struct ledger_part *p, int64_t next)
{
	if (next <= p->next)
		return;
	p->next = next;
	p->moved = true;
}

bool ledger_full(const struct ledger *l)
{
	if (l->counts.open &&
		(l->counts.open >= l->window || l->counts.open_bytes >= l->window_bytes))
		return true;
	return l->commits && l->uncommitted && l->uncommitted >= l->window;
}

uint64_t ledger_covered(const struct ledger *l, const struct ledger_part *p)
{
	return p->head == NONE ? p->emitted : l->entries[p->head].ordinal;
}

static uint64_t room(const struct ledger *l)
{
	return l->uncommitted < l->window ? l->window - l->uncommitted : 0;
}

/* The answer to a commit has come: was it sent too late, or too soon? */
static void judge_commit(struct ledger *l)
{
	uint64_t left = room(l), least = l->window / 8;

	/* A commit has several partitions. */
	if (l->ahead_at == l->last)
		return;
	l->ahead_at = l->last;
	if (!left && l->ahead < l->window)
		l->ahead += l->window / 16;
	else
		l->ahead -= left / 4 < l->ahead - least ? left / 4 : l->ahead - least;
}

void ledger_committed(struct ledger *l, struct ledger_part *p, uint64_t covered)
{
	l->commits = true;
	if (covered <= p->committed)
		return;
	judge_commit(l);
	l->uncommitted -= covered - p->committed;
	p->committed = covered;
}

uint64_t ledger_uncommitted(const struct ledger *l)
{
	return l->uncommitted;
}

bool ledger_commit_due(const struct ledger *l, uint64_t due)
{
	return due && due >= l->window / 16 && room(l) <= l->ahead;
}

void ledger_forget(struct ledger *l)
{
	struct ledger_entry *x;

	if (l->head == NONE)
		return;
	if (l->entries[l->head].count > 1 && l->entries[l->head].is_exact)
		ledger_entry_cut(l, l->head, l->entries[l->head].number + 1);
	x = &l->entries[l->head];
	l->counts.forgotten += x->count;
	if (x->last >= l->known)
		l->known = x->last + 1;
	ledger_entry_forget(l, l->head);
}

uint64_t ledger_last(const struct ledger *l)
{
	return l->last;
}

struct ledger *ledger_new(uint64_t window, uint64_t window_bytes, bool order)
{
	struct ledger *l = mem_realloc(NULL, sizeof(*l));

	*l = (struct ledger){.window = window,
		.window_bytes = window_bytes,
		.order = order,
		.ahead = window / 2};
	l->head = l->tail = l->ended_head = l->ended_tail = l->free = NONE;
	ledger_keep(l,
		window > KEEP_MAX	    ? KEEP_MAX
			: window < KEEP_MIN ? KEEP_MIN
					    : (uint32_t)window);
	grow(l);
	return l;
}

void ledger_on_settled(struct ledger *l, ledger_settled_fn *fn, void *ctx)
{
	l->settled = fn;
	l->ctx = ctx;
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	while (l->head != NONE)
		ledger_entry_forget(l, l->head);
	while (l->ended_head != NONE)
		ledger_entry_forget(l, l->ended_head);
	while (l->parts) {
		struct ledger_part *p = l->parts;

		l->parts = p->after;
		free(p);
	}
	ledger_names_free(l);
	free(l->entries);
	free(l->table);
	free(l);
}
