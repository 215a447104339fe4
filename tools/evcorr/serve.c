/* SPDX-License-Identifier: ISC */
/* evcorr serve - any program answers the calls of a topic.
 *
 * DESIGN: a filter from requests to replies, for `kread -g … | evcorr serve -- CMD | kwrite -p
 * have`.
 *
 * - A request is taken from the input only when a worker is free for it; so at most one a worker is
 *   here, and the
 *   rest stays where it can be read again. Whether its deadline is over is judged then.
 * - Each request that is taken makes one reply, which has its seq: a worker's answer, or an error.
 *   Replies are in the
 *   order in which they are made. What is not served is declared dropped, or refused.
 * - Nothing is reported of a request that has a reply: whoever delivers the reply does it. So a
 *   kill of anything here
 *   has the request read again.
 * - EOF: what workers have is answered, their input ends, and they are waited for. First SIGTERM:
 *   ignored while input
 *   is open, and the workers do not see it; the second, or one after EOF, ends all at once. */
#include "evcorr/serve.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/opt.h"
#include "base/wake.h"
#include "evcorr/commands.h"
#include "flow/filter.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HELD_MS = 5000 }; /* after that long the source is told that a request is still at work */

/* ---- requests ---- */

static void refuse(struct serve *s, struct span text, bool is_record, const struct json_value *seq,
	const struct record_error *e)
{
	struct ack_label label = {0};

	input_refuse(&s->in, e->class, text, is_record, s->in.line.number, "%s", e->message);
	if (seq->type == JSON_STRING && input_accounts(e->class) && ack_take(&s->ack, seq, &label))
		input_account(&s->in, &label);
}

static void drop(struct serve *s, const struct json_value *seq)
{
	struct ack_label label = {0};

	metrics.dropped++;
	if (seq->type == JSON_STRING && ack_take(&s->ack, seq, &label))
		ack_report(&s->ack, ACK_DROP, &label);
}

static void on_line(struct serve *s, struct serve_worker *w, struct span text, int64_t now_ms)
{
	struct record_error e;
	struct record r;

	if (record_parse(&r, text, &e)) {
		record_hint_raw(&e);
		refuse(s, text, false, &r.seq, &e);
		return;
	}
	w->request.line = s->in.line.number;
	switch (serve_request_read(s, &r, &w->request, &e)) {
	case SERVE_TAKE:
		serve_work_begin(s, w, now_ms);
		break;
	case SERVE_EXPIRED:
		s->expired++;
		drop(s, &r.seq);
		break;
	case SERVE_CANNOT:
		serve_reply_error(s, &w->request, 400, "%s", e.message);
		break;
	case SERVE_REFUSE:
		refuse(s, text, true, &r.seq, &e);
		break;
	}
}

static struct serve_worker *taker(struct serve *s, int64_t now_ms)
{
	if (input_ended(&s->in) || out_pending(&s->out) >= OUT_BLOCK)
		return NULL;
	return serve_work_free(s, now_ms);
}

static void on_lines(struct serve *s, int64_t now_ms)
{
	struct serve_worker *w;
	struct span text;

	while (!input_wants(&s->in) && (w = taker(s, now_ms)) && input_next(&s->in, &text))
		on_line(s, w, text, now_ms);
}

/* ---- the loop ---- */

static void flush(struct serve *s)
{
	if (out_flush(&s->out) == 0)
		return;
	serve_work_kill(s);
	if (errno != EPIPE)
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	msg_error("the reader of standard output has gone");
	s->closed = true;
}

static void on_signal(struct serve *s)
{
	unsigned busy = serve_work_busy(s);

	if (!input_must_end(&s->in, out_stuck_ms(&s->out, wake_now_ms())))
		return;
	serve_work_kill(s);
	die(EXIT_TEMP, "ended by a signal with %u %s unanswered%s", busy,
		PLURAL(busy, "call", "calls"), input_ended(&s->in) ? "" : " and input left");
}

static void tell_source(struct serve *s, short revents, int64_t now_ms)
{
	int64_t since_ms = serve_work_since_ms(s);

	if (since_ms != INT64_MAX && now_ms >= since_ms + HELD_MS)
		ack_busy(&s->ack);
	else
		ack_idle(&s->ack);
	ack_serve(&s->ack, revents, now_ms);
	if (s->ack.trouble.status || s->trouble.status)
		input_stop(&s->in);
}

static int timeout_ms(const struct serve *s, int64_t now_ms)
{
	int64_t since_ms = serve_work_since_ms(s);
	int timeout = wake_least(metrics_tick(now_ms), ack_timeout_ms(&s->ack, now_ms));

	if (since_ms != INT64_MAX && now_ms < since_ms + HELD_MS)
		timeout = wake_least(timeout, (int)(since_ms + HELD_MS - now_ms));
	if (wake_signalled())
		timeout = wake_least(timeout, INPUT_LOOK_MS);
	return wake_least(timeout, serve_work_due_ms(s, now_ms));
}

static void turn(struct serve *s, int wake_fd)
{
	int64_t now_ms = wake_now_ms();
	bool can = taker(s, now_ms) && ack_greeted(&s->ack);
	struct pollfd p[4 + SERVE_WORKERS_MAX * CHILD_FDS] = {
		{.fd = wake_fd, .events = POLLIN},
		{.fd = STDOUT_FILENO, .events = out_events(&s->out)},
		{.fd = can && input_wants(&s->in) ? STDIN_FILENO : -1, .events = POLLIN},
		ack_pollfd(&s->ack),
	};
	nfds_t n = 4 + serve_work_poll(s, p + 4);

	if (poll(p, n, can && !input_wants(&s->in) ? 0 : timeout_ms(s, now_ms)) < 0) {
		wake_poll_failed();
		return;
	}
	now_ms = wake_now_ms();
	if (p[0].revents || input_ended(&s->in) || wake_signalled())
		on_signal(s);
	if (p[1].revents & OUT_GONE && !out_pending(&s->out))
		buf_putc(&s->out.b, '\n'); /* the write tells the reason */
	serve_work_serve(s, p + 4, now_ms);
	if (p[2].revents)
		input_read(&s->in);
	on_lines(s, now_ms);
	dead_sync(&s->in.dead);
	tell_source(s, p[3].revents, now_ms);
	flush(s);
}

/* Whether all is done: nothing comes in, nothing is at work, all is written, the workers have
 * ended. */
static bool is_over(struct serve *s)
{
	if (s->closed || s->trouble.status)
		return true;
	if (!input_ended(&s->in) || serve_work_busy(s))
		return false;
	return serve_work_end(s, wake_now_ms()) && !out_pending(&s->out);
}

static int finish(struct serve *s)
{
	int status;

	serve_work_kill(s);
	if (trouble_tell(&s->trouble) == EXIT_PERM)
		ack_stop(&s->ack, s->trouble.text);
	status = filter_finish(&s->in, &s->ack, &s->out, s->trouble.status, s->closed);
	child_end_all();
	return s->closed ? EXIT_TEMP : status;
}

/* ---- the command line ---- */

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct ident_opts ident;
	struct arg_str *workers, *format, *timeout, *skew, *reply_to, *command;
	struct arg_lit *nul;
} opt;

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evpipe kread -g shop requests '|' evcorr serve -P 4 -- ./price '|' kwrite -p have",
		"evcorr serve --format record -- jq -c --unbuffered '.payload |= ascii_upcase' <requests.ndjson",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evcorr",
		.summary =
			"Answers calls: gives requests to a command, and makes replies of what it prints.",
		.examples = examples,
	};

	opt.workers = arg_str0("P", NULL, "N", "workers, each with one call at a time (default 1)");
	opt.format = arg_str0(NULL, "format", "payload|record",
		"what a worker reads and prints, a line each (default payload)");
	opt.nul = arg_lit0("0", NULL, "payloads and answers end with NUL, not with a line end");
	opt.timeout = arg_str0(
		NULL, "timeout", "TIME", "time that a worker has for an answer (default 30s)");
	opt.skew = arg_str0(NULL, "skew", "TIME",
		"a deadline is over so much later: callers' clocks may be behind (default 0s)");
	opt.reply_to = arg_str0(NULL, "reply-to", "TOPIC[/PARTITION]",
		"where replies go to requests that do not say it");
	opt.command = opt_many(NULL, NULL, "CMD", 1,
		"command that prints a line for each line it reads; behind -- when it has options");
	opt_common(&opt.common);
	ident_opts(&opt.ident);
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	void *table[] = {opt.workers, opt.format, opt.nul, opt.timeout, opt.skew, opt.reply_to,
		opt.command, IDENT_ENTRIES(opt.ident), INPUT_ENTRIES(opt.input),
		ACK_ENTRIES(opt.ack), OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

static void take_options(struct serve *s)
{
	const char *format = opt_text(opt.format, "--format");
	const char *reply_to = opt_text(opt.reply_to, "--reply-to");

	s->count = (unsigned)opt_int(opt.workers, "-P", 1, 1, SERVE_WORKERS_MAX);
	s->timeout_ms = opt_duration_ms(opt.timeout, "--timeout", 30000);
	if (s->timeout_ms < 1 || s->timeout_ms > 86400000)
		opt_bad("--timeout takes a time from 1ms to a day");
	s->skew_ms = opt_duration_ms(opt.skew, "--skew", 0);
	if (format && strcmp(format, "payload") && strcmp(format, "record"))
		opt_bad("--format takes payload or record, not '%s'", format);
	s->records = format && strcmp(format, "record") == 0;
	if (s->records && opt.nul->count)
		opt_bad("-0 is for payloads: records are lines");
	s->end = opt.nul->count ? '\0' : '\n';
	if (reply_to &&
		ident_parse_reply_to((struct span){reply_to, strlen(reply_to)}, &s->reply_to,
			&s->reply_partition))
		opt_bad("--reply-to takes TOPIC or TOPIC/PARTITION, not '%s'", reply_to);
	ident_open(&s->ident, &opt.ident, NULL);
	s->argv = opt_command(opt.command);
}

static void register_metrics(struct serve *s)
{
	metrics_counts(METRICS_OUT | METRICS_DROPPED);
	metrics_counter("calls_expired_total", "Requests not served: their deadline was over.",
		METRICS_TOOL, &s->expired);
	metrics_counter("calls_failed_total", "Replies with a status of ours: 400, 500 and 504.",
		METRICS_TOOL, &s->failed);
	metrics_counter("calls_timed_out_total", "Calls that a worker has not answered in time.",
		METRICS_TOOL, &s->timeouts);
	metrics_counter("calls_unasked_total", "Workers ended since they printed without a call.",
		METRICS_TOOL, &s->unasked);
}

int serve_main(int argc, char **argv)
{
	static struct serve self;
	struct serve *s = &self;
	int wake_fd;

	parse_options(argc, argv);
	take_options(s);
	register_metrics(s);
	wake_fd = wake_open();
	input_open(&s->in, &opt.input, '\n', &s->ack, NULL, NULL);
	out_open(&s->out, STDOUT_FILENO);
	ack_open(&s->ack, ack_path(&opt.ack), ACK_FILTER);
	child_apart();
	serve_work_open(s);
	metrics_set_ready(true);
	while (!is_over(s))
		turn(s, wake_fd);
	return finish(s);
}
