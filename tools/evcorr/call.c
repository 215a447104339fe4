/* SPDX-License-Identifier: ISC */
/* evcorr call - send requests and print their replies.
 *
 * DESIGN: a filter that hands on, in place of each request, its reply, with the request's seq. What
 * a call is stands in calls.c; here are lines in and lines out.
 *
 * 	head <= … < tail	with --ordered: requests whose reply has not been printed, in the
 *  order of input
 *
 * - No request is read while no reply would be heard, while CMD does not read, or while standard
 *   output is full.
 * - A reply leaves the cache once it has been written.
 * - EOF: CMD's input ends, all calls end by reply or time-out, CMD ends, then exit. First SIGTERM:
 *   ignored while input
 *   is open; the second, or one after EOF, ends it at once. Replies that come later are found by
 *   `evcorr wait`. */
#include "evcorr/calls.h"
#include "evcorr/commands.h"
#include "evcorr/print.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/out.h"
#include "base/wake.h"
#include "flow/filter.h"
#include "flow/input.h"
#include "net/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	HELD_MS = 5000, /* after that long the source is told that records are held */
	OUTPUT_MAX =
		4 << 20, /* bytes of replies that are not written, above which no request is read */
};

/* A request on its way. */
struct request {
	char *seq, *key; /* JSON texts; NULL: it has none */
	uint64_t order; /* its number */
};

/* --ordered: a request whose reply waits for those before it. */
struct place {
	struct buf lines, id;
	bool is_done;
};

struct call {
	struct calls calls;
	struct input in;
	struct ack ack;
	struct out out;
	bool raw, ordered, gone; /* gone: the reader of standard output */
	struct place *places; /* a ring of `room` */
	uint64_t room, head, tail;
	size_t held; /* bytes of lines in places */
	uint64_t sent;
	struct buf record, line;
	int64_t moved_ms; /* when a call has ended last, or there was none */
	int64_t heard_ms; /* when a reply would have been heard */
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct ack_opts ack;
	struct calls_opts calls;
	struct arg_lit *raw, *ordered;
} opt;

static struct call program;

/* ---- replies ---- */

static struct place *place(struct call *s, uint64_t order)
{
	return &s->places[order % s->room];
}

/* Where no reply has come, what stands in the key is not the call's. */
static bool is_taken(const struct calls_result *result)
{
	return result->is_last && result->had;
}

static void write_places(struct call *s)
{
	for (; s->head < s->tail && place(s, s->head)->is_done; s->head++) {
		struct place *p = place(s, s->head);

		buf_span(&s->out.b, buf_as_span(&p->lines));
		if (p->id.len)
			calls_taken(&s->calls, buf_as_span(&p->id));
		s->held -= p->lines.len;
		buf_free(&p->lines);
		buf_clear(&p->id);
		p->is_done = false;
	}
}

static void keep(struct call *s, uint64_t order, const struct calls_result *result)
{
	struct place *p = place(s, order);

	buf_span(&p->lines, buf_as_span(&s->line));
	s->held += s->line.len;
	p->is_done = result->is_last;
	buf_span(&p->id, is_taken(result) ? result->id : SPAN(""));
}

static void on_result(void *self, const struct calls_result *result)
{
	struct request *q = result->user;
	struct call *s = self;

	buf_clear(&s->line);
	if (result->line.p)
		print_reply(&s->calls.ident, result->line, q->seq, &s->line);
	else
		print_timeout(&s->calls.ident, result->id, q->key, q->seq, &s->line);
	buf_putc(&s->line, '\n');
	metrics.records_out++;
	s->moved_ms = s->calls.now_ms;
	if (s->ordered) {
		keep(s, q->order, result);
		write_places(s);
	} else {
		buf_span(&s->out.b, buf_as_span(&s->line));
		if (is_taken(result))
			calls_taken(&s->calls, result->id);
	}
	if (!result->is_last)
		return;
	free(q->seq);
	free(q->key);
	free(q);
}

/* ---- requests ---- */

static void refuse(
	struct call *s, struct span text, const struct record *r, const struct record_error *e)
{
	struct ack_label label = {0};

	input_refuse(&s->in, e->class, text, !s->raw && r->payload_name, s->in.line.number, "%s",
		e->message);
	if (r->seq.type == JSON_STRING && input_accounts(e->class) &&
		ack_take(&s->ack, &r->seq, &label))
		input_account(&s->in, &label);
}

/* A member's JSON text; NULL: it is not there. */
static char *copy(const struct json_value *v)
{
	if (v->type != JSON_STRING)
		return NULL;
	return span_text((struct span){v->text.p - 1, v->text.len + 2});
}

static struct request *request(struct call *s, const struct record *r)
{
	struct request *q = mem_alloc(sizeof(*q));

	*q = (struct request){.seq = copy(&r->seq), .key = copy(&r->key), .order = s->tail};
	return q;
}

static struct span as_record(struct call *s, struct span payload)
{
	buf_clear(&s->record);
	buf_putc(&s->record, '{');
	record_put_bytes(&s->record, "payload", payload);
	buf_putc(&s->record, '}');
	return buf_as_span(&s->record);
}

static void on_line(struct call *s, struct span text)
{
	struct record r = {.line = text};
	struct record_error e = {0};
	struct request *q;

	if (record_parse(&r, s->raw ? as_record(s, text) : text, &e)) {
		record_hint_raw(&e);
		refuse(s, text, &r, &e);
		return;
	}
	q = request(s, &r);
	if (calls_send(&s->calls, &r, s->calls.timeout_ms, q, &e)) {
		s->sent++;
		s->tail++;
		return;
	}
	free(q->seq);
	free(q->key);
	free(q);
	refuse(s, text, &r, &e);
}

static bool has_room(const struct call *s)
{
	return calls_room(&s->calls) && out_pending(&s->out) + s->held < OUTPUT_MAX &&
		(!s->ordered || s->tail - s->head < s->room);
}

static void on_lines(struct call *s)
{
	struct span text;

	while (!input_wants(&s->in) && has_room(s) && input_next(&s->in, &text))
		on_line(s, text);
}

/* ---- the loop ---- */

static void flush(struct call *s)
{
	if (out_flush(&s->out) == 0) {
		if (!out_pending(&s->out))
			calls_let_go(&s->calls);
		return;
	}
	if (errno != EPIPE)
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	msg_error("the reader of standard output has gone");
	s->gone = true;
}

static void on_signal(struct call *s, int64_t now_ms)
{
	int64_t still_ms = out_stuck_ms(&s->out, now_ms);

	if (now_ms - s->heard_ms > still_ms)
		still_ms = now_ms - s->heard_ms;
	if (input_must_end(&s->in, still_ms))
		die(EXIT_TEMP, "ended by a signal: %zu %s no reply yet%s", calls_count(&s->calls),
			PLURAL(calls_count(&s->calls), "call has", "calls have"),
			input_ended(&s->in) ? "" : ", and input is left");
}

static void report(struct call *s, int64_t now_ms)
{
	bool waits = calls_count(&s->calls) || (!calls_hears(&s->calls) && !input_ended(&s->in));

	if (!waits)
		s->moved_ms = now_ms;
	if (now_ms - s->moved_ms >= HELD_MS)
		ack_busy(&s->ack);
	else
		ack_idle(&s->ack);
}

static bool runs(const struct call *s)
{
	if (s->gone)
		return false;
	return !input_ended(&s->in) || !calls_over(&s->calls) || out_pending(&s->out);
}

static int timeout_ms(struct call *s, int64_t now_ms)
{
	int ms = wake_least(metrics_tick(now_ms), ack_timeout_ms(&s->ack, now_ms));

	ms = wake_least(ms, calls_timeout_ms(&s->calls, now_ms));
	if (wake_signalled())
		ms = wake_least(ms, INPUT_LOOK_MS);
	if (calls_count(&s->calls) && s->moved_ms + HELD_MS > now_ms)
		ms = wake_least(ms, (int)(s->moved_ms + HELD_MS - now_ms));
	return !input_wants(&s->in) && !input_ended(&s->in) && has_room(s) ? 0 : ms;
}

static void turn(struct call *s, int wake_fd)
{
	enum { WAKE, OUTPUT, INPUT, ACK, OWN };
	int64_t now_ms = wake_now_ms();
	bool reads = input_wants(&s->in) && has_room(s) && ack_greeted(&s->ack);
	struct pollfd p[OWN + CALLS_FDS] = {
		[WAKE] = {.fd = wake_fd, .events = POLLIN},
		[OUTPUT] = {.fd = STDOUT_FILENO, .events = out_events(&s->out)},
		[INPUT] = {.fd = reads ? STDIN_FILENO : -1, .events = POLLIN},
		[ACK] = ack_pollfd(&s->ack),
	};
	nfds_t n = OWN + (nfds_t)calls_poll(&s->calls, p + OWN);

	if (poll(p, n, timeout_ms(s, now_ms)) < 0) {
		wake_poll_failed();
		return;
	}
	now_ms = wake_now_ms();
	if (calls_hears(&s->calls))
		s->heard_ms = now_ms;
	if (p[WAKE].revents || input_ended(&s->in) || wake_signalled())
		on_signal(s, now_ms);
	if (p[OUTPUT].revents & OUT_GONE && !out_pending(&s->out))
		buf_putc(&s->out.b, '\n'); /* the write tells the reason */
	calls_serve(&s->calls, p + OWN, now_ms);
	if (p[INPUT].revents)
		input_read(&s->in);
	on_lines(s);
	if (s->calls.trouble.status || s->ack.trouble.status)
		input_stop(&s->in);
	if (input_ended(&s->in))
		calls_end_input(&s->calls);
	dead_sync(&s->in.dead);
	report(s, now_ms);
	ack_serve(&s->ack, p[ACK].revents, now_ms);
	flush(s);
	calls_flush(&s->calls, now_ms);
	metrics_set_ready(calls_hears(&s->calls));
}

static int finish(struct call *s)
{
	struct trouble *t = &s->calls.trouble;
	int status;

	if (s->calls.timeouts)
		trouble_set(t, EXIT_TIMEOUT, "%llu of %llu %s timed out",
			(unsigned long long)s->calls.timeouts, (unsigned long long)s->sent,
			PLURAL(s->sent, "call has", "calls have"));
	if (trouble_tell(t) == EXIT_PERM)
		ack_stop(&s->ack, t->text);
	status = filter_finish(&s->in, &s->ack, &s->out, t->status, s->gone);
	calls_close(&s->calls);
	child_end_all();
	return s->gone ? EXIT_TEMP : status;
}

/* ---- the command line ---- */

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evcorr call --timeout 1m --raw --reply-to replies -- kwrite -t requests <requests.txt",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evcorr",
		.summary =
			"Hands requests, with an id, to a command's standard input, and prints their replies.",
		.examples = examples,
		.libraries = {link_library, tls_library},
	};

	calls_opts(&opt.calls);
	opt.raw = arg_lit0(NULL, "raw", "each line is a payload, not a record");
	opt.ordered = arg_lit0(NULL, "ordered", "print replies in the order of the requests");
	opt.calls.command = opt_many(NULL, NULL, "CMD", 1,
		"command that takes requests to their topic; behind -- when it has options");
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	ack_opts(&opt.ack);
	opt_common(&opt.common);
	void *table[] = {CALLS_ENTRIES(opt.calls), opt.raw, opt.ordered, opt.calls.command,
		INPUT_ENTRIES(opt.input), ACK_ENTRIES(opt.ack), OPT_COMMON_ENTRIES(opt.common),
		arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
}

int call_main(int argc, char **argv)
{
	struct call *s = &program;
	int wake_fd;

	parse_options(argc, argv);
	s->raw = opt.raw->count;
	s->ordered = opt.ordered->count;
	metrics_counts(METRICS_OUT);
	wake_fd = wake_open();
	input_open(&s->in, &opt.input, '\n', &s->ack, NULL, NULL);
	out_open(&s->out, STDOUT_FILENO);
	ack_open(&s->ack, ack_path(&opt.ack), ACK_FILTER);
	s->moved_ms = s->heard_ms = wake_now_ms();
	calls_open(&s->calls, &opt.calls, on_result, s);
	if (s->calls.replies > 1 && ack_path(&opt.ack))
		opt_bad("--replies above 1 makes several records of one, which no source can account for");
	s->room = s->calls.table.cap;
	s->places = mem_alloc(s->room * sizeof(*s->places));
	memset(s->places, 0, s->room * sizeof(*s->places));
	while (runs(s))
		turn(s, wake_fd);
	return finish(s);
}
