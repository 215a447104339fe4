/* SPDX-License-Identifier: ISC */
#include "flow/filter.h"

#include "base/msg.h"
#include "flow/input.h"
#include "base/metrics.h"
#include "base/out.h"
#include "base/trouble.h"
#include "base/wake.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct run {
	const struct filter *f;
	struct input in;
	struct out out;
	struct ack ack;
	bool gone; /* the reader of standard output */
	int64_t later_ms; /* until a kept record is due; -1: none is kept */
	int64_t tick_ms; /* until tick is due */
	bool ticked_ended;
};

static enum filter_verdict judge(
	struct run *r, struct span text, const struct record *record, struct record_error *e)
{
	const struct filter *f = r->f;

	if (f->line)
		return f->line(f->self, text, record, &r->out.b, e);
	return record ? f->each(f->self, record, &r->out.b, e) : FILTER_REFUSE;
}

static void on_line(struct run *r, struct span text)
{
	struct record_error e = {0};
	struct ack_label label = {0};
	struct record record;
	size_t before = r->out.b.len;
	bool is_record = record_parse(&record, text, &e) == 0;
	bool ours = true;

	if (is_record || (record.seq.type == JSON_STRING && input_accounts(e.class)))
		ours = ack_take(&r->ack, &record.seq, &label);
	switch (ours ? judge(r, text, is_record ? &record : NULL, &e) : FILTER_PASS) {
	case FILTER_PASS:
		buf_span(&r->out.b, text);
		break;
	case FILTER_EDITED:
		break;
	case FILTER_KEEP:
		return;
	case FILTER_DROP:
		metrics.dropped++;
		ack_report(&r->ack, ACK_DROP, &label);
		return;
	case FILTER_REFUSE:
		r->out.b.len = before;
		input_refuse(&r->in, e.class, text, is_record, r->in.line.number, "%s", e.message);
		input_account(&r->in, &label);
		return;
	}
	if (!r->f->prints)
		buf_putc(&r->out.b, '\n');
	metrics.records_out++;
}

static void on_input(struct run *r)
{
	struct span text;

	input_read(&r->in);
	while (input_next(&r->in, &text))
		on_line(r, text);
	dead_sync(&r->in.dead);
}

static bool has_room(const struct run *r)
{
	return out_pending(&r->out) < OUT_BLOCK;
}

/* Records that were kept. The source is told that some are. */
static void on_time(struct run *r)
{
	const struct filter *f = r->f;

	if (!f->later)
		return;
	if (has_room(r))
		r->later_ms = f->later->emit(f->self, wake_now_ms(), input_ended(&r->in), &r->out.b,
			&metrics.records_out);
	if (r->later_ms < 0)
		ack_idle(&r->ack);
	else
		ack_busy(&r->ack);
}

static void on_tick(struct run *r)
{
	const struct filter *f = r->f;
	bool ended = input_ended(&r->in);

	if (!f->tick || r->ticked_ended)
		return;
	r->ticked_ended = ended;
	r->tick_ms = f->tick(f->self, wake_now_ms(), ended, &r->out.b);
	if (r->tick_ms == FILTER_QUIT)
		input_stop(&r->in);
}

static void on_output(struct run *r)
{
	if (out_flush(&r->out) == 0)
		return;
	if (errno != EPIPE)
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	if (!r->f->prints)
		msg_error("the reader of standard output has gone");
	r->gone = true;
}

/* What a file has left can be read again, and may take days to become due. */
static int64_t still_ms(const struct run *r)
{
	struct stat st;

	if (r->f->later && fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode))
		return INT64_MAX;
	return out_stuck_ms(&r->out, wake_now_ms());
}

static void on_signal(struct run *r)
{
	if (r->f->ends_on_signal && wake_stops())
		input_stop(&r->in);
	else if (input_must_end(&r->in, still_ms(r)))
		die(EXIT_TEMP, "ended by a signal with %s left",
			input_ended(&r->in) ? "output" : "input");
}

/* Reports leave before standard output is closed: a source that drains sees them before the end. */
int filter_finish(struct input *in, struct ack *ack, struct out *out, int status, bool gone)
{
	int reported = EXIT_DONE, refused;

	if (gone || status == EXIT_TEMP)
		ack_abandon(ack);
	else
		reported = ack_close(ack);
	if (!gone && out_close(out))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	refused = input_close(in);
	metrics_flush();
	return trouble_worse(trouble_worse(status, reported), refused);
}

static int finish(struct run *r)
{
	int status = filter_finish(&r->in, &r->ack, &r->out, EXIT_DONE, r->gone);

	return r->gone && !r->f->prints ? EXIT_TEMP : status;
}

/* Whether there is something left to do. */
static bool goes_on(const struct run *r)
{
	bool keeps = r->later_ms >= 0 && !r->ack.trouble.status;

	return !r->gone && (!input_ended(&r->in) || out_pending(&r->out) || keeps);
}

static bool wants_input(const struct run *r)
{
	const struct filter *f = r->f;

	return input_wants(&r->in) && has_room(r) && ack_greeted(&r->ack) &&
		!(f->later && f->later->is_full(f->self));
}

static int timeout_ms(const struct run *r)
{
	int64_t now_ms = wake_now_ms();
	int ms = wake_least(metrics_tick(now_ms), ack_timeout_ms(&r->ack, now_ms));

	if (wake_signalled())
		ms = wake_least(ms, INPUT_LOOK_MS);
	if (r->tick_ms >= 0)
		ms = wake_least(ms, (int)r->tick_ms);
	return has_room(r) ? wake_least(ms, (int)r->later_ms) : ms;
}

int filter_run(const struct filter *f)
{
	struct run r = {.f = f, .later_ms = -1, .tick_ms = f->tick ? 0 : -1};
	int wake_fd = wake_open();

	metrics_counts(METRICS_OUT | METRICS_DROPPED);
	input_open(&r.in, f->input, '\n', &r.ack, NULL, NULL);
	if (f->reads_as_it_stands)
		input_read_as_it_stands(&r.in);
	out_open(&r.out, STDOUT_FILENO);
	ack_open(&r.ack, f->ack ? ack_path(f->ack) : NULL, ACK_FILTER);
	metrics_set_ready(true);
	while (goes_on(&r)) {
		struct pollfd p[] = {
			{.fd = wake_fd, .events = POLLIN},
			{.fd = STDOUT_FILENO, .events = out_events(&r.out)},
			{.fd = wants_input(&r) ? STDIN_FILENO : -1, .events = POLLIN},
			ack_pollfd(&r.ack),
		};

		if (poll(p, 4, timeout_ms(&r)) < 0) {
			wake_poll_failed();
			continue;
		}
		if (p[0].revents || input_ended(&r.in) || wake_signalled())
			on_signal(&r);
		if (p[1].revents & OUT_GONE && !out_pending(&r.out))
			buf_putc(&r.out.b, '\n'); /* out_flush will then fail, with the reason */
		if (p[2].revents)
			on_input(&r);
		on_time(&r);
		on_tick(&r);
		ack_serve(&r.ack, p[3].revents, wake_now_ms());
		if (r.ack.trouble.status)
			input_stop(&r.in);
		on_output(&r);
	}
	return finish(&r);
}
