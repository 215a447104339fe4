/* SPDX-License-Identifier: ISC */
/*
 * DESIGN: an epoll descriptor over the listening socket and all peers stands for them in the caller's
 * poll. A peer is read a block at a time; of what is read only an unfinished line is kept. What is to be
 * sent is little (a greeting, an end, the answer to one question at a time), so a peer that does not
 * read is found by what waits for it.
 *
 * A report is a fact about records, whoever sends it and however late: what stood before garbage on a
 * line has counted.
 */
#define _GNU_SOURCE
#include "ackd.h"

#include "die.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	LINE_MAX_BYTES = 1 << 20,
	SEND_MAX_BYTES = 16 << 20,
	READ_BYTES = 64 << 10,
	READS_A_TURN = 8, /* of one peer, so that the source's own work goes on */
	PEERS_MAX = 256,
	NAME_MAX_BYTES = 64,
};

enum role { NOBODY, FILTER, SINK, TXN, REFUSED };

struct ackd_peer {
	int fd;
	enum role role;
	bool bye, gone;
	char name[NAME_MAX_BYTES + 1], pid[12];
	struct buf in, out, question;
	bool asks; /* question waits for an answer */
	struct ackd_peer *next;
};

static const char *name_of(const struct ackd_peer *p)
{
	return p->role == NOBODY ? "a stranger" : p->name;
}

/* ---- sending ---- */

static bool watch(struct ackd *d, struct ackd_peer *p, int op)
{
	struct epoll_event e = {
		.events = EPOLLIN | (p->out.len ? (uint32_t)EPOLLOUT : 0), .data.ptr = p};

	return epoll_ctl(d->fd, op, p->fd, &e) == 0;
}

static void flush(struct ackd *d, struct ackd_peer *p)
{
	ssize_t n;

	if (!p->out.len || p->gone)
		return;
	n = send(p->fd, p->out.p, p->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0) {
		p->out.len -= (size_t)n;
		memmove(p->out.p, p->out.p + n, p->out.len);
	}
	/* Who has gone is found out by reading, after what it has left behind. Who has not (no memory for
	 * a socket's buffer is no end of it) is to see that something is missing from here on. */
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
		buf_clear(&p->out);
		shutdown(p->fd, SHUT_WR);
	}
	watch(d, p, EPOLL_CTL_MOD);
}

__attribute__((format(printf, 3, 4))) static void tell(
	struct ackd *d, struct ackd_peer *p, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	buf_puts(&p->out, line);
	flush(d, p);
}

/* ---- judging ---- */

__attribute__((format(printf, 4, 5))) static void trouble(
	struct ackd *d, int status, bool void_account, const char *fmt, ...)
{
	va_list ap;

	d->void_account = d->void_account || void_account;
	if (d->trouble_status)
		return;
	d->trouble_status = status;
	va_start(ap, fmt);
	vsnprintf(d->trouble, sizeof(d->trouble), fmt, ap);
	va_end(ap);
}

/* Its connection is closed after this turn. */
static void garbage(struct ackd *d, struct ackd_peer *p, const char *why)
{
	if (p->gone)
		return;
	d->garbage++;
	die_warn("closed the acknowledgement connection of %s: %s", name_of(p), why);
	tell(d, p, "stop garbage on the acknowledgement socket: %s\n", why);
	p->gone = true;
}

/* Cuts the next word; "" at the end of the line. */
static struct span word(struct span *line)
{
	const char *space = memchr(line->p, ' ', line->len);
	struct span w = {line->p, space ? (size_t)(space - line->p) : line->len};
	size_t cut = w.len + (space != NULL);

	line->p += cut;
	line->len -= cut;
	return w;
}

static bool copy_word(char *to, size_t size, struct span w, const char *allowed)
{
	if (!w.len || w.len >= size)
		return false;
	for (size_t i = 0; i < w.len; i++)
		if (allowed ? !memchr(allowed, w.p[i], strlen(allowed))
			    : w.p[i] <= ' ' || w.p[i] > '~')
			return false;
	memcpy(to, w.p, w.len);
	to[w.len] = '\0';
	return true;
}

static void refuse(struct ackd *d, struct ackd_peer *p, const char *why)
{
	p->role = REFUSED;
	die_warn("refused %s (process %s) on the acknowledgement socket: %s", p->name, p->pid, why);
	tell(d, p, "stop %s\n", why);
}

static void on_hello(struct ackd *d, struct ackd_peer *p, struct span line)
{
	struct span name = word(&line), pid = word(&line), role = line;
	enum role r = NOBODY;

	if (span_is(role, "sink"))
		r = SINK;
	else if (span_is(role, "txn"))
		r = TXN;
	else if (span_is(role, "filter"))
		r = FILTER;
	if (r == NOBODY || !copy_word(p->name, sizeof(p->name), name, NULL) ||
		!copy_word(p->pid, sizeof(p->pid), pid, "0123456789")) {
		garbage(d, p, "a hello that is none");
		return;
	}
	if (r != FILTER && d->had_sink) {
		refuse(d, p,
			"there has been a sink: a pipeline has one, and with --pass the others hand their records on to it");
		return;
	}
	if (r == TXN && !d->metadata) {
		refuse(d, p,
			"this source has no positions to commit: transactions need kread -g with --commit acked");
		return;
	}
	p->role = r;
	d->connections++;
	if (r == FILTER)
		return;
	d->had_sink = d->has_sink = true;
	d->is_txn = r == TXN;
}

/* ---- reports ---- */

/* Whether a message is of this run; "no" is for the caller to ignore. */
static bool is_ours(struct ackd *d, struct ackd_peer *p, struct span run)
{
	if (run.len != LABEL_RUN_LEN) {
		garbage(d, p, "a report without a run");
		return false;
	}
	if (memcmp(run.p, d->run, LABEL_RUN_LEN) == 0)
		return true;
	if (!d->stale++)
		die_warn("%s reports records of another source; they are ignored", p->name);
	return false;
}

static void twice(struct ackd *d, struct ackd_peer *p, struct span label)
{
	trouble(d, EXIT_PERM, true,
		"%s has acknowledged record %.*s a second time: a filter makes several records of one: put it under evbatch",
		p->name, (int)(label.len < 60 ? label.len : 60), label.p);
}

static void on_report(struct ackd *d, struct ackd_peer *p, enum ledger_kind kind, struct span line,
	int64_t now_us)
{
	bool sink = p->role != FILTER;
	struct span text;
	struct label label;

	if (kind == LEDGER_FINAL && !sink) {
		garbage(d, p, "a filter that says final");
		return;
	}
	if (!is_ours(d, p, word(&line)))
		return;
	if (sink)
		d->sink_idle = false;
	if (line.len && line.p[line.len - 1] == ' ') {
		garbage(d, p, "a space too many");
		return;
	}
	do {
		text = word(&line);
		if (label_parse(&label, text)) {
			garbage(d, p, "a label that is none");
			return;
		}
		switch (ledger_report(d->ledger, sink, kind, &label, now_us)) {
		case LEDGER_GARBAGE:
			garbage(d, p, "a label that was never given");
			return;
		case LEDGER_TWICE:
			twice(d, p, text);
			return;
		case LEDGER_BACKWARDS:
			trouble(d, EXIT_PERM, true,
				"%s has acknowledged record %.*s after a later one: a filter changes the order: put it under evbatch, or leave out --account order",
				p->name, (int)(text.len < 60 ? text.len : 60), text.p);
			return;
		default:
			break;
		}
	} while (line.len);
}

static void on_stop(struct ackd *d, struct ackd_peer *p, struct span reason)
{
	char text[200];
	size_t n = 0;

	for (size_t i = 0; i < reason.len && n < sizeof(text) - 1; i++)
		text[n++] = (unsigned char)reason.p[i] < ' ' ? ' ' : reason.p[i];
	text[n] = '\0';
	trouble(d, EXIT_PERM, false, "%s (process %s) stops the pipeline: %s", p->name, p->pid,
		text);
}

/* ---- transactions ---- */

static void answer(struct ackd *d, struct ackd_peer *p)
{
	struct span labels = buf_as_span(&p->question);
	const struct ledger_part *part = NULL;

	switch (ledger_txn(d->ledger, labels)) {
	case LEDGER_WAIT:
		d->asked = true;
		return;
	case LEDGER_ABORT:
		tell(d, p, "abort %s\n", d->run);
		break;
	case LEDGER_GARBAGE:
		garbage(d, p, "a transaction of labels that were never given");
		break;
	case LEDGER_TWICE:
		twice(d, p, labels);
		break;
	default:
		buf_puts(&p->out, "offsets ");
		d->metadata(d->ctx, &p->out);
		while ((part = ledger_next_part(d->ledger, part))) {
			int64_t position = ledger_txn_position(d->ledger, part);

			if (position >= 0)
				buf_printf(&p->out, " %s %d %lld", part->topic,
					(int)part->partition, (long long)position);
		}
		tell(d, p, "\n");
	}
	p->asks = false;
	buf_clear(&p->question);
}

static void on_offsets(struct ackd *d, struct ackd_peer *p, struct span line)
{
	if (p->role != TXN) {
		garbage(d, p, "offsets from no txn");
		return;
	}
	if (!is_ours(d, p, word(&line)))
		return;
	/* Each question has one reply, in order. */
	if (p->asks)
		tell(d, p, "again %s\n", d->run);
	buf_clear(&p->question);
	buf_span(&p->question, line);
	p->asks = true;
	answer(d, p);
}

/* ---- lines ---- */

static void on_line(struct ackd *d, struct ackd_peer *p, struct span line, int64_t now_us)
{
	struct span verb = word(&line);
	bool hello = span_is(verb, "hello");

	if (p->role == REFUSED)
		return;
	if (hello != (p->role == NOBODY) || p->bye) {
		garbage(d, p,
			p->role == NOBODY ? "a message before hello"
					  : "a second hello or a message after bye");
		return;
	}
	if (hello)
		on_hello(d, p, line);
	else if (span_is(verb, "final"))
		on_report(d, p, LEDGER_FINAL, line, now_us);
	else if (span_is(verb, "drop"))
		on_report(d, p, LEDGER_DROP, line, now_us);
	else if (span_is(verb, "dead"))
		on_report(d, p, LEDGER_DEAD, line, now_us);
	else if (span_is(verb, "idle") && !line.len && p->role != FILTER)
		d->sink_idle = true;
	else if (span_is(verb, "busy") && !line.len && p->role != FILTER)
		d->sink_idle = false;
	else if (span_is(verb, "offsets"))
		on_offsets(d, p, line);
	else if (span_is(verb, "stop"))
		on_stop(d, p, line);
	else if (span_is(verb, "bye") && !line.len)
		p->bye = true;
	else
		garbage(d, p, "a message that is none");
}

/* Takes the whole lines of what has come and keeps the rest. @fresh: how much of it is new. */
static void take_lines(struct ackd *d, struct ackd_peer *p, size_t fresh, int64_t now_us)
{
	size_t at = 0, from = p->in.len - fresh;

	while (!p->gone) {
		const char *lf = memchr(p->in.p + from, '\n', p->in.len - from);
		size_t end;

		if (!lf)
			break;
		end = (size_t)(lf - p->in.p);
		on_line(d, p, (struct span){p->in.p + at, end - at}, now_us);
		at = from = end + 1;
	}
	p->in.len -= at;
	memmove(p->in.p, p->in.p + at, p->in.len);
	if (p->in.len > LINE_MAX_BYTES)
		garbage(d, p, "a line over a megabyte");
	if (p->out.len > SEND_MAX_BYTES)
		garbage(d, p, "it does not read what it has asked for");
}

static void read_peer(struct ackd *d, struct ackd_peer *p, int64_t now_us)
{
	for (int i = 0; i < READS_A_TURN && !p->gone; i++) {
		ssize_t n = recv(p->fd, buf_room(&p->in, READ_BYTES), READ_BYTES, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			p->gone = true;
			return;
		}
		p->in.len += (size_t)n;
		take_lines(d, p, (size_t)n, now_us);
	}
}

/* ---- connections ---- */

static void drop_peer(struct ackd *d, struct ackd_peer **link)
{
	struct ackd_peer *p = *link;
	bool counted = p->role != NOBODY && p->role != REFUSED;

	if (counted)
		d->connections--;
	if (p->role == SINK || p->role == TXN) {
		d->has_sink = false;
		d->sink_lost = d->sink_lost || !p->bye;
	}
	*link = p->next;
	d->peer_count--;
	close(p->fd);
	buf_free(&p->in);
	buf_free(&p->out);
	buf_free(&p->question);
	free(p);
}

void ackd_add(struct ackd *d, int fd)
{
	struct ackd_peer *p;

	if (d->peer_count >= PEERS_MAX) {
		d->garbage++;
		close(fd);
		return;
	}
	p = die_alloc(sizeof(*p));
	*p = (struct ackd_peer){.fd = fd, .next = d->peers};
	/* Who could not be heard is not to wait for an answer. */
	if (!watch(d, p, EPOLL_CTL_ADD)) {
		die_warn("cannot listen to a program of the pipeline: %s", strerror(errno));
		close(fd);
		free(p);
		return;
	}
	d->peers = p;
	d->peer_count++;
	tell(d, p, "run %s\n", d->run);
	if (d->ended)
		tell(d, p, "end %s %llu\n", d->run, (unsigned long long)ledger_last(d->ledger));
}

static void accept_all(struct ackd *d)
{
	int fd;

	while ((fd = accept4(d->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		ackd_add(d, fd);
}

void ackd_serve(struct ackd *d, int64_t now_us)
{
	struct epoll_event events[16];
	struct ackd_peer **link = &d->peers;
	int n;

	if (d->fd < 0)
		return;
	n = epoll_wait(d->fd, events, 16, 0);
	for (int i = 0; i < n; i++) {
		struct ackd_peer *p = events[i].data.ptr;

		if (!p) {
			accept_all(d);
			continue;
		}
		flush(d, p);
		read_peer(d, p, now_us);
	}
	if (d->asked) {
		d->asked = false;
		for (struct ackd_peer *p = d->peers; p; p = p->next)
			if (p->asks && !p->gone)
				answer(d, p);
	}
	while (*link)
		if ((*link)->gone)
			drop_peer(d, link);
		else
			link = &(*link)->next;
}

void ackd_end(struct ackd *d)
{
	if (d->fd < 0 || d->ended)
		return;
	d->ended = true;
	for (struct ackd_peer *p = d->peers; p; p = p->next)
		if (p->role != REFUSED)
			tell(d, p, "end %s %llu\n", d->run,
				(unsigned long long)ledger_last(d->ledger));
}

bool ackd_flushed(const struct ackd *d)
{
	for (const struct ackd_peer *p = d->peers; p; p = p->next)
		if (p->out.len && p->role != NOBODY && p->role != REFUSED)
			return false;
	return true;
}

void ackd_stop(struct ackd *d, const char *reason)
{
	for (struct ackd_peer *p = d->peers; p; p = p->next)
		if (p->role != REFUSED)
			tell(d, p, "stop %s\n", reason);
}

/* ---- the socket ---- */

static void address(struct sockaddr_un *a, const char *path)
{
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(a->sun_path))
		die(EXIT_PERM, "'%s' is too long for a socket: %zu bytes, and %zu are the limit",
			path, strlen(path), sizeof(a->sun_path) - 1);
	memcpy(a->sun_path, path, strlen(path));
}

/* Makes way for a new socket: what is there must be a socket that nobody listens on. */
static void clear_path(const struct sockaddr_un *a)
{
	struct stat st;
	int fd;

	if (lstat(a->sun_path, &st))
		return;
	if (!S_ISSOCK(st.st_mode))
		die(EXIT_PERM, "cannot listen on '%s': it is there and no socket", a->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		die(EXIT_TEMP, "cannot make a socket: %s", strerror(errno));
	/* EAGAIN: its queue is full, so somebody listens. */
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN)
		die(EXIT_PERM,
			"another source listens on '%s': a pipeline has one source; run two pipelines",
			a->sun_path);
	close(fd);
	if (unlink(a->sun_path) && errno != ENOENT)
		die(EXIT_PERM, "cannot replace the dead socket '%s': %s", a->sun_path,
			strerror(errno));
}

/* What dies later leaves no dead socket; a child that exits leaves its parent's. */
static struct {
	const char *path;
	pid_t pid;
} listening;

static void at_exit(void)
{
	if (listening.path && listening.pid == getpid())
		unlink(listening.path);
}

static void listen_on(struct ackd *d, const char *path)
{
	struct epoll_event e = {.events = EPOLLIN};
	struct sockaddr_un a;
	mode_t mask;
	int ret;

	address(&a, path);
	clear_path(&a);
	d->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->listen_fd < 0)
		die(EXIT_TEMP, "cannot make a socket: %s", strerror(errno));
	mask = umask(0177);
	ret = bind(d->listen_fd, (const struct sockaddr *)&a, sizeof(a));
	umask(mask);
	if (ret || listen(d->listen_fd, 64))
		die(EXIT_PERM, "cannot listen on '%s': %s", path, strerror(errno));
	d->path = die_strdup(path);
	listening.path = d->path;
	if (!listening.pid)
		atexit(at_exit);
	listening.pid = getpid();
	if (epoll_ctl(d->fd, EPOLL_CTL_ADD, d->listen_fd, &e))
		die(EXIT_TEMP, "cannot poll: %s", strerror(errno));
}

void ackd_open(struct ackd *d, const char *path, struct ledger *l)
{
	unsigned char random[LABEL_RUN_LEN / 2];

	*d = (struct ackd){.ledger = l, .listen_fd = -1};
	if (getentropy(random, sizeof(random)))
		die(EXIT_TEMP, "cannot get random numbers: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(d->run + 2 * i, 3, "%02x", random[i]);
	d->fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->fd < 0)
		die(EXIT_TEMP, "cannot poll: %s", strerror(errno));
	if (path)
		listen_on(d, path);
}

void ackd_on_txn(struct ackd *d, void (*metadata)(void *ctx, struct buf *out), void *ctx)
{
	d->metadata = metadata;
	d->ctx = ctx;
}

void ackd_close(struct ackd *d)
{
	if (d->fd < 0)
		return;
	while (d->peers)
		drop_peer(d, &d->peers);
	if (d->path) {
		unlink(d->path);
		listening.path = NULL;
	}
	if (d->listen_fd >= 0)
		close(d->listen_fd);
	close(d->fd);
	free(d->path);
	d->path = NULL;
	d->fd = d->listen_fd = -1;
}
