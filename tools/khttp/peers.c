/* SPDX-License-Identifier: ISC */
#include "khttp/peers.h"

#include "khttp/forward.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "net/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { TICK_MS = 100, HINTS = 4096, EVENTS = 64 };

struct peers {
	struct peer_set set;
	struct forward *forwards;
	int64_t tick_ms;
	unsigned char hints[HINTS]; /* by a path's hash: 1 + the peer that answered last */
	uint64_t total;
};

/* ---- the command line ---- */

void peers_opts(struct peers_opts *o)
{
	o->urls = opt_many(NULL, "peers", "URL", 0,
		"another bridge, or several with commas: it is asked for instances that are not here");
	o->timeout = arg_str0(NULL, "peer-timeout", "TIME",
		"for a peer's answer, beyond the time that the request names (default 35s)");
	o->ca = arg_file0(NULL, "peer-ca", "FILE", "the CA of the peers' certificates, PEM");
}

/* "http://host:port"; an address of IPv6 stands in brackets. */
static struct peer read_url(const char *url)
{
	const char *at = strstr(url, "://"), *port;
	struct peer p = {0};
	size_t n;

	if ((strncmp(url, "http://", 7) && strncmp(url, "https://", 8)) || strpbrk(at + 3, "/?# "))
		opt_bad("--peers takes http://HOST:PORT or https://HOST:PORT, not '%s'", url);
	at += 3;
	port = strrchr(at, ':');
	n = port ? (size_t)(port - at) : 0;
	if (!n || !port[1] || port[1 + strspn(port + 1, "0123456789")])
		opt_bad("--peers takes http://HOST:PORT or https://HOST:PORT, not '%s'", url);
	p.tls = url[4] == 's';
	p.address = mem_dup(at);
	p.port = mem_dup(port + 1);
	if (n > 2 && *at == '[')
		p.host = mem_printf("%.*s", (int)n - 2, at + 1);
	else
		p.host = mem_printf("%.*s", (int)n, at);
	return p;
}

static void add(struct peers *ps, const char *url)
{
	struct peer p = read_url(url);
	const char *own = ps->set.k->advertise ? strstr(ps->set.k->advertise, "://") + 3 : "";

	/* All bridges may be given the same list. */
	if (strcmp(p.address, own) == 0) {
		free(p.address);
		free(p.host);
		free(p.port);
		return;
	}
	ps->set.list = mem_realloc(ps->set.list, (ps->set.count + 1) * sizeof(*ps->set.list));
	ps->set.list[ps->set.count++] = p;
}

struct peers *peers_open(
	struct khttp *k, const struct peers_opts *o, const char *cert, const char *key)
{
	struct tls_config tls = {
		.ca_file = opt_file(o->ca, "--peer-ca"), .cert_file = cert, .key_file = key};
	struct trouble why = {0};
	struct peers *ps;
	char *urls, *save = NULL;
	int64_t timeout_ms = opt_duration_ms(o->timeout, "--peer-timeout", 35000);

	if (timeout_ms < 1)
		opt_bad("--peer-timeout takes a time above 0");
	if (!o->urls->count)
		return NULL;
	ps = mem_alloc(sizeof(*ps));
	*ps = (struct peers){
		.set = {.k = k, .epoll = epoll_create1(EPOLL_CLOEXEC), .timeout_ms = timeout_ms}};
	if (ps->set.epoll < 0)
		die(EXIT_TEMP, "cannot make an epoll descriptor: %s", msg_errno(errno));
	for (int i = 0; i < o->urls->count; i++) {
		urls = mem_dup(o->urls->sval[i]);
		for (char *url = strtok_r(urls, ",", &save); url; url = strtok_r(NULL, ",", &save))
			add(ps, url);
		free(urls);
	}
	for (size_t i = 0; i < ps->set.count && !ps->set.tls; i++)
		if (ps->set.list[i].tls && !(ps->set.tls = tls_open(&tls, &why)))
			die(why.status, "%s", why.text);
	metrics_counter("requests_handed_on_total",
		"Requests that another bridge was asked to answer.", METRICS_TOOL, &ps->total);
	return ps;
}

/* ---- requests ---- */

bool peers_is_second(struct http_request *r)
{
	return http_header(r, "Khttp-Forwarded") != NULL;
}

void peers_say_unknown(struct http_request *r)
{
	http_set_header(r, "Khttp-Elsewhere", "1");
}

void peers_say_asked(struct http_request *r)
{
	if (peers_is_second(r))
		http_set_header(r, "Khttp-Asked", "1");
}

static bool find(const struct peers *ps, struct span owner, size_t *at)
{
	for (*at = 0; *at < ps->set.count; ++*at)
		if (span_is(owner, ps->set.list[*at].address))
			return true;
	return false;
}

/* By the instance's path, up to its name's end. */
static size_t hint_of(const struct call *c)
{
	size_t hash = 5381;

	for (const char *p = http_param(c->r, "group"); *p; p++)
		hash = hash * 33 + (unsigned char)*p;
	for (const char *p = http_param(c->r, "name"); *p; p++)
		hash = hash * 33 + (unsigned char)*p;
	return hash % HINTS;
}

bool peers_take(struct peers *ps, const struct call *c, struct span owner)
{
	size_t first = 0, more, hint;
	struct forward *f;

	if (!ps || !ps->set.count || peers_is_second(c->r))
		return false;
	if (owner.p && !find(ps, owner, &first))
		return false;
	hint = hint_of(c);
	if (!owner.p && ps->hints[hint] && ps->hints[hint] <= ps->set.count)
		first = ps->hints[hint] - 1U;
	more = owner.p ? 0 : ps->set.count - 1;
	/* The instance's bridge hears what has become of the answer before, and then of this
	 * request. */
	for (f = ps->forwards; f; f = f->next)
		if (f->hint == &ps->hints[hint])
			forward_settle(f, true);
	ps->total++;
	f = forward_open(&ps->set, c->r, first, more);
	f->hint = ps->set.count < 255 ? &ps->hints[hint] : NULL;
	f->link = &ps->forwards;
	f->next = ps->forwards;
	if (f->next)
		f->next->link = &f->next;
	ps->forwards = f;
	return true;
}

/* ---- the loop ---- */

int peers_fd(const struct peers *ps)
{
	return ps ? ps->set.epoll : -1;
}

int peers_timeout_ms(const struct peers *ps)
{
	return ps && ps->forwards ? TICK_MS : -1;
}

static void look(struct forward *f)
{
	if (f->hint && f->status && f->state >= FORWARD_BODY && !f->unknown)
		*f->hint = (unsigned char)(f->peer + 1);
	forward_tick(f);
}

void peers_serve(struct peers *ps)
{
	struct epoll_event events[EVENTS];
	struct forward *next;
	int n;

	if (!ps || !ps->forwards)
		return;
	n = epoll_wait(ps->set.epoll, events, EVENTS, 0);
	for (int i = 0; i < n; i++)
		forward_step(events[i].data.ptr, (short)events[i].events);
	if (ps->set.k->now_ms < ps->tick_ms && !n)
		return;
	ps->tick_ms = ps->set.k->now_ms + TICK_MS;
	for (struct forward *f = ps->forwards; f; f = next) {
		next = f->next;
		look(f);
		if (f->state == FORWARD_OVER && !f->r)
			forward_free(f);
	}
}

void peers_leave(struct peers *ps)
{
	for (struct forward *f = ps ? ps->forwards : NULL; f; f = f->next)
		forward_leave(f);
}

void peers_close(struct peers *ps)
{
	if (!ps)
		return;
	while (ps->forwards)
		forward_free(ps->forwards);
	for (size_t i = 0; i < ps->set.count; i++) {
		free(ps->set.list[i].host);
		free(ps->set.list[i].port);
		free(ps->set.list[i].address);
	}
	free(ps->set.list);
	tls_free(ps->set.tls);
	close(ps->set.epoll);
	free(ps);
}
