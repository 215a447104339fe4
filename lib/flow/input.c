/* SPDX-License-Identifier: ISC */
#include "flow/input.h"

#include "base/msg.h"
#include "base/metrics.h"
#include "record/record.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void input_opts(struct input_opts *o, enum input_letters to)
{
	o->on_error = arg_str0(
		NULL, "on-error", "stop|skip", "what a refused record does (default stop)");
	o->dead_letter = to == INPUT_DEAD_TO_TOPIC
		? arg_file0(NULL, "dead-letter", "FILE|kafka:TOPIC",
			  "keep refused records there and go on")
		: arg_file0(
			  NULL, "dead-letter", "FILE", "append refused records to FILE and go on");
	o->max_line = arg_str0(NULL, "max-line", "SIZE", "longest input line (default 64M)");
}

void input_open(
	struct input *in, const struct input_opts *o, char end, dead_give_fn *give, void *ctx)
{
	*in = (struct input){0};
	dead_open(&in->dead, opt_text(o->on_error, "--on-error"),
		opt_file(o->dead_letter, "--dead-letter"), give, ctx);
	line_init(&in->line, STDIN_FILENO, end,
		(size_t)opt_size(o->max_line, "--max-line", LINE_MAX_DEFAULT));
}

void input_read(struct input *in)
{
	if (line_read(&in->line) < 0 && errno != EINTR && errno != EAGAIN)
		die(EXIT_TEMP, "cannot read standard input: %s", strerror(errno));
}

/* A line over the limit has a label all the same, if it stands near its beginning; a record that no
 * program can take would hold up its partition for ever otherwise. */
static void find_label(struct input *in, struct span piece)
{
	struct record_error e;
	struct record r;

	in->big_label = (struct ack_label){0};
	if (!in->ack)
		return;
	record_parse(&r, piece, &e);
	if (r.seq.type != JSON_STRING || !ack_take(in->ack, &r.seq, &in->big_label) ||
		!in->big_label.text.p)
		return;
	/* The block will be read over before the line ends. */
	buf_clear(&in->big_text);
	buf_span(&in->big_text, in->big_label.text);
	in->big_label.text = buf_as_span(&in->big_text);
}

/* A piece of a line over the limit; its dead letter is begun with the first. */
static void take_piece(struct input *in, struct span piece, bool first)
{
	in->held = first && in->busy;
	if (in->held) {
		in->piece = piece;
		return;
	}
	if (first) {
		in->big = true;
		metrics.records_in++;
		find_label(in, piece);
		in->ended = !dead_begin_big(&in->dead, in->line.number, in->line.max);
		if (in->ended && in->ack)
			ack_stop(in->ack, "a record was refused: it is too large");
	}
	dead_more_big(&in->dead, piece);
}

static void end_big(struct input *in)
{
	if (in->big)
		dead_end_big(&in->dead);
	in->big = false;
}

bool input_next(struct input *in, struct span *text)
{
	if (in->held)
		take_piece(in, in->piece, true);
	while (!in->ended && !in->held) {
		switch (line_next(&in->line, text)) {
		case LINE_WHOLE:
			metrics.records_in++;
			return true;
		case LINE_PART:
			take_piece(in, *text, in->line.started);
			break;
		case LINE_LAST:
			dead_more_big(&in->dead, *text);
			if (in->on_big)
				in->on_big(in->ctx, &in->big_label);
			else
				input_account(in, &in->big_label);
			end_big(in);
			break;
		case LINE_TORN:
			in->big_label = (struct ack_label){0};
			if (in->big && in->on_big)
				in->on_big(in->ctx, &in->big_label);
			end_big(in);
			in->torn = in->line.number;
			break;
		case LINE_END:
			in->ended = true;
			break;
		case LINE_NONE:
			return false;
		}
	}
	return false;
}

void input_refuse(struct input *in, enum errclass c, struct span line, bool is_record,
	uint64_t number, const char *fmt, ...)
{
	char message[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (dead_refuse(&in->dead, c, line, is_record, number, "%s", message))
		return;
	in->ended = true;
	if (in->ack) {
		char reason[500];

		snprintf(reason, sizeof(reason), "a record was refused: %s (%s)", message,
			errclass_name(c));
		ack_stop(in->ack, reason);
	}
}

void input_account(struct input *in, const struct ack_label *label)
{
	if (in->ack && in->dead.policy != DEAD_STOP)
		ack_report(in->ack, dead_keeps(&in->dead) ? ACK_DEAD : ACK_DROP, label);
}

bool input_accounts(enum errclass c)
{
	return c != CLASS_JSON_DECODE;
}

int input_close(struct input *in)
{
	int status = dead_close(&in->dead);

	if (in->torn) {
		msg_error("line %llu: the input ends without a line end; the torn line is left out",
			(unsigned long long)in->torn);
		status = EXIT_TEMP;
	}
	line_free(&in->line);
	buf_free(&in->big_text);
	return status;
}
