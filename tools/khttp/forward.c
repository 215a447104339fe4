/* SPDX-License-Identifier: ISC */
/* DESIGN: FORWARD_DIAL -> SHAKE (TLS) -> SEND -> HEAD -> BODY -> HELD -> OVER; from HEAD back to
 * DIAL with the next peer when that one does not know the instance.
 *
 * A peer moves an instance's positions when the answer has arrived, and we are its client. So the
 * connection to it is held until our client has the answer. Then we ask the peer for something
 * else, as who has an answer does; whatever else becomes of the connection, also when we are
 * killed, is a client that has gone without. */
#include "khttp/forward.h"

#include "khttp/error.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "net/keepalive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>

enum {
	CONNECT_MS = 7000, /* dial's own limit is shorter, for an address */
	TIMEOUT_MAX_MS = 300000,
	READ_BYTES = 64 << 10,
};

static const struct peer *peer_of(const struct forward *f)
{
	return &f->set->list[f->peer];
}

/* ---- the request ---- */

static void put_encoded(struct buf *b, const char *text)
{
	text_put_url(b, (struct span){text, strlen(text)}, "-._~");
}

static void put_query(void *ctx, const char *name, const char *value)
{
	struct forward *f = ctx;

	buf_putc(&f->line, memchr(f->line.p, '?', f->line.len) ? '&' : '?');
	put_encoded(&f->line, name);
	buf_putc(&f->line, '=');
	put_encoded(&f->line, value);
}

static void put_header(void *ctx, const char *name, const char *value)
{
	/* Of the connection to us; and what we set. */
	static const char *const own[] = {"Host", "Connection", "Keep-Alive", "Proxy-Connection",
		"TE", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Content-Length",
		"Khttp-Forwarded", NULL};
	struct forward *f = ctx;

	for (const char *const *o = own; *o; o++)
		if (strcasecmp(name, *o) == 0)
			return;
	buf_printf(&f->rest, "%s: %s\r\n", name, value);
}

static void write_request(struct forward *f)
{
	const struct http_request *r = f->r;

	buf_printf(&f->line, "%s %s", r->method, r->path);
	http_each(r, HTTP_QUERY, put_query, f);
	buf_puts(&f->line, " HTTP/1.1\r\nHost: ");
	buf_puts(&f->rest, "\r\nKhttp-Forwarded: 1\r\n");
	http_each(r, HTTP_HEADER, put_header, f);
	if (r->body.len || strcmp(r->method, "POST") == 0)
		buf_printf(&f->rest, "Content-Length: %zu\r\n", r->body.len);
	buf_puts(&f->rest, "\r\n");
	buf_span(&f->rest, r->body);
}

/* How long the answer may take by the request itself. */
static int64_t asked_ms(const struct http_request *r)
{
	const char *text = http_query(r, "timeout");
	int64_t ms = 0;

	if (!text || num_i64(text, &ms) || ms < 0)
		ms = 0;
	return ms < TIMEOUT_MAX_MS ? ms : TIMEOUT_MAX_MS;
}

/* ---- its connection ---- */

/* The end of our side: @in_order, or as of a client that has gone. */
static void hang_up(struct forward *f, bool in_order)
{
	const struct linger reset = {.l_onoff = 1};

	if (f->bytes.fd >= 0 && !in_order) {
		setsockopt(f->bytes.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		/* TLS says no goodbye either. */
		f->bytes.broken = true;
	}
	if (f->bytes.fd >= 0)
		bytes_close(&f->bytes);
	f->bytes.fd = -1;
	dial_stop(&f->dial);
}

void forward_watch(struct forward *f)
{
	int fd = f->state == FORWARD_DIAL ? dial_fd(&f->dial) : f->bytes.fd;
	struct epoll_event e = {.data.ptr = f};

	if (fd < 0)
		return;
	/* Its end would wake the loop for ever. */
	if (f->state == FORWARD_HELD) {
		epoll_ctl(f->set->epoll, EPOLL_CTL_DEL, fd, NULL);
		return;
	}
	if (f->state == FORWARD_DIAL)
		e.events = (uint32_t)dial_events(&f->dial);
	else if (!answer_is_full(f))
		e.events = (uint32_t)bytes_want(&f->bytes, f->state == FORWARD_SEND);
	if (epoll_ctl(f->set->epoll, EPOLL_CTL_MOD, fd, &e) && errno == ENOENT)
		epoll_ctl(f->set->epoll, EPOLL_CTL_ADD, fd, &e);
}

static void end(struct forward *f)
{
	hang_up(f, false);
	f->state = FORWARD_OVER;
}

static void on_done(struct http_request *r, bool whole)
{
	struct forward *f = r->user;

	f->r = NULL;
	if (f->ended && whole && f->state == FORWARD_BODY) {
		f->receipt = http_receipt(r, false);
		f->state = FORWARD_HELD;
		forward_watch(f);
	} else {
		end(f);
	}
}

/* Nothing of an answer has been given to the client. */
static void fail(struct forward *f, int status, const char *why)
{
	struct http_request *r = f->r;
	char text[FORWARD_WHY + 60];

	f->r = NULL;
	r->done = NULL;
	end(f);
	snprintf(text, sizeof(text), "The consumer instance is in another bridge: %s", why);
	error_for_now(r, status, text);
}

static void dial(struct forward *f)
{
	f->state = FORWARD_DIAL;
	f->until_ms = f->k->now_ms + CONNECT_MS;
	buf_clear(&f->in);
	f->used = 0;
	dial_set(&f->dial, peer_of(f)->host, peer_of(f)->port);
	dial_start(&f->dial, f->k->now_ms);
	forward_watch(f);
}

static bool ask_next(struct forward *f)
{
	if (!f->left)
		return false;
	f->left--;
	f->peer = (f->peer + 1) % f->set->count;
	hang_up(f, true);
	dial(f);
	return true;
}

/* This peer cannot be asked. Another one may have the instance; when none has, this one may have
 * it. */
static void lose(struct forward *f, int status, const char *cause)
{
	char why[FORWARD_WHY];

	forward_why(f, cause, why, sizeof(why));
	if (f->streams && f->r) {
		http_cut(f->r);
		end(f);
		return;
	}
	snprintf(f->why, sizeof(f->why), "%s", why);
	if (status != 502 || !ask_next(f))
		fail(f, status, why);
}

/* ---- its steps ---- */

static void shake(struct forward *f)
{
	int done = bytes_shake(&f->bytes);

	if (done < 0) {
		lose(f, 502, f->bytes.trouble.text);
	} else if (done) {
		f->state = FORWARD_SEND;
		buf_clear(&f->out);
		f->sent = 0;
		buf_span(&f->out, buf_as_span(&f->line));
		buf_puts(&f->out, peer_of(f)->address);
		buf_span(&f->out, buf_as_span(&f->rest));
		f->until_ms = f->k->now_ms + f->set->timeout_ms + asked_ms(f->r);
	}
}

static void connect_step(struct forward *f, short revents)
{
	switch (dial_step(&f->dial, revents, f->k->now_ms)) {
	case DIAL_CONNECTED:
		bytes_open(&f->bytes, dial_take(&f->dial), peer_of(f)->tls ? f->set->tls : NULL,
			peer_of(f)->host);
		/* A stream may be quiet for ever. */
		keepalive_set(f->bytes.fd, f->k->conf.idle_s, f->k->conf.unheard_s);
		f->state = FORWARD_SHAKE;
		shake(f);
		break;
	case DIAL_FAILED:
		lose(f, 502, f->dial.why);
		break;
	default:
		break;
	}
}

static void send_request(struct forward *f)
{
	ssize_t n;

	while (f->sent < f->out.len) {
		n = bytes_write(&f->bytes, f->out.p + f->sent, f->out.len - f->sent);
		if (n < 0) {
			if (errno != EAGAIN)
				lose(f, 502, f->bytes.trouble.text);
			return;
		}
		f->sent += (size_t)n;
	}
	f->state = FORWARD_HEAD;
}

static void take_answer(struct forward *f)
{
	if (answer_read(f)) {
		lose(f, 502, "its answer is no HTTP");
		return;
	}
	if (f->refuses) {
		lose(f, 502,
			"it wants a client certificate of a CA that it knows: --tls-cert is what it is shown");
		return;
	}
	if (f->unknown || f->state != FORWARD_HEAD)
		forward_answered(f);
	if (f->state == FORWARD_HEAD && f->unknown) {
		f->unknown = false;
		ask_next(f);
	} else if (f->streams && f->ended) {
		http_end(f->r);
	} else if (f->streams) {
		http_wake(f->r);
	} else if (f->ended && f->unknown && *f->why) {
		/* No other bridge has it. */
		fail(f, 502, f->why);
	} else if (f->ended) {
		http_reply(f->r, f->status, f->type, &f->body);
	}
}

static void read_answer(struct forward *f)
{
	enum forward_state state = f->state;
	ssize_t n = 1;

	while (f->state == state && !f->ended && !answer_is_full(f)) {
		n = bytes_read(&f->bytes, buf_room(&f->in, READ_BYTES), READ_BYTES);
		if (n <= 0)
			break;
		f->in.len += (size_t)n;
		take_answer(f);
	}
	if (n > 0 && f->state == FORWARD_BODY && state == FORWARD_HEAD && !f->ended)
		read_answer(f);
	if (n > 0 || (n < 0 && errno == EAGAIN))
		return;
	if (n == 0 && answer_ends(f))
		http_end(f->r);
	else if (n < 0)
		lose(f, 502, f->bytes.trouble.text);
	else
		lose(f, 502, "it has closed the connection");
}

void forward_step(struct forward *f, short revents)
{
	/* Its client has gone, or has the answer. */
	if (!f->r)
		return;
	if (f->state == FORWARD_DIAL)
		connect_step(f, revents);
	else if (f->state == FORWARD_SHAKE)
		shake(f);
	if (f->state == FORWARD_SEND)
		send_request(f);
	if (f->state == FORWARD_HEAD || f->state == FORWARD_BODY)
		read_answer(f);
	forward_watch(f);
}

/* Few bytes, to a socket that has had room since the request. Should they be lost, the records come
 * again. */
static void say_arrived(struct forward *f)
{
	static const char next[] =
		"HEAD /healthy HTTP/1.1\r\nHost: peer\r\nConnection: close\r\n\r\n";

	bytes_write(&f->bytes, next, sizeof(next) - 1);
}

void forward_settle(struct forward *f, bool asked)
{
	enum http_received received = f->receipt ? http_received(f->receipt) : HTTP_UNKNOWN;

	if (received == HTTP_UNKNOWN || (received == HTTP_CONFIRMED && !asked))
		return;
	http_receipt_free(f->receipt);
	f->receipt = NULL;
	if (received < HTTP_RESET)
		say_arrived(f);
	hang_up(f, received < HTTP_RESET);
	f->state = FORWARD_OVER;
}

void forward_tick(struct forward *f)
{
	forward_settle(f, false);
	if (!f->r)
		return;
	/* There is room again. */
	if (f->state == FORWARD_DIAL || (f->streams && !f->ended && !answer_is_full(f)))
		forward_step(f, 0);
	if (f->r && !f->ended && f->until_ms >= 0 && f->k->now_ms >= f->until_ms)
		lose(f, f->state == FORWARD_DIAL || f->state == FORWARD_SHAKE ? 502 : 504,
			"it does not answer");
}

/* ---- all of it ---- */

struct forward *forward_open(
	const struct peer_set *set, struct http_request *r, size_t first, size_t more)
{
	struct forward *f = mem_alloc(sizeof(*f));

	*f = (struct forward){.set = set,
		.k = set->k,
		.r = r,
		.peer = first,
		.left = more,
		.bytes = {.fd = -1},
		.length = -1};
	r->user = f;
	r->done = on_done;
	write_request(f);
	http_drop_body(r);
	dial(f);
	forward_step(f, 0);
	return f;
}

void forward_leave(struct forward *f)
{
	struct http_request *r = f->r;

	if (!r || f->ended)
		return;
	if (f->streams) {
		f->ended = true;
		http_end(r);
		return;
	}
	f->r = NULL;
	r->done = NULL;
	end(f);
	error_unavailable(r, "the bridge is about to end");
}

void forward_free(struct forward *f)
{
	*f->link = f->next;
	if (f->next)
		f->next->link = f->link;
	hang_up(f, false);
	dial_free(&f->dial);
	http_receipt_free(f->receipt);
	buf_free(&f->line);
	buf_free(&f->rest);
	buf_free(&f->out);
	buf_free(&f->in);
	buf_free(&f->body);
	free(f->type);
	free(f);
}
