/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "flow/input.h"

#include "base/msg.h"
#include "base/metrics.h"
#include "base/wake.h"
#include "record/record.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A server or a reader that is there again sooner was not away, for the user who ends the
 * program. */
enum { STILL_MS = 1000 };

const struct opt_hint input_hints[] = {
	{"", "records come by standard input: <FILE"},
	{0},
};

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

void input_open(struct input *in, const struct input_opts *o, char end, struct ack *ack,
	dead_give_fn *give, void *ctx)
{
	*in = (struct input){.ack = ack, .drained = true};
	metrics_counts(METRICS_IN);
	dead_open(&in->dead, opt_text(o->on_error, "--on-error"),
		opt_file(o->dead_letter, "--dead-letter"), give, ctx);
	if (dead_is_file_of(&in->dead, STDIN_FILENO))
		die(EXIT_PERM,
			"the dead-letter file '%s' is the input itself, and would grow for ever: give another one",
			in->dead.file);
	line_init(&in->line, STDIN_FILENO, end,
		(size_t)opt_size(o->max_line, "--max-line", LINE_MAX_DEFAULT));
}

void input_read_as_it_stands(struct input *in)
{
	off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);
	struct stat st;

	if (at >= 0 && fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > at)
		in->line.left = (uint64_t)(st.st_size - at);
}

const char *input_dead_topic(const struct input *in)
{
	return in->dead.policy == DEAD_TOPIC ? in->dead.file + strlen("kafka:") : NULL;
}

void input_read(struct input *in)
{
	if (line_read(&in->line) < 0 && errno != EINTR && errno != EAGAIN)
		die(EXIT_TEMP, "cannot read standard input: %s", msg_errno(errno));
	in->drained = false;
}

bool input_is_closed(const struct input *in)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLRDHUP};
	struct stat st;

	if (in->ended || in->line.eof)
		return true;
	/* A device that is no terminal, such as /dev/null, has no writer that could close it. */
	if (fstat(STDIN_FILENO, &st) == 0 &&
		(S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(STDIN_FILENO))))
		return true;
	return poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLRDHUP | POLLERR);
}

bool input_must_end(struct input *in, int64_t still_ms)
{
	int64_t now_ms = wake_now_ms();

	if (wake_stops() && !in->signal_ms)
		in->signal_ms = now_ms;
	/* Before the source has greeted nothing is read, and it may never do. */
	if (!ack_greeted(in->ack) && still_ms < now_ms - in->signal_ms)
		still_ms = now_ms - in->signal_ms;
	if (wake_stops() && still_ms >= STILL_MS && input_is_closed(in))
		return true;
	return wake_must_end(in->ended);
}

enum input_got input_take(struct input *in, struct span *text)
{
	if (in->ended)
		return INPUT_NONE;
	switch (line_next(&in->line, text)) {
	case LINE_WHOLE:
		metrics.records_in++;
		return INPUT_LINE;
	case LINE_LONG:
		metrics.records_in++;
		return INPUT_LONG;
	case LINE_TORN:
		in->torn = in->line.number;
		in->ended = true;
		break;
	case LINE_END:
		in->ended = true;
		break;
	case LINE_NONE:
		in->drained = true;
		break;
	}
	return INPUT_NONE;
}

static void stop(struct input *in, const char *reason)
{
	in->ended = true;
	ack_stop(in->ack, reason);
}

void input_refuse_long(struct input *in, struct span text, struct ack_label *label)
{
	struct record_error e;
	struct record r;

	*label = (struct ack_label){0};
	record_parse(&r, text, &e);
	if (r.seq.type == JSON_STRING)
		ack_take(in->ack, &r.seq, label);
	if (!dead_refuse_long(&in->dead, text, in->line.length, in->line.max, in->line.number))
		stop(in, "a record was refused: it is too large");
}

bool input_next(struct input *in, struct span *text)
{
	enum input_got got;
	struct ack_label label;

	while ((got = input_take(in, text)) == INPUT_LONG) {
		input_refuse_long(in, *text, &label);
		input_account(in, &label);
	}
	return got == INPUT_LINE;
}

void input_refuse(struct input *in, enum errclass c, struct span line, bool is_record,
	uint64_t number, const char *fmt, ...)
{
	char message[400], reason[500];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (dead_refuse(&in->dead, c, line, is_record, number, "%s", message))
		return;
	snprintf(
		reason, sizeof(reason), "a record was refused: %s (%s)", message, errclass_name(c));
	stop(in, reason);
}

void input_account(struct input *in, const struct ack_label *label)
{
	if (in->dead.policy != DEAD_STOP)
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
		msg_error(in->line.framed
				? "frame %llu: the input ends within it; the torn frame is left out (len32: before each payload its length, four bytes, big endian)"
				: "line %llu: the input ends without a line end; the torn line is left out (end it: printf '%%s\\n')",
			(unsigned long long)in->torn);
		status = EXIT_TEMP;
	}
	line_free(&in->line);
	return status;
}
