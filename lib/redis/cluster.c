/* SPDX-License-Identifier: ISC */
/* DESIGN
 * The map, asked for every two seconds and at once when there is reason to, says which primary
 * serves which slot. MOVED names one too, until the next map comes, from the node that MOVED named.
 *
 * A member is a primary with its node. One that the map no longer names is dropped at once, well as
 * its link may look, and freed when all results of its commands have been taken.
 *
 * `settles` is set whenever a slot gets another primary, or a command was redirected: until no node
 * has results that are still to come, no command is taken. Otherwise a command sent to the new
 * primary could pass one that the old one is about to redirect.
 *
 * While a slot moves, its old primary says ASK for a key that is not there, or not there any more,
 * and only for such a key may the new primary be used, since a key must not be made at both. So
 * what was asked for is remembered key by key (by a hash of 64 bits), until the slot has moved, or
 * for a moment: the slot may have gone there, and be on its way from there again, and then the key
 * must not be made where it once was asked for. Which key an error was for follows from its
 * command's place among the commands of the link: `runs`.
 *
 * Files: cluster.c commands, redirections and the loop; cluster-members.c members, and the keys of
 * their commands; cluster-map.c what the map says. */
#define _GNU_SOURCE
#include "redis/cluster-parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "redis/fault.h"

#include <stdlib.h>
#include <string.h>

enum {
	BACKOFF_MIN_MS = 50,
	BACKOFF_MAX_MS = 1000,
	PATIENCE = 4, /* redirections one after the other that are followed at once */
	ASKED_MS = 200, /* so long the answer ASK counts for its key */
	REFUSED_MS = 10000, /* more than any pause: so long a refusal counts without another one */
	SPLIT_MS = 3000, /* the same of one command's refusal, which ends with the move of a slot */
};

#define TAG_ASKING (UINT64_MAX - 5)

struct cluster *cluster_open(const struct redis_url *url, const struct link_login *login,
	struct node_rules *rules, bool serves)
{
	struct cluster *c = mem_alloc(sizeof(*c));

	*c = (struct cluster){.url = url,
		.login = login,
		.rules = rules,
		.serves = serves,
		.uncovered = SLOT_COUNT,
		.only = -1,
		.any = -1,
		.refuser = -1};
	memset(c->owner, 0xff, sizeof(c->owner));
	map_open(&c->map, login);
	return c;
}

void cluster_close(struct cluster *c)
{
	if (!c)
		return;
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i])
			cluster_drop(c, i);
	map_close(&c->map);
	free(c);
}

static unsigned count_named(const struct cluster *c)
{
	unsigned count = 0;

	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		count += c->members[i] && c->members[i]->named;
	return count;
}

const struct redis_at *cluster_at(const struct cluster *c, unsigned turn)
{
	turn %= count_named(c) + (unsigned)c->url->count;
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i] && c->members[i]->named && !turn--)
			return &c->members[i]->at;
	return &c->url->at[turn];
}

const struct redis_at *cluster_primary(const struct cluster *c, unsigned turn)
{
	unsigned count = count_named(c);

	return count ? cluster_at(c, turn % count) : NULL;
}

bool cluster_has(const struct cluster *c, const struct redis_at *at)
{
	int i = c->uncovered ? -1 : cluster_find(c, at->host, at->port);

	return c->uncovered || (i >= 0 && c->members[i]->named);
}

const struct redis_at *cluster_owner(const struct cluster *c, struct span key)
{
	uint16_t owner = c->owner[slot_of(key)];

	return owner == NOBODY ? NULL : &c->members[owner]->at;
}

uint64_t cluster_owner_of(const struct cluster *c, unsigned slot)
{
	uint16_t owner = c->owner[slot];

	return owner == NOBODY ? 0 : (uint64_t)c->members[owner]->came * CLUSTER_NODES_MAX + owner;
}

void cluster_ask(struct cluster *c)
{
	c->map.due = true;
}

void cluster_only(struct cluster *c, unsigned slot)
{
	c->only = (int)slot;
}

struct redis_node *cluster_each(const struct cluster *c, int *i)
{
	while (*i < CLUSTER_NODES_MAX && !c->members[*i])
		++*i;
	return *i < CLUSTER_NODES_MAX ? &c->members[(*i)++]->node : NULL;
}

/* ---- whether commands may be sent ---- */

bool cluster_is_named_up(const struct cluster *c)
{
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i] && c->members[i]->named && !c->members[i]->node.up)
			return false;
	return !c->uncovered;
}

bool cluster_ready(const struct cluster *c)
{
	return !c->settles && c->now_ms >= c->hold_ms && cluster_is_named_up(c);
}

bool cluster_is_proven(const struct cluster *c)
{
	return !c->backoff_ms;
}

bool cluster_settles(const struct cluster *c)
{
	return c->settles && c->now_ms >= c->hold_ms && cluster_is_named_up(c);
}

static bool is_seed(const struct cluster *c, const struct redis_at *at)
{
	for (int i = 0; i < c->url->count; i++)
		if (redis_at_is(&c->url->at[i], at->host, at->port))
			return true;
	return false;
}

struct trouble cluster_why(const struct cluster *c)
{
	struct trouble why = {0};

	for (int i = 0; i < CLUSTER_NODES_MAX; i++) {
		const struct member *m = c->members[i];

		if (!m || !m->named || m->node.up || !m->node.link.trouble.status)
			continue;
		if (m->node.link.trouble.status == EXIT_PERM)
			trouble_take(&why, &m->node.link.trouble);
		else
			trouble_set(&why, EXIT_TEMP, "redis at %s%s: %s", m->node.link.name,
				is_seed(c, &m->at) ? "" : ", which the cluster has named",
				m->node.link.trouble.text);
	}
	trouble_take(&why, &c->why);
	return why;
}

/* What was asked for before a pause says nothing any more. */
static void hold(struct cluster *c, int status, const char *fmt, const char *name, struct span why)
{
	c->why = (struct trouble){0};
	trouble_set(&c->why, status, fmt, name, (int)(why.len < 200 ? why.len : 200), why.p);
	c->hold_ms = c->now_ms + wake_backoff_ms(&c->backoff_ms, BACKOFF_MIN_MS, BACKOFF_MAX_MS);
	c->settles = c->map.due = true;
	for (int i = 0; i < ASKED_MAX; i++)
		c->asked[i].at = NULL;
}

void cluster_wait(struct cluster *c, const struct redis_node *from, struct span why)
{
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i] && &c->members[i]->node == from)
			c->refuser = i;
	c->refused_ms = c->now_ms;
	hold(c, EXIT_TEMP, "a node of the cluster at %s: %.*s", c->url->name, why);
}

static uint64_t hash_of(struct span key)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < key.len; i++)
		hash = (hash ^ (unsigned char)key.p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* ---- commands ---- */

static const struct asked *asked_for(const struct cluster *c, uint64_t key)
{
	for (int i = 0; i < ASKED_MAX; i++)
		if (c->asked[i].at && c->asked[i].key == key &&
			c->now_ms - c->asked[i].since_ms < ASKED_MS)
			return &c->asked[i];
	return NULL;
}

/* The same one as long as it serves. */
static struct member *any(struct cluster *c)
{
	if (c->any < 0 || !c->members[c->any] || !c->members[c->any]->named)
		c->any = c->owner[c->only < 0 ? 0 : c->only];
	return c->members[c->any];
}

struct redis_node *cluster_node(struct cluster *c, struct span key)
{
	const struct asked *asked;
	struct member *m;
	uint64_t hash;

	if (!key.p)
		return &any(c)->node;
	hash = hash_of(key);
	asked = asked_for(c, hash);
	m = asked ? asked->at : c->members[c->owner[slot_of(key)]];
	if (asked)
		link_command(&m->node.link, TAG_ASKING, 1, (const char *const[]){"ASKING"});
	cluster_note_key(m, hash);
	return &m->node;
}

/* ---- redirections ---- */

static void forget(struct cluster *c, uint64_t key)
{
	for (int i = 0; i < ASKED_MAX; i++)
		if (c->asked[i].key == key)
			c->asked[i].at = NULL;
}

static void redirect(struct cluster *c, struct member *m, const struct slot_redirect *to)
{
	int owner = cluster_place(c, to->host, to->port, m->at.host);
	uint64_t key;

	if (owner < 0)
		return;
	c->settles = true;
	if (!to->is_ask) {
		cluster_set_owner(c, to->slot, (uint16_t)owner);
		c->members[owner]->named = true;
		for (int i = 0; i < ASKED_MAX; i++)
			if (c->asked[i].slot == to->slot)
				c->asked[i].at = NULL;
		map_to(&c->map, c->members[owner]->at.host, c->members[owner]->at.port, c->now_ms);
	} else if (cluster_key_of(m, &key)) {
		c->members[owner]->named = true;
		forget(c, key);
		c->asked[c->asked_at++ % ASKED_MAX] =
			(struct asked){key, to->slot, c->members[owner], c->now_ms, true};
	}
}

/* Whether the command is to be sent again for this error. */
static bool gives_back(struct cluster *c, struct member *m, struct span error)
{
	static const char split[] = "TRYAGAIN";
	static const char *const away[] = {
		split, "CLUSTERDOWN", "MASTERDOWN", "READONLY", "LOADING"};
	struct slot_redirect to;

	if (slot_redirect(error, &to)) {
		m->aborts = true;
		/* Those of commands that were on their way together are one. */
		c->redirects += !c->settles;
		if (c->redirects > PATIENCE && !c->settles)
			hold(c, EXIT_TEMP, "redis at %s: %.*s", m->node.link.name, error);
		redirect(c, m, &to);
		return true;
	}
	if (span_starts(error, "EXECABORT") && m->aborts)
		return true;
	for (size_t i = 0; i < sizeof(away) / sizeof(*away); i++)
		if (span_starts(error, away[i])) {
			m->aborts = true;
			if (away[i] == split)
				c->split_ms = c->now_ms;
			hold(c, EXIT_TEMP, "redis at %s: %.*s", m->node.link.name, error);
			return true;
		}
	return false;
}

/* What others do says nothing of a node without memory, nor of keys at two nodes. */
static bool is_refused(const struct cluster *c)
{
	return c->now_ms - c->split_ms < SPLIT_MS ||
		(c->refuser >= 0 && c->members[c->refuser] && c->members[c->refuser]->named &&
			c->now_ms - c->refused_ms < REFUSED_MS);
}

/* The server has done a command, or has found it wrong. The reply may be given much later: when
 * replicas have it, too. */
static void on_done(struct cluster *c, struct member *m)
{
	m->node.has_done = false;
	if (c->refuser >= 0 && c->members[c->refuser] == m)
		c->refuser = -1;
	if (c->settles || is_refused(c))
		return;
	c->redirects = 0;
	c->backoff_ms = 0;
}

enum node_got cluster_next(struct cluster *c, struct link_reply *reply, struct redis_node **from)
{
	for (int tried = 0; tried < CLUSTER_NODES_MAX; tried++) {
		struct member *m = c->members[c->next];
		enum node_got got = m ? node_next(&m->node, reply) : NODE_NONE;

		if (m && node_lost(&m->node))
			c->settles = c->map.due = true;
		if (m && m->node.has_done)
			on_done(c, m);
		if (got == NODE_NONE) {
			c->next = (c->next + 1) % CLUSTER_NODES_MAX;
			continue;
		}
		*from = &m->node;
		if (got == NODE_REPLY && reply->value.type != RESP_ERROR)
			m->aborts &= reply->value.type == RESP_STATUS;
		else if (got == NODE_REPLY && gives_back(c, m, reply->value.text))
			return NODE_AGAIN;
		else if (got == NODE_REPLY && redis_fault(reply->value.text) == REDIS_FAULT_COMMAND)
			on_done(c, m);
		return got;
	}
	return NODE_NONE;
}

/* ---- the loop ---- */

static bool has_results(const struct cluster *c)
{
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i] && node_has_results(&c->members[i]->node))
			return true;
	return false;
}

/* Its link is down, and all results have been taken. */
static void on_down(struct cluster *c, int i)
{
	struct redis_node *n = &c->members[i]->node;

	c->members[i]->runs.head = c->members[i]->runs.tail;
	c->members[i]->aborts = false;
	if (!c->members[i]->named)
		cluster_drop(c, i);
	else
		node_dial(n, c->now_ms);
}

static void step_member(struct cluster *c, int i, short revents)
{
	struct member *m = c->members[i];

	if (m->node.link.state == LINK_DOWN && m->node.link.news == LINK_SAME &&
		!node_has_results(&m->node)) {
		on_down(c, i);
		if (!c->members[i])
			return;
	}
	switch (node_step(&m->node, revents, c->now_ms)) {
	case NODE_CAME:
		dial_reset(&m->node.link.dial);
		m->came = ++c->came;
		break;
	case NODE_LOST:
		/* What it has not answered is sent again, behind what others have still to
		 * answer. */
		c->settles = c->map.due = true;
		break;
	case NODE_SAME:
		break;
	}
	if (m->node.doubtful)
		cluster_doubt(c, m);
}

/* Commands may be sent again, and what was asked for meanwhile counts from now on. */
static void settle(struct cluster *c)
{
	c->settles = false;
	for (int i = 0; i < ASKED_MAX; i++)
		if (c->asked[i].is_new) {
			c->asked[i].is_new = false;
			c->asked[i].since_ms = c->now_ms;
		}
}

void cluster_step(struct cluster *c, const struct pollfd *p, int64_t now_ms)
{
	c->now_ms = now_ms;
	cluster_step_map(c, p ? p->revents : 0);
	for (int i = 0; c->serves && i < CLUSTER_NODES_MAX; i++) {
		struct member *m = c->members[i];

		if (m)
			step_member(c, i, p && m->polled >= 0 ? p[m->polled].revents : 0);
	}
	if (c->settles && !has_results(c))
		settle(c);
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i])
			c->members[i]->node.hurry = c->settles;
}

int cluster_poll(struct cluster *c, struct pollfd *p)
{
	int count = 1;

	p[0] = (struct pollfd){.fd = link_fd(&c->map.link), .events = link_events(&c->map.link)};
	for (int i = 0; i < CLUSTER_NODES_MAX; i++) {
		struct member *m = c->members[i];

		if (!m)
			continue;
		m->polled = count;
		p[count++] = (struct pollfd){
			.fd = link_fd(&m->node.link), .events = link_events(&m->node.link)};
	}
	return count;
}

int cluster_timeout_ms(const struct cluster *c, int64_t now_ms)
{
	int timeout = map_timeout_ms(&c->map, cluster_interval_ms(c), now_ms);

	if (c->map.link.state == LINK_DOWN || (c->settles && !has_results(c)))
		return 0;
	if (c->hold_ms > now_ms)
		timeout = wake_least(timeout, (int)(c->hold_ms - now_ms));
	else if (c->hold_ms > c->now_ms)
		return 0;
	for (int i = 0; c->serves && i < CLUSTER_NODES_MAX; i++) {
		const struct member *m = c->members[i];

		if (!m)
			continue;
		if (m->node.link.state == LINK_DOWN && !node_has_results(&m->node))
			return 0;
		timeout = wake_least(timeout, node_timeout_ms(&m->node, now_ms));
	}
	return timeout;
}

void cluster_flush(struct cluster *c, int64_t now_ms)
{
	for (int i = 0; c->serves && i < CLUSTER_NODES_MAX; i++)
		if (c->members[i])
			node_flush(&c->members[i]->node, now_ms);
}

void cluster_heard(struct cluster *c, int64_t now_ms)
{
	link_heard(&c->map.link, now_ms);
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i])
			link_heard(&c->members[i]->node.link, now_ms);
}
