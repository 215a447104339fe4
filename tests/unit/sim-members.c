/* SPDX-License-Identifier: ISC */
/* The simulated pipeline: its filters and its sink. */
#include "sim.h"

/* ---- filters ---- */

static void hold(struct member *m, const struct line *x)
{
	assert_true(m->n < HELD);
	m->held[m->n++] = *x;
}

static void split(struct sim *s, struct member *m, int f, const struct line *x)
{
	struct item *i = &s->items[x->item];
	int parts = 1 + (int)(sim_hash(s->c.salt, s->c.id[f] + 50, i->p * 64 + i->off, 0) % 3);

	if (!i->groups) {
		i->groups = 1;
		i->kid_count[0] = parts;
		for (int k = 0; k < parts; k++)
			i->kids[0][k] = sim_item_kid(s, x->item, k + 1);
	}
	for (int k = 0; k < parts; k++) {
		struct line y = {.item = i->kids[0][k]};

		snprintf(y.label, LABEL, "%.24s.%d/%d", x->label, k + 1, parts);
		hold(m, &y);
	}
}

bool sim_take(struct sim *s, int f, int arg, bool dry)
{
	static const int room[KINDS] = {1, 3, 3, 1, 3, 1, 4, 2, 1, 1};
	struct member *m = &s->member[f];
	struct pipe *in = &s->pipe[f];
	enum kind kind;
	struct line x;

	(void)arg;
	if (f >= s->c.filters || m->dead || m->gone || !in->n || !sim_can_send(&s->conn[f]))
		return false;
	kind = s->c.filter[f];
	if (m->n >= room[kind] || m->outs)
		return false;
	if (dry)
		return true;
	x = sim_line_take(in->q, &in->n, 0);
	sim_say(s, "filter %d (%s) takes %s", f + 1, sim_kind_names[kind], x.label);
	if (kind == SPLIT) {
		split(s, m, f, &x);
		return true;
	}
	if (kind == PASS || kind == BUFFER || kind == REORDER || kind == FOLD ||
		!sim_pick(s, f, x.item)) {
		hold(m, &x);
		return true;
	}
	switch (kind) {
	case DROP:
		s->items[x.item].done = true;
		if (MUTANT(DROP_TAKES_SIBLINGS) && strchr(x.label, '.'))
			*strchr(x.label, '.') = '\0';
		sim_send_report(s, f, LEDGER_DROP, x.label);
		sim_say(s, "  … and drops it");
		break;
	case DEAD:
		x.written = true;
		hold(m, &x);
		if (MUTANT(REPORT_BEFORE_FSYNC))
			sim_send_report(s, f, LEDGER_DEAD, x.label);
		sim_say(s, "  … and writes a dead letter");
		break;
	case FAN:
		if (MUTANT(PASS_DECLARES))
			sim_send_report(s, f, LEDGER_DEAD, x.label);
		hold(m, &x);
		sim_say(s, "  … and cannot deliver it");
		break;
	case SWALLOW:
		s->items[x.item].swallowed = s->swallowed = true;
		/* The user has vouched for it. */
		s->items[x.item].done = s->items[x.item].done || s->c.order;
		sim_say(s, "  … and swallows it");
		break;
	case COPY:
		hold(m, &x);
		hold(m, &x);
		sim_say(s, "  … and makes two of it");
		break;
	default:
		break;
	}
	return true;
}

bool sim_give(struct sim *s, int f, int arg, bool dry)
{
	struct member *m = &s->member[f];
	int at = 0, to = f + 1 < s->c.filters ? f + 1 : SINK;
	struct pipe *out = &s->pipe[f + 1];
	struct line x;

	if (f >= s->c.filters || m->dead || m->gone || out->n == PIPE || s->member[to].dead)
		return false;
	if (s->c.filter[f] == FOLD) {
		if (!m->outs)
			return false;
		if (dry)
			return true;
		x = sim_line_take(m->out, &m->outs, 0);
	} else {
		/* By order: who reports what is behind vouches for the dead letter too. */
		while (MUTANT(PASS_BEFORE_FSYNC) && at < m->n && m->held[at].written)
			at++;
		if (at == m->n || m->held[at].written)
			return false;
		if (dry)
			return true;
		if (s->c.filter[f] == REORDER)
			at = arg % m->n;
		x = sim_line_take(m->held, &m->n, at);
	}
	sim_say(s, "filter %d (%s) gives %s", f + 1, sim_kind_names[s->c.filter[f]], x.label);
	out->q[out->n++] = x;
	if (to == SINK && s->c.second && s->second.n < HELD)
		hold(&s->second, &x);
	return true;
}

static int by_number(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* One batch becomes @outputs lines. */
static void fold(struct sim *s, int f, struct line *batch, int n, int outputs)
{
	struct member *m = &s->member[f];
	char label[LABEL] = "";
	size_t len = 0;
	struct item first;
	int kids[3];

	qsort(batch, (size_t)n, sizeof(*batch), by_number);
	for (int i = n - 1; i > 0; i--)
		if (batch[i].number == batch[i - 1].number)
			sim_line_take(batch, &n, i);
	for (int i = 0; i < n; i++)
		len += (size_t)snprintf(label + len, sizeof(label) - len, "%s%llu", i ? "," : "",
			(unsigned long long)batch[i].number);
	if (n > 1 &&
		(MUTANT(BATCH_IS_RANGE) ||
			batch[n - 1].number - batch[0].number == (uint64_t)n - 1))
		snprintf(label, sizeof(label), "%llu-%llu", (unsigned long long)batch[0].number,
			(unsigned long long)batch[n - 1].number);
	first = s->items[batch[0].item];
	first.groups = 0;
	first.done = first.swallowed = first.shown = false;
	first.root_count = n;
	for (int i = 0; i < n; i++)
		first.roots[i] = s->items[batch[i].item].roots[0];
	for (int k = 0; k < outputs; k++) {
		struct line y = {0};

		first.part = 10 + k;
		y.item = kids[k] = sim_item_new(s, &first);
		if (outputs > 1 && !MUTANT(BATCH_WITHOUT_PARTS))
			snprintf(y.label, LABEL, "%.24s.%d/%d", label, k + 1, outputs);
		else
			strcpy(y.label, label);
		assert_true(m->outs < 8);
		m->out[m->outs++] = y;
	}
	for (int i = 0; i < n; i++) {
		struct item *in = &s->items[batch[i].item];

		if (!outputs)
			in->done = true;
		if (!outputs || in->groups == 2)
			continue;
		in->kid_count[in->groups] = outputs;
		memcpy(in->kids[in->groups++], kids, sizeof(kids));
	}
	if (!outputs)
		sim_send_report(s, f, LEDGER_DROP, label);
	sim_say(s, "filter %d (fold) makes %d of %s", f + 1, outputs, label);
}

/* A dead letter becomes durable; a batch closes. */
bool sim_sync_filter(struct sim *s, int f, int arg, bool dry)
{
	struct member *m = &s->member[f];

	if (f >= s->c.filters || m->dead || m->gone || !m->n || !sim_can_send(&s->conn[f]))
		return false;
	if (s->c.filter[f] == FOLD) {
		struct line lane[2][4];
		int n[2] = {0, 0}, lanes = 1 + (arg & 1);

		if (m->outs)
			return false;
		if (dry)
			return true;
		for (int i = 0; i < m->n; i++)
			lane[i % lanes][n[i % lanes]++] = m->held[i];
		m->n = 0;
		for (int i = 0; i < lanes; i++)
			if (n[i])
				fold(s, f, lane[i], n[i], (arg >> (1 + 2 * i)) % 4);
		return true;
	}
	for (int i = 0; i < m->n; i++)
		if (m->held[i].written) {
			struct line x;

			if (dry)
				return true;
			x = sim_line_take(m->held, &m->n, i);
			s->items[x.item].done = true;
			sim_say(s, "filter %d has a durable dead letter of %s", f + 1, x.label);
			if (!MUTANT(REPORT_BEFORE_FSYNC))
				sim_send_report(s, f, LEDGER_DEAD, x.label);
			return true;
		}
	return false;
}

bool sim_filter_eof(struct sim *s, int f, int arg, bool dry)
{
	struct member *m = &s->member[f];

	(void)arg;
	if (f >= s->c.filters || m->dead || m->gone || m->n || m->outs || s->pipe[f].n ||
		!s->pipe[f].closed)
		return false;
	if (dry)
		return true;
	sim_say(s, "filter %d ends", f + 1);
	m->gone = s->pipe[f + 1].closed = s->conn[f].closed = true;
	return true;
}

/* ---- the sink ---- */

bool sim_sink_take(struct sim *s, int who, int arg, bool dry)
{
	struct pipe *in = &s->pipe[s->c.filters];
	struct member *m = &s->member[SINK];
	struct line x;

	(void)who;
	(void)arg;
	if (m->dead || m->gone || !in->n || m->n >= (s->c.txn ? HELD / 2 : 3) ||
		!sim_can_send(&s->conn[SINK]))
		return false;
	if (dry)
		return true;
	x = sim_line_take(in->q, &in->n, 0);
	sim_say(s, "sink takes %s", x.label);
	x.kind = sim_pick(s, SINK, x.item) && sim_hash(s->c.salt, 7, 7, 7) % 2 ? LEDGER_DEAD
									       : LEDGER_FINAL;
	if (s->c.txn && x.kind == LEDGER_DEAD) {
		sim_say(s, "  … and has a durable dead letter of it");
		s->items[x.item].done = true;
		if (!s->c.order) {
			sim_send_report(s, SINK, x.kind, x.label);
			return true;
		}
	}
	if (MUTANT(REPORT_ON_ENQUEUE) && !s->c.txn)
		sim_send_report(s, SINK, x.kind, x.label);
	hold(m, &x);
	return true;
}

bool sim_sink_done(struct sim *s, int who, int arg, bool dry)
{
	struct member *m = &s->member[SINK];
	int open = 0, at = 0;

	(void)who;
	for (int i = 0; i < m->n; i++)
		open += !m->held[i].done;
	if (m->dead || s->c.txn || !open || !sim_can_send(&s->conn[SINK]))
		return false;
	if (dry)
		return true;
	for (int skip = arg % open;; at++)
		if (!m->held[at].done && skip-- == 0)
			break;
	m->held[at].done = s->items[m->held[at].item].done = true;
	sim_say(s, "sink has %s %s",
		m->held[at].kind == LEDGER_DEAD ? "dead-lettered" : "delivered", m->held[at].label);
	if (MUTANT(HIGHEST_NOT_HEAD)) {
		struct line x = sim_line_take(m->held, &m->n, at);

		sim_send_report(s, SINK, x.kind, x.label);
	}
	while (m->n && m->held[0].done) {
		struct line x = sim_line_take(m->held, &m->n, 0);

		if (!MUTANT(REPORT_ON_ENQUEUE))
			sim_send_report(s, SINK, x.kind, x.label);
	}
	return true;
}

bool sim_ask(struct sim *s, int who, int arg, bool dry)
{
	struct member *m = &s->member[SINK];
	struct conn *c = &s->conn[SINK];
	bool news = false;

	(void)who;
	(void)arg;
	/* An empty transaction moves positions too: here, when that is of use. */
	for (int p = 0; p < s->c.parts && sim_alive(s); p++)
		news = news || (s->part[p] && ledger_position(s->l, s->part[p]) > s->committed[p]);
	if (!s->c.txn || m->dead || m->gone || !sim_can_send(c) || s->replies > 8 ||
		(m->n == s->asked_count) || (!m->n && !news) || s->is_sent)
		return false;
	if (dry)
		return true;
	c->q[c->n++] = (struct message){.kind = ASK, .count = m->n, .serial = ++s->asked};
	s->asked_count = m->n;
	sim_say(s, "sink asks for its %d labels", m->n);
	return true;
}

static void end_sink(struct sim *s, const char *why)
{
	sim_say(s, "sink ends: %s", why);
	s->member[SINK].dead = s->conn[SINK].closed = s->hurt = true;
}

/* The broker's part of a transaction's commit. */
static void txn_commit(struct sim *s, const struct reply *r)
{
	struct member *m = &s->member[SINK];

	for (int i = 0; i < s->asked_count; i++) {
		struct item *x = &s->items[m->held[i].item];

		if (m->held[i].kind == LEDGER_DEAD)
			continue;
		if (x->shown)
			sim_violate(s, "I9: %s is shown twice", m->held[i].label);
		x->shown = x->done = true;
		for (int k = 0; k < x->root_count; k++) {
			const struct item *root = &s->items[x->roots[k]];

			sim_show(s, root->p, root->off, x->roots[k] + 1);
			if (r->position[root->p] >= 0 && r->position[root->p] <= root->off)
				sim_violate(s, "I9: %d:%d is shown above its position", root->p,
					root->off);
		}
	}
	for (int p = 0; p < s->c.parts; p++) {
		sim_commit_to(s, p, r->position[p]);
		s->written[p] = s->committed[p];
	}
	sim_say(s, "sink commits the transaction: %d %d %d", s->committed[0], s->committed[1],
		s->committed[2]);
	for (int i = 0; i < s->asked_count; i++)
		sim_send_report(s, SINK, m->held[i].kind, m->held[i].label);
	m->n -= s->asked_count;
	memmove(m->held, m->held + s->asked_count, (size_t)m->n * sizeof(*m->held));
	s->asked_count = -1;
}

bool sim_read_reply(struct sim *s, int who, int arg, bool dry)
{
	struct reply r = s->reply[0];

	(void)who;
	(void)arg;
	if (!s->c.txn || s->is_sent || s->member[SINK].dead || s->member[SINK].gone ||
		!s->replies || !sim_can_send(&s->conn[SINK]))
		return false;
	if (dry)
		return true;
	memmove(s->reply, s->reply + 1, (size_t)--s->replies * sizeof(r));
	if (r.serial != s->asked) {
		sim_say(s, "sink reads an overtaken answer");
		return true;
	}
	if (s->c.place && !r.abort) {
		sim_say(s, "sink writes the place into its transaction");
		s->sent = r;
		s->is_sent = true;
		for (int p = 0; p < s->c.parts; p++)
			if (r.position[p] >= 0)
				s->written[p] = (int)r.position[p];
		return true;
	}
	if (r.abort || (r.generation != s->generation && !MUTANT(NEWEST_METADATA))) {
		end_sink(s, r.abort ? "abort" : "fenced by the broker");
		return true;
	}
	txn_commit(s, &r);
	return true;
}

bool sim_commit_sent(struct sim *s, int who, int arg, bool dry)
{
	(void)who;
	(void)arg;
	if (!s->is_sent || s->member[SINK].dead || !sim_can_send(&s->conn[SINK]))
		return false;
	if (dry)
		return true;
	s->is_sent = false;
	if (s->epoch != s->generation)
		end_sink(s, "fenced by the broker");
	else
		txn_commit(s, &s->sent);
	return true;
}

static void fence(struct sim *s)
{
	s->epoch = ++s->generation;
	sim_say(s, "sink fences who had its id");
}

static void read_place(struct sim *s)
{
	memcpy(s->place, MUTANT(PLACE_UNCOMMITTED) ? s->written : s->committed, sizeof(s->place));
	sim_say(s, "sink reads its place: %d %d %d", s->place[0], s->place[1], s->place[2]);
}

/* Before anything else it fences, reads its place, tells it: a step each. */
bool sim_place(struct sim *s, int who, int arg, bool dry)
{
	struct conn *c = &s->conn[SINK];

	(void)who;
	(void)arg;
	if (!s->c.place || s->member[SINK].dead || s->steps > 2)
		return false;
	if (dry)
		return true;
	if (s->steps == 2)
		c->q[c->n++] = (struct message){.kind = PLACE};
	else if (s->steps == MUTANT(PLACE_FIRST))
		fence(s);
	else
		read_place(s);
	s->steps++;
	return true;
}

bool sim_sink_eof(struct sim *s, int who, int arg, bool dry)
{
	struct member *m = &s->member[SINK];
	struct pipe *in = &s->pipe[s->c.filters];

	(void)who;
	(void)arg;
	if (m->dead || m->gone || m->n || in->n || !in->closed || s->asked_count > 0 ||
		(s->c.txn && s->asked_count == 0))
		return false;
	if (dry)
		return true;
	m->gone = s->conn[SINK].closed = true;
	sim_say(s, "sink ends%s", s->end_sent ? "" : ": 111, no end was said");
	if (!s->end_sent && !s->hurt)
		sim_violate(s, "I4: an unhurt sink saw no end");
	s->hurt = s->hurt || !s->end_sent;
	return true;
}

bool sim_second_sink(struct sim *s, int who, int arg, bool dry)
{
	(void)who;
	(void)arg;
	if (!s->c.second || !s->second.n || !sim_can_send(&s->conn[SECOND]))
		return false;
	if (dry)
		return true;
	sim_say(s, "a second sink delivers %s elsewhere", s->second.held[0].label);
	sim_send_report(
		s, SECOND, LEDGER_FINAL, sim_line_take(s->second.held, &s->second.n, 0).label);
	return true;
}
