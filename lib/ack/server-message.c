/* SPDX-License-Identifier: ISC */
/* The messages of peers, and their effect on the ledger and the source. */
#include "ack/server-parts.h"

#include "base/msg.h"

#include <string.h>

enum {
	QUESTION_MAX = 64 << 20,
	NOTES_MAX = 4 << 20, /* in one answer: a peer is cut off at 16 MiB */
};

static const char *name_of(const struct ack_peer *p)
{
	return p->role == NOBODY ? "a stranger" : p->name;
}

/* ---- judging ---- */

void ack_server_garbage(struct ack_server *d, struct ack_peer *p, const char *why)
{
	if (p->peer.closed)
		return;
	d->garbage++;
	msg_warn("closed the acknowledgement connection of %s: %s", name_of(p), why);
	peer_tell(&d->peers, &p->peer, "stop garbage on the acknowledgement socket: %s\n", why);
	p->peer.closed = true;
}

static bool copy_word(char *to, size_t size, struct span w, const char *allowed)
{
	if (!w.len || w.len >= size)
		return false;
	for (size_t i = 0; i < w.len; i++)
		if (allowed ? !memchr(allowed, w.p[i], strlen(allowed))
			    : w.p[i] <= ' ' || w.p[i] > '~')
			return false;
	memcpy(to, w.p, w.len);
	to[w.len] = '\0';
	return true;
}

static void refuse(struct ack_server *d, struct ack_peer *p, const char *why)
{
	p->role = REFUSED;
	msg_warn("refused %s (process %s) on the acknowledgement socket: %s", p->name, p->pid, why);
	peer_tell(&d->peers, &p->peer, "stop %s\n", why);
}

static void on_hello(struct ack_server *d, struct ack_peer *p, struct span line)
{
	struct span name = span_word(&line), pid = span_word(&line), role = line;
	enum role r = NOBODY;
	bool keeps = span_is(role, "sink position");

	p->keeps = span_is(role, "txn position");
	if (span_is(role, "sink") || keeps)
		r = SINK;
	else if (span_is(role, "txn") || p->keeps)
		r = TXN;
	else if (span_is(role, "filter"))
		r = FILTER;
	if (r == NOBODY || !copy_word(p->name, sizeof(p->name), name, NULL) ||
		!copy_word(p->pid, sizeof(p->pid), pid, "0123456789")) {
		ack_server_garbage(d, p, "a hello that is none");
		return;
	}
	if (r != FILTER && d->had_sink) {
		refuse(d, p,
			"there has been a sink: a pipeline has one, and with --pass the others hand their records on to it");
		return;
	}
	if (r == TXN && d->place && !p->keeps) {
		refuse(d, p,
			"the positions of this source have to be kept in a topic: give kwrite --positions TOPIC");
		return;
	}
	if (r == TXN && !d->metadata && !d->place) {
		refuse(d, p,
			"this source has no positions to commit: transactions need kread -g, or rsub -s -g, with --commit acked");
		return;
	}
	p->role = r;
	d->connections++;
	if (r == FILTER)
		return;
	d->had_sink = d->has_sink = true;
	d->is_txn = r == TXN;
	d->keeps_positions = keeps && d->positions;
}

/* ---- reports ---- */

/* Whether a message is of this run; the caller ignores it if not. */
static bool is_ours(struct ack_server *d, struct ack_peer *p, struct span run)
{
	if (run.len != LABEL_RUN_LEN) {
		ack_server_garbage(d, p, "a report without a run");
		return false;
	}
	if (memcmp(run.p, d->run, LABEL_RUN_LEN) == 0)
		return true;
	if (!d->stale++)
		msg_warn("%s reports records of another source; they are ignored", p->name);
	return false;
}

static void twice(struct ack_server *d, struct ack_peer *p, struct span label)
{
	d->void_account = true;
	trouble_set(&d->trouble, EXIT_PERM,
		"%s has acknowledged record %.*s a second time: a filter makes several records of one: put it under evbatch",
		p->name, (int)(label.len < 60 ? label.len : 60), label.p);
}

/* @early: the report says nothing of the numbers below, as that of a filter. */
static void on_report(struct ack_server *d, struct ack_peer *p, enum ledger_kind kind, bool early,
	struct span line, int64_t now_us)
{
	bool sink = p->role != FILTER;
	struct span text;
	struct label label;

	if (kind == LEDGER_FINAL && !sink) {
		ack_server_garbage(d, p, "a filter that says final");
		return;
	}
	if (!is_ours(d, p, span_word(&line)))
		return;
	if (sink) {
		d->sink_idle = false;
		d->sink_reported = true;
	}
	if (line.len && line.p[line.len - 1] == ' ') {
		ack_server_garbage(d, p, "a space too many");
		return;
	}
	do {
		text = span_word(&line);
		if (ledger_label(d->ledger, &label, text)) {
			ack_server_garbage(d, p, "a label that is none");
			return;
		}
		switch (ledger_report(d->ledger, sink && !early, kind, &label, now_us)) {
		case LEDGER_GARBAGE:
			ack_server_garbage(d, p, "a label that was never given");
			return;
		case LEDGER_TWICE:
			twice(d, p, text);
			return;
		case LEDGER_BACKWARDS:
			d->void_account = true;
			trouble_set(&d->trouble, EXIT_PERM,
				"%s has acknowledged record %.*s after a later one: a filter changes the order: put it under evbatch, or leave out --account order",
				p->name, (int)(text.len < 60 ? text.len : 60), text.p);
			return;
		default:
			break;
		}
	} while (line.len);
}

static void on_busy(struct ack_server *d, struct ack_peer *p, bool busy)
{
	if (p->role != FILTER) {
		d->sink_idle = !busy;
		return;
	}
	d->busy += (unsigned)busy - (unsigned)p->busy;
	p->busy = busy;
}

static void on_bare(struct ack_server *d, struct ack_peer *p, struct span line)
{
	struct label count;

	if (!is_ours(d, p, span_word(&line)))
		return;
	/* A number alone has a label's form. */
	if (label_parse(&count, line) || !count.single || count.parts)
		ack_server_garbage(d, p, "a count that is none");
	else
		d->bare = count.first;
}

static void on_stop(struct ack_server *d, struct ack_peer *p, struct span reason)
{
	char text[200];
	size_t n = 0;

	for (size_t i = 0; i < reason.len && n < sizeof(text) - 1; i++)
		text[n++] = (unsigned char)reason.p[i] < ' ' ? ' ' : reason.p[i];
	text[n] = '\0';
	trouble_set(&d->trouble, EXIT_PERM, "%s (process %s) stops the pipeline: %s", p->name,
		p->pid, text);
}

/* ---- transactions ---- */

/* " TOPIC PARTITION OFFSET" or " TOPIC PARTITION OFFSET,NOTE". @begin: where the line begins. */
static void put_position(struct ack_server *d, struct buf *out, size_t begin,
	const struct ledger_part *part, int64_t position)
{
	struct buf note = {0};

	buf_printf(out, " %s %d %lld", part->topic, (int)part->partition, (long long)position);
	if (d->note && out->len - begin < NOTES_MAX)
		d->note(d->ctx, part, position, &note);
	if (note.len) {
		buf_putc(out, ',');
		buf_base64(out, note.p, note.len);
	}
	buf_free(&note);
}

/* The answer of a source with a place. */
static void put_place(struct ack_server *d, struct buf *out)
{
	struct buf text = {0};

	d->place->put(d->place_ctx, &text);
	buf_puts(out, "place ");
	buf_base64(out, text.p, text.len);
	buf_putc(out, '\n');
	buf_free(&text);
}

/* The answer of a member of a group; one that is no member has no positions to commit. */
static void put_positions(struct ack_server *d, struct ack_peer *p, bool has_labels)
{
	struct buf *out = peer_out(&p->peer);
	const struct ledger_part *part = NULL;
	size_t before = out->len;
	bool is_member;

	buf_puts(out, "offsets ");
	is_member = d->metadata(d->ctx, out);
	if (!is_member && has_labels) {
		out->len = before;
		peer_tell(&d->peers, &p->peer, "abort %s\n", d->run);
		return;
	}
	while (is_member && (part = ledger_next_part(d->ledger, part))) {
		int64_t position = ledger_txn_position(d->ledger, part);

		if (position >= 0)
			put_position(d, out, before, part, position);
	}
	buf_putc(out, '\n');
}

void ack_server_answer(struct ack_server *d, struct ack_peer *p)
{
	struct span labels = buf_as_span(&p->question);

	switch (ledger_txn(d->ledger, labels)) {
	case LEDGER_WAIT:
		d->asked = true;
		return;
	case LEDGER_ABORT:
		peer_tell(&d->peers, &p->peer, "abort %s\n", d->run);
		break;
	case LEDGER_GARBAGE:
		ack_server_garbage(d, p, "a transaction of labels that were never given");
		break;
	case LEDGER_TWICE:
		twice(d, p, labels);
		break;
	default:
		if (d->place)
			put_place(d, peer_out(&p->peer));
		else
			put_positions(d, p, labels.len);
		peer_flush(&d->peers, &p->peer);
	}
	p->asks = false;
	buf_clear(&p->question);
}

void ack_server_name(struct ack_server *d, struct ack_peer *p, struct span line)
{
	struct span id;

	if (!is_ours(d, p, span_word(&line)))
		return;
	id = span_word(&line);
	if (ledger_name(d->ledger, id, line) != LEDGER_TAKEN)
		ack_server_garbage(d, p, "a set that is none");
}

/* Labels of the question to come, which are too many for one line. */
static void on_also(struct ack_server *d, struct ack_peer *p, struct span line)
{
	if (!is_ours(d, p, span_word(&line)))
		return;
	if (p->also.len > QUESTION_MAX) {
		ack_server_garbage(d, p, "a question over 64 megabytes");
		return;
	}
	buf_span(&p->also, line);
	buf_putc(&p->also, ' ');
}

static void on_offsets(struct ack_server *d, struct ack_peer *p, struct span line)
{
	if (p->role != TXN) {
		ack_server_garbage(d, p, "offsets from no txn");
		return;
	}
	if (!is_ours(d, p, span_word(&line)))
		return;
	/* Each question has one reply, in order. */
	if (p->asks)
		peer_tell(&d->peers, &p->peer, "again %s\n", d->run);
	buf_clear(&p->question);
	buf_span(&p->question, buf_as_span(&p->also));
	buf_span(&p->question, line);
	if (!line.len && p->also.len)
		p->question.len--;
	buf_clear(&p->also);
	p->asks = true;
	ack_server_answer(d, p);
}

/* ---- positions ---- */

static void on_position(struct ack_server *d, struct ack_peer *p, struct span line, bool back)
{
	struct span topic;
	int32_t partition;
	int64_t offset;

	if (p->role != SINK || !d->keeps_positions) {
		ack_server_garbage(d, p, "a position from a sink that keeps none");
		return;
	}
	if (!is_ours(d, p, span_word(&line)))
		return;
	if (!ack_place_take(&line, &topic, &partition) || !ack_offset_take(&line, &offset) ||
		line.len || (back && offset < 0)) {
		ack_server_garbage(d, p, "a position that is none");
		return;
	}
	(back ? d->positions->back : d->positions->start)(
		d->positions_ctx, topic, partition, offset);
}

/* What stands with the last transaction: of no interest to a source that has positions. */
static void on_place(struct ack_server *d, struct ack_peer *p, struct span line)
{
	struct buf text = {0};

	if (!p->keeps || p->has_told) {
		ack_server_garbage(d, p, "a place that nobody waits for");
		return;
	}
	if (!is_ours(d, p, span_word(&line)))
		return;
	if (!span_is(line, "-") && buf_unbase64(&text, line)) {
		ack_server_garbage(d, p, "a place that is no base64");
		buf_free(&text);
		return;
	}
	p->has_told = true;
	if (d->place)
		d->place->kept(d->place_ctx, span_is(line, "-") ? SPAN_NONE : buf_as_span(&text));
	buf_free(&text);
}

void ack_server_take(struct ack_server *d, struct ack_peer *p, struct span line, int64_t now_us)
{
	struct span verb = span_word(&line);
	bool hello = span_is(verb, "hello");

	if (p->role == REFUSED)
		return;
	if (hello != (p->role == NOBODY) || p->bye) {
		ack_server_garbage(d, p,
			p->role == NOBODY ? "a message before hello"
					  : "a second hello or a message after bye");
		return;
	}
	if (hello)
		on_hello(d, p, line);
	else if (span_is(verb, "final"))
		on_report(d, p, LEDGER_FINAL, false, line, now_us);
	else if (span_is(verb, "early"))
		on_report(d, p, LEDGER_FINAL, true, line, now_us);
	else if (span_is(verb, "drop"))
		on_report(d, p, LEDGER_DROP, false, line, now_us);
	else if (span_is(verb, "dead"))
		on_report(d, p, LEDGER_DEAD, false, line, now_us);
	else if (span_is(verb, "idle") && !line.len)
		on_busy(d, p, false);
	else if (span_is(verb, "busy") && !line.len)
		on_busy(d, p, true);
	else if (span_is(verb, "bare") && p->role != FILTER)
		on_bare(d, p, line);
	else if (span_is(verb, "set"))
		ack_server_name(d, p, line);
	else if (span_is(verb, "also") && p->role == TXN)
		on_also(d, p, line);
	else if (span_is(verb, "offsets"))
		on_offsets(d, p, line);
	else if (span_is(verb, "place"))
		on_place(d, p, line);
	else if (span_is(verb, "start") || span_is(verb, "back"))
		on_position(d, p, line, span_is(verb, "back"));
	else if (span_is(verb, "stop"))
		on_stop(d, p, line);
	else if (span_is(verb, "bye") && !line.len)
		p->bye = true;
	else
		ack_server_garbage(d, p, "a message that is none");
}
