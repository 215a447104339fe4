/* SPDX-License-Identifier: ISC */
/* Random histories of a pipeline around the real ledger (sim.h), and the shortest that fails. */
#include "sim.h"

static struct config config_random(void)
{
	static const enum kind kinds[] = {
		PASS, BUFFER, REORDER, DROP, DROP, DEAD, SPLIT, FOLD, FAN, SWALLOW, COPY};
	struct config c = {.parts = 1 + (int)test_below(PARTS),
		.records = 1 + (int)test_below(RECORDS),
		.filters = (int)test_below(FILTERS + 1),
		.window = 1 + (int)test_below(8),
		.kills = (int)test_below(3),
		.churn = test_below(3) ? 0 : (int)test_below(4),
		.order = test_below(3) == 0,
		.txn = test_below(3) == 0,
		.place = test_below(3) == 0,
		.second = test_below(8) == 0,
		.garbage = test_below(8) == 0,
		.control = test_below(4) == 0,
		.early = test_below(4) == 0,
		.salt = test_random()};
	bool made = false;

	c.place = c.place && c.txn;
	/* A stream has no records that are skipped. */
	c.control = c.control && !c.place;
	for (int f = 0; f < c.filters; f++) {
		enum kind kind = kinds[test_below(sizeof(kinds) / sizeof(*kinds))];

		/* A batch of parts is refused; a second copier adds nothing. In order a reorderer
		 * is the user's mistake: seldom. */
		if (((kind == SPLIT || kind == FOLD) && made) ||
			(kind == COPY && (sim_has_kind(&c, COPY) || test_below(2))) ||
			(kind == SWALLOW && test_below(2)) ||
			(kind == REORDER && c.order && test_below(4)))
			kind = PASS;
		made = made || kind == SPLIT || kind == FOLD;
		c.filter[f] = kind;
		c.id[f] = f;
	}
	return c;
}

/* Makes a history, playing it. */
static void history_random(struct sim *s, const struct config *c, struct history *h)
{
	struct step can[64];
	int weight[64], speed[VERBS], wanted = 5 + (int)test_below(STEPS - 5);

	for (int v = 0; v < VERBS; v++)
		speed[v] = sim_verbs[v].weight * (test_below(3) ? 4 : 1);
	sim_start(s, c, false);
	h->fair = true;
	for (h->n = 0; h->n < wanted && !*s->violated;) {
		int count = 0, sum = 0, draw;

		for (int v = 0; v < VERBS; v++)
			for (int w = 0; w < sim_verbs[v].who; w++)
				if (sim_verbs[v].act(s, w, 0, true)) {
					can[count] = (struct step){(uint8_t)v, (uint8_t)w, 0};
					weight[count++] = sum += speed[v];
				}
		if (!count)
			break;
		draw = (int)test_below((size_t)sum);
		for (count = 0; weight[count] <= draw; count++)
			;
		h->steps[h->n] = can[count];
		h->steps[h->n].arg = (uint8_t)test_random();
		sim_play(s, h->steps[h->n++]);
	}
	if (!*s->violated)
		sim_fair_end(s);
	sim_unit_end(s);
}

/* ---- shrinking ---- */

struct shrink {
	struct sim *s;
	struct config c;
	struct history h, fewer;
	char rule[4];
	int run;
};

/* Whether the same rule is violated, or a record lost; what is behind the violation is cut off. */
static bool still_fails(struct shrink *x, const struct config *c, struct history *h)
{
	if (!sim_replay(x->s, c, h, false))
		return false;
	if (strncmp(x->s->violated, "I1:", 3) == 0)
		memcpy(x->rule, "I1:", 3);
	else if (strncmp(x->s->violated, x->rule, 3) != 0)
		return false;
	if (x->s->logged < h->n) {
		h->n = x->s->logged;
		memcpy(h->steps, x->s->log, (size_t)h->n * sizeof(*h->steps));
	}
	return true;
}

/* Leaves steps out. */
static void shrink_steps(struct shrink *x)
{
	struct history *h = &x->h, *fewer = &x->fewer;

	fewer->fair = h->fair;
	for (int chunk = h->n; chunk > 0; chunk = chunk > 1 ? chunk / 2 : 0)
		for (int at = 0; at < h->n;) {
			int cut = at + chunk < h->n ? chunk : h->n - at;

			fewer->n = h->n - cut;
			memcpy(fewer->steps, h->steps, (size_t)at * sizeof(*h->steps));
			memcpy(fewer->steps + at, h->steps + at + cut,
				(size_t)(fewer->n - at) * sizeof(*h->steps));
			if (still_fails(x, &x->c, fewer))
				*h = *fewer;
			else
				at += chunk;
		}
}

/* Takes a filter that only passes out of the line, and its steps out of the history. */
static bool take_out(struct config *c, struct history *h, int f)
{
	int kept = 0;

	if (f >= c->filters || c->filter[f] != PASS)
		return false;
	c->filters--;
	for (int i = f; i < c->filters; i++) {
		c->filter[i] = c->filter[i + 1];
		c->id[i] = c->id[i + 1];
	}
	for (int i = 0; i < h->n; i++) {
		struct step x = h->steps[i];
		const struct sim_verb *v = &sim_verbs[x.verb];
		bool is_filters = v->act == sim_take || v->act == sim_give ||
			v->act == sim_sync_filter || v->act == sim_filter_eof;
		bool is_members =
			is_filters || v->act == sim_read_message || v->act == sim_kill_member;

		if (is_members && x.who == f)
			continue;
		if (is_members && x.who < SINK && x.who > f)
			x.who--;
		h->steps[kept++] = x;
	}
	h->n = kept;
	return true;
}

enum { SALTS = 16, SIMPLER = 2 * FILTERS + 7 + SALTS };

/* Makes one thing simpler, the @way-th. false: it cannot be. */
static bool simplify(struct config *c, struct history *h, int way)
{
	struct config before = *c;

	if (way < FILTERS)
		return take_out(c, h, way);
	way -= FILTERS;
	if (way < FILTERS) {
		c->filter[way] = PASS;
		return way < c->filters && before.filter[way] != PASS;
	}
	switch (way - FILTERS) {
	case 0:
		c->parts -= c->parts > 1;
		break;
	case 1:
		c->kills -= c->kills > 0;
		break;
	case 2:
		c->churn -= c->churn > 0;
		break;
	case 3:
		c->order = false;
		break;
	case 4:
		c->txn = c->place;
		c->place = false;
		break;
	case 5:
		c->second = c->garbage = c->control = c->early = false;
		break;
	case 6:
		c->records -= c->records > 1;
		break;
	default:
		/* With other choices fewer records may do. */
		c->salt = (uint64_t)(way - FILTERS - 7);
		c->records--;
		return c->records > 0;
	}
	return memcmp(&before, c, sizeof(before)) != 0;
}

/* From a violation to its shortest history. */
static void shrink(struct shrink *x)
{
	bool better = true;

	memcpy(x->rule, x->s->violated, 3);
	/* The fair scheduler does much that is not needed: as steps these can be left out. */
	x->fewer.fair = false;
	x->fewer.n = x->s->logged;
	memcpy(x->fewer.steps, x->s->log, sizeof(x->s->log));
	if (still_fails(x, &x->c, &x->fewer))
		x->h = x->fewer;
	while (better) {
		better = false;
		shrink_steps(x);
		for (int way = 0; way < SIMPLER; way++) {
			struct config less = x->c;

			x->fewer = x->h;
			if (!simplify(&less, &x->fewer, way))
				continue;
			if (!still_fails(x, &less, &x->fewer))
				continue;
			x->c = less;
			x->h = x->fewer;
			better = true;
		}
	}
}

static void tell(struct shrink *x)
{
	const struct config *c = &x->c;

	fprintf(stderr, "# TEST_SEED=%llu, history %d, cut down to %d steps%s:\n",
		(unsigned long long)test_seed, x->run, x->h.n, x->h.fair ? " and a fair end" : "");
	fprintf(stderr, "# %d partitions of %d, window %d, %s%s; source", c->parts, c->records,
		c->window, c->order ? "order" : "strict",
		c->place	 ? ", transactions with a place"
			: c->txn ? ", transactions"
				 : "");
	for (int f = 0; f < c->filters; f++)
		fprintf(stderr, " | %s", sim_kind_names[c->filter[f]]);
	fprintf(stderr, " | sink\n");
	sim_replay(x->s, c, &x->h, true);
	fprintf(stderr, "# violated %s\n", x->s->violated);
}

/* A violation is looked for further: one that loses a record, and the shortest, is the one to
 * tell. */
enum { MORE_RUNS = 5000, MORE_VIOLATIONS = 8 };

static bool is_better(const struct shrink *x, const struct shrink *best)
{
	bool loses = strcmp(x->rule, "I1:") == 0, lost = strcmp(best->rule, "I1:") == 0;

	return loses != lost ? loses : x->h.n < best->h.n;
}

static void random_histories_keep_the_promises(void **state)
{
	const char *wanted = getenv("PROP_RUNS");
	int runs = wanted ? atoi(wanted) : 200000, violations = 0;
	struct sim *s = calloc(1, sizeof(*s));
	struct shrink *x = calloc(2, sizeof(*x)), *best = x + 1;

	(void)state;
	assert_non_null(s);
	assert_non_null(x);
	for (int run = 0; run < runs && violations < MORE_VIOLATIONS; run++) {
		x->s = s;
		x->run = run;
		x->c = config_random();
		history_random(s, &x->c, &x->h);
		if (!*s->violated)
			continue;
		shrink(x);
		if (violations++ == 0)
			runs = run + MORE_RUNS < runs ? run + MORE_RUNS : runs;
		if (violations == 1 || is_better(x, best))
			*best = *x;
	}
	if (violations)
		tell(best);
	free(x);
	free(s);
	assert_int_equal(violations, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_histories_keep_the_promises),
	};

	test_seed_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
