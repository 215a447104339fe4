/* SPDX-License-Identifier: ISC */
/* evbatch - run any program safely in the middle of a pipe, a batch at a time.
 *
 * DESIGN: a program that knows nothing of seq may drop, split, fold or reorder records as it likes,
 * if it is run on a batch: evbatch keeps the output until it has ended and the program has exited
 * with 0. Then each record of the output gets as its label just the numbers of the batch, as part I
 * of P. The source takes these numbers for final when all P parts are. No output at all is a
 * declared drop.
 *
 * 	head <= … < tail	batches, in the order of input
 *
 * - The last batch may still be filling; the others run (at most -P), wait for their next attempt,
 *   or are
 *   done; batches are written in order, one output line at a time as standard output takes them.
 * - A batch is run when it is full, when its first record is -t old, or when no more can come, and
 *   there
 *   is a run free for it. Input is read while there is a batch to put it into.
 * - A failed run has written nothing and is tried again; after ATTEMPTS of them the batches before
 *   it are
 *   finished, and all from it on stays open.
 * - EOF: all batches are written, then exit. First SIGTERM: ignored while input is open, and the
 *   command
 *   does not see it; the second, or one after EOF, ends it and the command at once. */
#include "ack/client.h"
#include "base/mem.h"
#include "base/msg.h"
#include "evbatch/evbatch.h"
#include "flow/filter.h"
#include "flow/input.h"
#include "base/metrics.h"
#include "base/opt.h"
#include "base/out.h"
#include "record/record.h"
#include "base/wake.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	INPUT_MAX = 16 << 20, /* bytes after which a batch is full */
	RANGES_MAX =
		4096, /* ranges of numbers after which a batch is full: they stand in each label */
};

/* ---- trouble ---- */

/* Input ends, and the batches from @cut on are forgotten: neither written nor reported. */
static void forget_from(struct evbatch *s, uint64_t cut)
{
	input_stop(&s->in);
	for (; s->tail > cut; s->tail--) {
		struct evbatch_batch *b = evbatch_at(s, s->tail - 1);

		s->running -= b->state == BATCH_RUNS;
		child_kill(&b->command);
	}
}

/* The same, and s->trouble is said, to the source too when it is permanent. */
void evbatch_give_up(struct evbatch *s, uint64_t cut)
{
	if (s->trouble.status != s->reported) {
		s->reported = trouble_tell(&s->trouble);
		if (s->reported == EXIT_PERM)
			ack_stop(&s->ack, s->trouble.text);
	}
	forget_from(s, cut);
}

/* ---- input to batches ---- */

bool evbatch_is_full(const struct evbatch *s, const struct evbatch_batch *b)
{
	return b->records >= s->batch_records || b->input.len >= INPUT_MAX ||
		b->numbers.count >= RANGES_MAX;
}

/* The batch for the next record; NULL: no batch has room. */
static struct evbatch_batch *open_batch(struct evbatch *s)
{
	struct evbatch_batch *b = s->tail > s->head ? evbatch_at(s, s->tail - 1) : NULL;

	if (b && b->state == BATCH_FILLING)
		return evbatch_is_full(s, b) ? NULL : b;
	return s->tail - s->head <= s->runs ? evbatch_at(s, s->tail) : NULL;
}

static void begin(struct evbatch *s, struct evbatch_batch *b)
{
	b->state = BATCH_FILLING;
	b->records = 0;
	b->first_line = s->in.line.number;
	b->since_ms = wake_now_ms();
	b->backoff_ms = 0;
	b->attempts = 0;
	b->labelled = false;
	numbers_clear(&b->numbers);
	buf_clear(&b->input);
	s->tail++;
}

/* Notes the numbers of a record. Returns false when it must not be taken. */
static bool take_label(struct evbatch *s, struct evbatch_batch *b, const struct json_value *seq)
{
	struct span text, run, rest;
	struct label label;
	uint64_t from, to;

	buf_clear(&s->scratch);
	/* A seq that is not evpipe's is no label. */
	if (seq->type != JSON_STRING || json_string(seq, &s->scratch, &text) ||
		label_split(text, &run, &rest) || label_parse(&label, rest))
		return true;
	if (label.parts) {
		trouble_set(&s->trouble, EXIT_PERM,
			"line %llu: the record is part of another already: evbatch does not nest; put both commands under one: evbatch -- sh -c 'first | second'",
			(unsigned long long)s->in.line.number);
		evbatch_give_up(s, s->tail);
		return false;
	}
	if (b->labelled && memcmp(b->run, run.p, LABEL_RUN_LEN)) {
		trouble_set(&s->trouble, EXIT_PERM,
			"line %llu: records of two sources: run two pipelines",
			(unsigned long long)s->in.line.number);
		evbatch_give_up(s, s->tail);
		return false;
	}
	memcpy(b->run, run.p, LABEL_RUN_LEN);
	b->labelled = true;
	if (label.is_name)
		numbers_add_name(&b->numbers, label.set);
	while (!label.is_name && label_range(&label.set, &from, &to))
		numbers_add(&b->numbers, from, to);
	return true;
}

static void refuse_input(
	struct evbatch *s, struct span text, const struct record *r, const struct record_error *e)
{
	struct ack_label label = {0};

	input_refuse(&s->in, e->class, text, false, s->in.line.number, "%s", e->message);
	if (r->seq.type == JSON_STRING && input_accounts(e->class) &&
		ack_take(&s->ack, &r->seq, &label))
		input_account(&s->in, &label);
}

static void on_line(struct evbatch *s, struct evbatch_batch *b, struct span text)
{
	struct record_error e;
	struct record r;

	if (record_parse(&r, text, &e)) {
		refuse_input(s, text, &r, &e);
		return;
	}
	if (s->tail == s->head || b != evbatch_at(s, s->tail - 1))
		begin(s, b);
	if (!take_label(s, b, &r.seq))
		return;
	buf_span(&b->input, text);
	buf_putc(&b->input, '\n');
	b->records++;
}

/* Whether there may be lines, and a batch that takes one. */
static bool can_take(struct evbatch *s)
{
	return !input_wants(&s->in) && !input_ended(&s->in) && open_batch(s);
}

static void on_lines(struct evbatch *s)
{
	struct span text;

	while (can_take(s) && input_next(&s->in, &text))
		on_line(s, open_batch(s), text);
}

static bool wants_input(struct evbatch *s)
{
	return input_wants(&s->in) && open_batch(s) && ack_greeted(&s->ack);
}

/* ---- the loop ---- */

static void flush(struct evbatch *s)
{
	if (out_flush(&s->out) == 0)
		return;
	if (errno != EPIPE) {
		forget_from(s, s->head);
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	}
	msg_error("the reader of standard output has gone");
	s->closed = true;
}

static void on_signal(struct evbatch *s)
{
	if (!input_must_end(&s->in, out_stuck_ms(&s->out, wake_now_ms())))
		return;
	forget_from(s, s->head);
	die(EXIT_TEMP, "ended by a signal with %llu %s unfinished%s",
		(unsigned long long)(s->tail - s->head),
		PLURAL(s->tail - s->head, "batch", "batches"),
		input_ended(&s->in) ? "" : " and input left");
}

static void turn(struct evbatch *s, int wake_fd)
{
	int64_t now_ms = wake_now_ms();
	int timeout = wake_least(metrics_tick(now_ms), ack_timeout_ms(&s->ack, now_ms));
	bool more = can_take(s) || output_can_write(s);
	struct pollfd p[4 + EVBATCH_RUNS_MAX * CHILD_FDS] = {
		{.fd = wake_fd, .events = POLLIN},
		{.fd = STDOUT_FILENO, .events = out_events(&s->out)},
		{.fd = wants_input(s) ? STDIN_FILENO : -1, .events = POLLIN},
		ack_pollfd(&s->ack),
	};
	nfds_t n = 4 + runs_poll(s, p + 4);

	if (wake_signalled())
		timeout = wake_least(timeout, INPUT_LOOK_MS);
	if (poll(p, n, more ? 0 : wake_least(timeout, runs_due_ms(s, now_ms))) < 0) {
		wake_poll_failed();
		return;
	}
	now_ms = wake_now_ms();
	if (p[0].revents || input_ended(&s->in) || wake_signalled())
		on_signal(s);
	if (p[1].revents & OUT_GONE && !out_pending(&s->out))
		buf_putc(&s->out.b, '\n'); /* the write tells the reason */
	runs_serve(s, p + 4, now_ms);
	if (p[2].revents)
		input_read(&s->in);
	if (output_write(s))
		evbatch_give_up(s, s->head);
	on_lines(s);
	runs_start(s, now_ms);
	dead_sync(&s->in.dead);
	if (runs_are_slow(s, now_ms))
		ack_busy(&s->ack);
	else
		ack_idle(&s->ack);
	ack_serve(&s->ack, p[3].revents, now_ms);
	if (s->ack.trouble.status)
		input_stop(&s->in);
	flush(s);
}

static int finish(struct evbatch *s)
{
	int status;

	forget_from(s, s->head);
	status = filter_finish(&s->in, &s->ack, &s->out, s->trouble.status, s->closed);
	child_end_all();
	return s->closed ? EXIT_TEMP : status;
}

/* ---- the command line ---- */

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct arg_str *records, *time, *runs, *command;
} opt;

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kread -e orders | evbatch -- jq -c 'select(.key)' | kwrite -t payments",
		"evbatch -n 100 -P 2 -- sh -c 'sort | uniq' <records.ndjson",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evbatch",
		.summary = "Runs any program safely in the middle of a pipe, a batch at a time.",
		.examples = examples,
		.runs_command = true,
	};

	opt.records = arg_str0("n", NULL, "N", "records of a batch (default 500)");
	opt.time = arg_str0("t", NULL, "TIME",
		"time after which a batch is run that is not full (default 200ms)");
	opt.runs = arg_str0("P", NULL, "N", "batches that run side by side (default 1)");
	opt.command = opt_many(NULL, NULL, "CMD", 1,
		"command that reads records and writes records; behind -- when it has options");
	opt_common(&opt.common);
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	void *table[] = {opt.records, opt.time, opt.runs, opt.command, INPUT_ENTRIES(opt.input),
		ACK_ENTRIES(opt.ack), OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void take_options(struct evbatch *s)
{
	s->batch_records = (uint64_t)opt_int(opt.records, "-n", 500, 1, 100000);
	s->batch_ms = opt_duration_ms(opt.time, "-t", 200);
	if (s->batch_ms > 3600000)
		opt_bad("-t takes a time up to an hour");
	s->runs = (unsigned)opt_int(opt.runs, "-P", 1, 1, EVBATCH_RUNS_MAX);
	s->argv = opt_command(opt.command);
}

int main(int argc, char **argv)
{
	static struct evbatch self;
	struct evbatch *s = &self;
	int wake_fd;

	parse_options(argc, argv);
	take_options(s);
	metrics_counts(METRICS_OUT | METRICS_DROPPED);
	wake_fd = wake_open();
	input_open(&s->in, &opt.input, '\n', &s->ack, NULL, NULL);
	out_open(&s->out, STDOUT_FILENO);
	ack_open(&s->ack, ack_path(&opt.ack), ACK_FILTER);
	child_apart();
	metrics_set_ready(true);
	while (!s->closed && (!input_ended(&s->in) || s->head < s->tail || out_pending(&s->out)))
		turn(s, wake_fd);
	return finish(s);
}
