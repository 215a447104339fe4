/* SPDX-License-Identifier: ISC */
/* Random calls of the ledger beside a plain account of the same, which keeps all numbers in an
 * array and looks through it: thousands are open, so that the pool grows and the chains are
 * long. */
#include "test.h"

#include "ack/ledger.h"

#include <string.h>

enum { SLOTS = 4, NUMBERS = 30000, GROUPS = 4096, PARTS_MAX = 5, CALLS = 4000, BYTES = 8000 };

enum state { GONE, OPEN, ENDED };

struct number {
	enum state state;
	int slot;
	int64_t at;
	uint64_t ordinal; /* how many of its assignment came before it */
	int group; /* -1: none of its parts is reported */
	int named; /* the question that named it whole, or all its parts */
};

struct group {
	char set[80];
	uint32_t parts;
	unsigned seen, named; /* bits */
	int question;
	enum ledger_kind kind;
};

struct slot {
	struct ledger_part *part; /* NULL: not assigned */
	int64_t at; /* of the next record */
	int64_t next; /* as the ledger knows it */
	bool moved;
	uint64_t emitted, covered, committed;
};

static struct {
	struct ledger *l;
	bool order;
	/* numbers are put together; of an ended run less is remembered: no assignment ends */
	bool runs;
	struct number n[NUMBERS];
	uint64_t last, low; /* all below low are gone */
	uint64_t mark, known, uncommitted, window;
	bool mark_is_whole; /* … was reported whole, so not again */
	bool commits;
	struct group group[GROUPS];
	int groups, question;
	bool together; /* many records come at once and share an entry */
	size_t slot_before;
	uint64_t told; /* numbers that ledger_on_settled's function was told of */
	bool stragglers; /* young numbers are reported first, some are left behind */
	struct slot slot[SLOTS];
	struct ledger_counts counts;
} a;

/* In a run all numbers have the same. */
static size_t bytes_of(uint64_t n)
{
	return a.runs || a.together ? 3 : n % 7;
}

static struct label parse(const char *text)
{
	struct label label;

	assert_int_equal(label_parse(&label, (struct span){text, strlen(text)}), 0);
	return label;
}

#define each_number(label, n)                                                                      \
	for (struct span rest_ = (label)->set; rest_.len; rest_.len = 0)                           \
		for (uint64_t from_, to_; label_range(&rest_, &from_, &to_);)                      \
			for (uint64_t n = from_; n <= to_; n++)

static bool same_group(const struct group *g, const struct label *label)
{
	return g->parts == label->parts && strlen(g->set) == label->set.len &&
		memcmp(g->set, label->set.p, label->set.len) == 0;
}

/* What a report, or a name in a question, is worth. */
static enum ledger_answer judge(bool sink, const struct label *label)
{
	if (label->last > a.last)
		return LEDGER_GARBAGE;
	each_number(label, n)
	{
		const struct number *x = &a.n[n];
		const struct group *g = x->group >= 0 ? &a.group[x->group] : NULL;

		if (x->state == GONE && (n < a.known || (a.order && !sink && n < a.mark)))
			continue;
		if (x->state == GONE || (g && !label->parts))
			return LEDGER_TWICE;
		if (g && !same_group(g, label))
			return LEDGER_GARBAGE;
		if (g && g->seen >> label->part & 1)
			return LEDGER_TWICE;
	}
	return LEDGER_TAKEN;
}

static struct group *group_of(const struct label *label)
{
	struct group *g = NULL;

	each_number(label, n)
	{
		if (a.n[n].state == GONE)
			continue;
		if (a.n[n].group < 0) {
			if (!g) {
				assert_true(a.groups < GROUPS);
				a.group[a.groups] =
					(struct group){.parts = label->parts, .kind = LEDGER_DROP};
				memcpy(a.group[a.groups++].set, label->set.p, label->set.len);
			}
			a.n[n].group = a.groups - 1;
		}
		g = &a.group[a.n[n].group];
	}
	return g;
}

static unsigned all_parts(const struct group *g)
{
	return ((unsigned)2 << g->parts) - 2;
}

static void settle(uint64_t n, enum ledger_kind kind, bool vouched)
{
	struct number *x = &a.n[n];

	if (x->state == ENDED) {
		a.counts.late += !vouched;
	} else if (x->state == OPEN) {
		a.slot[x->slot].moved = true;
		a.counts.open--;
		a.counts.open_bytes -= bytes_of(n);
		*(vouched			       ? &a.counts.vouched
				: kind == LEDGER_FINAL ? &a.counts.final
				: kind == LEDGER_DROP  ? &a.counts.dropped
						       : &a.counts.dead) += 1;
	}
	x->state = GONE;
}

static enum ledger_answer report(bool sink, enum ledger_kind kind, const struct label *label)
{
	enum ledger_answer answer;

	if (a.order && sink && label->first < a.mark)
		return LEDGER_BACKWARDS;
	if (a.order && sink && label->first == a.mark && a.mark_is_whole)
		return LEDGER_TWICE;
	answer = judge(sink, label);
	if (answer != LEDGER_TAKEN)
		return answer;
	if (a.order && sink) {
		for (uint64_t n = a.low; n < label->first; n++)
			if (a.n[n].state == OPEN)
				settle(n, LEDGER_DROP, true);
		a.mark_is_whole = !label->parts || (a.mark_is_whole && label->first == a.mark);
		a.mark = label->first;
	}
	if (label->parts) {
		struct group *g = group_of(label);

		if (!g)
			return LEDGER_TAKEN;
		g->seen |= 1u << label->part;
		if (kind == LEDGER_FINAL || g->kind == LEDGER_DROP)
			g->kind = kind;
		if (g->seen != all_parts(g))
			return LEDGER_TAKEN;
		kind = g->kind;
	}
	each_number(label, n) settle(n, kind, false);
	return LEDGER_TAKEN;
}

static enum ledger_answer name(const struct label *label)
{
	enum ledger_answer answer = judge(true, label);
	struct group *g = label->parts && answer == LEDGER_TAKEN ? group_of(label) : NULL;

	if (answer != LEDGER_TAKEN)
		return answer;
	if (g) {
		if (g->question != a.question)
			g->named = 0;
		g->question = a.question;
		if (g->named >> label->part & 1)
			return LEDGER_TWICE;
		g->named |= 1u << label->part;
	}
	each_number(label, n)
	{
		struct number *x = &a.n[n];

		if (x->state != OPEN) {
			answer = LEDGER_ABORT;
			continue;
		}
		if (x->named == a.question)
			return LEDGER_TWICE;
		if (!g || (g->named | g->seen) == all_parts(g))
			x->named = a.question;
	}
	return answer;
}

/* ---- calls ---- */

/* A random open number, old ones more often; 0: none. */
static uint64_t some_open(void)
{
	uint64_t span = a.last + 1 - a.low;

	if (!span)
		return 0;
	if (test_below(2) && span > 20)
		span = 20;
	for (int tries = 0; tries < 50; tries++) {
		uint64_t n = a.stragglers ? a.last - test_below(span) : a.low + test_below(span);

		if (a.n[n].state == OPEN || (a.n[n].state == ENDED && test_below(2)))
			return n;
	}
	return 0;
}

static void emit(void)
{
	struct slot *s;

	if (!a.together || test_below(40) == 0)
		a.slot_before = test_below(SLOTS);
	s = &a.slot[a.slot_before];
	if (!s->part || a.last + 1 >= NUMBERS)
		return;
	if (test_below(a.together ? 80 : 10) == 0) {
		int64_t next = s->at + (int64_t)test_below(4) - 1;

		ledger_skip(s->part, next);
		if (next > s->next) {
			s->next = next;
			s->moved = true;
		}
		s->at = next > s->at ? next : s->at;
	}
	a.last++;
	a.n[a.last] = (struct number){OPEN, (int)(s - a.slot), s->at, s->emitted++, -1, 0};
	a.uncommitted++;
	assert_int_equal(ledger_emit(a.l, s->part, s->at, 0, bytes_of(a.last),
				 (int64_t)(a.together ? a.last / 100 : a.last)),
		a.last);
	s->next = ++s->at;
	a.counts.emitted++;
	a.counts.open++;
	a.counts.open_bytes += bytes_of(a.last);
}

/* A label: of open numbers mostly. false: nothing is open. */
static bool some_label(char *text)
{
	uint64_t n = some_open();
	size_t len;

	if (!n)
		return false;
	/* A part of one that was split already. */
	if (a.n[n].group >= 0 && test_below(8)) {
		const struct group *g = &a.group[a.n[n].group];

		sprintf(text, "%s.%u/%u", g->set, 1 + (unsigned)test_below(g->parts), g->parts);
		return true;
	}
	len = (size_t)sprintf(text, "%llu", (unsigned long long)n);
	for (size_t more = test_below(3) ? 0 : test_below(5); more--;) {
		n += 2 + test_below(5);
		if (n + 3 < a.last && (a.n[n].state == OPEN || test_below(20) == 0))
			len += (size_t)sprintf(text + len, test_below(3) ? ",%llu" : ",%llu-%llu",
				(unsigned long long)n, (unsigned long long)n + 2);
		if (strrchr(text, '-') > strrchr(text, ','))
			n += 2;
	}
	if (test_below(5) == 0) {
		unsigned parts = 1 + (unsigned)test_below(PARTS_MAX);

		sprintf(text + len, ".%u/%u", 1 + (unsigned)test_below(parts), parts);
	}
	return true;
}

static void call_report(void)
{
	enum ledger_kind kind = (enum ledger_kind)test_below(3);
	bool sink = test_below(3) > 0;
	struct label label;
	enum ledger_answer wanted;
	char text[120];

	if (test_below(40) == 0)
		sprintf(text, "%llu", (unsigned long long)(1 + test_below(a.last + 3)));
	else if (!some_label(text))
		return;
	label = parse(text);
	/* In order a sink that hops ahead would empty the account at once. */
	if (a.order && sink && label.first > a.low + 30)
		sink = false;
	wanted = report(sink, kind, &label);
	if (ledger_report(a.l, sink, kind, &label, 0) != wanted)
		fail_msg("report %s: not %d", text, (int)wanted);
}

static void call_txn(void)
{
	struct buf text = {0};
	enum ledger_answer wanted = LEDGER_TAKEN;
	uint64_t highest = 0, first = 0, to = a.low + 1 + test_below(40);
	unsigned slips = test_below(3) ? 0 : 30;

	a.question++;
	for (uint64_t n = a.low; n <= to && n <= a.last; n++) {
		const struct group *g = a.n[n].group >= 0 ? &a.group[a.n[n].group] : NULL;

		if (slips ? test_below(slips) == 0 : a.n[n].state != OPEN)
			continue;
		/* Of a set the first number brings in all parts. */
		if (g && strtoull(g->set, NULL, 10) != n)
			continue;
		for (uint32_t i = 1; g && i <= g->parts; i++)
			if (!(g->seen >> i & 1) || (slips && test_below(slips) == 0))
				buf_printf(&text, "%s%s.%u/%u", text.len ? " " : "", g->set, i,
					g->parts);
		if (!g)
			buf_printf(&text, "%s%llu", text.len ? " " : "", (unsigned long long)n);
	}
	buf_putc(&text, '\0');
	for (const char *p = text.p; *p && (wanted == LEDGER_TAKEN || wanted == LEDGER_ABORT);) {
		size_t len = strcspn(p, " ");
		struct label label;
		enum ledger_answer one;

		assert_int_equal(label_parse(&label, (struct span){p, len}), 0);
		one = name(&label);
		wanted = one == LEDGER_TAKEN ? wanted : one;
		highest = label.last > highest ? label.last : highest;
		first = label.first > first ? label.first : first;
		p += len + (p[len] == ' ');
	}
	for (uint64_t n = a.low; n <= highest && wanted == LEDGER_TAKEN; n++) {
		if (a.n[n].state == OPEN && a.order && n < first)
			a.n[n].named = a.question;
		if (a.n[n].state == OPEN && a.n[n].named != a.question)
			wanted = LEDGER_WAIT;
	}
	if (ledger_txn(a.l, (struct span){text.p, text.len - 1}) != wanted)
		fail_msg("question '%s': not %d", text.p, (int)wanted);
	for (int i = 0; i < SLOTS && wanted == LEDGER_TAKEN; i++) {
		const struct slot *s = &a.slot[i];
		int64_t position = s->next;
		bool moves = s->moved;

		if (!s->part)
			continue;
		for (uint64_t n = a.last; n >= a.low && n; n--)
			if (a.n[n].state == OPEN && a.n[n].slot == i) {
				if (a.n[n].named == a.question)
					moves = true;
				else
					position = a.n[n].at;
			}
		assert_int_equal(ledger_txn_position(a.l, s->part), moves ? position : -1);
	}
	buf_free(&text);
}

static void call_assignment(void)
{
	int i = (int)test_below(SLOTS);
	struct slot *s = &a.slot[i];

	if (s->part) {
		ledger_end(a.l, s->part);
		for (uint64_t n = a.low; n <= a.last; n++)
			if (a.n[n].state == OPEN && a.n[n].slot == i) {
				a.n[n].state = ENDED;
				a.counts.open--;
				a.counts.open_bytes -= bytes_of(n);
				a.counts.ended++;
			}
		a.uncommitted -= s->emitted - s->committed;
		s->part = NULL;
		if (test_below(2))
			return;
	}
	s->part = ledger_assign(a.l, "t", i, NULL);
	*s = (struct slot){.part = s->part, .next = -1, .at = (int64_t)test_below(100)};
}

/* A commit takes its time: it is begun at one call and confirmed at a later one. */
static void call_commit(void)
{
	struct slot *s = &a.slot[test_below(SLOTS)];
	uint64_t covered;

	if (!s->part)
		return;
	if (test_below(2)) {
		s->covered = ledger_covered(a.l, s->part);
		return;
	}
	/* Also one that was overtaken. */
	covered = s->covered - test_below(s->covered < 3 ? 1 : 3);
	ledger_committed(a.l, s->part, covered);
	a.commits = true;
	if (covered <= s->committed)
		return;
	a.uncommitted -= covered - s->committed;
	s->committed = covered;
}

static void call_forget(void)
{
	uint64_t n = a.low;

	while (n <= a.last && a.n[n].state != OPEN)
		n++;
	ledger_forget(a.l);
	if (n > a.last)
		return;
	a.n[n].state = GONE;
	a.known = n + 1 > a.known ? n + 1 : a.known;
	a.counts.forgotten++;
	a.counts.open--;
	a.counts.open_bytes -= bytes_of(n);
}

static void compare(void)
{
	struct ledger_counts counts = ledger_counts(a.l);
	uint64_t first = 0, open[SLOTS] = {0};
	int64_t head[SLOTS];
	uint64_t covered[SLOTS];
	struct ledger_open o;

	assert_memory_equal(&counts, &a.counts, sizeof(counts));
	assert_int_equal(a.told, counts.final + counts.dropped + counts.dead + counts.vouched);
	for (uint64_t n = a.last; n >= a.low && n; n--)
		if (a.n[n].state == OPEN) {
			first = n;
			open[a.n[n].slot]++;
			head[a.n[n].slot] = a.n[n].at;
			covered[a.n[n].slot] = a.n[n].ordinal;
		}
	assert_int_equal(ledger_first_open(a.l, &o), first != 0);
	assert_true(!first || (o.number == first && o.at == a.n[first].at));
	for (int i = 0; i < SLOTS; i++) {
		const struct slot *s = &a.slot[i];

		if (!s->part)
			continue;
		assert_int_equal(ledger_part_open(s->part), open[i]);
		assert_int_equal(ledger_covered(a.l, s->part), open[i] ? covered[i] : s->emitted);
		assert_int_equal(ledger_position(a.l, s->part),
			!s->moved	  ? -1
				: open[i] ? head[i]
					  : s->next);
	}
	assert_int_equal(ledger_uncommitted(a.l), a.uncommitted);
	assert_int_equal(ledger_full(a.l),
		(a.counts.open && (a.counts.open >= a.window || a.counts.open_bytes >= BYTES)) ||
			(a.commits && a.uncommitted && a.uncommitted >= a.window));
	while (a.low <= a.last && a.n[a.low].state == GONE)
		a.low++;
}

static void on_settled(void *ctx, struct ledger_part *p, int64_t at, int64_t low, uint64_t count,
	enum ledger_kind kind, int64_t taken_us)
{
	(void)ctx, (void)p, (void)at, (void)low, (void)kind, (void)taken_us;
	a.told += count;
}

static void random_calls_agree(bool order)
{
	uint64_t most = test_below(2) ? 20 : 3000;

	memset(&a, 0, sizeof(a));
	a.stragglers = !order && most == 20 && test_below(2);
	a.order = order;
	a.l = ledger_new(most, BYTES, order);
	ledger_on_settled(a.l, on_settled, NULL);
	a.runs = order && test_below(2);
	a.together = test_below(2);
	if (a.runs) {
		ledger_keep(a.l, 2 + (uint32_t)test_below(20));
		ledger_keep_exact(a.l);
	}
	a.low = 1;
	a.window = most;
	for (int i = 0; i < SLOTS; i++)
		a.slot[i] = (struct slot){.part = ledger_assign(a.l, "t", i, NULL), .next = -1};
	for (int call = 0; call < CALLS && a.groups < GROUPS - 64; call++) {
		size_t draw = test_below(1000);

		if (draw < 2)
			call_forget();
		else if (draw < 4 && !a.runs)
			call_assignment();
		else if (draw < 60)
			call_txn();
		else if (draw < 100)
			call_commit();
		else if (draw < 500 && a.counts.open < most * (a.stragglers ? 10 : 1))
			for (size_t burst = 1 + test_below(most / 5); burst; burst--)
				emit();
		else
			call_report();
		if (call % 8 == 0)
			compare();
	}
	ledger_free(a.l);
}

static void strict_agrees_with_a_plain_account(void **state)
{
	(void)state;
	for (int i = 0; i < 40; i++)
		random_calls_agree(false);
}

static void order_agrees_with_a_plain_account(void **state)
{
	(void)state;
	for (int i = 0; i < 40; i++)
		random_calls_agree(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strict_agrees_with_a_plain_account),
		cmocka_unit_test(order_agrees_with_a_plain_account),
	};

	test_seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
