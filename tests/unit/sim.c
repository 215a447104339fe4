/* SPDX-License-Identifier: ISC */
/* The simulated pipeline: what all share, death, histories. */
#include "sim.h"

#include <stdarg.h>

const char *const sim_kind_names[] = {"pass", "buffer", "reorder", "drop", "dead", "split", "fold",
	"--pass", "foreign, swallows", "foreign, copies"};

void sim_say(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->print)
		return;
	fprintf(stderr, "# %3d%s  ", s->logged, s->fair ? " fair" : "");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void sim_violate(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (*s->violated)
		return;
	va_start(ap, fmt);
	vsnprintf(s->violated, sizeof(s->violated), fmt, ap);
	va_end(ap);
}

bool sim_has_kind(const struct config *c, enum kind kind)
{
	for (int f = 0; f < c->filters; f++)
		if (c->filter[f] == kind)
			return true;
	return false;
}

/* In order accounting the user vouches that no filter reorders. */
bool sim_is_unsound(const struct config *c)
{
	return c->order && sim_has_kind(c, REORDER);
}

uint64_t sim_hash(uint64_t salt, int a, int b, int c)
{
	uint64_t z = salt + (uint64_t)(a * 1000003 + b * 1009 + c) * 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* Whether @who does what it is there for to this item: the same at each run. */
bool sim_pick(struct sim *s, int who, int item)
{
	const struct item *i = &s->items[item];

	return sim_hash(
		       s->c.salt, who < FILTERS ? s->c.id[who] : who, i->p * 64 + i->off, i->part) %
		3 ==
		0;
}

bool sim_is_control(struct sim *s, int p, int off)
{
	return s->c.control && sim_hash(s->c.salt, 99, p, off) % 4 == 0;
}

/* ---- items ---- */

static bool done(const struct sim *s, int item);

/* Some output @k of those made of an item: a batch command that is given a record twice prints the
 * same twice, so that the outputs of both times complete each other. */
static bool output_done(const struct sim *s, const struct item *i, int count, int k)
{
	for (int g = 0; g < i->groups; g++)
		if (i->kid_count[g] == count && done(s, i->kids[g][k]))
			return true;
	return false;
}

static bool done(const struct sim *s, int item)
{
	const struct item *i = &s->items[item];

	if (i->done)
		return true;
	for (int g = 0; g < i->groups; g++) {
		bool all = true;

		for (int k = 0; k < i->kid_count[g]; k++)
			all = all && output_done(s, i, i->kid_count[g], k);
		if (all)
			return true;
	}
	return false;
}

bool sim_was_swallowed(const struct sim *s, int item)
{
	const struct item *i = &s->items[item];

	if (i->swallowed)
		return true;
	for (int g = 0; g < i->groups; g++)
		for (int k = 0; k < i->kid_count[g]; k++)
			if (sim_was_swallowed(s, i->kids[g][k]))
				return true;
	return false;
}

bool sim_is_handled(struct sim *s, int p, int off)
{
	if (sim_is_control(s, p, off))
		return true;
	for (int e = 0; e < s->emissions[p][off] && !s->handled[p][off]; e++)
		s->handled[p][off] = done(s, s->emitted[p][off][e]);
	return s->handled[p][off];
}

int sim_item_new(struct sim *s, const struct item *like)
{
	assert_true(s->item_count < ITEMS);
	s->items[s->item_count] = *like;
	return s->item_count++;
}

int sim_item_emit(struct sim *s, int p, int off)
{
	int i = sim_item_new(s, &(struct item){.p = p, .off = off, .root_count = 1});

	s->items[i].roots[0] = i;
	assert_true(s->emissions[p][off] < EMISSIONS);
	s->emitted[p][off][s->emissions[p][off]++] = i;
	return i;
}

int sim_item_kid(struct sim *s, int item, int part)
{
	struct item kid = s->items[item];

	kid.part = part;
	kid.groups = 0;
	kid.done = kid.swallowed = kid.shown = false;
	return sim_item_new(s, &kid);
}

/* ---- messages ---- */

bool sim_can_send(const struct conn *c)
{
	return c->n < MESSAGES - HELD;
}

void sim_send_report(struct sim *s, int who, enum ledger_kind kind, const char *label)
{
	struct conn *c = &s->conn[who];

	assert_true(c->n < MESSAGES);
	c->q[c->n] = (struct message){.kind = (int)kind};
	strcpy(c->q[c->n++].label, label);
}

struct message sim_conn_take(struct conn *c)
{
	struct message m = c->q[0];

	memmove(c->q, c->q + 1, (size_t)--c->n * sizeof(*c->q));
	return m;
}

struct line sim_line_take(struct line *q, int *n, int at)
{
	struct line x = q[at];

	memmove(q + at, q + at + 1, (size_t)(--*n - at) * sizeof(*q));
	return x;
}

/* ---- death and resurrection ---- */

static void kill_source(struct sim *s)
{
	sim_say(s, "SIGKILL to the source");
	s->source_dead = s->pipe[0].closed = true;
}

static void kill_other(struct sim *s, int who)
{
	sim_say(s, "SIGKILL to %s%.0d", who == SINK ? "the sink" : "filter ",
		who < SINK ? who + 1 : 0);
	s->member[who].dead = s->conn[who].closed = true;
	if (who < SINK) {
		s->pipe[who].n = 0;
		s->pipe[who + 1].closed = true;
	}
}

bool sim_kill_member(struct sim *s, int who, int arg, bool dry)
{
	(void)arg;
	if (s->fair || s->kills >= s->c.kills || s->over || (who < SINK && who >= s->c.filters))
		return false;
	if (who > SINK ? s->source_dead : s->member[who].dead || s->member[who].gone)
		return false;
	if (dry)
		return true;
	s->kills++;
	s->hurt = true;
	/* Of what is behind the sink only the source is a member to kill. */
	if (who > SINK)
		kill_source(s);
	else
		kill_other(s, who);
	return true;
}

void sim_unit_end(struct sim *s)
{
	ledger_free(s->l);
	s->l = NULL;
}

static void unit_start(struct sim *s)
{
	s->l = ledger_new((uint64_t)s->c.window, 1 << 20, s->c.order);
	ledger_keep(s->l, 1 + (uint32_t)(s->c.salt % 3));
	if (s->c.txn)
		ledger_keep_exact(s->l);
	memset(s->part, 0, sizeof(s->part));
	s->source_dead = s->hurt = s->trouble = s->swallowed = s->over = s->end_sent = false;
	s->stopped = false;
	for (int i = 0; i <= FILTERS; i++) {
		s->pipe[i].n = s->member[i].n = s->member[i].outs = 0;
		s->pipe[i].closed = s->member[i].dead = s->member[i].gone = false;
	}
	s->second.n = 0;
	for (int i = 0; i < CONNS; i++) {
		s->conn[i].n = i == STALE ? s->conn[i].n : 0;
		s->conn[i].closed = false;
	}
	s->asked = s->replies = s->partials = 0;
	s->asked_count = s->question = -1;
	memset(s->seen, 0, sizeof(s->seen));
	s->first_max = 0;
	s->whole = s->is_told = s->is_sent = false;
	s->steps = 0;
	s->generation += !s->c.place;
	s->runs++;
}

bool sim_restart(struct sim *s, int who, int arg, bool dry)
{
	struct conn *stale = &s->conn[STALE];

	(void)who;
	if (!(s->hurt || s->over) || (!s->fair && s->runs > 6))
		return false;
	if (dry)
		return true;
	sim_say(s, "a new unit starts%s", arg & 1 ? "; some of the old one still report" : "");
	for (int i = 0; i <= SINK && arg & 1; i++)
		for (int k = 0; k < s->conn[i].n && stale->n < 8; k++)
			if (s->conn[i].q[k].kind < ASK)
				stale->q[stale->n++] = s->conn[i].q[k];
	sim_unit_end(s);
	unit_start(s);
	return true;
}

/* ---- a history ---- */

const struct sim_verb sim_verbs[] = {
	{sim_emit, PARTS, 8},
	{sim_assign, PARTS, 8},
	{sim_read_message, CONNS, 8},
	{sim_commit, 1, 4},
	{sim_take, FILTERS, 8},
	{sim_give, FILTERS, 8},
	{sim_sync_filter, FILTERS, 4},
	{sim_sink_take, 1, 8},
	{sim_sink_done, 1, 8},
	{sim_ask, 1, 6},
	{sim_read_reply, 1, 8},
	{sim_second_sink, 1, 4},
	{sim_filter_eof, FILTERS, 8},
	{sim_sink_eof, 1, 8},
	{sim_drained, 1, 8},
	{sim_close_output, 1, 4},
	{sim_say_end, 1, 1},
	{sim_place, 1, 8},
	{sim_commit_sent, 1, 8},
	{sim_restart, 1, 2},
	/* from here on not by the fair scheduler */
	{sim_revoke, PARTS, 1},
	{sim_other, PARTS, 1},
	{sim_kill_member, SOURCE + 1, 1},
	{sim_garbage, 1, 1},
	{sim_tick, 1, 1},
};
_Static_assert(sizeof(sim_verbs) / sizeof(*sim_verbs) == VERBS, "VERBS");

static void check_step(struct sim *s)
{
	struct ledger_counts n = ledger_counts(s->l);
	uint64_t again = 0;

	if (n.emitted != n.final + n.dropped + n.dead + n.vouched + n.ended + n.forgotten + n.open)
		sim_violate(s, "I4: the account does not balance");
	for (int p = 0; p < s->c.parts && sim_alive(s); p++) {
		int64_t position;

		if (!s->part[p])
			continue;
		position = ledger_position(s->l, s->part[p]);
		if (position < s->position[p])
			sim_violate(s, "I2: the position of partition %d falls", p);
		s->position[p] = position;
		for (; s->checked[p] < position && !sim_is_unsound(&s->c); s->checked[p]++)
			if (!sim_is_handled(s, p, s->checked[p]))
				sim_violate(s,
					"I1: the position of partition %d is %d, and %d is not handled",
					p, (int)position, s->checked[p]);
	}
	for (int p = 0; p < s->c.parts && !s->c.txn; p++)
		for (int off = s->committed[p]; s->part[p] && off < s->next[p]; off++)
			again += !sim_is_control(s, p, off);
	if (s->c.txn || !sim_alive(s) || s->trouble)
		return;
	if (again != ledger_uncommitted(s->l))
		sim_violate(s, "I11: %d are uncommitted, and counted as %d", (int)again,
			(int)ledger_uncommitted(s->l));
	if (again > (uint64_t)s->c.window && !s->c.order)
		sim_violate(s, "I11: %d would be repeated", (int)again);
}

bool sim_play(struct sim *s, struct step step)
{
	const struct sim_verb *v = &sim_verbs[step.verb];

	if (!v->act(s, step.who, step.arg, true))
		return false;
	assert_true(s->logged < LOG);
	s->log[s->logged++] = step;
	v->act(s, step.who, step.arg, false);
	check_step(s);
	return true;
}

/* One pass of everybody. Returns whether anything was possible. */
static bool fair_pass(struct sim *s)
{
	bool any = false;

	for (int v = 0; v < FAIR_VERBS; v++)
		for (int w = 0; w < sim_verbs[v].who && !*s->violated; w++)
			if (sim_verbs[v].act != sim_restart)
				any = sim_play(s,
					      (struct step){(uint8_t)v, (uint8_t)w,
						      (uint8_t)sim_hash(
							      s->c.salt, 3, s->logged, 0)}) ||
					any;
	return any;
}

static bool is_complete(struct sim *s)
{
	for (int p = 0; p < s->c.parts; p++)
		for (int off = s->committed[p]; off < s->c.records; off++)
			/* In a transaction the last drops may come too late for its position. */
			if (!s->c.txn || !sim_is_handled(s, p, off) || s->shown_by[p][off])
				return false;
	return true;
}

void sim_fair_end(struct sim *s)
{
	const struct step again = {.verb = FAIR_VERBS - 1};

	s->fair = true;
	for (int tries = 0; tries < 4 && !*s->violated; tries++) {
		if ((s->hurt || s->over) && !(s->over && !s->hurt && is_complete(s)))
			sim_play(s, again);
		while (!*s->violated && fair_pass(s))
			;
		if (*s->violated || s->trouble)
			return;
		if (s->hurt || (s->over && !s->status && !is_complete(s) && !s->swallowed))
			continue;
		if (s->over && is_complete(s))
			return;
		if (!s->swallowed)
			sim_violate(s, "I10: all is quiet, and the commit is not at the end");
		if (!s->over)
			sim_check_stall(s);
		return;
	}
	if (!*s->violated)
		sim_violate(s, "I10: four fair runs are not enough");
}

void sim_start(struct sim *s, const struct config *c, bool print)
{
	s->c = *c;
	s->print = print;
	s->fair = false;
	*s->violated = '\0';
	s->logged = s->item_count = s->generation = 0;
	s->kills = s->churns = s->runs = s->other = 0;
	memset(s->written, 0, sizeof(s->written));
	memset(s->committed, 0, sizeof(s->committed));
	memset(s->handled, 0, sizeof(s->handled));
	memset(s->shown_by, 0, sizeof(s->shown_by));
	memset(s->emissions, 0, sizeof(s->emissions));
	s->conn[STALE].n = 0;
	unit_start(s);
}

/* Plays a history, with the fair end or without. Returns whether it violates anything; s->violated
 * says what. */
bool sim_replay(struct sim *s, const struct config *c, const struct history *h, bool print)
{
	sim_start(s, c, print);
	for (int i = 0; i < h->n && !*s->violated; i++)
		sim_play(s, h->steps[i]);
	if (!*s->violated && h->fair)
		sim_fair_end(s);
	sim_unit_end(s);
	return *s->violated;
}
