/* SPDX-License-Identifier: ISC */
/* DESIGN: the client's loop and the thread share one struct, which the last of the two frees. What
 * the thread has found is there before `done` is set; until then the loop reads nothing else. */
#define _GNU_SOURCE
#include "kafka/diagnosis.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/thread.h"
#include "base/wake.h"
#include "kafka/check.h"
#include "kafka/query.h"
#include "kafka/token.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	PAUSE_MS = 100,
	TIMEOUT_MS = 5000,
	FIRST_MS = 3000, /* the second, too */
};

struct diagnosis {
	atomic_int holders;
	atomic_bool done, dropped;
	bool some_good; /* an advertised listener can be used */
	bool some_silent;
	enum diagnosis_turn turn;
	char *group; /* whose coordinator is asked for, too; NULL */
	struct check_verdict of_group;
	struct kafka_conf conf;
	int wake_fd;
	struct diagnosis_finding *list;
	size_t count;
	const struct diagnosis_finding *ours;
	bool knows_unused;
	char unused[640];
};

/* One at a time: several clients of a process ask about the same cluster. */
static atomic_flag is_under_way = ATOMIC_FLAG_INIT;

static void release(struct diagnosis *d)
{
	if (atomic_fetch_sub(&d->holders, 1) > 1)
		return;
	rd_kafka_conf_destroy(d->conf.rd);
	token_forget(d->conf.token);
	close(d->wake_fd);
	free(d->list);
	free(d->group);
	free(d);
}

/* ---- the thread ---- */

static struct diagnosis_finding *add(struct diagnosis *d, const struct check_listener *l)
{
	struct diagnosis_finding *f = &d->list[d->count++];
	const char *reason = strstr(l->verdict.text, ": ");

	/* A certificate ends the client when librdkafka meets it, too: that is the sentence
	 * then. */
	*f = (struct diagnosis_finding){.is_stranger = l->verdict.is_stranger,
		.is_silent = l->verdict.status == EXIT_TIMEOUT,
		.is_passing = l->verdict.is_passing || l->verdict.is_cert};
	snprintf(f->name, sizeof(f->name), "%s", l->name);
	/* The sentence begins with the listener. */
	if (strncmp(l->verdict.text, f->name, strlen(f->name)) == 0 && reason)
		snprintf(f->reason, sizeof(f->reason), "%s", reason + 2);
	else
		snprintf(f->reason, sizeof(f->reason), "%s", l->verdict.text);
	memcpy(f->remedy, l->verdict.remedy, sizeof(f->remedy));
	return f;
}

/* librdkafka waits half a minute before it goes on to the next address of a name. */
static void add_partial(struct diagnosis *d, const struct check_listener *l)
{
	for (int i = 0; i < l->address_count; i++) {
		const struct check_address *a = &l->addresses[i];
		struct diagnosis_finding *f = &d->list[d->count];
		char why[200];

		if (a->talk.fault != TALK_SILENT || a->talk.step != TALK_DIALS)
			continue;
		d->some_silent = true;
		if (d->turn == DIAGNOSIS_FIRST)
			return;
		*f = (struct diagnosis_finding){.is_partial = true};
		snprintf(f->name, sizeof(f->name), "%s", l->name);
		check_dead_address(l, a, why, sizeof(why), f->remedy, sizeof(f->remedy));
		snprintf(f->reason, sizeof(f->reason), "it %s", why);
		d->count++;
		return;
	}
}

static void take(struct diagnosis *d, const struct check *c)
{
	bool all = true;

	d->knows_unused = check_unused(c, false, d->unused, sizeof(d->unused));
	d->list = mem_alloc((c->count + 1) * sizeof(*d->list));
	for (size_t i = 0; i < c->count; i++) {
		const struct check_listener *l = c->listeners[i];
		bool is_silent = l->verdict.status == EXIT_TIMEOUT;
		const struct diagnosis_finding *f = NULL;

		if (l->verdict.status && !l->verdict.is_unknown &&
			!(is_silent && d->turn == DIAGNOSIS_FIRST))
			f = add(d, l);
		else if (!l->verdict.status && l->is_bootstrap)
			add_partial(d, l);
		d->some_silent |= is_silent;
		if ((l->broker_count && !l->verdict.status) || l->verdict.is_unknown)
			d->some_good = true;
		if (l->is_bootstrap &&
			(l->verdict.is_unknown ||
				(l->verdict.status != EXIT_PERM && !l->verdict.is_cert)))
			all = false;
		else if (l->is_bootstrap && !d->ours)
			d->ours = f;
	}
	if (!all)
		d->ours = NULL;
}

/* A check under way in the thread. */
struct dialler {
	struct diagnosis *d;
	struct check c;
	struct pollfd *fds;
	size_t room;
};

/* One turn. Returns whether anybody still wants to know. */
static bool turn(struct dialler *w)
{
	size_t n = check_poll(&w->c, &w->fds, &w->room);

	poll(w->fds, (nfds_t)n, check_timeout_ms(&w->c, wake_now_us()));
	check_go_on(&w->c, w->fds, wake_now_us());
	return !w->d->dropped;
}

static bool settle(struct dialler *w)
{
	while (!w->c.done)
		if (!turn(w))
			return false;
	return true;
}

/* Returns 0, or -1: there is no answer in time. */
static int ask_coordinator(struct dialler *w, struct talk *t, struct query_coordinator *found)
{
	int64_t until_us = wake_now_us() + TIMEOUT_MS * 1000;
	int16_t version;
	struct buf *b = talk_request(t, PROTO_FIND_COORDINATOR, QUERY_FIND_COORDINATOR_MIN,
		QUERY_FIND_COORDINATOR_MAX, &version);

	if (!b)
		return -1;
	query_put_find_coordinator(b, version, w->d->group);
	talk_send(t, wake_now_us());
	while (talk_goes_on(t)) {
		if (!turn(w))
			return -1;
		if (wake_now_us() >= until_us)
			talk_give_up(t, wake_now_us());
	}
	return t->done ? query_read_find_coordinator(t->answer, version, found) : -1;
}

static void look_at_group(struct dialler *w)
{
	struct check_verdict *v = &w->d->of_group;
	struct check_address *a = NULL;
	struct query_coordinator found;
	const struct check_listener *l;

	for (size_t i = 0; i < w->c.count && !a; i++)
		a = check_usable(w->c.listeners[i]);
	if (!a || ask_coordinator(w, &a->talk, &found))
		return;
	if (found.error) {
		check_group_error(v, w->d->group, w->c.conf->as.login.user, found.error);
		return;
	}
	free(found.broker.host);
	/* A broker that came after the metadata: the next look knows it. */
	l = check_broker(&w->c, found.broker.id);
	if (l && !check_usable(l))
		check_group_unreached(v, w->d->group, l);
}

static void dial(struct diagnosis *d, const struct check_conf *conf)
{
	struct dialler w = {.d = d};

	check_start(&w.c, conf, d->turn == DIAGNOSIS_ANY ? TIMEOUT_MS : FIRST_MS, wake_now_us());
	if (settle(&w)) {
		take(d, &w.c);
		if (d->group)
			look_at_group(&w);
	}
	check_free(&w.c);
	free(w.fds);
}

static void *run(void *arg)
{
	struct diagnosis *d = arg;
	struct trouble why = {0};
	struct check_conf conf = {0};

	if (d->turn == DIAGNOSIS_ANY)
		poll(NULL, 0, PAUSE_MS);
	if (!d->dropped && check_conf_open(&conf, &d->conf, &why) == 0)
		dial(d, &conf);
	check_conf_close(&conf);
	atomic_flag_clear(&is_under_way);
	d->done = true;
	/* A full pipe wakes the loop, too. */
	if (write(d->wake_fd, "", 1) < 0)
		d->done = true;
	release(d);
	return NULL;
}

/* ---- the client's side ---- */

struct diagnosis *diagnosis_start(
	const struct kafka_conf *c, enum diagnosis_turn turn, bool asks_group, int wake_fd)
{
	struct diagnosis *d;
	pthread_t thread;

	if (atomic_flag_test_and_set(&is_under_way))
		return NULL;
	d = mem_alloc(sizeof(*d));
	*d = (struct diagnosis){.holders = 2,
		.turn = turn,
		.group = asks_group ? kafka_conf_copy(c, "group.id") : NULL,
		.conf = {.rd = rd_kafka_conf_dup(c->rd),
			.resolves = c->resolves,
			.has_mechanism = c->has_mechanism,
			.token_cmd = c->token_cmd,
			.token = c->token ? mem_dup(c->token) : NULL},
		.wake_fd = fcntl(wake_fd, F_DUPFD_CLOEXEC, 0)};
	if (thread_start(&thread, run, d)) {
		pthread_detach(thread);
		return d;
	}
	atomic_flag_clear(&is_under_way);
	d->holders = 1;
	release(d);
	return NULL;
}

void diagnosis_mechanism(const struct kafka_conf *c, struct trouble *why)
{
	struct diagnosis d = {0};
	struct dialler w = {.d = &d};
	struct check_conf conf;

	if (check_conf_open(&conf, c, why) == 0) {
		check_start(&w.c, &conf, FIRST_MS, wake_now_us());
		while (!w.c.done && !wake_stops())
			turn(&w);
		for (size_t i = 0; w.c.done && i < w.c.count; i++) {
			const struct check_verdict *v = &w.c.listeners[i]->verdict;

			if (v->status == EXIT_PERM && !v->is_unknown)
				trouble_set(why, EXIT_PERM, "%s%s%s", v->text,
					*v->remedy ? "; " : "", v->remedy);
		}
		trouble_set(why, EXIT_PERM,
			"sasl.mechanisms is not set: -X sasl.mechanisms=PLAIN, SCRAM-SHA-256 or "
			"another one that the brokers offer");
		check_free(&w.c);
		free(w.fds);
	}
	check_conf_close(&conf);
}

bool diagnosis_done(const struct diagnosis *d)
{
	return d->done;
}

size_t diagnosis_findings(const struct diagnosis *d, const struct diagnosis_finding **list)
{
	*list = d->list;
	return d->count;
}

const struct diagnosis_finding *diagnosis_ours(const struct diagnosis *d)
{
	return d->ours;
}

const struct check_verdict *diagnosis_group(const struct diagnosis *d)
{
	return d->of_group.status ? &d->of_group : NULL;
}

const char *diagnosis_unused(const struct diagnosis *d)
{
	return d->knows_unused ? d->unused : NULL;
}

bool diagnosis_all_away(const struct diagnosis *d)
{
	return !d->some_good;
}

bool diagnosis_is_short(const struct diagnosis *d)
{
	return d->turn == DIAGNOSIS_FIRST && d->some_silent;
}

void diagnosis_drop(struct diagnosis *d)
{
	if (!d)
		return;
	d->dropped = true;
	release(d);
}
