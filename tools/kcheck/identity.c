/* SPDX-License-Identifier: ISC */
/* Which broker answers at an address. Its metadata do not tell, for they are the same everywhere;
 * but a broker says no when it is asked for the configuration of another one. */
#define _GNU_SOURCE
#include "kcheck/parts.h"

#include "base/msg.h"
#include "base/wake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDS_MAX = 8 }; /* of one address that are asked for */

enum identity {
	IDENTITY_UNKNOWN, /* it does not say: we may not ask, or it has no such request */
	IDENTITY_SAME,
	IDENTITY_OTHER,
};

/* *@found: which one it is; -1: not told. */
static enum identity ask(struct views *v, struct talk *t, int32_t id, int32_t *found)
{
	static const char expected[] = ", expected ";
	struct span text, value;
	int16_t version, error;
	struct buf *b = talk_request(t, PROTO_DESCRIBE_CONFIGS, QUERY_DESCRIBE_CONFIGS_MIN,
		QUERY_DESCRIBE_CONFIGS_MAX, &version);
	char name[16], words[200];
	const char *at;

	*found = -1;
	if (!b)
		return IDENTITY_UNKNOWN;
	snprintf(name, sizeof(name), "%d", id);
	query_put_describe_configs(b, QUERY_RESOURCE_BROKER, name, "node.id");
	if (!views_ask(v, t) || query_read_describe_configs(t->answer, &error, &text, &value))
		return IDENTITY_UNKNOWN;
	if (!error)
		return IDENTITY_SAME;
	if (error != PROTO_INVALID_REQUEST)
		return IDENTITY_UNKNOWN;
	/* "Unexpected broker id, expected 2 or empty string, but received 1" */
	snprintf(words, sizeof(words), "%.*s", (int)text.len, text.p ? text.p : "");
	at = strstr(words, expected);
	if (at)
		*found = (int32_t)strtol(at + sizeof(expected) - 1, NULL, 10);
	return IDENTITY_OTHER;
}

static void put_ids(char *text, size_t size, const struct check_listener *l)
{
	int n = 0;

	for (int i = 0; i < l->broker_count && n < (int)size; i++)
		n += snprintf(text + n, size - (size_t)n, "%s%d",
			!i				  ? ""
				: i + 1 < l->broker_count ? ", "
							  : " and ",
			l->brokers[i]);
}

/* Several brokers advertise one address. Some servers that speak as Kafka does answer there for any
 * of them: what is not told is no failure. */
static void judge_shared(struct views *v, struct check_listener *l, struct talk *t)
{
	struct check_verdict *w = &l->verdict;
	enum identity all = IDENTITY_SAME;
	char ids[100];
	int32_t found;

	for (int i = 0; i < l->broker_count && i < IDS_MAX && all == IDENTITY_SAME; i++)
		all = ask(v, t, l->brokers[i], &found);
	put_ids(ids, sizeof(ids), l);
	if (all == IDENTITY_SAME) {
		snprintf(w->note, sizeof(w->note),
			"brokers %s advertise one address, %.100s; what answers there answers for each of them",
			ids, l->name);
		return;
	}
	if (all == IDENTITY_UNKNOWN) {
		snprintf(w->note, sizeof(w->note),
			"brokers %s advertise one address, %.80s; it does not tell us whose it is: behind one proxy for all a client comes to any, else it answers for each",
			ids, l->name);
		return;
	}
	w->status = EXIT_TEMP;
	snprintf(w->text, sizeof(w->text),
		"%s, advertised by broker %d: brokers %s advertise this one address, as with one proxy for all: "
		"a client that looks for one of them comes to any",
		l->name, l->brokers[0], ids);
	snprintf(w->remedy, sizeof(w->remedy),
		"give each broker a port or a host name of its own at the proxy, and advertise that: "
		"advertised.listeners=%s://HOST:PORT",
		v->check->conf->protocol);
}

/* The place is another broker's. */
static void judge_other(struct views *v, struct check_listener *l, int32_t found)
{
	struct check_verdict *w = &l->verdict;
	char who[40] = "another broker";

	if (found >= 0)
		snprintf(who, sizeof(who), "broker %d", found);
	w->status = EXIT_TEMP;
	snprintf(w->text, sizeof(w->text),
		"%s, advertised by broker %d: %s answers there: a client that looks for one finds the other",
		l->name, l->brokers[0], who);
	if (l->is_mapped)
		snprintf(w->remedy, sizeof(w->remedy),
			"here: --resolve %s:ADDRESS[:PORT], where broker %d can be reached",
			l->name, l->brokers[0]);
	else
		snprintf(w->remedy, sizeof(w->remedy),
			"lead %s to broker %d at the proxy or the port mapping; or, at broker %d: "
			"advertised.listeners=%s://HOST:PORT, as clients reach it",
			l->name, l->brokers[0], l->brokers[0], v->check->conf->protocol);
}

void views_identities(struct views *v)
{
	/* One broker cannot be taken for another. */
	if (!v->check->via || v->check->via_address->talk.metadata.broker_count < 2)
		return;
	for (size_t i = 0; i < v->check->count && !wake_stops(); i++) {
		struct check_listener *l = v->check->listeners[i];
		struct check_address *a = check_usable(l);
		int32_t found;

		if (!a || l->verdict.status || !l->broker_count)
			continue;
		if (l->broker_count > 1)
			judge_shared(v, l, &a->talk);
		else if (ask(v, &a->talk, l->brokers[0], &found) == IDENTITY_OTHER)
			judge_other(v, l, found);
	}
}
