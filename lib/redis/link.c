/* SPDX-License-Identifier: ISC */
/* DESIGN
 * DOWN, DIALING, SHAKING, LOGIN (login.c), UP: link_step takes one step from where the link stands,
 * and from each of them the way back is link_lose. A server that answers nothing on a first
 * connection gets a second one, PROBING (probe.c), before the loss is reported.
 *
 * Any function that moves bytes may notice a loss, but only link_step reports it: the owner first
 * takes the replies that came before the loss. */
#define _GNU_SOURCE
#include "redis/link-parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "net/tls.h"

#include <errno.h>
#include <hiredis.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	SHAKE_MS = 3000, /* hands */
	SHAKE_FIRST_MS = 700, /* … and until it is asked for the first time what the port speaks */
	LOGIN_MS = 5000,
	ASK_MS = 5000, /* of silence */
	ANSWER_MS = 1000, /* after that the server does not answer */
	LOST_MS = 20000, /* of silence */
	SHOWN = 40, /* bytes of another protocol */
	BLOCK = 64 << 10, /* read at once */
	LARGE = 1 << 20, /* buffers over this are given back when empty */
	STRING_MAX = 64 << 20,
	REPLY_MAX =
		1 << 30, /* of an array that is taken whole: an entry may have strings of 512 MB */
};

void link_open(struct link *l, const char *name, const char *host, const char *port,
	const struct link_login *login)
{
	*l = (struct link){.name = mem_dup(name),
		.login = login,
		.bytes.fd = -1,
		.resp.max_string = STRING_MAX};
	dial_set(&l->dial, host, port);
}

void link_to(struct link *l, const char *name, const char *host, const char *port)
{
	char *copy = mem_dup(name);

	free(l->name);
	l->name = copy;
	l->probes = 0;
	l->speaks_tls = false;
	l->refused_ms = 0;
	dial_set(&l->dial, host, port);
}

void link_close(struct link *l)
{
	bytes_close(&l->bytes);
	tls_free(l->probe_tls);
	dial_free(&l->dial);
	buf_free(&l->in);
	buf_free(&l->out);
	free(l->tags.p);
	free(l->name);
	*l = (struct link){.bytes.fd = -1};
}

/* ---- losing ---- */

static void lose(struct link *l, int status, const char *fmt, va_list ap)
{
	char why[sizeof(l->trouble.text)];

	bytes_close(&l->bytes);
	dial_stop(&l->dial);
	/* What a login has no answer to is no command of the owner's. */
	if (l->state == LINK_LOGIN)
		l->tags.head = l->tags.tail;
	l->state = LINK_DOWN;
	l->trouble = (struct trouble){0};
	vsnprintf(why, sizeof(why), fmt, ap);
	trouble_set(&l->trouble, status, "%s", why);
}

void link_lose(struct link *l, int status, const char *fmt, ...)
{
	va_list ap;

	if (l->state == LINK_DOWN)
		return;
	va_start(ap, fmt);
	lose(l, status, fmt, ap);
	va_end(ap);
	l->news = LINK_LOST;
}

void link_drop(struct link *l, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	lose(l, status, fmt, ap);
	va_end(ap);
	l->news = LINK_SAME;
}

void link_bad(struct link *l, const char *why)
{
	const char *p = l->resp.p;
	int n = 0;

	while (p + n < l->resp.end && n < SHOWN && p[n] >= ' ' && p[n] <= '~')
		n++;
	/* What another server says first tells which it is. */
	if (l->state == LINK_LOGIN && n > 1 && !strchr("+-:$*", *p))
		link_lose(l, EXIT_TEMP, "this is not the redis protocol: it says '%.*s'", n, p);
	else
		link_lose(l, EXIT_TEMP, "this is not the redis protocol: %s", why);
}

/* A server of another kind closes the connection when it has seen our first command. */
static bool is_answered(const struct link *l)
{
	return l->state != LINK_LOGIN || l->in.len;
}

/* A reason of TLS that is one of the configuration, with the option that it wants. */
static void lose_tls(struct link *l, const char *why)
{
	struct tls_report t;

	tls_report(&l->bytes, &t);
	link_lose(l, EXIT_PERM, "%s at %s: %s%s", l->login->what, l->name, why,
		t.end == TLS_WANTS_CERT		    ? "; --cert and --key name one"
			: t.flaws == TLS_OTHER_HOST ? "; --sni takes the name that it is for"
			: t.flaws == TLS_UNKNOWN_CA ? " with --cacert"
						    : "");
}

static void lose_bytes(struct link *l)
{
	struct trouble why = l->bytes.trouble;

	if (why.status == EXIT_PERM)
		lose_tls(l, why.text);
	else if (!is_answered(l))
		link_lose(l, EXIT_TEMP, "%s, and no answer: another server's port?", why.text);
	else
		link_lose(l, EXIT_TEMP, "%s", why.text);
}

/* ---- bytes ---- */

/* Makes room behind what has come, and keeps what is not taken yet. */
static void make_room(struct link *l)
{
	struct buf *in = &l->in;
	size_t rest = (size_t)(l->resp.end - l->resp.p), at = in->len - rest;

	if (!rest) {
		buf_clear(in);
		if (in->cap > LARGE)
			buf_free(in);
	} else if (in->cap - in->len < BLOCK && at) {
		memmove(in->p, in->p + at, rest);
		in->len = rest;
	}
	if (in->cap - in->len < BLOCK / 4)
		buf_room(in, BLOCK);
	l->resp.p = in->p + in->len - rest;
}

static bool read_some(struct link *l)
{
	ssize_t n;

	make_room(l);
	do {
		n = bytes_read(&l->bytes, l->in.p + l->in.len, l->in.cap - l->in.len);
		l->in.len += n > 0 ? (size_t)n : 0;
	} while (n > 0 && bytes_pending(&l->bytes) && l->in.len < l->in.cap);
	l->resp.end = l->in.p + l->in.len;
	if (n == 0)
		link_lose(l, EXIT_TEMP, "the server closed the connection%s",
			is_answered(l) ? "" : " without an answer: another server's port?");
	else if (n < 0 && errno == EAGAIN)
		l->empty_ms = l->now_ms;
	else if (n < 0 && errno != EINTR)
		lose_bytes(l);
	if (n <= 0)
		return false;
	l->heard_ms = l->now_ms;
	/* These bytes may have waited since then: the process did not read, or was stopped. */
	l->alive_ms = l->empty_ms;
	return true;
}

bool link_read(struct link *l)
{
	return l->state == LINK_UP && read_some(l);
}

/* Moves what is left to the front when that costs no more than was sent. */
static void compact_out(struct link *l)
{
	size_t left = link_unsent(l);

	if (l->head < l->out.len / 2)
		return;
	memmove(l->out.p, l->out.p + l->head, left);
	l->out.len = left;
	l->head = 0;
	if (!left && l->out.cap > LARGE)
		buf_free(&l->out);
}

void link_flush(struct link *l)
{
	if (link_unsent(l) && (l->state == LINK_UP || l->state == LINK_LOGIN))
		link_send(l);
}

void link_send(struct link *l)
{
	size_t n = link_unsent(l);
	ssize_t sent;

	sent = bytes_write(&l->bytes, l->out.p + l->head, n);
	if (sent < 0 && errno == EAGAIN)
		return;
	/* After an error bytes_write has closed our side. Replies may still be waiting: the
	 * server's end, which the next poll reports, loses the link. */
	l->head += sent < 0 ? n : (size_t)sent;
	compact_out(l);
}

void link_heard(struct link *l, int64_t now_ms)
{
	l->heard_ms = now_ms;
}

/* ---- commands ---- */

void link_grow_tags(struct link_tags *t)
{
	size_t cap = t->cap ? 2 * t->cap : 64;
	uint64_t *p = mem_alloc(cap * sizeof(*p));

	for (uint64_t i = t->head; i < t->tail; i++)
		p[i & (cap - 1)] = t->p[i & (t->cap - 1)];
	free(t->p);
	t->p = p;
	t->cap = cap;
}

void link_words(struct buf *b, int argc, const char *const *argv)
{
	char *text;
	/* hiredis has char ** where it means const. */
	int n = redisFormatCommandArgv(&text, argc, (const char **)(uintptr_t)argv, NULL);

	if (n < 0)
		die(EXIT_TEMP, "out of memory");
	buf_put(b, text, (size_t)n);
	explicit_bzero(text, (size_t)n);
	redisFreeCommand(text);
}

void link_command(struct link *l, uint64_t tag, int argc, const char *const *argv)
{
	link_words(link_begin(l), argc, argv);
	link_commit(l, tag);
}

/* ---- replies ---- */

/* Takes the array whose head was taken before, if all of it has come. A later call goes on where
 * this one stopped. */
static enum resp_type take_array(struct link *l, struct link_reply *reply)
{
	struct resp c = l->resp;
	enum resp_type got;

	c.p += l->scanned;
	c.max_string = REPLY_MAX;
	got = resp_skip(&c, &l->scan_left);
	l->scanned = (size_t)(c.p - l->resp.p);
	if (got == RESP_BAD)
		link_bad(l, c.why);
	else if (got == RESP_MORE && (c.skip || l->scanned > REPLY_MAX))
		link_bad(l, "a reply is too long");
	if (got != RESP_NIL)
		return RESP_MORE;
	reply->value = l->array;
	reply->elements = (struct resp){.p = l->resp.p, .end = c.p, .max_string = REPLY_MAX};
	l->resp.p = c.p;
	l->in_array = false;
	return RESP_ARRAY;
}

enum resp_type link_reply(struct link *l, struct link_reply *reply)
{
	enum resp_type got = l->in_array ? RESP_ARRAY : resp_next(&l->resp, &reply->value);

	if (got == RESP_BAD)
		link_bad(l, l->resp.why);
	if (got == RESP_BAD || got == RESP_MORE)
		return RESP_MORE;
	if (got == RESP_ARRAY) {
		if (!l->in_array) {
			l->in_array = true;
			l->array = reply->value;
			l->scanned = 0;
			l->scan_left = (uint64_t)l->array.n;
		}
		if (take_array(l, reply) == RESP_MORE)
			return RESP_MORE;
	}
	if (link_take_tag(l, &reply->tag))
		return got;
	link_lose(l, EXIT_TEMP, "it answered what was not asked");
	return RESP_MORE;
}

/* ---- the loop ---- */

static void start(struct link *l)
{
	l->state = LINK_DIALING;
	l->news = LINK_SAME;
	l->head = l->out.len = 0;
	l->tags.head = l->tags.tail = 0;
	buf_clear(&l->in);
	l->resp = (struct resp){.max_string = l->resp.max_string};
	l->in_array = false;
}

void link_dial(struct link *l, int64_t now_ms)
{
	start(l);
	dial_start(&l->dial, now_ms);
}

void link_redial(struct link *l, int64_t now_ms)
{
	start(l);
	dial_retry(&l->dial, now_ms);
}

/* Whether nothing shows yet that the port speaks TLS, and it may be asked. */
static bool is_first(const struct link *l)
{
	return !l->probes && !l->has_shaken && l->dial.port;
}

static void on_late_shake(struct link *l)
{
	l->is_hasty = is_first(l);
	link_lose(l, EXIT_TEMP, "no answer to the TLS handshake within %d s", SHAKE_MS / 1000);
}

static void on_shaking(struct link *l)
{
	int got = bytes_shake(&l->bytes);

	if (got < 0)
		lose_bytes(l);
	if (got <= 0)
		return;
	l->has_shaken = true;
	l->state = LINK_LOGIN;
	l->deadline_ms = l->now_ms + LOGIN_MS;
	link_begin_login(l);
}

static void on_dialing(struct link *l, short revents)
{
	enum dial_state got = dial_step(&l->dial, revents, l->now_ms);

	if (got == DIAL_FAILED)
		link_lose(l, EXIT_TEMP, "%s", l->dial.why);
	if (got != DIAL_CONNECTED)
		return;
	if (l->probe) {
		link_begin_probe(l, dial_take(&l->dial));
		return;
	}
	bytes_open(&l->bytes, dial_take(&l->dial),
		l->speaks_tls ? l->login->tls_if_spoken : l->login->tls, l->dial.host);
	l->state = LINK_SHAKING;
	l->is_hasty = false;
	l->deadline_ms = l->now_ms + (is_first(l) ? SHAKE_FIRST_MS : SHAKE_MS);
	on_shaking(l);
}

static void on_login(struct link *l, short revents)
{
	if (bytes_can_write(&l->bytes, revents))
		link_flush(l);
	if (bytes_can_read(&l->bytes, revents) && read_some(l))
		link_on_login(l);
}

/* When silence, so far, means something new. */
static int64_t silent_until_ms(const struct link *l)
{
	if (l->silent_ms <= l->heard_ms)
		return l->heard_ms + ASK_MS;
	return l->answers ? l->silent_ms + ANSWER_MS : l->heard_ms + LOST_MS;
}

static void on_up(struct link *l, short revents)
{
	if (bytes_can_read(&l->bytes, revents) && read_some(l))
		l->answers = true;
	if (l->state == LINK_UP && bytes_can_write(&l->bytes, revents))
		link_flush(l);
	if (l->state != LINK_UP || l->heard_ms == l->now_ms || l->now_ms < silent_until_ms(l))
		return;
	if (l->silent_ms <= l->heard_ms) {
		l->silent_ms = l->empty_ms = l->now_ms;
		l->news = LINK_SILENT;
	} else if (l->answers) {
		l->answers = false;
	} else {
		dial_blame(&l->dial);
		link_lose(l, EXIT_TEMP, "no answer for %d s", LOST_MS / 1000);
	}
}

enum link_news link_step(struct link *l, short revents, int64_t now_ms)
{
	enum link_state state = l->state;
	enum link_news news;

	l->now_ms = now_ms;
	if (l->state == LINK_DIALING)
		on_dialing(l, revents);
	else if (l->state == LINK_SHAKING && revents)
		on_shaking(l);
	else if (l->state == LINK_LOGIN)
		on_login(l, revents);
	else if (l->state == LINK_PROBING)
		link_on_probing(l, revents);
	else if (l->state == LINK_UP)
		on_up(l, revents);
	if (l->state == LINK_SHAKING && now_ms >= l->deadline_ms)
		on_late_shake(l);
	else if (l->state == LINK_LOGIN && now_ms >= l->deadline_ms)
		link_lose(l, EXIT_TEMP, "no answer within %d s", LOGIN_MS / 1000);
	if (l->news == LINK_LOST && link_should_probe(l, state))
		link_dial(l, now_ms);
	news = l->news;
	l->news = LINK_SAME;
	return news;
}

int link_fd(const struct link *l)
{
	return l->state == LINK_DIALING ? dial_fd(&l->dial) : l->bytes.fd;
}

short link_events(const struct link *l)
{
	if (l->state == LINK_DIALING)
		return dial_events(&l->dial);
	return bytes_want(&l->bytes, l->state != LINK_SHAKING && link_unsent(l));
}

int link_timeout_ms(const struct link *l, int64_t now_ms)
{
	int64_t at = l->state == LINK_UP ? silent_until_ms(l) : l->deadline_ms;

	if (l->news != LINK_SAME || bytes_pending(&l->bytes))
		return 0;
	if (l->state == LINK_DIALING)
		return dial_timeout_ms(&l->dial, now_ms);
	if (l->state == LINK_DOWN)
		return -1;
	return at > now_ms ? (int)(at - now_ms) : 0;
}

const char *link_library(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "hiredis %d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR,
		HIREDIS_PATCH);
	return text;
}
