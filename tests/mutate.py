# SPDX-License-Identifier: ISC
"""Mutants: rules that are broken on purpose, each by replacing text in a copy of a source file. Used by
tests/unit/prop-mutants and tests/faults/mutants; tests/lint/mutants checks that each text still stands
there exactly once."""
import os

LEDGER, REPORT, RUNS = "lib/ack/ledger.c", "lib/ack/ledger-report.c", "lib/ack/ledger-runs.c"

# NAME: a list of (file, text that stands there once, text that replaces it).
LEDGER_MUTANTS = {
    # The first part settles the label.
    "PART_COUNT_IGNORED": [(REPORT, "return s->left == 0;", "return true;")],
    # A part settles the label once a later number was reported.
    "SEAL_ON_LATER": [(
        REPORT, "	if (label->parts && !take_part(l, label, &kind))", """\
	for (uint32_t e = l->head, next; e != NONE && l->entries[e].number < label->first; e = next) {
		next = l->entries[e].after;
		if (l->entries[e].split)
			ledger_entry_settle(l, e, LEDGER_FINAL, now_us);
	}
	if (label->parts && !take_part(l, label, &kind))""")],
    # A set counts as all numbers between its lowest and its highest.
    "RANGE_FROM_ENDS": [(
        REPORT, "settle_range(l, from, to, kind, now_us);",
        "settle_range(l, label->first, label->last, kind, now_us);")],
    # The position is behind the highest settled number.
    "POSITION_OF_HIGHEST": [(
        LEDGER, "	return p->head == NONE ? p->next : l->entries[p->head].at;", """\
	int64_t next = p->next;

	for (uint32_t e = p->tail; e != NONE && l->entries[e].at == next - 1; e = l->entries[e].part_before)
		next--;
	return next;""")],
    # A place kept with a transaction leaves out what the transaction names.
    "PLACE_OF_SETTLED": [(
        REPORT, "	uint32_t e = first_unnamed(l, p);\n\n	return e == NONE ? p->emitted",
        "	uint32_t e = p->head;\n\n	return e == NONE ? p->emitted")],
    # The position is behind the highest emitted number.
    "POSITION_OF_EMITTED": [(LEDGER, "	if (!p->moved)\n		return -1;\n", "	return p->next;\n")],
    # In order: a filter's report settles the numbers below it.
    "DROP_RAISES_MARK": [(
        REPORT, "if (l->order && sink && label->first > l->mark)", "if (l->order && label->first > l->mark)")],
    # In order: the numbers below the highest of a set are settled too.
    "BELOW_INCLUDES_HIGHEST": [(
        REPORT, """\
	if (l->order && sink && label->first > l->mark) {
		ledger_pass_over(l, label->first);
		l->mark = label->first;
""", """\
	if (l->order && sink && label->last > l->mark) {
		ledger_pass_over(l, label->last);
		l->mark = label->last;
""")],
    "BACKWARDS_ALLOWED": [
        (REPORT, "	if (l->order && sink && label->first < l->mark)\n		return LEDGER_BACKWARDS;\n", ""),
        (REPORT, "l->order && !sink && l->mark > l->known", "l->order && l->mark > l->known"),
        (REPORT, "	if (l->order && sink && label->first == l->mark && l->mark_is_whole)\n		return LEDGER_TWICE;\n", "")],
    "SECOND_REPORT_ALLOWED": [
        (REPORT, "			return LEDGER_WAIT;\n		return LEDGER_TWICE;\n",
         "			return LEDGER_WAIT;\n		return LEDGER_WAIT;\n"),
        (REPORT, "	if (has_bit(s->seen, label->part))\n		return LEDGER_TWICE;\n",
         "	if (has_bit(s->seen, label->part))\n		return LEDGER_WAIT;\n")],
    # Numbers from before any rebalance do not hold a position back.
    "GENERATION_OF_GROUP": [
        (LEDGER, "/* ---- entries ---- */", "static uint64_t last_before;\n"),
        (LEDGER, "	l->parts = p;\n	return p;", "	l->parts = p;\n	last_before = l->last;\n	return p;"),
        (LEDGER, "	l->uncommitted -= p->emitted - p->committed;\n",
         "	l->uncommitted -= p->emitted - p->committed;\n	last_before = l->last;\n"),
        (LEDGER, "	return p->head == NONE ? p->next : l->entries[p->head].at;", """\
	uint32_t e = p->head;

	while (e != NONE && l->entries[e].number <= last_before)
		e = l->entries[e].part_after;
	return e == NONE ? p->next : l->entries[e].at;""")],
    # A transaction is answered although a number below is open.
    "TXN_WITH_GAP": [(
        REPORT, "		l->waits_to = highest;\n		return LEDGER_WAIT;\n", "		continue;\n")],
    # … or although one of its numbers belongs to an ended assignment.
    "TXN_OF_ENDED": [(REPORT, "if (e == NONE || !l->entries[e].part) {", "if (e == NONE) {")],
    # In order: a run is settled when the sink has reported a number above its first one.
    "RUN_BY_FIRST": [(RUNS, "		if (l->entries[e].last < number)\n			vouch(l, e);", "		vouch(l, e);")],
    # A run counts as exact although its offsets do not follow each other.
    "RUN_OF_GAPS": [(RUNS, " &&\n		a->at + (int64_t)a->count == b->at;", ";")],
    # A record is put to the run before it although records between are missing.
    "RUN_OVER_GAP": [(LEDGER, "		x->at + (int64_t)x->count == at && x->is_exact &&", "		x->is_exact &&")],
    # A report of one number settles what stands behind it in its run.
    "RUN_NOT_CUT": [(RUNS, "	if (l->entries[e].last > to)\n		ledger_entry_cut(l, e, to + 1);\n", "")],
    # A transaction's positions come from runs in which numbers cannot be told apart.
    "TXN_OF_RUNS": [(RUNS, "p && !l->exact && l->open", "p && l->open")],
    # Reports of numbers that have not been emitted yet are believed.
    "FUTURE_ACCEPTED": [
        (REPORT, "	if (label->last > l->last)\n		return LEDGER_GARBAGE;\n",
         "	if (label->last > l->last)\n		return LEDGER_TAKEN;\n"),
        (REPORT, "	if (sink && label->last > l->reported)", "	if (label->last > l->reported)"),
        (LEDGER, "	l->counts.open_bytes += bytes;\n	return l->last;", """\
	l->counts.open_bytes += bytes;
	if (l->last <= l->reported)
		ledger_entry_settle(l, ledger_entry_carve(l, l->last, l->last, &(bool){0}), LEDGER_FINAL, now_us);
	return l->last;""")],
}


def drift(root, edits):
    """What is wrong with the edits: a sentence each whose text does not stand exactly once in its file."""
    for file, old, _ in edits:
        with open(os.path.join(root, file), encoding="utf-8") as source:
            count = source.read().count(old)
        if count != 1:
            yield f"{file} has {count} times: {old.strip()}"


def apply(tree, edits):
    """Edits the files of a tree. Returns {path: text before}, for restore."""
    before = {}
    for file, old, new in edits:
        path = os.path.join(tree, file)
        with open(path, encoding="utf-8") as source:
            text = source.read()
        before.setdefault(path, text)
        with open(path, "w", encoding="utf-8") as source:
            source.write(text.replace(old, new))
    return before


def restore(before):
    for path, text in before.items():
        with open(path, "w", encoding="utf-8") as source:
            source.write(text)
