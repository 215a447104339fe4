/* SPDX-License-Identifier: ISC */
/*
 * DESIGN: one entry an open number, in a pool that grows to the window and is found through a hash
 * table; numbers are dense, so that its chains are of one entry but for stragglers. Two lists run through the entries, both ascending: all open numbers, and those of one
 * partition. So the head of a partition's list is what holds its position back, and nothing is ever
 * searched. What is settled leaves at once; only the parts of a label that was split are remembered,
 * and the numbers of ended assignments, so that a late report can be told from a second one.
 *
 * MUTANT(x) is false. Tests compile this file with -DLEDGER_MUTANT=x, one broken rule each, and must
 * fail with each.
 */
#include "ledger.h"

#include "die.h"

#include <stdlib.h>
#include <string.h>

enum ledger_mutant {
	PART_COUNT_IGNORED = 1, /* the first part settles the label */
	SEAL_ON_LATER, /* a part settles the label once a later number was reported */
	RANGE_FROM_ENDS, /* a set counts as all between its lowest and its highest */
	POSITION_OF_HIGHEST, /* commits what comes after the highest settled number */
	POSITION_OF_EMITTED, /* commits what was emitted */
	DROP_RAISES_MARK, /* in order: a filter's report settles what is below */
	BELOW_INCLUDES_HIGHEST, /* in order: what is below the highest number of a set is settled too */
	BACKWARDS_ALLOWED,
	SECOND_REPORT_ALLOWED,
	GENERATION_OF_GROUP, /* numbers from before any rebalance do not hold a position back */
	TXN_WITH_GAP, /* a transaction is answered although a number below is open */
	TXN_OF_ENDED, /* … or although one of its numbers belongs to an ended assignment */
	FUTURE_ACCEPTED, /* reports of numbers not yet emitted are no garbage */
};
#ifndef LEDGER_MUTANT
#define LEDGER_MUTANT 0
#endif
#define MUTANT(x) (LEDGER_MUTANT == (x))

/* Numbers of ended assignments that are remembered at most. */
enum { ENDED_MAX = 1 << 16 };

#define NONE UINT32_MAX

/* The parts of one label. */
struct group {
	uint32_t parts, left;
	enum ledger_kind kind; /* the best of the parts so far: FINAL before DEAD before DROP */
	uint32_t members; /* entries that point here */
	uint64_t question; /* the last that named a part of it */
	uint32_t unnamed; /* parts that it has not named and that are not reported */
	size_t set_len;
	/* A bit each part that is reported, one each that the question named, the text of the set. */
	unsigned char *seen, *named;
	char *set;
};

struct entry {
	uint64_t number;
	struct ledger_part *part; /* NULL: its assignment has ended */
	struct group *group; /* some of its parts are reported */
	int64_t at, low, emitted_us, overdue_us; /* overdue_us 0: not found overdue */
	uint64_t asked; /* the last question that named it, all its parts if it was split */
	uint32_t generation; /* assignments begun and ended before it; for a mutant */
	uint64_t ordinal; /* how many of its partition came before it */
	uint32_t bytes;
	uint32_t before, after; /* of all open numbers; of all ended ones; free entries: after */
	uint32_t part_before, part_after;
	uint32_t chain;
};

struct ledger {
	uint64_t window, window_bytes;
	bool order;
	ledger_settled_fn *settled;
	void *ctx;
	uint64_t last; /* number given */
	uint64_t mark; /* in order: all below it is settled; the sink has reported it */
	uint64_t known; /* ended numbers below it are forgotten */
	uint64_t question; /* transactions asked about */
	uint64_t reported; /* highest number in any report of the sink */
	uint64_t waits_to; /* the last question waits for what is to there; 0: it does not */
	uint32_t generation;
	bool commits; /* what is not committed fills the window */
	uint64_t uncommitted;
	struct ledger_counts counts;
	struct ledger_part *parts;

	struct entry *entries;
	uint32_t entry_count, free;
	uint32_t head, tail; /* open */
	uint32_t ended_head, ended_tail, ended;
	uint32_t *table; /* chains of entries, by the low bits of the number */
	uint32_t mask;
};

/* ---- the table ---- */

static uint32_t table_find(const struct ledger *l, uint64_t number)
{
	uint32_t e = l->table[number & l->mask];

	while (e != NONE && l->entries[e].number != number)
		e = l->entries[e].chain;
	return e;
}

static void table_add(struct ledger *l, uint32_t e)
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

	l->entries = die_realloc(l->entries, count * sizeof(*l->entries));
	l->table = die_realloc(l->table, slots * sizeof(*l->table));
	memset(l->table, 0xff, slots * sizeof(*l->table));
	l->mask = (uint32_t)slots - 1;
	for (uint32_t e = l->head; e != NONE; e = l->entries[e].after)
		table_add(l, e);
	for (uint32_t e = l->ended_head; e != NONE; e = l->entries[e].after)
		table_add(l, e);
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
	struct entry *x = &l->entries[e];

	if (x->before == NONE)
		*head = x->after;
	else
		l->entries[x->before].after = x->after;
	if (x->after == NONE)
		*tail = x->before;
	else
		l->entries[x->after].before = x->before;
}

static void unlink_part(struct ledger *l, struct entry *x)
{
	if (x->part_before == NONE)
		x->part->head = x->part_after;
	else
		l->entries[x->part_before].part_after = x->part_after;
	if (x->part_after == NONE)
		x->part->tail = x->part_before;
	else
		l->entries[x->part_after].part_before = x->part_before;
	x->part->open--;
}

static void group_leave(struct entry *x)
{
	if (x->group && --x->group->members == 0) {
		free(x->group->seen);
		free(x->group);
	}
	x->group = NULL;
}

/* Takes an entry out of all lists. */
static void forget(struct ledger *l, uint32_t e)
{
	struct entry *x = &l->entries[e];

	table_remove(l, e);
	group_leave(x);
	if (x->part) {
		unlink_entry(l, e, &l->head, &l->tail);
		unlink_part(l, x);
		l->counts.open--;
		l->counts.open_bytes -= x->bytes;
	} else {
		unlink_entry(l, e, &l->ended_head, &l->ended_tail);
		l->ended--;
	}
	x->after = l->free;
	l->free = e;
}

static void settle(struct ledger *l, uint32_t e, enum ledger_kind kind, int64_t now_us)
{
	struct entry *x = &l->entries[e];
	struct ledger_part *p = x->part;

	if (!p) {
		l->counts.late++;
		forget(l, e);
		return;
	}
	p->moved = true;
	if (MUTANT(POSITION_OF_HIGHEST) && x->at >= p->settled_to)
		p->settled_to = x->at + 1;
	switch (kind) {
	case LEDGER_FINAL:
		l->counts.final++;
		break;
	case LEDGER_DROP:
		l->counts.dropped++;
		break;
	case LEDGER_DEAD:
		l->counts.dead++;
		break;
	}
	if (l->settled)
		l->settled(l->ctx, p, x->at, x->low, kind, now_us - x->emitted_us);
	forget(l, e);
}

/* In order: the sink has reported @number. */
static void pass_over(struct ledger *l, uint64_t number)
{
	while (l->head != NONE && l->entries[l->head].number < number) {
		struct entry *x = &l->entries[l->head];

		x->part->moved = true;
		if (MUTANT(POSITION_OF_HIGHEST) && x->at >= x->part->settled_to)
			x->part->settled_to = x->at + 1;
		l->counts.vouched++;
		if (l->settled)
			l->settled(l->ctx, x->part, x->at, x->low, LEDGER_DROP, 0);
		forget(l, l->head);
	}
}

/* ---- reports ---- */

static bool group_is(const struct group *g, const struct label *label)
{
	return g->parts == label->parts && g->set_len == label->set.len &&
		memcmp(g->set, label->set.p, g->set_len) == 0;
}

static bool has_bit(const unsigned char *bits, uint32_t part)
{
	return bits[(part - 1) / 8] >> ((part - 1) % 8) & 1;
}

static void set_bit(unsigned char *bits, uint32_t part)
{
	bits[(part - 1) / 8] |= (unsigned char)(1 << (part - 1) % 8);
}

/* What a report does to one of its numbers: TAKEN: nothing is against it; WAIT: there is nothing left
 * to do for it. */
static enum ledger_answer look(
	const struct ledger *l, bool sink, const struct label *label, uint64_t number)
{
	uint32_t e = table_find(l, number);
	const struct group *g;

	if (e == NONE) {
		/* A filter may learn only after the sink what it has to say. */
		if (number < l->known ||
			(l->order && (!sink || MUTANT(BACKWARDS_ALLOWED)) && number < l->mark))
			return LEDGER_WAIT;
		return MUTANT(SECOND_REPORT_ALLOWED) ? LEDGER_WAIT : LEDGER_TWICE;
	}
	g = l->entries[e].group;
	if (!g)
		return LEDGER_TAKEN;
	if (!label->parts)
		return LEDGER_TWICE;
	if (!group_is(g, label))
		return LEDGER_GARBAGE;
	if (has_bit(g->seen, label->part))
		return MUTANT(SECOND_REPORT_ALLOWED) ? LEDGER_WAIT : LEDGER_TWICE;
	return LEDGER_TAKEN;
}

/* What a report does to all of its numbers. */
static enum ledger_answer check(const struct ledger *l, bool sink, const struct label *label)
{
	struct span rest = label->set;
	uint64_t from, to;

	if (label->last > l->last)
		return MUTANT(FUTURE_ACCEPTED) ? LEDGER_TAKEN : LEDGER_GARBAGE;
	while (label_range(&rest, &from, &to))
		for (uint64_t n = from; n <= to; n++) {
			enum ledger_answer a = look(l, sink, label, n);

			if (a != LEDGER_TAKEN && a != LEDGER_WAIT)
				return a;
		}
	return LEDGER_TAKEN;
}

static struct group *group_new(const struct label *label)
{
	struct group *g = die_realloc(NULL, sizeof(*g));
	size_t bytes = (label->parts + 7) / 8;

	*g = (struct group){.parts = label->parts, .left = label->parts, .kind = LEDGER_DROP};
	g->set_len = label->set.len;
	g->seen = die_realloc(NULL, 2 * bytes + g->set_len);
	g->named = g->seen + bytes;
	g->set = (char *)g->named + bytes;
	memset(g->seen, 0, 2 * bytes);
	memcpy(g->set, label->set.p, g->set_len);
	return g;
}

/* The group of a label that has passed check; NULL when none of its numbers is left. */
static struct group *group_of(struct ledger *l, const struct label *label)
{
	struct span rest = label->set;
	uint64_t from, to;
	struct group *g = NULL;

	while (label_range(&rest, &from, &to))
		for (uint64_t n = from; n <= to; n++) {
			uint32_t e = table_find(l, n);

			if (e == NONE)
				continue;
			if (l->entries[e].group)
				return l->entries[e].group;
			if (!g)
				g = group_new(label);
			l->entries[e].group = g;
			g->members++;
		}
	return g;
}

static enum ledger_kind better(enum ledger_kind a, enum ledger_kind b)
{
	if (a == LEDGER_FINAL || b == LEDGER_FINAL)
		return LEDGER_FINAL;
	return a == LEDGER_DEAD || b == LEDGER_DEAD ? LEDGER_DEAD : LEDGER_DROP;
}

/* Notes a part. Returns whether it was the last one; *@kind becomes that of the whole. */
static bool take_part(struct ledger *l, const struct label *label, enum ledger_kind *kind)
{
	struct group *g = group_of(l, label);

	if (!g)
		return false;
	if (!has_bit(g->seen, label->part))
		g->left--;
	set_bit(g->seen, label->part);
	g->kind = better(g->kind, *kind);
	*kind = g->kind;
	return g->left == 0 || MUTANT(PART_COUNT_IGNORED);
}

/* For a mutant: what was split and is below @number counts as whole. */
static void seal(struct ledger *l, uint64_t number, int64_t now_us)
{
	uint32_t e = l->head, next;

	for (; e != NONE && l->entries[e].number < number; e = next) {
		next = l->entries[e].after;
		if (l->entries[e].group)
			settle(l, e, LEDGER_FINAL, now_us);
	}
}

static void settle_range(
	struct ledger *l, uint64_t from, uint64_t to, enum ledger_kind kind, int64_t now_us)
{
	for (uint64_t n = from; n <= to; n++) {
		uint32_t e = table_find(l, n);

		if (e != NONE)
			settle(l, e, kind, now_us);
	}
}

enum ledger_answer ledger_report(struct ledger *l, bool sink, enum ledger_kind kind,
	const struct label *label, int64_t now_us)
{
	struct span rest = label->set;
	enum ledger_answer answer;
	uint64_t from, to;

	if (l->order && sink && label->first < l->mark && !MUTANT(BACKWARDS_ALLOWED))
		return LEDGER_BACKWARDS;
	answer = check(l, sink, label);
	if (answer != LEDGER_TAKEN)
		return answer;
	if (label->last > l->reported && (sink || MUTANT(FUTURE_ACCEPTED)))
		l->reported = label->last;
	if (l->order && (sink || MUTANT(DROP_RAISES_MARK))) {
		uint64_t below = MUTANT(BELOW_INCLUDES_HIGHEST) ? label->last : label->first;

		if (below > l->mark) {
			pass_over(l, below);
			l->mark = below;
		}
	}
	if (MUTANT(SEAL_ON_LATER))
		seal(l, label->first, now_us);
	if (label->parts && !take_part(l, label, &kind))
		return LEDGER_TAKEN;
	if (MUTANT(RANGE_FROM_ENDS))
		settle_range(l, label->first, label->last, kind, now_us);
	while (label_range(&rest, &from, &to))
		settle_range(l, from, to, kind, now_us);
	return LEDGER_TAKEN;
}

/* ---- transactions ---- */

/* Names the numbers of one label. *@highest and *@first: the highest number of all labels, and the
 * highest first one. */
static enum ledger_answer name_label(
	struct ledger *l, struct span text, uint64_t *highest, uint64_t *first)
{
	struct label label;
	struct span rest;
	struct group *g = NULL;
	uint64_t from, to;
	enum ledger_answer answer;

	if (label_parse(&label, text))
		return LEDGER_GARBAGE;
	answer = check(l, true, &label);
	if (answer != LEDGER_TAKEN)
		return answer;
	if (label.parts)
		g = group_of(l, &label);
	if (g && g->question != l->question) {
		g->question = l->question;
		g->unnamed = g->left;
		memset(g->named, 0, (g->parts + 7) / 8);
	}
	if (g && has_bit(g->named, label.part))
		return LEDGER_TWICE;
	if (g) {
		set_bit(g->named, label.part);
		g->unnamed--;
	}
	for (rest = label.set; label_range(&rest, &from, &to);)
		for (uint64_t n = from; n <= to; n++) {
			uint32_t e = table_find(l, n);

			if (e == NONE || (!l->entries[e].part && !MUTANT(TXN_OF_ENDED))) {
				answer = LEDGER_ABORT;
				continue;
			}
			if (l->entries[e].asked == l->question)
				return LEDGER_TWICE;
			if (!g || !g->unnamed)
				l->entries[e].asked = l->question;
		}
	if (label.last > *highest)
		*highest = label.last;
	if (label.first > *first)
		*first = label.first;
	return answer;
}

enum ledger_answer ledger_txn(struct ledger *l, struct span labels)
{
	uint64_t highest = 0, first = 0;
	enum ledger_answer worst = LEDGER_TAKEN;
	uint32_t e;

	l->question++;
	l->waits_to = 0;
	while (labels.len) {
		const char *space = memchr(labels.p, ' ', labels.len);
		size_t len = space ? (size_t)(space - labels.p) : labels.len;
		enum ledger_answer a =
			name_label(l, (struct span){labels.p, len}, &highest, &first);

		if (a != LEDGER_TAKEN && a != LEDGER_ABORT)
			return a;
		if (a == LEDGER_ABORT)
			worst = a;
		len += space != NULL;
		labels.p += len;
		labels.len -= len;
	}
	if (worst != LEDGER_TAKEN)
		return worst;
	for (e = l->head; e != NONE && l->entries[e].number <= highest; e = l->entries[e].after) {
		/* Its reports will vouch for these. */
		if (l->order && l->entries[e].number < first)
			l->entries[e].asked = l->question;
		if (l->entries[e].asked == l->question || MUTANT(TXN_WITH_GAP))
			continue;
		l->waits_to = highest;
		return LEDGER_WAIT;
	}
	return LEDGER_TAKEN;
}

int64_t ledger_txn_position(const struct ledger *l, const struct ledger_part *p)
{
	uint32_t e = p->head;

	while (e != NONE && l->entries[e].asked == l->question)
		e = l->entries[e].part_after;
	if (e == p->head)
		return ledger_position(l, p);
	return e == NONE ? p->next : l->entries[e].at;
}

/* ---- positions, partitions ---- */

int64_t ledger_position(const struct ledger *l, const struct ledger_part *p)
{
	if (MUTANT(POSITION_OF_EMITTED))
		return p->next;
	if (!p->moved)
		return -1;
	if (MUTANT(POSITION_OF_HIGHEST))
		return p->settled_to;
	if (MUTANT(GENERATION_OF_GROUP)) {
		uint32_t e = p->head;

		while (e != NONE && l->entries[e].generation != l->generation)
			e = l->entries[e].part_after;
		return e == NONE ? p->next : l->entries[e].at;
	}
	return p->head == NONE ? p->next : l->entries[p->head].at;
}

struct ledger_part *ledger_assign(
	struct ledger *l, const char *topic, int32_t partition, void *user)
{
	struct ledger_part *p = die_realloc(NULL, sizeof(*p));

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
	l->generation++;
	return p;
}

void ledger_end(struct ledger *l, struct ledger_part *p)
{
	while (p->head != NONE) {
		uint32_t e = p->head;
		struct entry *x = &l->entries[e];

		l->counts.ended++;
		l->counts.open--;
		l->counts.open_bytes -= x->bytes;
		unlink_entry(l, e, &l->head, &l->tail);
		unlink_part(l, x);
		x->part = NULL;
		link_last(l, e, &l->ended_head, &l->ended_tail);
		l->ended++;
	}
	while (l->ended > ENDED_MAX) {
		if (l->entries[l->ended_head].number >= l->known)
			l->known = l->entries[l->ended_head].number + 1;
		forget(l, l->ended_head);
	}
	l->uncommitted -= p->emitted - p->committed;
	if (p->before)
		p->before->after = p->after;
	else
		l->parts = p->after;
	if (p->after)
		p->after->before = p->before;
	free(p);
	l->generation++;
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

uint64_t ledger_emit(struct ledger *l, struct ledger_part *p, int64_t at, int64_t low, size_t bytes,
	int64_t now_us)
{
	struct entry *x;
	uint32_t e;

	if (l->free == NONE)
		grow(l);
	e = l->free;
	x = &l->entries[e];
	l->free = x->after;
	*x = (struct entry){
		.number = ++l->last,
		.part = p,
		.at = at,
		.low = low,
		.emitted_us = now_us,
		.generation = l->generation,
		.ordinal = p->emitted,
		.bytes = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes,
		.part_before = p->tail,
		.part_after = NONE,
	};
	if (p->tail == NONE)
		p->head = e;
	else
		l->entries[p->tail].part_after = e;
	p->tail = e;
	p->next = at + 1;
	p->open++;
	p->emitted++;
	l->uncommitted++;
	link_last(l, e, &l->head, &l->tail);
	table_add(l, e);
	l->counts.emitted++;
	l->counts.open++;
	l->counts.open_bytes += x->bytes;
	if (MUTANT(FUTURE_ACCEPTED) && l->last <= l->reported)
		settle(l, e, LEDGER_FINAL, now_us);
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

void ledger_committed(struct ledger *l, struct ledger_part *p, uint64_t covered)
{
	l->commits = true;
	if (covered <= p->committed)
		return;
	l->uncommitted -= covered - p->committed;
	p->committed = covered;
}

uint64_t ledger_uncommitted(const struct ledger *l)
{
	return l->uncommitted;
}

bool ledger_commit_due(const struct ledger *l, uint64_t due)
{
	uint64_t room = l->uncommitted < l->window ? l->window - l->uncommitted : 0;

	return due && due >= l->window / 16 && due >= room / 3;
}

void ledger_forget(struct ledger *l)
{
	struct entry *x;

	if (l->head == NONE)
		return;
	x = &l->entries[l->head];
	l->counts.forgotten++;
	if (x->number >= l->known)
		l->known = x->number + 1;
	forget(l, l->head);
}

uint64_t ledger_last(const struct ledger *l)
{
	return l->last;
}

struct ledger *ledger_new(uint64_t window, uint64_t window_bytes, bool order)
{
	struct ledger *l = die_realloc(NULL, sizeof(*l));

	*l = (struct ledger){.window = window, .window_bytes = window_bytes, .order = order};
	l->head = l->tail = l->ended_head = l->ended_tail = l->free = NONE;
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
		forget(l, l->head);
	while (l->ended_head != NONE)
		forget(l, l->ended_head);
	while (l->parts) {
		struct ledger_part *p = l->parts;

		l->parts = p->after;
		free(p);
	}
	free(l->entries);
	free(l->table);
	free(l);
}

/* ---- what is open ---- */

struct ledger_counts ledger_counts(const struct ledger *l)
{
	return l->counts;
}

static struct ledger_open open_at(const struct ledger *l, uint32_t e, uint64_t count)
{
	const struct entry *x = &l->entries[e];

	return (struct ledger_open){x->part, x->number, x->at, x->low, count};
}

bool ledger_first_open(const struct ledger *l, struct ledger_open *o)
{
	if (l->head == NONE)
		return false;
	*o = open_at(l, l->head, l->counts.open);
	return true;
}

/* Whether an open number is below one that the sink has done with or asks for, and the sink does not
 * say that it holds it. */
static bool may_be_lost(const struct ledger *l, const struct entry *x)
{
	if (l->waits_to && x->asked == l->question)
		return false;
	return x->number <= l->reported || x->number <= l->waits_to;
}

uint64_t ledger_stalled(struct ledger *l, bool sink_idle, int64_t now_us, int64_t limit_us,
	void (*fn)(void *ctx, const struct ledger_open *o), void *ctx)
{
	uint64_t sum = 0;

	for (struct ledger_part *p = l->parts; p; p = p->after) {
		uint32_t first = NONE;
		uint64_t count = 0;

		for (uint32_t e = p->head; e != NONE; e = l->entries[e].part_after) {
			struct entry *x = &l->entries[e];

			if (!sink_idle && !may_be_lost(l, x)) {
				x->overdue_us = 0;
				continue;
			}
			if (!x->overdue_us)
				x->overdue_us = now_us ? now_us : 1;
			if (now_us - x->overdue_us < limit_us)
				continue;
			if (first == NONE)
				first = e;
			count++;
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
