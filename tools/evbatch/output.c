/* SPDX-License-Identifier: ISC */
/* The output of a batch: it is labelled with the numbers of the batch's records, or refused, and
 * written in order as standard output takes it. */
#include "evbatch/evbatch.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "record/record.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { KEEP_MAX = 1 << 20 }; /* memory that an empty batch keeps */

/* The next line of the output; false: there is none. One without its end is the last and no
 * record. */
static bool next_line(const struct evbatch_batch *b, size_t *at, struct span *line, bool *torn)
{
	const struct buf *out = &b->command.output;
	const char *lf;

	if (*at == out->len)
		return false;
	lf = memchr(out->p + *at, '\n', out->len - *at);
	*torn = !lf;
	*line = (struct span){out->p + *at, lf ? (size_t)(lf - out->p) - *at : out->len - *at};
	*at += line->len + !*torn;
	return true;
}

static int check_output(struct span line, bool torn, struct record *r, struct record_error *e)
{
	if (torn)
		return record_refuse(
			e, CLASS_INVALID_RECORD, "the last line of the output has no end");
	return record_parse(r, line, e);
}

static void refuse_output(struct evbatch *s, const struct evbatch_batch *b, struct span line,
	uint32_t part, const struct record_error *e)
{
	input_refuse(&s->in, e->class, line, false, b->first_line,
		"line %u of what '%s' made of the batch that begins here: %s", part, s->argv[0],
		e->message);
}

/* Counts the lines of the output. Under `stop` all of it must be records, or nothing is written. */
static bool is_good(struct evbatch *s, struct evbatch_batch *b)
{
	struct record_error e;
	struct record r;
	struct span line;
	size_t at = 0;
	bool torn;

	b->parts = 0;
	while (next_line(b, &at, &line, &torn)) {
		b->parts++;
		if (s->in.dead.policy != DEAD_STOP || check_output(line, torn, &r, &e) == 0)
			continue;
		refuse_output(s, b, line, b->parts, &e);
		return false;
	}
	if (b->parts <= LABEL_PARTS_MAX)
		return true;
	trouble_set(&s->trouble, EXIT_PERM,
		"'%s' made more than %d records of the batch from line %llu on", s->argv[0],
		LABEL_PARTS_MAX, (unsigned long long)b->first_line);
	return false;
}

/* The seq of the next part, in s->seq. */
static void make_seq(struct evbatch *s, const struct evbatch_batch *b)
{
	buf_clear(&s->seq);
	buf_span(&s->seq, buf_as_span(&b->set));
	if (b->parts > 1)
		buf_printf(&s->seq, ".%u/%u", b->part, b->parts);
}

/* The label: the part of a seq behind RUN and its colon. */
static struct ack_label label_of(const struct buf *seq)
{
	return (struct ack_label){
		.text = {seq->p + LABEL_RUN_LEN + 1, seq->len - LABEL_RUN_LEN - 1}};
}

enum { PARTS_BYTES = 16 }; /* of ".1048576/1048576", about */

/* The label of all: the numbers, or, where they are many, a name for them. */
static void put_set(struct evbatch *s, struct evbatch_batch *b)
{
	char name[LABEL_NAME_MAX + 1];
	struct buf *all = &s->scratch, *names = &b->numbers.names;

	buf_clear(all);
	numbers_text(&b->numbers, all);
	if (names->len && all->len)
		buf_putc(all, ' ');
	buf_span(all, buf_as_span(names));
	snprintf(name, sizeof(name), "#%ld-%llu", (long)getpid(), (unsigned long long)s->names + 1);
	b->is_naming = (all->len > LABEL_MAX - PARTS_BYTES || memchr(all->p, ' ', all->len)) &&
		b->parts && ack_name(&s->ack, name, buf_as_span(all));
	s->names += b->is_naming;
	if (b->is_naming)
		buf_puts(&b->set, name);
	else
		buf_span(&b->set, buf_as_span(all));
}

static int begin_writing(struct evbatch *s, struct evbatch_batch *b)
{
	if (!is_good(s, b))
		return -1;
	b->state = BATCH_IS_WRITTEN;
	b->part = 0;
	b->at = 0;
	buf_clear(&b->set);
	if (b->labelled) {
		buf_put(&b->set, b->run, LABEL_RUN_LEN);
		buf_putc(&b->set, ':');
		put_set(s, b);
	}
	if (b->parts)
		return 0;
	metrics.dropped += b->records;
	if (b->labelled) {
		struct ack_label label = label_of(&b->set);

		ack_report(&s->ack, ACK_DROP, &label);
	}
	return 0;
}

static void write_line(struct evbatch *s, struct evbatch_batch *b, struct span line, bool torn)
{
	struct record_error e;
	struct record r;

	b->part++;
	if (b->labelled)
		make_seq(s, b);
	if (check_output(line, torn, &r, &e)) {
		struct ack_label label = label_of(&s->seq);

		refuse_output(s, b, line, b->part, &e);
		if (b->labelled)
			input_account(&s->in, &label);
		return;
	}
	if (b->labelled)
		record_set_seq(&r, buf_as_span(&s->seq), &s->out.b);
	else
		buf_span(&s->out.b, line);
	buf_putc(&s->out.b, '\n');
	metrics.records_out++;
}

static void end_batch(struct evbatch *s, struct evbatch_batch *b)
{
	if (b->input.cap > KEEP_MAX)
		buf_free(&b->input);
	if (b->command.output.cap > KEEP_MAX)
		buf_free(&b->command.output);
	s->head++;
}

bool output_can_write(struct evbatch *s)
{
	struct evbatch_batch *b = evbatch_at(s, s->head);

	if (s->head == s->tail || b->state < BATCH_DONE || out_pending(&s->out) >= OUT_BLOCK)
		return false;
	/* The socket tells when it has room. */
	if (b->state == BATCH_IS_WRITTEN && b->is_naming)
		b->is_naming = !ack_has_left(&s->ack);
	return b->state == BATCH_DONE || !b->is_naming;
}

int output_write(struct evbatch *s)
{
	while (output_can_write(s)) {
		struct evbatch_batch *b = evbatch_at(s, s->head);
		struct span line;
		bool torn;

		if (b->state == BATCH_DONE) {
			if (begin_writing(s, b))
				return -1;
		} else if (next_line(b, &b->at, &line, &torn)) {
			write_line(s, b, line, torn);
		} else {
			end_batch(s, b);
		}
	}
	return 0;
}
