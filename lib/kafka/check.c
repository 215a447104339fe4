/* SPDX-License-Identifier: ISC */
/* DESIGN: listeners are worked on side by side, and so are the addresses of one. What an address
 * is, its conversation (talk.h) tells, or the looks at it in other ways, which begin when that has
 * failed in a way that has several reasons, or is slow: a server of another protocol may wait for
 * ever for the end of what we send. The listener is judged (check-verdict.c) when all its addresses
 * are done. */
#define _GNU_SOURCE
#include "kafka/check-parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "kafka/conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
	PATIENCE_US =
		/* an answer that takes longer, and three times as long as the dial, is slow */
	60000,
	LOOK_US = 1000000, /* looks end so long after the conversation has failed */
};

/* ---- addresses ---- */

static void look(const struct check *c, const struct check_listener *l, struct check_address *a,
	enum talk_aim aim, struct span words, int64_t now_us)
{
	talk_start(&a->looks[a->look_count++], &c->conf->as, aim, words, l->host, a->text,
		l->to_port, now_us);
}

/* Looks at what the address is, when the conversation says too little. */
static void begin_looks(const struct check *c, const struct check_listener *l,
	struct check_address *a, int64_t now_us)
{
	const struct talk *t = &a->talk;

	a->looks_us = now_us;
	if (t->step != TALK_SHAKES && t->step != TALK_ASKS_VERSIONS)
		return;
	if (t->fault == TALK_BAD_CERT || t->fault == TALK_NO_BROKER || t->tls.end == TLS_WANTS_CERT)
		return;
	look(c, l, a, TALK_LOOK_WORDS, talk_line, now_us);
	if (t->fault != TALK_NO_KAFKA)
		look(c, l, a, TALK_LOOK_WORDS, talk_zookeeper, now_us);
	if (c->conf->as.tls) {
		look(c, l, a, TALK_LOOK_PLAIN, SPAN_NONE, now_us);
		look(c, l, a, TALK_LOOK_TLS_WORDS, talk_line, now_us);
	} else {
		look(c, l, a, TALK_LOOK_TLS, SPAN_NONE, now_us);
	}
}

static bool in_tls(const struct check_address *a)
{
	bool yes = a->talk.tls.version != NULL;

	for (int i = 0; i < a->look_count; i++)
		yes |= a->looks[i].tls.version != NULL;
	return yes;
}

/* The second turn, when the first has found nothing, and the peer has closed: what servers answer
 * that close on anything else. A frozen broker is not bothered with it. */
static void begin_further_looks(const struct check *c, const struct check_listener *l,
	struct check_address *a, int64_t now_us)
{
	bool tls = in_tls(a);
	enum talk_aim aim = tls ? TALK_LOOK_TLS_WORDS : TALK_LOOK_WORDS;

	a->looks_further = true;
	if (a->talk.step != TALK_SHAKES && a->talk.step != TALK_ASKS_VERSIONS)
		return;
	if (a->talk.fault != TALK_CLOSED && a->talk.fault != TALK_BAD_TLS &&
		!(tls && a->talk.fault == TALK_NO_KAFKA))
		return;
	a->looks_us = now_us;
	if (tls && !c->conf->as.tls)
		look(c, l, a, aim, talk_line, now_us);
	else if (!tls)
		look(c, l, a, TALK_LOOK_PROXY, SPAN_NONE, now_us);
	for (const struct span *q = stranger_questions; q->len; q++)
		look(c, l, a, aim, *q, now_us);
}

/* What is asked without a login, a listener that wants one closes. Other looks may have begun
 * before: TLS was slow. */
static void begin_login_look(const struct check *c, const struct check_listener *l,
	struct check_address *a, int64_t now_us)
{
	if (a->looks_login || c->conf->as.sasl || a->talk.step != TALK_ASKS_METADATA ||
		a->talk.fault != TALK_CLOSED)
		return;
	a->looks_login = true;
	a->looks_us = now_us;
	look(c, l, a, TALK_LOOK_LOGIN, SPAN_NONE, now_us);
}

static bool is_slow(const struct talk *t, int64_t now_us)
{
	int64_t patience_us = 3 * t->step_us[TALK_DIALS];

	if (patience_us < PATIENCE_US)
		patience_us = PATIENCE_US;
	return talk_goes_on(t) && (t->step == TALK_SHAKES || t->step == TALK_ASKS_VERSIONS) &&
		now_us - t->since_us >= patience_us;
}

static void end_talks(struct check_address *a, int64_t now_us)
{
	talk_give_up(&a->talk, now_us);
	for (int i = 0; i < a->look_count; i++)
		talk_give_up(&a->looks[i], now_us);
	a->done = true;
}

static void add_brokers(struct check *c, const struct check_listener *l,
	const struct check_address *a, int64_t now_us)
{
	if (!c->via) {
		c->via = l;
		c->via_address = a;
	}
	for (int32_t i = 0; i < a->talk.metadata.broker_count; i++) {
		const struct proto_broker *b = &a->talk.metadata.brokers[i];
		char port[16];

		snprintf(port, sizeof(port), "%d", b->port);
		check_add(c, b->host, port, b->id, now_us);
	}
}

/* A look is on the way to more: it speaks the TLS in which the peer has answered, or it has come to
 * a broker and asks for the mechanisms. However long that takes. */
static bool awaits_more(const struct check_address *a)
{
	bool yes = false;

	for (int i = 0; i < a->look_count; i++) {
		const struct talk *t = &a->looks[i];

		yes |= talk_goes_on(t) &&
			(t->step == TALK_ASKS_MECHANISMS ||
				(t->aim == TALK_LOOK_TLS && a->talk.answers_in_tls));
	}
	return yes;
}

static void watch_address(
	struct check *c, const struct check_listener *l, struct check_address *a, int64_t now_us)
{
	bool looks_go_on = false;

	if (a->done)
		return;
	if (a->talk.step == TALK_DIALS && now_us - a->talk.start_us >= c->connect_us)
		talk_give_up(&a->talk, now_us);
	if (!a->looks_us && (a->talk.fault || is_slow(&a->talk, now_us)))
		begin_looks(c, l, a, now_us);
	begin_login_look(c, l, a, now_us);
	for (int i = 0; i < a->look_count; i++)
		looks_go_on |= talk_goes_on(&a->looks[i]);
	if (a->looks_us && !a->looks_further && a->talk.fault && !check_knows(a) &&
		(!looks_go_on || now_us - a->looks_us >= LOOK_US / 2)) {
		begin_further_looks(c, l, a, now_us);
		looks_go_on = true;
	}
	if (now_us >= c->nudge_us)
		talk_nudge(&a->talk);
	if (now_us >= c->until_us || a->talk.done || check_knows(a) ||
		(a->talk.fault &&
			(!looks_go_on || (now_us - a->looks_us >= LOOK_US && !awaits_more(a)))))
		end_talks(a, now_us);
	if (a->talk.done && l->is_bootstrap)
		add_brokers(c, l, a, now_us);
}

/* ---- listeners ---- */

static void begin_talks(
	struct check *c, struct check_listener *l, const struct addrinfo *addrs, int64_t now_us)
{
	int n = 0;

	for (const struct addrinfo *a = addrs; a; a = a->ai_next)
		n += c->conf->family == AF_UNSPEC || a->ai_family == c->conf->family;
	l->addresses = mem_alloc((size_t)(n + 1) * sizeof(*l->addresses));
	memset(l->addresses, 0, (size_t)(n + 1) * sizeof(*l->addresses));
	for (const struct addrinfo *a = addrs; a; a = a->ai_next) {
		struct check_address *to = &l->addresses[l->address_count];

		if (c->conf->family != AF_UNSPEC && a->ai_family != c->conf->family)
			continue;
		if (getnameinfo(a->ai_addr, a->ai_addrlen, to->text, sizeof(to->text), NULL, 0,
			    NI_NUMERICHOST))
			continue;
		l->address_count++;
		talk_start(&to->talk, &c->conf->as, TALK_USE, SPAN_NONE, l->host, to->text,
			l->to_port, now_us);
	}
	if (!n)
		l->resolve_error = EAI_ADDRFAMILY;
}

static void begin_listener(struct check *c, struct check_listener *l, int64_t now_us)
{
	static const struct addrinfo numeric = {
		.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *addrs;

	l->start_us = now_us;
	if (getaddrinfo(l->to_host, l->to_port, &numeric, &addrs) == 0) {
		begin_talks(c, l, addrs, now_us);
		freeaddrinfo(addrs);
		return;
	}
	l->resolve = resolve_start(l->to_host, l->to_port);
	if (!l->resolve)
		l->resolve_error = EAI_SYSTEM;
}

static void watch_resolver(struct check *c, struct check_listener *l, int64_t now_us)
{
	struct addrinfo *addrs = NULL;
	int error = resolve_take(l->resolve, &addrs);

	if (error == EAI_INPROGRESS && now_us < c->until_us)
		return;
	l->resolve_us = now_us - l->start_us;
	l->resolve_error = error == EAI_INPROGRESS ? EAI_AGAIN : error;
	if (!error) {
		begin_talks(c, l, addrs, now_us);
		freeaddrinfo(addrs);
	}
	resolve_drop(l->resolve);
	l->resolve = NULL;
}

static void watch_listener(struct check *c, struct check_listener *l, int64_t now_us)
{
	bool done = true;

	if (l->done)
		return;
	if (l->resolve)
		watch_resolver(c, l, now_us);
	if (l->resolve)
		return;
	for (int i = 0; i < l->address_count; i++) {
		watch_address(c, l, &l->addresses[i], now_us);
		done = done && l->addresses[i].done;
	}
	if (!done)
		return;
	l->done = true;
	l->took_us = now_us - l->start_us;
}

struct check_listener *check_add(
	struct check *c, const char *host, const char *port, int32_t broker, int64_t now_us)
{
	struct check_listener *l = NULL;

	for (size_t i = 0; i < c->count && !l; i++)
		if (strcmp(c->listeners[i]->host, host) == 0 &&
			strcmp(c->listeners[i]->port, port) == 0)
			l = c->listeners[i];
	if (!l) {
		l = mem_alloc(sizeof(*l));
		*l = (struct check_listener){.host = mem_dup(host), .port = mem_dup(port)};
		snprintf(l->name, sizeof(l->name),
			strchr(host, ':') ? "[%.255s]:%.16s" : "%.255s:%.16s", host, port);
		l->is_mapped = resolve_map(c->conf->resolves, host, port, &l->to_host, &l->to_port);
		c->listeners =
			mem_realloc(c->listeners, (c->count + 1) * sizeof(struct check_listener *));
		c->listeners[c->count++] = l;
		c->done = false;
		begin_listener(c, l, now_us);
	}
	for (int i = 0; i < l->broker_count; i++)
		if (l->brokers[i] == broker)
			return l;
	if (broker >= 0) {
		l->brokers = mem_realloc(
			l->brokers, (size_t)(l->broker_count + 1) * sizeof(*l->brokers));
		l->brokers[l->broker_count++] = broker;
	}
	return l;
}

/* ---- bootstrap.servers ---- */

/* "[proto://]host[:port]", as librdkafka takes it; brackets around an IPv6 address. */
static void add_bootstrap(struct check *c, char *text, int64_t now_us)
{
	char *host = strstr(text, "://"), *port, *end;
	bool is_bare;

	host = host ? host + 3 : text;
	end = *host == '[' ? strchr(host, ']') : NULL;
	port = end ? (end[1] == ':' ? end + 1 : NULL) : strrchr(host, ':');
	is_bare = !end && port && strchr(host, ':') != port;
	if (end) {
		host++;
		*end = '\0';
	}
	if (port && !is_bare)
		*port++ = '\0';
	check_add(c, host, port && !is_bare && *port ? port : "9092", -1, now_us)->is_bootstrap =
		true;
}

static void add_bootstraps(struct check *c, int64_t now_us)
{
	char *all = mem_dup(c->conf->bootstrap), *rest = all, *one;

	while ((one = strsep(&rest, ", \t"))) {
		if (*one)
			add_bootstrap(c, one, now_us);
	}
	free(all);
}

/* ---- the whole ---- */

void check_start(struct check *c, const struct check_conf *conf, int64_t timeout_ms, int64_t now_us)
{
	*c = (struct check){.conf = conf,
		.until_us = now_us + timeout_ms * 1000,
		.nudge_us = now_us + timeout_ms * 600,
		.connect_us = timeout_ms * 500};
	add_bootstraps(c, now_us);
	check_go_on(c, NULL, now_us);
}

static void add_polled(struct check *c, struct talk *t)
{
	if (!talk_goes_on(t))
		return;
	if (c->polled_count == c->polled_room) {
		c->polled_room = c->polled_room ? 2 * c->polled_room : 16;
		c->polled = mem_realloc(c->polled, c->polled_room * sizeof(*c->polled));
	}
	c->polled[c->polled_count++] = t;
}

size_t check_poll(struct check *c, struct pollfd **fds, size_t *room)
{
	size_t n;

	c->polled_count = 0;
	for (size_t i = 0; i < c->count; i++)
		for (int k = 0; k < c->listeners[i]->address_count; k++) {
			struct check_address *a = &c->listeners[i]->addresses[k];

			add_polled(c, &a->talk);
			for (int n_look = 0; n_look < a->look_count; n_look++)
				add_polled(c, &a->looks[n_look]);
		}
	n = c->polled_count + c->count;
	if (n > *room) {
		*room = 2 * n;
		*fds = mem_realloc(*fds, *room * sizeof(**fds));
	}
	for (size_t i = 0; i < c->polled_count; i++)
		talk_poll(c->polled[i], &(*fds)[i]);
	for (size_t i = 0; i < c->count; i++) {
		const struct resolve *q = c->listeners[i]->resolve;

		(*fds)[c->polled_count + i] =
			(struct pollfd){.fd = q ? resolve_fd(q) : -1, .events = POLLIN};
	}
	return n;
}

int check_timeout_ms(const struct check *c, int64_t now_us)
{
	/* Patience and limits are looked at so often. */
	enum { TURN_MS = 10, IDLE_MS = 100 };
	int ms = c->done ? IDLE_MS : TURN_MS;

	(void)now_us;
	for (size_t i = 0; i < c->polled_count; i++)
		if (talk_is_due(c->polled[i]))
			ms = 0;
	return ms;
}

void check_go_on(struct check *c, const struct pollfd *fds, int64_t now_us)
{
	bool done = true;

	for (size_t i = 0; fds && i < c->polled_count; i++)
		talk_go_on(c->polled[i], fds[i].revents, now_us);
	for (size_t i = 0; i < c->count; i++) {
		watch_listener(c, c->listeners[i], now_us);
		done = done && c->listeners[i]->done;
	}
	if (!done || c->done)
		return;
	/* A verdict on one looks at the others. */
	for (size_t i = 0; i < c->count; i++)
		check_judge(c, c->listeners[i]);
	c->done = true;
}

struct check_address *check_usable(const struct check_listener *l)
{
	for (int i = 0; i < l->address_count; i++)
		if (l->addresses[i].talk.done)
			return &l->addresses[i];
	return NULL;
}

struct check_listener *check_broker(const struct check *c, int32_t id)
{
	for (size_t i = 0; i < c->count; i++)
		for (int k = 0; k < c->listeners[i]->broker_count; k++)
			if (c->listeners[i]->brokers[k] == id)
				return c->listeners[i];
	return NULL;
}

const struct check_verdict *check_worst(const struct check *c)
{
	const struct check_verdict *worst = &c->listeners[0]->verdict;

	for (size_t i = 1; i < c->count; i++) {
		const struct check_verdict *v = &c->listeners[i]->verdict;

		if (trouble_worse(worst->status, v->status) != worst->status)
			worst = v;
	}
	return worst;
}

void check_free(struct check *c)
{
	for (size_t i = 0; i < c->count; i++) {
		struct check_listener *l = c->listeners[i];

		for (int k = 0; k < l->address_count; k++) {
			struct check_address *a = &l->addresses[k];

			talk_free(&a->talk);
			for (int n = 0; n < a->look_count; n++)
				talk_free(&a->looks[n]);
		}
		resolve_drop(l->resolve);
		free(l->addresses);
		free(l->brokers);
		free(l->host);
		free(l->port);
		free(l->to_host);
		free(l->to_port);
		free(l);
	}
	free(c->listeners);
	free(c->polled);
	*c = (struct check){0};
}
