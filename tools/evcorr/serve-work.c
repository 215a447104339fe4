/* SPDX-License-Identifier: ISC */
/* The workers: processes of the command that are kept running, each with one request at a time.
 *
 * One request, one line: what a worker prints besides would be taken for the answer to its next
 * request. So a worker that prints without a request, or more than a line for one, is ended, and
 * another is started. */
#include "evcorr/serve.h"

#include "base/msg.h"
#include "base/wake.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	OUTPUT_MAX = 64 << 20, /* bytes of an answer */
	RETRY_MS =
		/* from a start to the next, when a process has ended without an answer; doubled
		 * each time */
	100,
	RETRY_MAX_MS = 5000,
	END_MS = 5000, /* that workers have at the end of their input */
	TELL_MAX = 10,
	KEEP_MAX = 1 << 20, /* memory that an idle worker keeps */
};

/* The first few. A worker that fails may do so for each call. */
__attribute__((format(printf, 2, 3))) static void tell(struct serve *s, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (s->told++ >= TELL_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	msg_warn("%s%s", text,
		s->told == TELL_MAX ? "; what follows of this kind is counted alone" : "");
}

/* ---- start ---- */

static void start(struct serve *s, struct serve_worker *w)
{
	int error = child_open(&w->child, s->argv, OUTPUT_MAX);

	w->answered = 0;
	w->scanned = 0;
	if (!error) {
		w->state = WORK_IDLE;
		return;
	}
	w->state = WORK_DOWN;
	trouble_set(&s->trouble,
		error == EAGAIN || error == ENOMEM ? EXIT_TEMP : msg_errno_status(error),
		"cannot run '%s': %s", s->argv[0], msg_errno(error));
}

void serve_work_open(struct serve *s)
{
	for (unsigned i = 0; i < s->count && !s->trouble.status; i++)
		start(s, &s->workers[i]);
}

/* The request goes to the worker's standard input. */
static void give(struct serve *s, struct serve_worker *w)
{
	(void)s;
	buf_clear(&w->child.output);
	w->scanned = 0;
	w->state = WORK_BUSY;
	child_give(&w->child, buf_as_span(&w->request.input));
}

struct serve_worker *serve_work_free(struct serve *s, int64_t now_ms)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->workers[i].state == WORK_IDLE)
			return &s->workers[i];
	for (unsigned i = 0; i < s->count; i++)
		if (s->workers[i].state == WORK_DOWN && now_ms >= s->workers[i].retry_ms)
			return &s->workers[i];
	return NULL;
}

void serve_work_begin(struct serve *s, struct serve_worker *w, int64_t now_ms)
{
	w->since_ms = now_ms;
	if (w->state == WORK_DOWN)
		start(s, w);
	if (w->state == WORK_IDLE)
		give(s, w);
}

/* ---- end ---- */

/* A process that has ended is started again, at once if it has answered something. */
static void start_again(struct serve *s, struct serve_worker *w, int64_t now_ms)
{
	w->state = WORK_DOWN;
	if (w->answered) {
		w->backoff_ms = 0;
		start(s, w);
		return;
	}
	w->retry_ms = now_ms + wake_backoff_ms(&w->backoff_ms, RETRY_MS, RETRY_MAX_MS);
}

/* Ends a process that is not to be trusted any more. */
static void replace(struct serve *s, struct serve_worker *w, int64_t now_ms)
{
	child_kill(&w->child);
	start_again(s, w, now_ms);
}

static void on_end(struct serve *s, struct serve_worker *w, bool failed, int64_t now_ms)
{
	bool was_busy = w->state == WORK_BUSY;
	char why[100];

	child_why(&w->child, why, sizeof(why));
	if (was_busy && w->answered && w->child.untouched) {
		/* It ended while the request was on its way: another process takes it. */
		if (failed)
			tell(s, "'%s' %s", s->argv[0], why);
		start_again(s, w, now_ms);
		if (w->state == WORK_IDLE)
			give(s, w);
		return;
	}
	if (was_busy && child_overflowed(&w->child))
		snprintf(why, sizeof(why), "printed more than %d MiB without a line end",
			OUTPUT_MAX >> 20);
	if (was_busy)
		serve_reply_error(s, &w->request, 500, "'%s' %s%s", s->argv[0], why,
			failed ? "" : " without an answer");
	if (failed || was_busy || !w->answered)
		tell(s, "'%s' %s%s%s", s->argv[0], why,
			was_busy || !w->answered ? " without an answer" : "",
			was_busy ? ": the call gets status 500" : "");
	start_again(s, w, now_ms);
}

/* ---- answers ---- */

/* The answer's line, without its end; false: it is not whole. */
static bool whole_line(const struct serve *s, struct serve_worker *w, struct span *line)
{
	const struct buf *out = &w->child.output;
	const char *end = out->len > w->scanned
		? memchr(out->p + w->scanned, s->end, out->len - w->scanned)
		: NULL;

	w->scanned = out->len;
	if (!end)
		return false;
	*line = (struct span){out->p, (size_t)(end - out->p)};
	return true;
}

/* Returns 0 when it has not said any, -1 when what it has said is no status. */
static int said_status(struct serve_worker *w)
{
	char note[256];
	size_t n, len = 0;

	while ((n = child_note(&w->child, note + len, sizeof(note) - len)) > 0)
		len = len + n < sizeof(note) ? len + n : 0;
	return serve_status_of((struct span){note, len});
}

/* Returns false when the process was replaced: what else it prints would be taken for an answer. */
static bool answer(struct serve *s, struct serve_worker *w, struct span line, int64_t now_ms)
{
	int status = said_status(w);
	bool more = w->child.output.len > line.len + 1;

	w->answered++;
	w->backoff_ms = 0;
	w->state = WORK_IDLE;
	if (more) {
		serve_reply_error(s, &w->request, 500, "'%s' printed more than one line for a call",
			s->argv[0]);
		tell(s, "'%s' printed more than one line for a call, which gets status 500; one that prints JSON must print it on one line (jq -c)",
			s->argv[0]);
		replace(s, w, now_ms);
		return false;
	}
	if (status < 0)
		serve_reply_error(s, &w->request, 500,
			"'%s' wrote on descriptor 3 what is no status from 100 to 599", s->argv[0]);
	else
		serve_reply(s, &w->request, line, status);
	buf_clear(&w->child.output);
	if (w->child.output.cap > KEEP_MAX)
		buf_free(&w->child.output);
	if (w->request.input.cap > KEEP_MAX)
		buf_free(&w->request.input);
	return true;
}

/* Returns false when the process was replaced. */
static bool look_at_output(struct serve *s, struct serve_worker *w, int64_t now_ms)
{
	struct span line;

	if (w->state == WORK_BUSY && whole_line(s, w, &line))
		return answer(s, w, line, now_ms);
	if (w->state == WORK_BUSY || !w->child.output.len)
		return true;
	s->unasked++;
	tell(s, "'%s' prints without a call: it is ended, and another one started", s->argv[0]);
	replace(s, w, now_ms);
	return false;
}

static void on_timeout(struct serve *s, struct serve_worker *w)
{
	s->timeouts++;
	serve_reply_error(s, &w->request, 504, "'%s' has not answered within %lld ms", s->argv[0],
		(long long)s->timeout_ms);
	tell(s, "'%s' has not answered within %lld ms: it is ended, and the call gets status 504%s",
		s->argv[0], (long long)s->timeout_ms,
		w->answered
			? ""
			: "; if it keeps its answers in a buffer, it must not: jq --unbuffered, sed -u, stdbuf -oL");
	child_kill(&w->child);
	w->state = WORK_DOWN;
	start(s, w);
}

/* What they print now answers nothing. */
static void end_one(struct serve_worker *w, const char *name, const struct pollfd *p)
{
	enum child_state state = child_serve(&w->child, p);
	char why[100];

	buf_clear(&w->child.output);
	if (state == CHILD_RUNS && !child_lingers(&w->child))
		return;
	child_why(&w->child, why, sizeof(why));
	if (state == CHILD_FAILED)
		msg_info("'%s' %s at the end of its input", name, why);
	child_kill(&w->child);
	w->state = WORK_DOWN;
}

/* ---- the loop's view ---- */

nfds_t serve_work_poll(const struct serve *s, struct pollfd *p)
{
	nfds_t n = 0;

	for (unsigned i = 0; i < s->count; i++)
		if (s->workers[i].state != WORK_DOWN) {
			child_poll(&s->workers[i].child, p + n);
			n += CHILD_FDS;
		}
	return n;
}

static void serve_one(
	struct serve *s, struct serve_worker *w, const struct pollfd *p, int64_t now_ms)
{
	enum child_state state = child_serve(&w->child, p);

	/* What it printed before it ended counts. */
	if (!look_at_output(s, w, now_ms))
		return;
	if (state == CHILD_RUNS && child_lingers(&w->child)) {
		child_kill(&w->child);
		state = CHILD_DONE;
	}
	if (state != CHILD_RUNS)
		on_end(s, w, state == CHILD_FAILED, now_ms);
	else if (w->state == WORK_BUSY && now_ms >= w->since_ms + s->timeout_ms)
		on_timeout(s, w);
}

void serve_work_serve(struct serve *s, const struct pollfd *p, int64_t now_ms)
{
	for (unsigned i = 0; i < s->count; i++) {
		struct serve_worker *w = &s->workers[i];

		if (w->state == WORK_DOWN)
			continue;
		if (s->end_ms)
			end_one(w, s->argv[0], p);
		else
			serve_one(s, w, p, now_ms);
		p += CHILD_FDS;
	}
}

int serve_work_due_ms(const struct serve *s, int64_t now_ms)
{
	int due = -1;

	for (unsigned i = 0; i < s->count; i++) {
		const struct serve_worker *w = &s->workers[i];
		int64_t at = w->state == WORK_BUSY ? w->since_ms + s->timeout_ms : w->retry_ms;

		if (s->end_ms)
			return s->end_ms <= now_ms ? 0 : (int)(s->end_ms - now_ms);
		if (w->state != WORK_IDLE && !(w->state == WORK_DOWN && at <= now_ms))
			due = wake_least(due, at <= now_ms ? 0 : (int)(at - now_ms));
	}
	return due;
}

unsigned serve_work_busy(const struct serve *s)
{
	unsigned busy = 0;

	for (unsigned i = 0; i < s->count; i++)
		busy += s->workers[i].state == WORK_BUSY;
	return busy;
}

int64_t serve_work_since_ms(const struct serve *s)
{
	int64_t since = INT64_MAX;

	for (unsigned i = 0; i < s->count; i++)
		if (s->workers[i].state == WORK_BUSY && s->workers[i].since_ms < since)
			since = s->workers[i].since_ms;
	return since;
}

/* ---- the end ---- */

void serve_work_kill(struct serve *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		child_kill(&s->workers[i].child);
		s->workers[i].state = WORK_DOWN;
	}
}

bool serve_work_end(struct serve *s, int64_t now_ms)
{
	bool ended = true;

	for (unsigned i = 0; i < s->count; i++) {
		struct serve_worker *w = &s->workers[i];

		if (w->state == WORK_DOWN)
			continue;
		if (!s->end_ms)
			child_end_input(&w->child);
		ended = false;
	}
	if (!s->end_ms)
		s->end_ms = now_ms + END_MS;
	if (ended || now_ms < s->end_ms)
		return ended;
	tell(s, "'%s' has not ended %d ms after the end of its input: it is killed", s->argv[0],
		END_MS);
	serve_work_kill(s);
	return true;
}
