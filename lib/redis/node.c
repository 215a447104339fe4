/* SPDX-License-Identifier: ISC */
/* DESIGN
 * A link that has come is checked: ROLE must say "master" where the rules want that, and the probe
 * must not be refused, since a server that loads its data, or has no memory left, takes logins all
 * the same. Then the node is up.
 *
 * 	held_head <= held_sure <= held_tail	replies that wait for ROLE, in the order of the
 *  commands
 *
 * node_next puts them in at held_tail; ROLE's answer moves held_sure there; those below held_sure
 * are given out. The link answers in order, so all commands sent before ROLE stand below held_tail
 * when ROLE's answer comes. A WAIT stands before ROLE where replicas must have the commands. */
#define _GNU_SOURCE
#include "redis/node.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "redis/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CHECK_MS = 100, /* ROLE is asked for so long after the last, at the latest, … */
	CHECK_REST_MS =
		10, /* … when all commands are answered, since no others keep it company, … */
	CHECK_COMMANDS = 1024, /* … or after so many commands, or bytes */
	CHECK_BYTES = 256 << 10,
	ROLE_MS = 5000, /* for the first answers */
	WAIT_MS = 500, /* for the replicas, each time */
	IDLE_MS = 900, /* the shortest limit of a server is a second */
};

/* Tags of our own. */
#define TAG_ROLE UINT64_MAX
#define TAG_PING (UINT64_MAX - 1)
#define TAG_PROBE (UINT64_MAX - 2)
#define TAG_WAIT (UINT64_MAX - 3)
#define TAG_INFO (UINT64_MAX - 4)

static const char *const ping[] = {"PING"};

void node_open(struct redis_node *n, const char *name, const char *host, const char *port,
	const struct link_login *login, struct node_rules *rules)
{
	*n = (struct redis_node){.rules = rules, .replicas = -1};
	link_open(&n->link, name, host, port, login);
}

void node_close(struct redis_node *n)
{
	link_close(&n->link);
	free(n->held);
	n->held = NULL;
}

/* ---- losing ---- */

/* A subscriber's link is never idle: messages come unasked. */
static bool was_idle(const struct redis_node *n)
{
	return n->up && n->rules->use != REDIS_SUBSCRIBER && !node_has_results(n) &&
		n->link.trouble.status == EXIT_TEMP && n->link.now_ms - n->link.heard_ms >= IDLE_MS;
}

/* The link is down. */
static void went(struct redis_node *n)
{
	n->up = n->role_sent = n->doubtful = false;
	n->is_useful = n->is_asked = n->has_answered = false;
	n->checks = 0;
	n->behind = n->behind_bytes = 0;
	n->quiet_ms = 0;
}

void node_drop(struct redis_node *n, int status, const char *fmt, ...)
{
	char why[sizeof(n->link.trouble.text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	link_drop(&n->link, status, "%s", why);
	went(n);
}

/* The same, for a reason that the server gave. */
static void lose(struct redis_node *n, int status, const char *fmt, ...)
{
	char why[sizeof(n->link.trouble.text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	node_drop(n, status, "%s", why);
	n->lost = true;
}

bool node_lost(struct redis_node *n)
{
	bool was = n->lost;

	n->lost = false;
	return was;
}

/* ---- ROLE ---- */

static void put_role(struct redis_node *n, int64_t now_ms)
{
	const struct node_rules *rules = n->rules;
	const char *const role[] = {rules->role_unknown ? "PING" : "ROLE"};
	char count[16], limit[16];

	n->waited = !rules->wait || !n->up;
	if (!n->waited) {
		snprintf(count, sizeof(count), "%d", rules->wait);
		snprintf(limit, sizeof(limit), "%d", WAIT_MS);
		link_command(&n->link, TAG_WAIT, 3, (const char *const[]){"WAIT", count, limit});
	}
	link_command(&n->link, TAG_ROLE, 1, role);
	n->role_sent = true;
	n->role_ms = now_ms;
	n->behind = n->behind_bytes = 0;
}

static void on_role_error(struct redis_node *n, struct span error)
{
	const char *name = n->link.name;
	int len = (int)(error.len < 200 ? error.len : 200);

	/* Some proxies and hosted servers have no ROLE. A PING takes its place, and any answer to
	 * that will do. */
	if (n->rules->role_unknown)
		return;
	if (span_starts(error, "ERR unknown command")) {
		n->rules->role_unknown = true;
		return;
	}
	switch (redis_fault(error)) {
	case REDIS_FAULT_AWAY:
		lose(n, EXIT_TEMP, "%.*s", len, error.p);
		break;
	case REDIS_FAULT_COMMAND:
		lose(n, EXIT_PERM, "redis at %s refuses ROLE: %.*s", name, len, error.p);
		break;
	default:
		lose(n, EXIT_PERM, "redis at %s refuses ROLE: %.*s%s", name, len, error.p,
			link_advice(&n->link, error));
	}
}

static void on_role_array(struct redis_node *n, struct resp elements)
{
	struct resp_value role = {0}, offset, replicas;

	resp_next(&elements, &role);
	if (span_is(role.text, "sentinel")) {
		lose(n, EXIT_PERM, LINK_SENTINEL, n->link.name);
	} else if (!span_is(role.text, "master")) {
		n->is_replica = true;
		lose(n, EXIT_TEMP, "it is a replica");
	} else if (resp_next(&elements, &offset) != RESP_MORE &&
		resp_next(&elements, &replicas) == RESP_ARRAY) {
		n->replicas = (int)replicas.n;
	}
}

static void on_role(struct redis_node *n, const struct link_reply *reply)
{
	n->role_sent = n->is_replica = false;
	if (reply->value.type == RESP_ERROR)
		on_role_error(n, reply->value.text);
	else if (reply->value.type == RESP_ARRAY)
		on_role_array(n, reply->elements);
	if (!n->up)
		return;
	if (!n->waited) {
		n->behind++; /* asked for again */
		n->role_ms -= CHECK_MS;
		n->rules->shortfalls++;
	} else if (n->rules->doubts && n->link.now_ms - n->role_ms > NODE_LATE_MS) {
		n->doubtful = true;
		n->doubt_ms = n->link.now_ms;
	} else {
		n->held_sure = n->held_tail;
	}
}

void node_trust(struct redis_node *n)
{
	n->doubtful = false;
	n->behind++;
	n->role_ms -= CHECK_MS;
}

/* Milliseconds until a ROLE is to be sent, 0 now, -1 none. */
static int role_due_ms(const struct redis_node *n, int64_t now_ms)
{
	int64_t at_ms = n->role_ms + (link_has_tags(&n->link) ? CHECK_MS : CHECK_REST_MS);

	if (!n->rules->confirms || !n->up || n->role_sent || n->doubtful || !n->behind)
		return -1;
	if (n->hurry || n->rules->hurry || n->behind >= CHECK_COMMANDS ||
		n->behind_bytes >= CHECK_BYTES || now_ms >= at_ms)
		return 0;
	return (int)(at_ms - now_ms);
}

/* ---- checks before the first command ---- */

static void put_probe(struct redis_node *n)
{
	const struct buf *probe = &n->rules->probe;

	if (probe->len)
		buf_span(link_begin(&n->link), buf_as_span(probe));
	else
		link_words(link_begin(&n->link), 1, ping);
	link_commit(&n->link, TAG_PROBE);
}

static void begin_checks(struct redis_node *n)
{
	const struct node_rules *rules = n->rules;

	n->checks = 0;
	n->is_refused = false;
	n->role_ms = n->link.now_ms;
	if (rules->asks_role && !rules->role_unknown) {
		put_role(n, n->link.now_ms);
		n->checks++;
	}
	if (rules->use != REDIS_SUBSCRIBER) {
		put_probe(n);
		n->checks++;
	}
}

/* A user without the right to it would fill the server's log of such attempts. */
void node_try(struct redis_node *n)
{
	if (n->up && n->rules->probe.len && !n->probe_denied)
		put_probe(n);
}

/* Whether the server cannot serve: LOADING, MASTERDOWN, OOM, … It refuses PING under MISCONF, but
 * that says nothing of what it would take. */
static void on_probe(struct redis_node *n, const struct link_reply *reply)
{
	const struct node_rules *rules = n->rules;
	struct span error = reply->value.text;
	int len = (int)(error.len < 200 ? error.len : 200);

	n->probe_denied = reply->value.type == RESP_ERROR && redis_is_denied(error);
	if (n->probe_denied && rules->probe_what) {
		lose(n, EXIT_PERM, "redis at %s refuses %s: %.*s (stream '%.200s')%s", n->link.name,
			rules->probe_what, len, error.p, rules->probe_stream,
			link_advice(&n->link, error));
		return;
	}
	if (reply->value.type != RESP_ERROR || redis_fault(error) != REDIS_FAULT_AWAY ||
		(!n->rules->probe.len && span_starts(error, "MISCONF")))
		return;
	lose(n, EXIT_TEMP, "%.*s", len, error.p);
	n->is_refused = true;
}

static void on_checks(struct redis_node *n)
{
	struct link_reply reply;

	while (n->checks && n->link.state == LINK_UP) {
		if (link_reply(&n->link, &reply) == RESP_MORE) {
			if (n->link.now_ms - n->role_ms >= ROLE_MS)
				lose(n, EXIT_TEMP, "no answer to ROLE");
			return;
		}
		n->checks--;
		if (reply.tag == TAG_ROLE)
			on_role(n, &reply);
		else
			on_probe(n, &reply);
	}
}

static void came(struct redis_node *n)
{
	n->up = true;
	n->quiet_ms = 0;
	n->held_sure = n->held_tail;
	if (n->rules->advises && n->rules->use != REDIS_SUBSCRIBER && !n->rules->wait &&
		n->replicas > 0)
		link_command(&n->link, TAG_INFO, 2, (const char *const[]){"INFO", "replication"});
}

/* A line that is there only where min-replicas-to-write is set. */
static void on_info(struct redis_node *n, const struct link_reply *reply)
{
	struct span text = reply->value.text;

	n->unguarded = reply->value.type == RESP_STRING &&
		!memmem(text.p, text.len, "min_slaves_good_slaves:", 23) &&
		!memmem(text.p, text.len, "min_replicas_good_replicas:", 27);
}

/* ---- replies ---- */

static void grow_held(struct redis_node *n)
{
	size_t old = n->held_cap, cap = old ? 2 * old : 64;
	struct node_held *held = mem_alloc(cap * sizeof(*held));

	for (uint64_t i = n->held_head; i < n->held_tail; i++)
		held[i & (cap - 1)] = n->held[i & (old - 1)];
	free(n->held);
	n->held = held;
	n->held_cap = cap;
}

/* Returns true. */
static bool hold(struct redis_node *n, const struct link_reply *reply)
{
	if (n->held_tail - n->held_head == n->held_cap)
		grow_held(n);
	n->held[n->held_tail++ & (n->held_cap - 1)] =
		(struct node_held){reply->tag, reply->value.n};
	n->has_done = true;
	return true;
}

/* An array would have to be copied. Its tag is given again when ROLE has answered. */
static bool holds_back(struct redis_node *n, enum resp_type type, const struct link_reply *reply)
{
	if (type == RESP_ERROR || type == RESP_STATUS)
		return false;
	hold(n, reply);
	return type != RESP_ARRAY;
}

static enum node_got give_held(struct redis_node *n, struct link_reply *reply, enum node_got got)
{
	const struct node_held *h = &n->held[n->held_head++ & (n->held_cap - 1)];

	reply->tag = h->tag;
	reply->value = (struct resp_value){.type = RESP_INTEGER, .n = h->n};
	if (got == NODE_AGAIN)
		n->held_sure = n->held_head;
	return got;
}

/* Of a link that is lost: the commands whose fate is not known. */
static enum node_got next_again(struct redis_node *n, struct link_reply *reply)
{
	if (n->held_head < n->held_tail)
		return give_held(n, reply, NODE_AGAIN);
	while (link_take_tag(&n->link, &reply->tag))
		if (reply->tag < NODE_TAGS)
			return NODE_AGAIN;
	return NODE_NONE;
}

/* A user without the right to it has no replicas that are late. */
static void on_wait(struct redis_node *n, const struct resp_value *v)
{
	int len = (int)(v->text.len < 200 ? v->text.len : 200);

	n->waited = v->type == RESP_INTEGER && v->n >= n->rules->wait;
	if (v->type == RESP_ERROR && n->up &&
		(redis_is_denied(v->text) || span_starts(v->text, "ERR unknown command")))
		lose(n, EXIT_PERM, "redis at %s refuses WAIT, which --wait needs: %.*s%s",
			n->link.name, len, v->text.p, link_advice(&n->link, v->text));
}

static void on_own(struct redis_node *n, const struct link_reply *reply)
{
	if (reply->tag == TAG_ROLE)
		on_role(n, reply);
	else if (reply->tag == TAG_WAIT)
		on_wait(n, &reply->value);
	else if (reply->tag == TAG_PROBE)
		on_probe(n, reply);
	else if (reply->tag == TAG_INFO)
		on_info(n, reply);
}

/* "QUEUED" says little. */
static enum node_got given(struct redis_node *n, enum resp_type type)
{
	n->has_done |= type != RESP_ERROR && type != RESP_STATUS;
	return NODE_REPLY;
}

enum node_got node_next(struct redis_node *n, struct link_reply *reply)
{
	bool holds = n->rules->confirms;

	while (n->held_head == n->held_sure) {
		enum resp_type type;

		if (n->link.state != LINK_UP) {
			if (n->link.state != LINK_DOWN)
				return NODE_NONE;
			if (n->link.news == LINK_SAME)
				return next_again(n, reply);
		} else if (n->checks) {
			return NODE_NONE;
		}
		do
			type = link_reply(&n->link, reply);
		while (holds && type == RESP_INTEGER && reply->tag < NODE_TAGS && hold(n, reply));
		if (type == RESP_MORE)
			return NODE_NONE;
		if (reply->tag >= NODE_TAGS)
			on_own(n, reply);
		else if (!(holds && holds_back(n, type, reply)))
			return given(n, type);
	}
	return give_held(n, reply, NODE_REPLY);
}

/* ---- the loop ---- */

static void ask_subscribed(struct redis_node *n)
{
	link_words(link_begin(&n->link), 1, ping);
	n->is_asked = true;
}

static void on_silence(struct redis_node *n)
{
	if (n->checks)
		return;
	if (n->rules->confirms) {
		if (!n->role_sent)
			put_role(n, n->link.now_ms);
	} else {
		link_command(&n->link, TAG_PING, 1, ping);
	}
	node_try(n);
}

enum node_news node_step(struct redis_node *n, short revents, int64_t now_ms)
{
	bool was_up = n->up, idle;

	switch (link_step(&n->link, revents, now_ms)) {
	case LINK_CAME:
		begin_checks(n);
		break;
	case LINK_LOST:
		idle = was_idle(n);
		went(n);
		n->quiet_ms = idle ? now_ms : 0;
		return NODE_LOST;
	case LINK_SILENT:
		if (n->rules->use == REDIS_SUBSCRIBER && n->up)
			ask_subscribed(n);
		else
			on_silence(n);
		break;
	case LINK_SAME:
		break;
	}
	if (n->checks)
		on_checks(n);
	if (node_lost(n))
		return NODE_LOST;
	if (n->link.state == LINK_UP && !n->checks && !was_up) {
		came(n);
		return NODE_CAME;
	}
	return NODE_SAME;
}

void node_flush(struct redis_node *n, int64_t now_ms)
{
	if (role_due_ms(n, now_ms) == 0)
		put_role(n, now_ms);
	link_flush(&n->link);
}

int node_timeout_ms(const struct redis_node *n, int64_t now_ms)
{
	int timeout = wake_least(link_timeout_ms(&n->link, now_ms), role_due_ms(n, now_ms));
	int64_t left = n->role_ms + ROLE_MS - now_ms;

	if (node_is_quiet(n, now_ms))
		timeout = wake_least(timeout, (int)(n->quiet_ms + NODE_QUIET_MS - now_ms));
	return n->checks ? wake_least(timeout, left > 0 ? (int)left : 0) : timeout;
}
