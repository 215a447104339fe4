/* SPDX-License-Identifier: ISC */
/* Reports, and the questions of transactions: whether they are allowed, and their effect. */
#include "ack/ledger-parts.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* ---- reports ---- */

static bool split_is(const struct ledger_split *s, const struct label *label)
{
	return s->parts == label->parts && s->set_len == label->set.len &&
		memcmp(s->set, label->set.p, s->set_len) == 0;
}

static bool has_bit(const unsigned char *bits, uint32_t part)
{
	return bits[(part - 1) / 8] >> ((part - 1) % 8) & 1;
}

static void set_bit(unsigned char *bits, uint32_t part)
{
	bits[(part - 1) / 8] |= (unsigned char)(1 << (part - 1) % 8);
}

/* Below it a number may have no entry, though it was not reported before. */
static uint64_t floor_of(const struct ledger *l, bool sink)
{
	return l->order && !sink && l->mark > l->known ? l->mark : l->known;
}

/* Whether a report may settle one of its numbers. TAKEN: yes; WAIT: yes, but nothing is left to do;
 * else why not. *@number becomes the last one for which the same holds. */
static enum ledger_answer look(
	const struct ledger *l, bool sink, const struct label *label, uint64_t *number)
{
	uint32_t e = ledger_entry_around(l, *number);
	const struct ledger_split *s;

	if (e == NONE) {
		/* A filter may report a drop after the sink has reported a later number. */
		if (*number < floor_of(l, sink) || ledger_run_has(l, *number))
			return LEDGER_WAIT;
		return LEDGER_TWICE;
	}
	*number = l->entries[e].last;
	s = l->entries[e].split;
	if (!s)
		return LEDGER_TAKEN;
	if (!label->parts)
		return LEDGER_TWICE;
	if (!split_is(s, label))
		return LEDGER_GARBAGE;
	if (has_bit(s->seen, label->part))
		return LEDGER_TWICE;
	return LEDGER_TAKEN;
}

/* Whether a range has more numbers than there are entries: then these are gone through instead. */
static bool is_wide(const struct ledger *l, uint64_t from, uint64_t to)
{
	return to - from >= (uint64_t)l->open + l->ended;
}

/* The next entry of a list that has numbers of the range; *@e is where to begin. The ended ones are
 * not in the order of their numbers, so the whole list is looked through. */
static bool next_in_range(const struct ledger *l, uint32_t *e, uint64_t from, uint64_t to)
{
	while (*e != NONE && (l->entries[*e].last < from || l->entries[*e].number > to))
		*e = l->entries[*e].after;
	return *e != NONE;
}

static enum ledger_answer check_wide(
	const struct ledger *l, bool sink, const struct label *label, uint64_t from, uint64_t to)
{
	const uint32_t heads[] = {l->head, l->ended_head};
	uint64_t floor = floor_of(l, sink), wanted = to < floor ? 0 : to + 1;
	bool in_run = false;

	wanted -= wanted ? from < floor ? floor : from : 0;
	for (int i = 0; i < 2; i++)
		for (uint32_t e = heads[i]; next_in_range(l, &e, from, to);
			e = l->entries[e].after) {
			const struct ledger_entry *x = &l->entries[e];
			uint64_t first = x->number < from ? from : x->number;
			uint64_t last = x->last > to ? to : x->last;
			enum ledger_answer a =
				x->count > 1 ? LEDGER_TAKEN : look(l, sink, label, &first);

			if (a != LEDGER_TAKEN && a != LEDGER_WAIT)
				return a;
			in_run = in_run || !x->is_exact;
			if (last >= floor)
				wanted -= last + 1 - (first < floor ? floor : first);
		}
	return wanted && !in_run ? LEDGER_TWICE : LEDGER_TAKEN;
}

static enum ledger_answer check_range(
	const struct ledger *l, bool sink, const struct label *label, uint64_t from, uint64_t to)
{
	if (is_wide(l, from, to))
		return check_wide(l, sink, label, from, to);
	for (uint64_t n = from; n <= to; n++) {
		enum ledger_answer a = look(l, sink, label, &n);

		if (a != LEDGER_TAKEN && a != LEDGER_WAIT)
			return a;
	}
	return LEDGER_TAKEN;
}

/* The split of a label of which a part was seen before: all its numbers that are left are in it. */
static struct ledger_split *known_split(const struct ledger *l, const struct label *label)
{
	uint32_t e = label->parts ? ledger_entry_find(l, label->first) : NONE;

	return e == NONE || !l->entries[e].split || !split_is(l->entries[e].split, label)
		? NULL
		: l->entries[e].split;
}

/* Whether a report may settle all of its numbers. */
static enum ledger_answer check(const struct ledger *l, bool sink, const struct label *label)
{
	/* What a filter may report late, a sink may not. */
	const struct ledger_split *s = l->order && sink ? NULL : known_split(l, label);
	struct span rest = label->set;
	enum ledger_answer answer = LEDGER_TAKEN;
	uint64_t from, to;

	if (label->last > l->last)
		return LEDGER_GARBAGE;
	if (s)
		return has_bit(s->seen, label->part) ? LEDGER_TWICE : LEDGER_TAKEN;
	while (answer == LEDGER_TAKEN && label_range(&rest, &from, &to))
		answer = check_range(l, sink, label, from, to);
	return answer;
}

static struct ledger_split *split_new(const struct label *label)
{
	struct ledger_split *s = mem_realloc(NULL, sizeof(*s));
	size_t bytes = (label->parts + 7) / 8;

	*s = (struct ledger_split){
		.parts = label->parts, .left = label->parts, .kind = LEDGER_DROP};
	s->set_len = label->set.len;
	s->seen = mem_realloc(NULL, 2 * bytes + s->set_len);
	s->named = s->seen + bytes;
	s->set = (char *)s->named + bytes;
	memset(s->seen, 0, 2 * bytes);
	memcpy(s->set, label->set.p, s->set_len);
	return s;
}

/* The split of a label that has passed check; NULL when none of its numbers is left. */
static struct ledger_split *split_of(struct ledger *l, const struct label *label)
{
	struct span rest = label->set;
	uint64_t from, to;
	struct ledger_split *s = known_split(l, label);
	bool in_run, ended = false;

	if (s)
		return s;
	while (label_range(&rest, &from, &to))
		for (uint64_t n = from; n <= to; n++) {
			uint32_t e = ledger_entry_carve(l, n, n, &in_run);

			ended = ended || (e == NONE ? !in_run : !l->entries[e].part);
			if (e == NONE)
				continue;
			if (l->entries[e].split)
				return l->entries[e].split;
			if (!s)
				s = split_new(label);
			l->entries[e].split = s;
			s->members++;
		}
	if (s)
		s->ended = ended;
	return s;
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
	struct ledger_split *s = split_of(l, label);

	if (!s)
		return false;
	if (!has_bit(s->seen, label->part))
		s->left--;
	set_bit(s->seen, label->part);
	s->kind = better(s->kind, *kind);
	*kind = s->kind;
	return s->left == 0;
}

static void settle_list(struct ledger *l, uint32_t e, uint64_t from, uint64_t to,
	enum ledger_kind kind, int64_t now_us)
{
	uint32_t after;

	for (; next_in_range(l, &e, from, to); e = after) {
		if (l->entries[e].is_exact && l->entries[e].number < from)
			e = ledger_entry_cut(l, e, from);
		if (l->entries[e].is_exact && l->entries[e].last > to)
			ledger_entry_cut(l, e, to + 1);
		after = l->entries[e].after;
		if (l->entries[e].is_exact)
			ledger_entry_settle(l, e, kind, now_us);
	}
}

static void settle_range(
	struct ledger *l, uint64_t from, uint64_t to, enum ledger_kind kind, int64_t now_us)
{
	bool in_run;

	if (is_wide(l, from, to)) {
		settle_list(l, l->head, from, to, kind, now_us);
		settle_list(l, l->ended_head, from, to, kind, now_us);
		return;
	}
	for (uint64_t n = from; n <= to; n++) {
		uint32_t e = ledger_entry_carve(l, n, to, &in_run);

		if (e == NONE)
			continue;
		n = l->entries[e].last;
		ledger_entry_settle(l, e, kind, now_us);
	}
}

enum ledger_answer ledger_report(struct ledger *l, bool sink, enum ledger_kind kind,
	const struct label *label, int64_t now_us)
{
	struct span rest = label->set;
	enum ledger_answer answer;
	uint64_t from, to;

	if (l->order && sink && label->first < l->mark)
		return LEDGER_BACKWARDS;
	if (l->order && sink && label->first == l->mark && l->mark_is_whole)
		return LEDGER_TWICE;
	answer = check(l, sink, label);
	if (answer != LEDGER_TAKEN)
		return answer;
	if (sink && label->last > l->reported)
		l->reported = label->last;
	if (l->order && sink && label->first > l->mark) {
		ledger_pass_over(l, label->first);
		l->mark = label->first;
		l->mark_is_whole = false;
	}
	l->mark_is_whole = l->mark_is_whole || (sink && !label->parts);
	if (label->parts && !take_part(l, label, &kind))
		return LEDGER_TAKEN;
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
	struct ledger_split *s = NULL;
	uint64_t from, to;
	enum ledger_answer answer;

	if (ledger_label(l, &label, text))
		return LEDGER_GARBAGE;
	answer = check(l, true, &label);
	if (answer != LEDGER_TAKEN)
		return answer;
	if (label.parts)
		s = split_of(l, &label);
	if (s && s->question != l->question) {
		s->question = l->question;
		s->unnamed = s->left;
		memset(s->named, 0, (s->parts + 7) / 8);
	}
	if (s && has_bit(s->named, label.part))
		return LEDGER_TWICE;
	if (s) {
		set_bit(s->named, label.part);
		s->unnamed--;
	}
	if (s && s->unnamed && s->ended)
		answer = LEDGER_ABORT;
	/* What is named in parts is looked through once, with the last of them. */
	for (rest = label.set; !(s && s->unnamed) && label_range(&rest, &from, &to);)
		for (uint64_t n = from; n <= to; n++) {
			bool in_run;
			uint32_t e = ledger_entry_carve(l, n, to, &in_run);

			if (e == NONE || !l->entries[e].part) {
				answer = LEDGER_ABORT;
				continue;
			}
			if (l->entries[e].asked == l->question)
				return LEDGER_TWICE;
			l->entries[e].asked = l->question;
			n = l->entries[e].last;
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
		enum ledger_answer a = name_label(l, span_word(&labels), &highest, &first);

		if (a != LEDGER_TAKEN && a != LEDGER_ABORT)
			return a;
		if (a == LEDGER_ABORT)
			worst = a;
	}
	if (worst != LEDGER_TAKEN)
		return worst;
	for (e = l->head; e != NONE && l->entries[e].number <= highest; e = l->entries[e].after) {
		/* The transaction's reports will vouch for these numbers. */
		if (l->order && l->entries[e].number < first)
			l->entries[e].asked = l->question;
		if (l->entries[e].asked == l->question)
			continue;
		l->waits_to = highest;
		return LEDGER_WAIT;
	}
	return LEDGER_TAKEN;
}

/* The first open entry that the question has not named. */
static uint32_t first_unnamed(const struct ledger *l, const struct ledger_part *p)
{
	uint32_t e = p->head;

	while (e != NONE && l->entries[e].asked == l->question)
		e = l->entries[e].part_after;
	return e;
}

uint64_t ledger_txn_covered(const struct ledger *l, const struct ledger_part *p)
{
	uint32_t e = first_unnamed(l, p);

	return e == NONE ? p->emitted : l->entries[e].ordinal;
}

int64_t ledger_txn_position(const struct ledger *l, const struct ledger_part *p)
{
	uint32_t e = first_unnamed(l, p);

	if (e == p->head)
		return ledger_position(l, p);
	return e == NONE ? p->next : l->entries[e].at;
}
