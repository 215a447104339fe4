/* SPDX-License-Identifier: ISC */
/* DESIGN: of a cluster each primary is asked: by a command that is sent as if it were for a key of
 * a slot of that primary's. Streams are looked for with SCAN, a step a question, so that no server
 * is held up. What was told before a connection was lost, or a slot moved, is told again: names are
 * printed once. */
#include "rsub/list.h"

#include "base/catalog.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/out.h"
#include "base/wake.h"
#include "redis/client.h"
#include "redis/slot.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct lister {
	const struct list *list;
	struct redis redis;
	struct catalog names;
	unsigned slot; /* whose primary is being asked */
	bool is_asked, is_done;
	bool was_asked[CLUSTER_NODES_MAX];
	char cursor[32];
};

/* A key of that slot. */
static struct span key_of(unsigned slot, char text[static 16])
{
	for (unsigned i = 0;; i++) {
		struct span key = {text, (size_t)sprintf(text, "%u", i)};

		if (slot_of(key) == slot)
			return key;
	}
}

static void ask(struct lister *s)
{
	const struct list *l = s->list;
	char text[16];
	struct span key = s->redis.cluster ? key_of(s->slot, text) : SPAN_NONE;
	const char *words[] = {
		"SCAN", s->cursor, "TYPE", "stream", "COUNT", "1000", "MATCH", l->pattern};

	s->is_asked = true;
	if (l->kind == LIST_STREAMS) {
		redis_command(&s->redis, key, 0, l->pattern ? 8 : 6, words);
		return;
	}
	words[0] = "PUBSUB";
	words[1] = l->kind == LIST_CHANNELS ? "CHANNELS" : "SHARDCHANNELS";
	words[2] = l->pattern;
	redis_command(&s->redis, key, 0, l->pattern ? 3 : 2, words);
}

/* Goes to the next primary. */
static void next(struct lister *s)
{
	strcpy(s->cursor, "0");
	if (s->redis.cluster) {
		s->was_asked[redis_owner_index(redis_owner(&s->redis, s->slot))] = true;
		while (s->slot < SLOT_COUNT &&
			s->was_asked[redis_owner_index(redis_owner(&s->redis, s->slot))])
			s->slot++;
	}
	s->is_done = !s->redis.cluster || s->slot == SLOT_COUNT;
}

static void take_names(struct lister *s, struct resp *c, int64_t n)
{
	struct resp_value v;

	for (; n > 0; n--)
		if (resp_next(c, &v) == RESP_STRING)
			catalog_add(&s->names, v.text);
}

static void take(struct lister *s, const struct link_reply *reply)
{
	struct resp c = reply->elements;
	struct resp_value v;

	if (reply->value.type == RESP_ERROR && redis_fault(reply->value.text) == REDIS_FAULT_AWAY) {
		redis_lose(&s->redis, reply->value.text);
		return;
	}
	if (reply->value.type != RESP_ARRAY)
		die(EXIT_PERM, "redis at %s refuses to list its names: %.*s%s",
			redis_name(&s->redis), (int)reply->value.text.len, reply->value.text.p,
			redis_advice(&s->redis, reply->value.text));
	if (s->list->kind != LIST_STREAMS) {
		take_names(s, &c, reply->value.n);
		next(s);
		return;
	}
	if (resp_next(&c, &v) == RESP_STRING)
		snprintf(s->cursor, sizeof(s->cursor), "%.*s", (int)v.text.len, v.text.p);
	if (resp_next(&c, &v) == RESP_ARRAY)
		take_names(s, &c, v.n);
	if (strcmp(s->cursor, "0") == 0)
		next(s);
}

static void serve(struct lister *s, const struct pollfd *p, int64_t now_ms)
{
	struct link_reply reply;
	enum redis_got got;

	if (redis_step(&s->redis, p, now_ms) == REDIS_FAILED)
		die(s->redis.trouble.status, "%s", s->redis.trouble.text);
	while ((got = redis_next(&s->redis, &reply)) != REDIS_NONE) {
		s->is_asked = false;
		if (got == REDIS_REPLY)
			take(s, &reply);
	}
	if (s->redis.state == REDIS_UP && !s->is_asked && !s->is_done)
		ask(s);
	redis_flush(&s->redis, now_ms);
}

static void loop(struct lister *s, int wake_fd)
{
	int64_t until_ms = wake_now_ms() + s->list->limit_ms;
	struct pollfd p[1 + REDIS_FDS] = {{.fd = wake_fd, .events = POLLIN}};

	while (!s->is_done && !s->redis.reported_away) {
		int64_t now_ms = wake_now_ms();
		nfds_t n = 1 + (nfds_t)redis_poll(&s->redis, p + 1);

		if (now_ms >= until_ms)
			die(EXIT_TIMEOUT, "redis at %s has not told its names in %lld ms",
				redis_name(&s->redis), (long long)s->list->limit_ms);
		if (poll(p, n,
			    wake_least((int)(until_ms - now_ms),
				    redis_timeout_ms(&s->redis, now_ms))) < 0) {
			wake_poll_failed();
			continue;
		}
		if (p->revents && wake_stops())
			die(EXIT_TEMP, "a signal ends it before all names are told");
		serve(s, p + 1, wake_now_ms());
	}
}

static void print(const struct lister *s)
{
	struct out out;
	size_t left_out;

	out_open(&out, STDOUT_FILENO);
	left_out = catalog_put(&s->names, s->list->end, &out.b);
	if (left_out)
		msg_warn("%zu %s (-0 prints %s)", left_out,
			PLURAL(left_out, "name has a line end in it, and is left out",
				"names have a line end in them, and are left out"),
			PLURAL(left_out, "it", "them"));
	if (out_close(&out))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
}

int list_names(const struct list *l, const struct redis_opts *o)
{
	static struct lister s;

	s.list = l;
	strcpy(s.cursor, "0");
	redis_open(&s.redis, o, REDIS_COMMANDS);
	redis_reads_only(&s.redis);
	loop(&s, wake_open());
	if (!s.is_done)
		die(EXIT_TEMP, "redis cannot be asked now, and --names asks once");
	print(&s);
	redis_close(&s.redis);
	catalog_free(&s.names);
	metrics_flush();
	return EXIT_DONE;
}
