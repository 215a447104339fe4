/* SPDX-License-Identifier: ISC */
/* Short names of long sets. A name stands for numbers that are open, or were: once the lowest
 * number that is open or remembered is above all of them, nobody can mean it any more, and it
 * goes. */
#include "ack/ledger-parts.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { NAMES_MIN = 256, RANGES_MAX = 1 << 22 };

static struct ledger_name *find(const struct ledger *l, struct span id)
{
	struct ledger_name *n = l->names;

	while (n && (strlen(n->id) != id.len || memcmp(n->id, id.p, id.len) != 0))
		n = n->after;
	return n;
}

int ledger_label(const struct ledger *l, struct label *label, struct span text)
{
	const struct ledger_name *n;

	if (label_parse(label, text))
		return -1;
	if (!label->is_name)
		return 0;
	n = find(l, label->set);
	if (!n)
		return -1;
	label->set = buf_as_span(&n->text);
	label->first = n->ranges[0].from;
	label->last = n->ranges[n->count - 1].to;
	label->single = label->first == label->last;
	return 0;
}

static void name_free(struct ledger *l, struct ledger_name **link)
{
	struct ledger_name *n = *link;

	*link = n->after;
	l->name_count--;
	l->name_ranges -= n->count;
	free(n->ranges);
	buf_free(&n->text);
	free(n);
}

/* Frees the names of what is settled. */
static void sweep(struct ledger *l)
{
	uint64_t lowest = l->last + 1;

	if (l->head != NONE && l->entries[l->head].number < lowest)
		lowest = l->entries[l->head].number;
	if (l->ended_head != NONE && l->entries[l->ended_head].number < lowest)
		lowest = l->entries[l->ended_head].number;
	for (struct ledger_name **link = &l->names; *link;)
		if ((*link)->ranges[(*link)->count - 1].to < lowest)
			name_free(l, link);
		else
			link = &(*link)->after;
	l->sweep_at = l->name_count * 2 + NAMES_MIN;
}

void ledger_names_free(struct ledger *l)
{
	while (l->names)
		name_free(l, &l->names);
}

static void add(struct ledger_name *n, uint64_t from, uint64_t to)
{
	n->ranges = mem_realloc(n->ranges, (n->count + 1) * sizeof(*n->ranges));
	n->ranges[n->count++] = (struct ledger_range){from, to};
}

static int by_from(const void *a, const void *b)
{
	const struct ledger_range *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

/* Ascending, without repetition, and as text. */
static void order(struct ledger_name *n)
{
	size_t last = 0;

	qsort(n->ranges, n->count, sizeof(*n->ranges), by_from);
	for (size_t i = 1; i < n->count; i++) {
		struct ledger_range *to = &n->ranges[last], *r = &n->ranges[i];

		if (r->from > to->to + 1)
			n->ranges[++last] = *r;
		else if (r->to > to->to)
			to->to = r->to;
	}
	n->count = last + 1;
	buf_clear(&n->text);
	for (size_t i = 0; i < n->count; i++) {
		buf_printf(&n->text, "%s%llu", i ? "," : "", (unsigned long long)n->ranges[i].from);
		if (n->ranges[i].to > n->ranges[i].from)
			buf_printf(&n->text, "-%llu", (unsigned long long)n->ranges[i].to);
	}
}

enum ledger_answer ledger_name(struct ledger *l, struct span id, struct span labels)
{
	struct ledger_name *n;
	struct span rest = labels;
	struct label label;

	/* First a look, so that nothing changes when one of them is wrong. */
	if (!labels.len || label_parse(&label, id) || !label.is_name || label.parts)
		return LEDGER_GARBAGE;
	while (rest.len)
		if (ledger_label(l, &label, span_word(&rest)) || label.parts ||
			label.last > l->last)
			return LEDGER_GARBAGE;
	if (l->name_count >= l->sweep_at)
		sweep(l);
	if (l->name_ranges > RANGES_MAX)
		return LEDGER_GARBAGE;
	n = find(l, id);
	if (!n) {
		n = mem_realloc(NULL, sizeof(*n));
		*n = (struct ledger_name){.after = l->names};
		memcpy(n->id, id.p, id.len);
		l->names = n;
		l->name_count++;
	}
	l->name_ranges -= n->count;
	for (rest = labels; rest.len;) {
		uint64_t from, to;

		ledger_label(l, &label, span_word(&rest));
		for (struct span set = label.set; label_range(&set, &from, &to);)
			add(n, from, to);
	}
	order(n);
	l->name_ranges += n->count;
	return LEDGER_TAKEN;
}
