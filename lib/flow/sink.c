/* SPDX-License-Identifier: ISC */
#include "flow/sink-parts.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/progress.h"
#include "base/trouble.h"
#include "base/wake.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAKE, INPUT, ACK, OUTPUT }; /* of the SINK_FDS entries */

enum {
	HELD_MS = 5000, /* after that long a filter says that it holds a record */
	EARLY_MS = 500, /* a record that waits for longer does not hold up the reports of others */
};

void sink_opts(struct sink_opts *o)
{
	o->retry_for = arg_str0(NULL, "retry-for", "TIME",
		"give up when the server is away for so long (default never)");
}

static bool hands_on(const struct sink *s)
{
	return s->setup.role == ACK_FILTER;
}

static void on_letter(void *sink, struct span letter)
{
	struct sink *s = sink;
	struct sink_slot *slot = sink_slot(s, s->refusing);

	slot->done = false;
	s->setup.keep(s->setup.self, slot, letter);
}

void sink_open(struct sink *s, const struct sink_setup *setup)
{
	*s = (struct sink){.setup = *setup, .up_ms = INT64_MAX};
	if (setup->opts)
		s->retry_ms = opt_duration_ms(setup->opts->retry_for, "--retry-for", 0);
	s->alive_ms = wake_now_ms();
	s->slots = mem_alloc(setup->slots * setup->slot_bytes);
	s->wake_fd = wake_open();
	input_open(&s->in, setup->input, setup->end, &s->ack, setup->keep ? on_letter : NULL, s);
	s->in.line.framed = setup->framed;
	if (hands_on(s))
		out_open(&s->out, STDOUT_FILENO);
	ack_open(&s->ack, ack_path(setup->ack), setup->role);
	/* With --pass it is a filter: what is forwarded the last program of the pipeline counts. */
	metrics_counts(METRICS_OUT | (hands_on(s) ? 0 : METRICS_FORWARDED));
	progress_open(PROGRESS_WRITTEN, hands_on(s), true);
}

/* ---- lines ---- */

static inline void put_label(struct sink *s, struct sink_slot *slot, const struct ack_label *label)
{
	slot->label = label->number;
	if (label->text.p) {
		slot->label = line_place(&s->in.line, label->text);
		slot->label_len = (uint32_t)label->text.len;
	}
}

static struct sink_slot *add_slot(struct sink *s, const struct ack_label *label)
{
	struct sink_slot *slot = sink_slot(s, s->tail++);

	*slot = (struct sink_slot){.place = line_place(&s->in.line, s->line),
		.number = s->in.line.number,
		.len = s->line.len};
	put_label(s, slot, label);
	s->has_line = false;
	return slot;
}

/* The same for a line that the program does not take: its members of the slot are zero. */
static struct sink_slot *add_empty_slot(struct sink *s, const struct ack_label *label)
{
	struct sink_slot *slot = add_slot(s, label);

	memset(slot + 1, 0, s->setup.slot_bytes - sizeof(*slot));
	return slot;
}

static void refuse_long(struct sink *s)
{
	struct ack_label label;
	struct sink_slot *slot;

	sink_release(s);
	s->refusing = s->tail;
	/* The slot is there before its dead letter: a topic may have it at once. */
	slot = add_empty_slot(s, &(struct ack_label){0});
	slot->done = slot->refused = slot->is_long = true;
	input_refuse_long(&s->in, s->line, &label);
	put_label(s, slot, &label);
}

bool sink_next(struct sink *s, struct span *line)
{
	while (!s->has_line && !input_ended(&s->in)) {
		/* A slot that was refused at once waits for nothing. */
		if (!sink_has_room(s))
			sink_release(s);
		if (!sink_has_room(s))
			return false;
		switch (input_take(&s->in, &s->line)) {
		case INPUT_NONE:
			return false;
		case INPUT_LINE:
			s->has_line = true;
			break;
		case INPUT_LONG:
			refuse_long(s);
			break;
		}
	}
	*line = s->line;
	return s->has_line && !input_ended(&s->in);
}

struct sink_slot *sink_take(struct sink *s, const struct json_value *seq)
{
	struct ack_label label;

	/* Where records are handed on, another source's record goes on like the rest. */
	if (ack_take(&s->ack, seq, &label) || !s->ack.trouble.status)
		return add_slot(s, &label);
	input_stop(&s->in);
	return NULL;
}

void sink_refuse_line(
	struct sink *s, const struct json_value *seq, bool is_record, const struct record_error *e)
{
	bool accounts = seq->type == JSON_STRING && (is_record || input_accounts(e->class));
	struct ack_label label = {0};

	if (accounts && !ack_take(&s->ack, seq, &label) && s->ack.trouble.status) {
		input_stop(&s->in);
		return;
	}
	add_empty_slot(s, &label);
	sink_refuse(s, s->tail - 1, e->class, is_record, "%s", e->message);
}

void sink_refuse(struct sink *s, uint64_t i, enum errclass c, bool is_record, const char *fmt, ...)
{
	struct sink_slot *slot = sink_slot(s, i);
	struct span text;
	char message[400];
	va_list ap;

	/* Behind the record that stops the program nothing is judged: the source sends it again. */
	if (s->in.dead.stopped) {
		slot->done = slot->refused = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	/* Under `stop` the source is told to stop, behind the reports of what came before. */
	sink_release(s);
	slot->done = slot->refused = true;
	s->refusing = i;
	text = s->setup.framed ? line_frame(sink_text(s, slot)) : sink_text(s, slot);
	input_refuse(&s->in, c, text, is_record, slot->number, "%s", message);
}

/* ---- releasing ---- */

static void hand_on(struct sink *s, const struct sink_slot *slot)
{
	if (slot->refused)
		buf_span(&s->out.b, sink_text(s, slot));
	else
		s->setup.hand_on(s->setup.self, slot, sink_text(s, slot), &s->out.b);
	if (!s->setup.framed)
		buf_putc(&s->out.b, s->in.line.end);
}

static inline struct ack_label label_of(const struct sink *s, const struct sink_slot *slot)
{
	if (slot->label_len)
		return (struct ack_label){
			.text = {line_at(&s->in.line, slot->label), slot->label_len}};
	return (struct ack_label){.number = slot->label};
}

static void release(struct sink *s, const struct sink_slot *slot)
{
	enum ack_kind kind = dead_keeps(&s->in.dead) ? ACK_DEAD : ACK_DROP;
	struct ack_label label = label_of(s, slot);

	if (s->setup.released)
		s->setup.released(s->setup.self, slot, sink_text(s, slot));
	if (slot->early)
		return;
	if (!slot->refused) {
		kind = ACK_FINAL;
		if (!s->setup.settle)
			metrics.forwarded++;
	}
	s->reports_stopped = s->reports_stopped || (slot->refused && s->in.dead.stopped);
	if (s->reports_stopped)
		return;
	if (s->setup.settle)
		s->setup.settle(s->setup.self, kind, &label);
	else if (hands_on(s) && !slot->is_long)
		hand_on(s, slot);
	else
		ack_report(&s->ack, kind, &label);
}

static bool can_release(const struct sink *s)
{
	return s->head < s->tail && sink_slot(s, s->head)->done &&
		out_pending(&s->out) < OUT_BLOCK &&
		!(s->setup.is_full && s->setup.is_full(s->setup.self));
}

void sink_release(struct sink *s)
{
	for (; can_release(s); s->head++)
		release(s, sink_slot(s, s->head));
	if (!s->setup.settle)
		metrics.records_out = metrics.forwarded;
}

/* Reports what is done behind the record that holds up the rest. */
static void report_early(struct sink *s)
{
	for (uint64_t i = s->head; i < s->tail; i++) {
		struct sink_slot *slot = sink_slot(s, i);
		struct ack_label label = label_of(s, slot);

		if (!slot->done || slot->early || (slot->refused && s->in.dead.stopped))
			continue;
		slot->early = true;
		metrics.forwarded += !slot->refused;
		ack_report(&s->ack, ACK_EARLY, &label);
		s->alive_ms = s->early_ms;
	}
	metrics.records_out = metrics.forwarded;
}

static void look_for_early(struct sink *s, int64_t now_ms)
{
	bool in_order = hands_on(s) || s->setup.settle || s->reports_stopped;

	if (s->head == s->tail || s->head != s->early_head)
		s->early_ms = now_ms;
	s->overtakes = s->overtakes && s->head == s->early_head && !in_order;
	s->early_head = s->head;
	if (in_order || now_ms - s->early_ms < EARLY_MS)
		return;
	s->overtakes = true;
	s->early_ms = now_ms;
	report_early(s);
}

/* ---- the loop ---- */

bool sink_runs(const struct sink *s)
{
	return !s->reader_gone &&
		(!input_ended(&s->in) || s->head < s->tail || out_pending(&s->out));
}

void sink_poll(struct sink *s, struct pollfd *p, bool ready)
{
	bool takes = ready && !s->has_line && !input_ended(&s->in) && sink_has_room(s);
	bool reads = takes && input_wants(&s->in) && ack_greeted(&s->ack);

	s->has_more = takes && !input_wants(&s->in);
	s->is_ready = ready;

	p[WAKE] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
	p[INPUT] = (struct pollfd){.fd = reads ? STDIN_FILENO : -1, .events = POLLIN};
	p[ACK] = ack_pollfd(&s->ack);
	p[OUTPUT] = (struct pollfd){
		.fd = hands_on(s) ? STDOUT_FILENO : -1, .events = out_events(&s->out)};
}

int sink_timeout_ms(const struct sink *s, int64_t now_ms)
{
	int timeout_ms = wake_least(metrics_tick(now_ms), ack_timeout_ms(&s->ack, now_ms));

	timeout_ms = wake_least(timeout_ms, progress_timeout_ms(now_ms));
	/* A server that takes nothing makes no event. */
	if (s->retry_ms || wake_signalled())
		timeout_ms = wake_least(timeout_ms, INPUT_LOOK_MS);
	if (hands_on(s) && sink_count(s) && now_ms < s->moved_ms + HELD_MS)
		timeout_ms = wake_least(timeout_ms, (int)(s->moved_ms + HELD_MS - now_ms));
	/* `released` was full, and its room came back after the last flush: nothing else says
	 * so. */
	if (s->has_more || can_release(s))
		return 0;
	return timeout_ms;
}

/* Whether the oldest record has been here for long. */
static bool is_held(struct sink *s, int64_t now_ms)
{
	if (s->moved != s->head || !sink_count(s))
		s->moved_ms = now_ms;
	s->moved = s->head;
	return now_ms >= s->moved_ms + HELD_MS;
}

static void tell_busy(struct sink *s, int64_t now_ms)
{
	if (s->is_ready && !(hands_on(s) ? is_held(s, now_ms) : sink_count(s)))
		ack_idle(&s->ack);
	else
		ack_busy(&s->ack);
}

static void read_input(struct sink *s)
{
	sink_release(s);
	line_keep(&s->in.line, s->head < s->tail ? sink_slot(s, s->head)->place : UINT64_MAX);
	input_read(&s->in);
}

/* Unless there was nothing to deliver: then the sink ends as ever. */
static void end_by_signal(struct sink *s)
{
	const char *owes = s->owes ? s->owes : "";
	char left[SINK_LEFT_MAX];

	if (sink_left(s, left, sizeof(left)) || s->head < s->tail)
		sink_end(s, EXIT_TEMP, "ended by a signal: %s%s%s", left, *owes ? "; " : "", owes);
	if (*owes)
		sink_end(s, EXIT_TEMP, "ended by a signal: %s", owes);
}

void sink_serve(struct sink *s, const struct pollfd *p)
{
	if (p[WAKE].revents || input_ended(&s->in) || wake_signalled()) {
		int64_t now_ms = wake_now_ms();
		int64_t still_ms = out_stuck_ms(&s->out, now_ms);

		if (now_ms - s->up_ms > still_ms)
			still_ms = now_ms - s->up_ms;
		if (input_must_end(&s->in, still_ms))
			end_by_signal(s);
	}
	if (p[INPUT].revents)
		read_input(s);
	s->ack_events = p[ACK].revents;
	if (p[OUTPUT].revents & OUT_GONE)
		s->reader_gone = true;
}

/* Whether a record, or a line that was read, waits for the server. */
static bool waits(const struct sink *s)
{
	return s->head < s->tail ? !sink_slot(s, s->head)->done : s->has_line;
}

void sink_server(struct sink *s, bool up, int64_t now_ms)
{
	if (s->up_ms == INT64_MAX || up)
		s->up_ms = now_ms;
	if (up && (s->head != s->alive_head || !waits(s)))
		s->alive_ms = now_ms;
	s->alive_head = s->head;
	if (s->retry_ms && now_ms - s->alive_ms >= s->retry_ms)
		sink_die(s, EXIT_TIMEOUT, "gave up: the server has taken nothing for %s",
			s->setup.opts->retry_for->sval[0]);
}

/* Writing makes room for records that wait to be handed on. */
static void write_output(struct sink *s)
{
	if (hands_on(s) && out_pending(&s->out))
		progress_print();
	while (hands_on(s) && !s->reader_gone) {
		if (out_flush(&s->out) == 0) {
			if (out_pending(&s->out) || !can_release(s))
				return;
			sink_release(s);
			continue;
		}
		if (errno != EPIPE)
			die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
		s->reader_gone = true;
	}
}

void sink_flush(struct sink *s, int64_t now_ms)
{
	sink_release(s);
	look_for_early(s, now_ms);
	dead_sync(&s->in.dead);
	write_output(s);
	if (!s->setup.settle)
		tell_busy(s, now_ms);
	ack_serve(&s->ack, s->ack_events, now_ms);
	s->ack_events = 0;
	if (s->ack.trouble.status)
		input_stop(&s->in);
	progress_tick(now_ms, metrics.forwarded);
}

/* ---- the end ---- */

int sink_close(struct sink *s)
{
	int status;

	if (s->reader_gone) {
		msg_error("the reader of standard output has gone");
		ack_abandon(&s->ack);
		status = EXIT_TEMP;
	} else {
		status = ack_close(&s->ack);
		if (hands_on(s) && out_close(&s->out))
			die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	}
	status = trouble_worse(status, input_close(&s->in));
	metrics_flush();
	progress_close(metrics.forwarded);
	free(s->slots);
	return status;
}

void sink_end(struct sink *s, int status, const char *fmt, ...)
{
	char why[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (s->take_back)
		s->take_back(s->take_back_self);
	dead_close(&s->in.dead);
	if (status == EXIT_PERM || status == EXIT_REFUSED) {
		ack_stop(&s->ack, why);
		ack_close(&s->ack);
	}
	ack_abandon(&s->ack);
	metrics_flush();
	die(status, "%s", why);
}

void sink_die(struct sink *s, int status, const char *fmt, ...)
{
	char why[512], left[SINK_LEFT_MAX];
	bool is_left = sink_left(s, left, sizeof(left));
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	sink_end(s, status, "%s%s%s", why, is_left ? "; " : "", is_left ? left : "");
}
