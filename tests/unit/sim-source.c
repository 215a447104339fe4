/* SPDX-License-Identifier: ISC */
/* The simulated pipeline: its source, around the real ledger. */
#include "sim.h"

bool sim_alive(const struct sim *s)
{
	return !s->source_dead && !s->over;
}

static bool sink_idle(const struct sim *s)
{
	return s->member[SINK].n == 0 && s->conn[SINK].n == 0;
}

bool sim_emit(struct sim *s, int p, int arg, bool dry)
{
	uint64_t number;
	int off = s->next[p];

	(void)arg;
	if (!sim_alive(s) || s->trouble || s->stopped || !s->part[p] || off >= s->c.records)
		return false;
	/* In order a window full of what was swallowed would wait for ever for a later one. */
	if (!(s->c.order && sink_idle(s)) &&
		(MUTANT(WINDOW_OF_OPEN) ? ledger_counts(s->l).open >= (uint64_t)s->c.window
					: ledger_full(s->l)))
		return false;
	if (sim_is_control(s, p, off)) {
		if (dry)
			return true;
		sim_say(s, "source skips %d:%d", p, off);
		ledger_skip(s->part[p], off + 1);
		s->next[p]++;
		return true;
	}
	if (s->pipe[0].n == PIPE || s->member[s->c.filters ? 0 : SINK].dead)
		return false;
	if (dry)
		return true;
	/* Some share a moment, and then an entry. */
	number = ledger_emit(
		s->l, s->part[p], off, 0, 10, (int64_t)(s->logged / (1 + s->c.salt % 32)));
	assert_true(number < 512);
	s->next[p]++;
	s->item_of[number] = sim_item_emit(s, p, off);
	s->pipe[0].q[s->pipe[0].n] = (struct line){.item = s->item_of[number], .number = number};
	snprintf(s->pipe[0].q[s->pipe[0].n++].label, LABEL, "%llu", (unsigned long long)number);
	sim_say(s, "source emits %llu = %d:%d", (unsigned long long)number, p, off);
	return true;
}

void sim_commit_to(struct sim *s, int p, int64_t position)
{
	if (position < 0)
		return;
	if (position < s->committed[p])
		sim_violate(s, "I2: partition %d goes back from %d to %d", p, s->committed[p],
			(int)position);
	for (int off = s->committed[p]; off < position && !sim_is_unsound(&s->c); off++)
		if (!sim_is_handled(s, p, off))
			sim_violate(s, "I1: %d of partition %d is committed, and %d is not handled",
				(int)position, p, off);
	s->committed[p] = (int)position;
}

bool sim_commit(struct sim *s, int who, int arg, bool dry)
{
	bool any = false;

	(void)who;
	(void)arg;
	for (int p = 0; p < s->c.parts; p++)
		any = any || (s->part[p] && ledger_position(s->l, s->part[p]) > s->committed[p]);
	if (!sim_alive(s) || s->trouble || s->c.txn || !any)
		return false;
	if (dry)
		return true;
	for (int p = 0; p < s->c.parts; p++)
		if (s->part[p]) {
			sim_commit_to(s, p, ledger_position(s->l, s->part[p]));
			ledger_committed(s->l, s->part[p], ledger_covered(s->l, s->part[p]));
		}
	sim_say(s, "source commits %d %d %d", s->committed[0], s->committed[1], s->committed[2]);
	return true;
}

bool sim_assign(struct sim *s, int p, int arg, bool dry)
{
	int from = s->committed[p];

	(void)arg;
	if (!sim_alive(s) || p >= s->c.parts || s->part[p] ||
		(s->c.place && !s->is_told && !MUTANT(PLACE_UNTOLD)))
		return false;
	if (dry)
		return true;
	if (s->c.place)
		from = s->is_told ? s->place[p] : 0;
	sim_say(s, "source gets partition %d from %d", p, from);
	s->part[p] = ledger_assign(s->l, "t", p, NULL);
	s->next[p] = s->checked[p] = s->base[p] = from;
	s->position[p] = -1;
	ledger_committed(s->l, s->part[p], 0);
	s->generation += !s->c.place;
	return true;
}

static void answer(struct sim *s);

bool sim_revoke(struct sim *s, int p, int arg, bool dry)
{
	(void)arg;
	if (!sim_alive(s) || !s->part[p] || s->churns >= s->c.churn || s->c.place)
		return false;
	if (dry)
		return true;
	sim_say(s, "source loses partition %d", p);
	if (!s->c.txn && !s->trouble)
		sim_commit_to(s, p,
			MUTANT(COMMIT_ON_REVOKE) ? s->next[p] : ledger_position(s->l, s->part[p]));
	ledger_end(s->l, s->part[p]);
	s->ended_to = ledger_last(s->l);
	s->part[p] = NULL;
	s->churns++;
	s->generation++;
	answer(s);
	return true;
}

void sim_show(struct sim *s, int p, int off, int by)
{
	if (s->shown_by[p][off] && s->shown_by[p][off] != by)
		sim_violate(s, "I9: %d:%d is shown twice", p, off);
	s->shown_by[p][off] = by;
}

/* Another member of the group has the partition, and does a record of it. With a place, another
 * unit does. */
bool sim_other(struct sim *s, int p, int arg, bool dry)
{
	int off = s->committed[p];

	(void)arg;
	if (p >= s->c.parts || (s->part[p] && !s->c.place) || !s->c.churn || off >= s->c.records ||
		s->fair || (s->c.place && s->other != s->generation && s->churns >= s->c.churn))
		return false;
	if (dry)
		return true;
	if (s->c.place && s->other != s->generation) {
		sim_say(s, "another unit fences the sink");
		s->other = ++s->generation;
		s->churns++;
		return true;
	}
	sim_say(s, "another member handles %d:%d", p, off);
	s->handled[p][off] = true;
	if (s->c.txn && !sim_is_control(s, p, off))
		sim_show(s, p, off, -1);
	s->written[p] = ++s->committed[p];
	return true;
}

static void answer(struct sim *s)
{
	struct buf text = {0};
	struct reply *r = &s->reply[s->replies];
	enum ledger_answer a;

	if (s->question < 0)
		return;
	assert_true(s->replies < 16);
	if (MUTANT(TXN_NAMES_ALL)) {
		struct label label;
		uint64_t last = 0;

		for (int i = 0; i < s->question; i++)
			if (!label_parse(&label,
				    (struct span){s->member[SINK].held[i].label,
					    strlen(s->member[SINK].held[i].label)}) &&
				label.last > last)
				last = label.last;
		for (uint64_t n = 1; n <= last; n++)
			if (!s->seen[n])
				buf_printf(&text, "%s%llu", text.len ? " " : "",
					(unsigned long long)n);
	} else {
		for (int i = 0; i < s->question; i++)
			buf_printf(&text, "%s%s", i ? " " : "", s->member[SINK].held[i].label);
	}
	a = ledger_txn(s->l, buf_as_span(&text));
	if (a != LEDGER_WAIT) {
		*r = (struct reply){.serial = s->question_serial,
			.generation = s->generation,
			.abort = a == LEDGER_ABORT};
		for (int p = 0; p < PARTS; p++)
			r->position[p] = !s->part[p] ? -1
				: s->c.place
				? s->base[p] + (int64_t)ledger_txn_covered(s->l, s->part[p])
				: ledger_txn_position(s->l, s->part[p]);
		s->question = -1;
		s->replies += a == LEDGER_TAKEN || a == LEDGER_ABORT;
		sim_say(s, "source answers: %s %d %d %d",
			a == LEDGER_TAKEN	    ? "positions"
				: a == LEDGER_ABORT ? "abort"
						    : "no",
			(int)r->position[0], (int)r->position[1], (int)r->position[2]);
	}
	if ((a == LEDGER_TWICE || a == LEDGER_GARBAGE) && !sim_has_kind(&s->c, COPY) &&
		!sim_is_unsound(&s->c) && !MUTANT_IS)
		sim_violate(s, "I3: the question '%.*s' is refused", (int)text.len, text.p);
	if (a == LEDGER_TWICE || a == LEDGER_GARBAGE)
		s->trouble = s->hurt = true;
	buf_free(&text);
}

/* What is true of a label: whether any of it was taken before. */
static bool seen_before(struct sim *s, const struct label *label, bool note)
{
	struct span rest = label->set;
	uint64_t from, to, bit = (uint64_t)1 << label->part;
	bool before = false;

	while (label_range(&rest, &from, &to))
		for (uint64_t n = from; n <= to && n < 512; n++) {
			uint64_t all = label->parts ? ((uint64_t)2 << label->parts) - 2 : 1;

			if (s->seen[n] & (bit | 1) || (!label->parts && s->seen[n]))
				before = true;
			if (!note)
				continue;
			s->seen[n] |= bit;
			if ((s->seen[n] & all) == all)
				s->seen[n] |= 1;
		}
	return before;
}

static void report(struct sim *s, int from, const struct message *m)
{
	bool sink = from != STALE ? from >= SINK : true;
	struct ledger_counts before = ledger_counts(s->l), after;
	enum ledger_answer a;
	struct label label;
	bool again, back;

	assert_int_equal(label_parse(&label, (struct span){m->label, strlen(m->label)}), 0);
	again = seen_before(s, &label, false);
	back = s->c.order && sink && label.first < s->first_max;
	a = ledger_report(s->l, sink, (enum ledger_kind)m->kind, &label, s->logged);
	after = ledger_counts(s->l);
	if (a != LEDGER_TAKEN && memcmp(&before, &after, sizeof(before)) != 0)
		sim_violate(s, "I6: %s was refused, and changed the account", m->label);
	/* A filter learns later than the sink what was passed over. */
	if (a == LEDGER_TAKEN && s->c.order && !sink && label.first < s->first_max)
		return;
	/* Of a run whose assignment has ended the numbers are forgotten. */
	if (a == LEDGER_TAKEN && s->c.order && label.last <= s->ended_to)
		again = false;
	/* In a run that is not exact a number is not noted, but for that of the sink's last
	 * report. */
	if (a == LEDGER_TAKEN && s->c.order && !s->c.txn &&
		(label.parts || !sink || label.first != s->first_max || !s->whole))
		again = false;
	if (a == LEDGER_TAKEN && (again || back))
		sim_violate(s, "I3: %s is taken %s", m->label, again ? "twice" : "backwards");
	if (a != LEDGER_TAKEN && !again && !back && !sim_has_kind(&s->c, COPY) && from <= SINK)
		sim_violate(s, "I3: %s is refused", m->label);
	/* Copies that are folded with different neighbours are in two sets. */
	if (a == LEDGER_GARBAGE && (from == SINK || (from < SINK && sim_has_kind(&s->c, COPY))))
		s->hurt = s->trouble = true;
	if (a == LEDGER_TWICE || a == LEDGER_BACKWARDS)
		s->hurt = s->trouble = true;
	if (a != LEDGER_TAKEN)
		return;
	seen_before(s, &label, true);
	if (sink && label.first > s->first_max) {
		s->first_max = label.first;
		s->whole = false;
	}
	s->whole = s->whole || (sink && !label.parts);
	if (label.parts && s->partials < 64)
		strcpy(s->partial[s->partials++], m->label);
}

/* The source reads a message. */
bool sim_read_message(struct sim *s, int who, int arg, bool dry)
{
	struct message m;

	(void)arg;
	if (!sim_alive(s) || !s->conn[who].n)
		return false;
	if (dry)
		return true;
	m = sim_conn_take(&s->conn[who]);
	if (m.kind == PLACE) {
		sim_say(s, "source is told its place");
		s->is_told = true;
	} else if (m.kind == ASK) {
		sim_say(s, "source reads: offsets of %d labels", m.count);
		s->question = m.count;
		s->question_serial = m.serial;
	} else {
		sim_say(s, "source reads from %s%.0d: %s %s",
			who == SINK		? "the sink"
				: who == SECOND ? "a second sink"
				: who == STALE	? "another run"
						: "filter ",
			who < SINK ? who + 1 : 0,
			m.kind == LEDGER_FINAL		? "final"
				: m.kind == LEDGER_DROP ? "drop"
							: "dead",
			m.label);
		if (s->trouble || (who == SECOND && !MUTANT(SECOND_SINK_ACCEPTED)) ||
			(who == STALE && !MUTANT(RUN_UNCHECKED)))
			return true;
		report(s, who, &m);
	}
	if (!s->trouble)
		answer(s);
	/* The transaction that has reported them has moved the position. */
	for (int p = 0; p < s->c.parts && s->c.txn; p++)
		if (s->part[p])
			ledger_committed(s->l, s->part[p], ledger_covered(s->l, s->part[p]));
	return true;
}

/* Somebody reports a number that was never given. */
bool sim_garbage(struct sim *s, int who, int arg, bool dry)
{
	struct label label;
	char text[LABEL];

	(void)who;
	if (!sim_alive(s) || !s->c.garbage || s->fair)
		return false;
	if (dry)
		return true;
	snprintf(text, sizeof(text), "%llu%s",
		(unsigned long long)ledger_last(s->l) + 1 + (uint64_t)(arg % 3),
		arg & 8 ? ".1/2" : "");
	sim_say(s, "source reads garbage: final %s", text);
	label_parse(&label, (struct span){text, strlen(text)});
	ledger_report(s->l, true, LEDGER_FINAL, &label, 0);
	return true;
}

static void seal(struct sim *s)
{
	for (int i = 0; i < s->partials; i++) {
		struct label label;

		label_parse(&label, (struct span){s->partial[i], strlen(s->partial[i])});
		for (label.part = 1; label.part <= label.parts; label.part++)
			ledger_report(s->l, false, LEDGER_DROP, &label, 0);
	}
	s->partials = 0;
}

bool sim_tick(struct sim *s, int who, int arg, bool dry)
{
	(void)who;
	(void)arg;
	if (!MUTANT(SEAL_ON_TIMER) || !sim_alive(s) || !s->partials)
		return false;
	if (dry)
		return true;
	sim_say(s, "source's timer");
	seal(s);
	return true;
}

/* SIGTERM, or the end of all: says end, then closes its output. */
bool sim_say_end(struct sim *s, int who, int arg, bool dry)
{
	bool all = true;

	(void)who;
	(void)arg;
	for (int p = 0; p < s->c.parts; p++)
		all = all && s->part[p] && s->next[p] >= s->c.records;
	if (!sim_alive(s) || s->trouble || s->end_sent || (!all && (s->fair || !s->c.early)) ||
		(MUTANT(END_AFTER_CLOSE) && !s->pipe[0].closed))
		return false;
	if (dry)
		return true;
	sim_say(s, "source says end");
	s->end_sent = s->stopped = true;
	return true;
}

bool sim_close_output(struct sim *s, int who, int arg, bool dry)
{
	bool all = true;

	(void)who;
	(void)arg;
	for (int p = 0; p < s->c.parts; p++)
		all = all && s->part[p] && s->next[p] >= s->c.records;
	if (!sim_alive(s) || s->pipe[0].closed ||
		(MUTANT(END_AFTER_CLOSE) ? !all && (s->fair || !s->c.early) : !s->end_sent))
		return false;
	if (dry)
		return true;
	sim_say(s, "source closes its output");
	s->pipe[0].closed = s->stopped = true;
	return true;
}

static void name_open(void *ctx, const struct ledger_open *o)
{
	struct sim *s = ctx;
	const struct ledger_part *part = o->part;

	if (!sim_was_swallowed(s, s->item_of[o->number]))
		sim_violate(s, "I10: %d:%d is named as stalled, and nobody has swallowed it",
			(int)part->partition, (int)o->at);
}

void sim_check_stall(struct sim *s)
{
	enum ledger_members members = s->member[SINK].n ? LEDGER_WORK : LEDGER_SINK_IDLE;
	struct ledger_open o;
	uint64_t named;

	if (!ledger_first_open(s->l, &o))
		return;
	if (!s->swallowed)
		sim_violate(s, "I10: %llu is open, and nobody has swallowed it",
			(unsigned long long)o.number);
	/* What was settled since the last call counts as a move: the time begins with the
	 * second. */
	ledger_stalled(s->l, members, 1 << 19, 30, name_open, s);
	ledger_stalled(s->l, members, 1 << 20, 30, name_open, s);
	named = ledger_stalled(s->l, members, 1 << 21, 30, name_open, s);
	if (!named || (members == LEDGER_SINK_IDLE && named != o.count))
		sim_violate(s, "I10: of %d open ones %d are named", (int)o.count, (int)named);
}

/* All have gone: the source commits, and ends. */
bool sim_drained(struct sim *s, int who, int arg, bool dry)
{
	uint64_t open;
	struct ledger_open o;

	(void)who;
	(void)arg;
	if (!sim_alive(s) || !s->stopped || !s->end_sent || !s->pipe[0].closed ||
		!s->conn[SINK].closed || s->conn[SINK].n)
		return false;
	for (int f = 0; f < s->c.filters && !MUTANT(LAST_DROP_UNREAD); f++)
		if (!s->conn[f].closed || s->conn[f].n)
			return false;
	if (dry)
		return true;
	if (MUTANT(SEAL_ON_EOF))
		seal(s);
	/* All between have ended well: what no sink has reported was dropped. */
	if (s->c.order && (!s->hurt || MUTANT(PASS_ALL_OF_KILLED)) && !s->trouble)
		ledger_pass_all(s->l);
	open = ledger_counts(s->l).open;
	if (s->c.order && ledger_first_open(s->l, &o) && o.number >= s->first_max && !s->hurt)
		open = 0;
	s->over = true;
	s->status = s->trouble ? 100 : open ? 111 : 0;
	sim_say(s, "source ends: %d, %d open", s->status, (int)ledger_counts(s->l).open);
	for (int p = 0; p < s->c.parts && !s->c.txn && !s->trouble; p++)
		if (s->part[p])
			sim_commit_to(s, p,
				MUTANT(END_MAKES_TAIL_FINAL) ? s->next[p]
							     : ledger_position(s->l, s->part[p]));
	if (s->hurt)
		return true;
	if (s->c.order ? s->status != 0 : s->status != 0 && !s->swallowed)
		sim_violate(s, "I4: an unhurt source ends with %d, %d open", s->status, (int)open);
	sim_check_stall(s);
	for (int p = 0; p < s->c.parts && !s->c.txn && !ledger_counts(s->l).open; p++)
		if (s->part[p] && s->committed[p] != s->next[p])
			sim_violate(s, "I10: ended cleanly with %d of partition %d, not %d",
				s->committed[p], p, s->next[p]);
	return true;
}
