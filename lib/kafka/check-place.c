/* SPDX-License-Identifier: ISC */
/* Names and addresses that do not lead to a broker, and how to come to it. */
#define _GNU_SOURCE
#include "kafka/check-parts.h"

#include "base/msg.h"
#include "kafka/bootstrap.h"
#include "kafka/resolve.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME_SHOWN = 144 }; /* of a listener's name as much stands in a note */

void judge_say(struct judge *j, int status, const char *fmt, ...)
{
	struct check_verdict *v = j->v;
	va_list ap;
	int n;

	v->status = status;
	n = snprintf(v->text, sizeof(v->text), "%s", j->l->name);
	if (j->l->broker_count)
		n += snprintf(v->text + n, sizeof(v->text) - (size_t)n, ", advertised by broker %d",
			j->l->brokers[0]);
	n += snprintf(v->text + n, sizeof(v->text) - (size_t)n, ": ");
	va_start(ap, fmt);
	vsnprintf(v->text + n, sizeof(v->text) - (size_t)n, fmt, ap);
	va_end(ap);
	msg_clean(v->text);
}

void judge_advise(struct judge *j, const char *fmt, ...)
{
	size_t n = strlen(j->v->remedy);
	va_list ap;

	if (n && n + 2 < sizeof(j->v->remedy))
		n += (size_t)snprintf(j->v->remedy + n, sizeof(j->v->remedy) - n, "; ");
	va_start(ap, fmt);
	vsnprintf(j->v->remedy + n, sizeof(j->v->remedy) - n, fmt, ap);
	va_end(ap);
	msg_clean(j->v->remedy);
}

/* ---- what a name or an address is ---- */

char *judge_bracket(const char *address, char *text, size_t size)
{
	snprintf(text, size, strchr(address, ':') ? "[%s]" : "%s", address);
	return text;
}

static bool is_loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 ||
		/* A client connects to itself there, too. */
		strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

/* Of a network that is not seen from elsewhere (RFC 1918, RFC 4193). */
static bool is_private(const char *address)
{
	unsigned char a[16];

	if (inet_pton(AF_INET, address, a) == 1)
		return a[0] == 10 || (a[0] == 172 && a[1] / 16 == 1) ||
			(a[0] == 192 && a[1] == 168);
	return inet_pton(AF_INET6, address, a) == 1 && (a[0] & 0xfe) == 0xfc;
}

/* Both in one network, as far as two octets tell. */
static bool are_near(const char *one, const char *other)
{
	unsigned char a[16], b[16];
	int family = strchr(one, ':') ? AF_INET6 : AF_INET;

	return inet_pton(family, one, a) == 1 && inet_pton(family, other, b) == 1 &&
		memcmp(a, b, 2) == 0;
}

/* "kafka-0.kafka.default.svc", with or without the cluster's domain. */
static bool is_of_kubernetes(const char *host)
{
	static const char domain[] = ".cluster.local";
	size_t n = strlen(host);

	return strstr(host, ".svc.") || (n > 4 && strcasecmp(host + n - 4, ".svc") == 0) ||
		(n >= sizeof(domain) && strcasecmp(host + n - sizeof(domain) + 1, domain) == 0);
}

/* Some broker advertises the place at which @l was reached. */
static bool is_advertised(const struct check *c, const struct check_listener *l)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct check_listener *b = c->listeners[i];

		if (!b->broker_count || strcmp(b->to_port, l->to_port))
			continue;
		for (int k = 0; k < b->address_count; k++)
			for (int n = 0; n < l->address_count; n++)
				if (strcmp(b->addresses[k].text, l->addresses[n].text) == 0)
					return true;
	}
	return false;
}

/* ---- remedies ---- */

/* By the address that told of it, if there is no other broker. */
void judge_advise_address(struct judge *j)
{
	const struct check *c = j->c;
	const struct check_listener *l = j->l, *via = c->via;
	bool alone = via && c->via_address->talk.metadata.broker_count == 1;
	char to[INET6_ADDRSTRLEN + 24];

	if (!l->broker_count || !via) {
		if (l->is_mapped)
			judge_advise(j, "correct --resolve %s:%s:%s, or leave it away", l->name,
				judge_bracket(l->to_host, to, sizeof(to)), l->to_port);
		else
			judge_advise(
				j, "start the broker there, or name another address: -b HOST:PORT");
		return;
	}
	if (!l->is_bootstrap && alone) {
		judge_advise(j, "here: --resolve %s:%s%s%s", l->name,
			judge_bracket(c->via_address->text, to, sizeof(to)),
			strcmp(l->port, via->to_port) ? ":" : "",
			strcmp(l->port, via->to_port) ? via->to_port : "");
		judge_advise(j, "or for all, at broker %d: advertised.listeners=%s://%s",
			l->brokers[0], c->conf->protocol, via->name);
		return;
	}
	judge_advise(j, "here: --resolve %s:ADDRESS[:PORT], where broker %d can be reached",
		l->name, l->brokers[0]);
	judge_advise(j,
		"or for all, at broker %d: advertised.listeners=%s://HOST:PORT, as clients reach it",
		l->brokers[0], c->conf->protocol);
}

/* ---- verdicts ---- */

void judge_name(struct judge *j)
{
	const struct check_listener *l = j->l;
	const char *whose = "";

	if (is_of_kubernetes(l->to_host))
		whose = "; it is a name inside a Kubernetes cluster, where clients outside need a listener of their own";
	else if (l->broker_count && !strchr(l->to_host, '.'))
		whose = "; without a dot it is known to the broker's own machines or containers";
	j->v->is_passing = l->resolve_error != EAI_NONAME;
	if (j->c->conf->family != AF_UNSPEC && l->resolve_error != EAI_NONAME) {
		judge_say(j, EXIT_TEMP, "'%s' has no address here for broker.address.family=%s: %s",
			l->to_host, j->c->conf->family == AF_INET ? "v4" : "v6",
			gai_strerror(l->resolve_error));
		judge_advise(j, "-X broker.address.family=any");
		return;
	}
	judge_say(j, EXIT_TEMP, "the host name '%s' does not resolve here: %s%s", l->to_host,
		gai_strerror(l->resolve_error), whose);
	if (l->broker_count)
		judge_advise_address(j);
	else
		judge_advise(
			j, "-b with a host name that resolves, or: --resolve %s:ADDRESS", l->name);
}

bool judge_form(struct judge *j)
{
	const struct check_listener *l = j->l, *via = j->c->via;

	if (!l->broker_count || l->is_mapped ||
		(*l->host && bootstrap_is_port((struct span){l->port, strlen(l->port)})))
		return false;
	judge_say(j, EXIT_TEMP, "%s",
		*l->host ? "a port is a number from 1 to 65535" : "a host name is missing");
	judge_advise(j, "at broker %d: advertised.listeners=%s://%s", l->brokers[0],
		j->c->conf->protocol, via ? via->name : "HOST:PORT");
	return true;
}

void judge_unreached(struct judge *j)
{
	const struct check *c = j->c;
	const struct talk *t = &j->a->talk;
	const char *whose = "";

	j->v->is_passing = true;
	if (j->l->broker_count && c->via && is_private(j->a->text) &&
		!are_near(j->a->text, c->via_address->text))
		whose = "; it is an address of a private network, where clients outside need a listener of their own";
	if (t->fault == TALK_REFUSED)
		judge_say(j, EXIT_TEMP, "connection refused: nothing listens at %s port %s%s",
			j->a->text, j->l->to_port, whose);
	else if (t->fault == TALK_UNREACHABLE)
		judge_say(j, EXIT_TEMP, "%s cannot be reached: %s%s", j->a->text, t->text, whose);
	else
		judge_say(j, EXIT_TIMEOUT,
			"time-out: %s does not answer at port %s; packets are dropped on the "
			"way, or the address is wrong%s",
			j->a->text, j->l->to_port, whose);
	if (t->fault == TALK_SILENT)
		judge_advise(j, "look at firewalls and security groups between here and there");
	if (t->fault != TALK_SILENT || *whose || j->l->is_mapped)
		judge_advise_address(j);
}

/* A client that has come by an address of -b goes on to others. */
static void note_balancer(struct judge *j)
{
	const struct check *c = j->c;
	size_t n;
	bool more = false;

	if (!j->l->is_bootstrap || is_advertised(c, j->l))
		return;
	snprintf(j->v->note, sizeof(j->v->note),
		"%.*s is advertised by no broker, as a load balancer's address is: a client only begins there, and goes on to",
		NAME_SHOWN, j->l->name);
	for (size_t i = 0; i < c->count; i++) {
		n = strlen(j->v->note);
		if (c->listeners[i]->broker_count && n < sizeof(j->v->note)) {
			snprintf(j->v->note + n, sizeof(j->v->note) - n, "%s %s", more ? "," : "",
				c->listeners[i]->name);
			more = true;
		}
	}
}

/* A broker answers there, but it is of another cluster. Returns whether it is. */
static bool judge_cluster(struct judge *j, const struct check_address *good)
{
	const struct check_listener *via = j->c->via;
	const char *here = good->talk.metadata.cluster, *first = NULL;

	if (via && via != j->l)
		first = j->c->via_address->talk.metadata.cluster;
	if (!here || !first || strcmp(here, first) == 0)
		return false;
	j->v->is_stranger = true;
	judge_say(j, j->l->is_bootstrap ? EXIT_PERM : EXIT_TEMP,
		"a broker of another cluster answers there, %.64s; %s is of the cluster %.64s",
		here, via->name, first);
	if (j->l->is_bootstrap && !j->l->is_mapped)
		judge_advise(j, "name brokers of one cluster: -b HOST:PORT");
	else
		judge_advise_address(j);
	return true;
}

void check_dead_address(const struct check_listener *l, const struct check_address *a, char *why,
	size_t why_size, char *remedy, size_t remedy_size)
{
	const struct check_address *good = check_usable(l);
	char to[72];

	snprintf(why, why_size, "also resolves to %s, where %s", a->text,
		a->talk.fault == TALK_REFUSED	       ? "the connection is refused"
			: a->talk.fault == TALK_SILENT ? "nothing answers (time-out)"
						       : "no broker can be used");
	if (!strchr(a->text, ':') != !strchr(good->text, ':'))
		snprintf(remedy, remedy_size, "-X broker.address.family=%s skips it",
			strchr(a->text, ':') ? "v4" : "v6");
	else
		snprintf(remedy, remedy_size, "--resolve %s:%s skips it", l->name,
			judge_bracket(good->text, to, sizeof(to)));
}

struct unused {
	const struct check *c;
	char *text;
	size_t size;
	bool is_any;
};

static void put(struct unused *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct unused *u, const char *fmt, ...)
{
	size_t n = strlen(u->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(u->text + n, u->size - n, fmt, ap);
	va_end(ap);
}

static void add_unused(void *unused, const char *host, const char *port)
{
	const struct check_listener *like = NULL;
	struct unused *u = unused;

	for (size_t i = 0; i < u->c->count; i++) {
		const struct check_listener *l = u->c->listeners[i];

		if (strcasecmp(l->host, host) == 0 && strcmp(l->port, port) == 0)
			return;
		if (strcasecmp(l->host, host) == 0 && l->broker_count)
			like = l;
	}
	put(u, u->is_any ? ", " : *u->text ? "; --resolve " : "--resolve ");
	put(u, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
	if (like)
		put(u, " (%s is advertised)", like->name);
	u->is_any = true;
}

bool check_unused(const struct check *c, bool files, char *text, size_t size)
{
	struct unused u = {c, text, size, false};

	if (!c->via)
		return false;
	resolve_each(c->conf->resolves, files, add_unused, &u);
	if (u.is_any)
		put(&u, ": not used, for no broker that is up advertises it, and -b does not name it");
	msg_clean(text);
	return true;
}

void judge_good(struct judge *j)
{
	const struct check_listener *l = j->l, *via = j->c->via;
	const struct check_address *good = check_usable(l);
	char why[200], remedy[240];

	snprintf(j->v->text, sizeof(j->v->text), "good");
	if (judge_cluster(j, good))
		return;
	if (l->is_bootstrap && !good->talk.metadata.broker_count) {
		j->v->is_passing = true;
		judge_say(j, EXIT_TEMP, "it answers, and names no broker of its cluster");
		judge_advise(j, "start the brokers of that cluster");
		return;
	}
	note_balancer(j);
	for (int i = 0; i < l->address_count; i++) {
		if (l->addresses[i].talk.done)
			continue;
		check_dead_address(l, &l->addresses[i], why, sizeof(why), remedy, sizeof(remedy));
		snprintf(j->v->note, sizeof(j->v->note), "%.*s %s; %.230s", NAME_SHOWN, l->host,
			why, remedy);
	}
	if (l == via)
		check_unused(j->c, true, j->v->note, sizeof(j->v->note));
	if (l->is_bootstrap || l->is_mapped || !is_loopback(good->text) ||
		is_loopback(j->c->via_address->text))
		return;
	judge_say(j, EXIT_TEMP,
		"'%s' is each machine's own address (loopback): a client on another machine "
		"looks for the broker there",
		l->host);
	judge_advise(j, "at broker %d: advertised.listeners=%s://%s", l->brokers[0],
		j->c->conf->protocol, via->name);
}
