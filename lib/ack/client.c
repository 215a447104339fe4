/* SPDX-License-Identifier: ISC */
/* DESIGN: a report goes into a list first, where consecutive numbers become one range, and from
 * there, as a line, into the pending output when a report of another kind comes, when it has grown
 * long, or when the socket has taken all before it. So a socket that is full makes lines longer,
 * not more, and what a filter or sink pays for a record is an increment.
 *
 * The end of the connection is not the end of input: a source that was killed leaves whole records
 * in the pipe. They are handled as ever and the missing `end` is told at the close. But a
 * connection that ends while input goes on has been cut, and since nothing can be reported any
 * more, the program ends after a while.
 *
 * Input may also end before `end` comes, though the source has sent it first: over ssh, say,
 * nothing keeps the order of the two. So at the close it is waited for, as long as the source is
 * there.
 *
 * Files: client.c records and reports; client-connect.c the way to the source; client-message.c
 * what the source says; client-position.c positions that the sink keeps. */
#define _GNU_SOURCE
#include "ack/client-parts.h"

#include "base/msg.h"
#include "base/wake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CUT_MS = 10000, /* from a connection's end to the input's */
	CLOSE_MS = 10000, /* for the last reports to leave */
	LATE_MS = 500, /* for `end` behind the end of input */
	LIST_MAX = 32 << 10, /* bytes of a report's line, about */
	LINE_MAX_IN = 16 << 20, /* an answer with all positions of a transaction is long */
};

bool ack_greeted(const struct ack *a)
{
	return !a->on || a->state == ACK_UP || (a->run[0] && a->state == ACK_LOST);
}

/* ---- reading ---- */

static void lose(struct ack *a, int64_t now_ms)
{
	/* The source closed before its greeting, and has printed nothing: its output will close
	 * too. */
	if (!a->run[0] && !a->stopped && now_ms < a->give_up_ms && !(ack_client_input() & POLLIN)) {
		buf_clear(&a->out);
		a->sent = 0;
		ack_client_close(a, ACK_CONNECTING);
		a->retry_ms = now_ms + ACK_RETRY_MS;
		return;
	}
	if (!a->run[0] || (a->questions && !a->ended))
		trouble_set(&a->trouble, EXIT_TEMP,
			"the source has closed the acknowledgement socket%s",
			a->questions ? " and left a question unanswered" : "");
	ack_client_close(a, ACK_LOST);
	a->give_up_ms = now_ms + CUT_MS;
}

static void on_garbage(struct ack *a, struct span line)
{
	trouble_set(&a->trouble, EXIT_TEMP, "what listens on '%s' is no source: it says '%.*s'",
		a->path, (int)(line.len < 60 ? line.len : 60), line.p);
	ack_client_close(a, ACK_CLOSED);
}

static void on_lines(struct ack *a)
{
	const char *p = a->in.p, *end = p + a->in.len, *lf;
	size_t left;

	for (; a->fd >= 0 && (lf = memchr(p, '\n', (size_t)(end - p))); p = lf + 1) {
		struct span line = {p, (size_t)(lf - p)};

		if (!ack_client_on_line(a, line))
			on_garbage(a, line);
	}
	left = (size_t)(end - p);
	if (left > LINE_MAX_IN)
		on_garbage(a, (struct span){p, left});
	memmove(a->in.p, p, left);
	a->in.len = left;
}

/* Reads all that has come. */
static void receive(struct ack *a, int64_t now_ms)
{
	enum { PIECE = 16 << 10 };

	while (a->fd >= 0) {
		ssize_t n = recv(a->fd, buf_room(&a->in, PIECE), PIECE, MSG_DONTWAIT);

		if (n > 0) {
			a->in.len += (size_t)n;
			on_lines(a);
		} else if (n < 0 && errno == EINTR) {
			continue;
		} else {
			if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
				lose(a, now_ms);
			return;
		}
	}
}

/* ---- writing ---- */

void ack_client_end_list(struct ack *a)
{
	static const char *const words[] = {"final ", "drop ", "dead ", "early "};

	if (!a->listing)
		return;
	a->listing = false;
	buf_puts(&a->out, words[a->list_kind]);
	buf_puts(&a->out, a->run);
	buf_putc(&a->out, ' ');
	buf_span(&a->out, ack_list_text(&a->list));
	buf_putc(&a->out, '\n');
	ack_list_clear(&a->list);
}

static bool has_news(const struct ack *a)
{
	return a->listing ||
		(a->state == ACK_UP &&
			(a->idle != a->idle_reported || a->unlabelled != a->bare_reported));
}

/* What was noted becomes lines. */
static void put_news(struct ack *a)
{
	ack_client_end_list(a);
	if (a->state != ACK_UP)
		return;
	if (a->unlabelled != a->bare_reported)
		buf_printf(&a->out, "bare %s %llu\n", a->run, (unsigned long long)a->unlabelled);
	if (a->idle != a->idle_reported)
		buf_puts(&a->out, a->idle ? "idle\n" : "busy\n");
	a->bare_reported = a->unlabelled;
	a->idle_reported = a->idle;
}

/* Writes as much as the socket takes. The end of the connection is found by reading, behind the
 * source's last lines. If send fails for a live source (ENOBUFS), close our side: the source must
 * not believe that later reports are complete. */
static void transmit(struct ack *a)
{
	while (a->fd >= 0) {
		ssize_t n;

		if (a->sent == a->out.len) {
			buf_clear(&a->out);
			a->sent = 0;
			put_news(a);
			if (!a->out.len)
				return;
		}
		n = send(a->fd, a->out.p + a->sent, a->out.len - a->sent,
			MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0) {
			a->sent += (size_t)n;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			return;
		} else if (errno != EINTR) {
			a->sent = a->out.len;
			ack_list_clear(&a->list);
			a->listing = false;
			shutdown(a->fd, SHUT_WR);
			return;
		}
	}
}

/* ---- for the loop ---- */

struct pollfd ack_pollfd(const struct ack *a)
{
	struct pollfd p = {.fd = -1};

	if (!a->on)
		return p;
	if (a->state == ACK_CONNECTING && a->absent)
		return (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
	if (a->fd < 0)
		return p;
	p.fd = a->fd;
	p.events = (short)(POLLIN | (a->sent < a->out.len || has_news(a) ? POLLOUT : 0));
	return p;
}

int ack_timeout_ms(const struct ack *a, int64_t now_ms)
{
	int64_t at;

	if (!a->on || a->trouble.status)
		return -1;
	if (a->state == ACK_CONNECTING)
		at = a->retry_ms;
	else if (a->state == ACK_LOST && !a->ended)
		at = a->give_up_ms;
	else
		return -1;
	return at > now_ms ? (int)(at - now_ms) : 0;
}

void ack_serve(struct ack *a, short revents, int64_t now_ms)
{
	if (!a->on || a->state == ACK_CLOSED)
		return;
	if (a->state == ACK_CONNECTING && !a->trouble.status)
		ack_client_connect(a, revents, now_ms);
	/* Without an event there is nothing to read. */
	if (revents & (POLLIN | POLLHUP | POLLERR))
		receive(a, now_ms);
	transmit(a);
	if (a->state == ACK_LOST && !a->ended && now_ms >= a->give_up_ms)
		trouble_set(&a->trouble, EXIT_TEMP,
			"the source has closed the acknowledgement socket, but its output goes on");
}

/* ---- records ---- */

static bool refuse_seq(struct ack *a, const char *why, struct span text)
{
	if (a->role == ACK_FILTER)
		return false;
	trouble_set(&a->trouble, EXIT_PERM, "%s (seq '%.*s')", why,
		(int)(text.len < 60 ? text.len : 60), text.p);
	ack_stop(a, a->trouble.text);
	return false;
}

/* A label that is not plain digits, or with escapes. */
static bool take_label(struct ack *a, const struct json_value *seq, struct ack_label *label)
{
	struct buf scratch = {0};
	struct span text, run, rest;
	struct label parsed;
	bool ours = false, valid;

	valid = seq->type == JSON_STRING && json_string(seq, &scratch, &text) == 0 &&
		label_split(text, &run, &rest) == 0 && label_parse(&parsed, rest) == 0;
	if (valid)
		ours = memcmp(run.p, a->run, LABEL_RUN_LEN) == 0;
	if (ours && parsed.single && !parsed.parts)
		label->number = parsed.first;
	else if (ours)
		/* No escape is shorter than what it stands for, and the run may hold some. */
		label->text = (struct span){json_seek(seq->text, LABEL_RUN_LEN + 1), 0};
	if (label->text.p)
		label->text.len = (size_t)(seq->text.p + seq->text.len - label->text.p);
	buf_free(&scratch);
	if (!valid)
		return refuse_seq(a, "the seq of a record is none of evpipe's", seq->text);
	return ours || refuse_seq(a, "records of two sources: run two pipelines", seq->text);
}

bool ack_take(struct ack *a, const struct json_value *seq, struct ack_label *label)
{
	enum { DIGITS_MAX = 18, AT = LABEL_RUN_LEN + 1 };
	const char *p = seq->text.p;
	uint64_t n = 0;
	size_t i;

	*label = (struct ack_label){0};
	if (!a->on)
		return true;
	a->idle = a->idle && a->role == ACK_FILTER;
	if (seq->type <= JSON_NULL) {
		a->unlabelled += a->role != ACK_FILTER;
		return true;
	}
	if (a->next.size && seq->text.len == a->next.size && seq->type == JSON_STRING &&
		memcmp(p, a->next.text, seq->text.len) == 0) {
		label->number = a->next.number;
		label_text_set(&a->next, a->run, a->next.number + 1);
		return true;
	}
	/* Our run and a number. */
	if (seq->type != JSON_STRING || seq->text.len <= AT || seq->text.len > AT + DIGITS_MAX ||
		memcmp(p, a->run, LABEL_RUN_LEN) || p[LABEL_RUN_LEN] != ':' || p[AT] == '0')
		return take_label(a, seq, label);
	for (i = AT; i < seq->text.len; i++) {
		unsigned digit = (unsigned char)p[i] - '0';

		if (digit > 9)
			return take_label(a, seq, label);
		n = n * 10 + digit;
	}
	label->number = n;
	label_text_set(&a->next, a->run, n + 1);
	return true;
}

void ack_report(struct ack *a, enum ack_kind kind, const struct ack_label *label)
{
	if (a->state != ACK_UP || (!label->number && !label->text.p))
		return;
	if (a->listing && (a->list_kind != kind || a->list.text.len >= LIST_MAX))
		ack_client_end_list(a);
	a->listing = true;
	a->list_kind = kind;
	/* For the source a sink's report ends idleness. */
	if (a->role != ACK_FILTER)
		a->idle_reported = false;
	ack_list_add(&a->list, label);
}

void ack_idle(struct ack *a)
{
	a->idle = true;
}

void ack_busy(struct ack *a)
{
	a->idle = false;
}

bool ack_has_left(struct ack *a)
{
	if (a->state == ACK_UP)
		transmit(a);
	return a->state != ACK_UP || a->sent == a->out.len;
}

void ack_stop(struct ack *a, const char *reason)
{
	if (!a->on || a->stopped)
		return;
	a->stopped = true;
	ack_client_end_list(a);
	buf_puts(&a->out, "stop ");
	for (; *reason; reason++)
		buf_putc(&a->out, (unsigned char)*reason < 0x20 ? ' ' : *reason);
	buf_putc(&a->out, '\n');
}

/* ---- the end ---- */

static void free_all(struct ack *a)
{
	buf_free(&a->in);
	buf_free(&a->out);
	ack_list_free(&a->list);
	buf_free(&a->reply);
	a->listing = false;
	a->sent = 0;
}

/* Waits until all is written or the source has closed. Returns false when it took too long. */
static bool drain(struct ack *a)
{
	int64_t until = wake_now_ms() + CLOSE_MS, now;

	put_news(a);
	/* Without `bye` the source takes the connection for lost, and stops: maybe no other program
	 * tells it that its records get no further. */
	if (a->ended || a->stopped)
		buf_puts(&a->out, "bye\n");
	for (;;) {
		transmit(a);
		if (a->fd < 0 || a->sent == a->out.len)
			return true;
		now = wake_now_ms();
		if (now >= until)
			return false;
		poll(&(struct pollfd){.fd = a->fd, .events = POLLOUT}, 1, (int)(until - now));
		receive(a, now);
	}
}

static void wait_for_end(struct ack *a)
{
	int64_t until = wake_now_ms() + LATE_MS, now;

	while (a->state == ACK_UP && !a->ended && !a->stopped && !a->trouble.status &&
		(now = wake_now_ms()) < until) {
		transmit(a);
		poll(&(struct pollfd){.fd = a->fd, .events = POLLIN}, 1, (int)(until - now));
		receive(a, now);
	}
}

int ack_close(struct ack *a)
{
	bool rid = true;

	if (!a->on)
		return EXIT_DONE;
	if (a->fd >= 0)
		receive(a, wake_now_ms());
	wait_for_end(a);
	/* A `stop` is sent even before the greeting has come. */
	if (a->fd >= 0 && (a->state == ACK_UP || a->stopped))
		rid = drain(a);
	ack_client_close(a, ACK_CLOSED);
	free_all(a);
	if (a->unlabelled && a->role != ACK_FILTER)
		msg_warn("%llu %s delivered, but %s for nothing", (unsigned long long)a->unlabelled,
			PLURAL(a->unlabelled, "record had no seq: it was",
				"records had no seq: they were"),
			PLURAL(a->unlabelled, "accounts", "account"));
	if (trouble_tell(&a->trouble))
		return a->trouble.status;
	if (!rid) {
		msg_error(
			"the source does not read the acknowledgement socket: the last reports are lost");
		return EXIT_TEMP;
	}
	if (!a->ended && !a->stopped) {
		msg_error("the input has ended, but the source has not said that it is whole");
		return EXIT_TEMP;
	}
	return EXIT_DONE;
}

void ack_abandon(struct ack *a)
{
	if (!a->on)
		return;
	if (a->state == ACK_UP)
		transmit(a);
	ack_client_close(a, ACK_CLOSED);
	free_all(a);
}
