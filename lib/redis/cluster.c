/* SPDX-License-Identifier: ISC */
/* DESIGN
 * The map, asked for every two seconds and at once when there is reason to, says which primary serves which slot. MOVED
 * names one too, until the next map comes, from the node that MOVED named.
 *
 * A member is a primary with its node. One that the map no longer names is dropped at once, well as its link may look,
 * and freed when all results of its commands have been taken.
 *
 * `settles` is set whenever a slot gets another primary, or a command was redirected: until no node has results that are
 * still to come, no command is taken. Otherwise a command sent to the new primary could pass one that the old one is
 * about to redirect.
 *
 * While a slot moves, its old primary says ASK for a key that is not there, or not there any more, and only for such a
 * key may the new primary be used, since a key must not be made at both. So what was asked for is remembered key by key
 * (by a hash of 64 bits), until the slot has moved, or the new primary wants nothing of it any more. Which key an error
 * was for follows from its command's place among the commands of the link: `runs`. */
#define _GNU_SOURCE
#include "redis/cluster.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "redis/fault.h"
#include "redis/map.h"
#include "redis/slot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CALM_MS = 2000, /* the map is asked for so often */
	TROUBLE_MS = 200, /* … while the cluster is not ready */
	BACKOFF_MIN_MS = 50,
	BACKOFF_MAX_MS = 1000,
	ASKED_MAX = 64,
	PATIENCE = 4, /* redirections one after the other that are followed at once */
	NOBODY = UINT16_MAX,
};

#define TAG_ASKING (UINT64_MAX - 5)

struct run { /* commands of one key */
	uint64_t from; /* the first one's place among the link's commands */
	uint64_t key;
};

struct runs { /* a ring */
	struct run *p;
	size_t cap; /* a power of 2 */
	uint64_t head, tail;
};

struct member {
	struct redis_at at;
	struct redis_node node;
	struct runs runs;
	bool named; /* by the map, or by MOVED */
	bool aborts; /* a command was given back: the EXEC behind it, too */
	int polled; /* its place in the loop's array; -1: none */
};

struct asked {
	uint64_t key;
	unsigned slot;
	struct member *at; /* NULL: free */
};

struct cluster {
	const struct redis_url *url;
	const struct link_login *login;
	struct node_rules *rules;
	bool serves;
	struct map map;
	unsigned turn; /* whom the map is asked of */
	struct member *members[CLUSTER_NODES_MAX]; /* NULL: free */
	uint16_t owner[SLOT_COUNT], new_owner[SLOT_COUNT];
	int uncovered; /* slots; SLOT_COUNT: there was no map yet */
	struct asked asked[ASKED_MAX];
	unsigned asked_at; /* the next one to be used */
	int any, next; /* a member for commands without a key; whose results are taken next */
	bool settles;
	int redirects; /* since a command was done */
	int64_t hold_ms, backoff_ms; /* not ready before hold_ms */
	struct trouble why; /* of the hold, or of the map */
	int64_t now_ms;
};

/* ---- members ---- */

static char *text_of(struct span s)
{
	char *text = mem_alloc(s.len + 1);

	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	return text;
}

static bool at_is(const struct redis_at *a, const char *host, const char *port)
{
	return strcmp(a->host, host) == 0 && strcmp(a->port, port) == 0;
}

static int find(const struct cluster *c, const char *host, const char *port)
{
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i] && at_is(&c->members[i]->at, host, port))
			return i;
	return -1;
}

static int add(struct cluster *c, const char *host, const char *port)
{
	struct member *m;
	char *name;
	int i = 0;

	while (i < CLUSTER_NODES_MAX && c->members[i])
		i++;
	if (i == CLUSTER_NODES_MAX)
		return -1;
	m = c->members[i] = mem_alloc(sizeof(*m));
	*m = (struct member){.at = {mem_dup(host), mem_dup(port)}, .polled = -1};
	name = redis_at_name(host, port);
	node_open(&m->node, name, host, port, c->login, c->rules);
	free(name);
	return i;
}

/* The member at this place, new or not; @host empty: @asked's. -1: there are too many. */
static int place(struct cluster *c, struct span host, int port, const char *asked)
{
	char number[12], *name = host.len ? text_of(host) : mem_dup(asked);
	int i;

	snprintf(number, sizeof(number), "%d", port);
	i = find(c, name, number);
	if (i < 0)
		i = add(c, name, number);
	free(name);
	return i;
}

static void drop(struct cluster *c, int i)
{
	struct member *m = c->members[i];

	for (int j = 0; j < ASKED_MAX; j++)
		if (c->asked[j].at == m)
			c->asked[j].at = NULL;
	node_close(&m->node);
	free(m->at.host);
	free(m->at.port);
	free(m->runs.p);
	free(m);
	c->members[i] = NULL;
}

struct cluster *cluster_open(const struct redis_url *url, const struct link_login *login,
	struct node_rules *rules, bool serves)
{
	struct cluster *c = mem_alloc(sizeof(*c));

	*c = (struct cluster){.url = url,
		.login = login,
		.rules = rules,
		.serves = serves,
		.uncovered = SLOT_COUNT,
		.any = -1};
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
			drop(c, i);
	map_close(&c->map);
	free(c);
}

const struct redis_at *cluster_at(const struct cluster *c, unsigned turn)
{
	unsigned count = (unsigned)c->url->count;

	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		count += c->members[i] && c->members[i]->named;
	turn %= count;
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i] && c->members[i]->named && !turn--)
			return &c->members[i]->at;
	return &c->url->at[turn];
}

bool cluster_has(const struct cluster *c, const struct redis_at *at)
{
	int i = c->uncovered ? -1 : find(c, at->host, at->port);

	return c->uncovered || (i >= 0 && c->members[i]->named);
}

const struct redis_at *cluster_owner(const struct cluster *c, struct span key)
{
	uint16_t owner = c->owner[slot_of(key)];

	return owner == NOBODY ? NULL : &c->members[owner]->at;
}

void cluster_ask(struct cluster *c)
{
	c->map.due = true;
}

bool cluster_one_slot(struct span a, struct span b)
{
	return slot_of(a) == slot_of(b);
}

struct redis_node *cluster_each(const struct cluster *c, int *i)
{
	while (*i < CLUSTER_NODES_MAX && !c->members[*i])
		++*i;
	return *i < CLUSTER_NODES_MAX ? &c->members[(*i)++]->node : NULL;
}

/* ---- whether commands may be sent ---- */

static bool is_named_up(const struct cluster *c)
{
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i] && c->members[i]->named && !c->members[i]->node.up)
			return false;
	return !c->uncovered;
}

bool cluster_ready(const struct cluster *c)
{
	return !c->settles && c->now_ms >= c->hold_ms && is_named_up(c);
}

bool cluster_answers(const struct cluster *c)
{
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i] && c->members[i]->named && !c->members[i]->node.link.answers)
			return false;
	return true;
}

bool cluster_settles(const struct cluster *c)
{
	return c->settles && c->now_ms >= c->hold_ms && is_named_up(c);
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
			trouble_set(&why, EXIT_TEMP, "redis at %s: %s", m->node.link.name,
				m->node.link.trouble.text);
	}
	trouble_take(&why, &c->why);
	return why;
}

static void hold(struct cluster *c, int status, const char *fmt, const char *name, struct span why)
{
	c->why = (struct trouble){0};
	trouble_set(&c->why, status, fmt, name, (int)(why.len < 200 ? why.len : 200), why.p);
	c->hold_ms = c->now_ms + wake_backoff_ms(&c->backoff_ms, BACKOFF_MIN_MS, BACKOFF_MAX_MS);
	c->settles = c->map.due = true;
}

void cluster_wait(struct cluster *c, struct span why)
{
	hold(c, EXIT_TEMP, "a node of the cluster at %s: %.*s", c->url->name, why);
}

/* ---- the map ---- */

/* The primary of the slot may have commands that are still on their way. */
static void set_owner(struct cluster *c, unsigned slot, uint16_t owner)
{
	if (c->owner[slot] == owner)
		return;
	for (int i = 0; i < ASKED_MAX; i++)
		if (c->asked[i].slot == slot)
			c->asked[i].at = NULL;
	c->owner[slot] = owner;
	c->settles = true;
}

/* Returns whether the answer has the right form, with the owners in new_owner. */
static bool read_map(struct cluster *c)
{
	struct resp elements = c->map.reply.elements;
	struct slot_range range;

	memset(c->new_owner, 0xff, sizeof(c->new_owner));
	for (int64_t n = c->map.reply.value.n; n > 0; n--) {
		int owner;

		if (slot_range_next(&elements, &range) < 0)
			return false;
		owner = place(c, range.host, range.port, c->map.link.dial.host);
		if (owner < 0)
			return false;
		for (unsigned i = range.from; i <= range.to; i++)
			c->new_owner[i] = (uint16_t)owner;
	}
	return true;
}

static void name_members(struct cluster *c)
{
	bool named[CLUSTER_NODES_MAX] = {false};

	for (unsigned i = 0; i < SLOT_COUNT; i++)
		if (c->owner[i] != NOBODY)
			named[c->owner[i]] = true;
	/* A new primary has no slots when the first one is on its way there. */
	for (int i = 0; i < ASKED_MAX; i++)
		if (c->asked[i].at)
			named[find(c, c->asked[i].at->at.host, c->asked[i].at->at.port)] = true;
	for (int i = 0; i < CLUSTER_NODES_MAX; i++) {
		struct member *m = c->members[i];

		if (!m)
			continue;
		/* A primary without slots may get some; but nothing is sent to it until then. */
		m->named = named[i];
		if (!named[i] && !c->serves)
			drop(c, i);
		else if (!named[i] && m->node.link.state != LINK_DOWN)
			node_drop(&m->node, EXIT_TEMP, "it serves no slots of the cluster");
	}
}

static void ask_elsewhere(struct cluster *c)
{
	const struct redis_at *at = cluster_at(c, c->turn++);

	map_to(&c->map, at->host, at->port, c->now_ms);
}

static void on_map(struct cluster *c)
{
	c->why = (struct trouble){0};
	if (!read_map(c)) {
		trouble_set(&c->why, EXIT_TEMP,
			"the slots that redis at %s names have no good form", c->map.link.name);
		c->map.why = c->why;
		name_members(c);
		ask_elsewhere(c);
		return;
	}
	c->uncovered = 0;
	for (unsigned i = 0; i < SLOT_COUNT; i++) {
		set_owner(c, i, c->new_owner[i]);
		c->uncovered += c->owner[i] == NOBODY;
	}
	if (c->uncovered)
		trouble_set(&c->why, EXIT_TEMP, "%d slots of the cluster at %s have no primary",
			c->uncovered, c->map.link.name);
	name_members(c);
}

/* Late answers of a node count only if another one, asked after them, still names it. */
static void on_doubt(struct cluster *c, struct member *m)
{
	bool alone = true;

	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		alone &= !c->members[i] || !c->members[i]->named || c->members[i] == m;
	if (m->named && c->map.answered_ms >= m->node.doubt_ms &&
		(alone || !at_is(&m->at, c->map.link.dial.host, c->map.link.dial.port)))
		node_trust(&m->node);
	else if (at_is(&m->at, c->map.link.dial.host, c->map.link.dial.port) && !alone)
		ask_elsewhere(c);
	else
		c->map.due = true;
}

static int64_t interval_ms(const struct cluster *c)
{
	return !c->serves || is_named_up(c) ? CALM_MS : TROUBLE_MS;
}

static void step_map(struct cluster *c, short revents)
{
	if (c->map.link.state == LINK_DOWN && c->map.link.news == LINK_SAME)
		ask_elsewhere(c);
	switch (map_step(&c->map, revents, interval_ms(c), c->now_ms)) {
	case MAP_ANSWERED:
		on_map(c);
		break;
	case MAP_ELSEWHERE:
	case MAP_REFUSED:
		/* One node may be wrong; that all are is found out by the first one where no map has come. */
		if (c->uncovered || c->map.why.status == EXIT_TEMP)
			c->why = c->map.why;
		ask_elsewhere(c);
		break;
	case MAP_SAME:
		break;
	}
}

/* ---- which key a command was for ---- */

static uint64_t hash_of(struct span key)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < key.len; i++)
		hash = (hash ^ (unsigned char)key.p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static struct run *run_at(const struct runs *r, uint64_t i)
{
	return &r->p[i & (r->cap - 1)];
}

static void grow_runs(struct runs *r)
{
	struct runs old = *r;

	r->cap = old.cap ? 2 * old.cap : 16;
	r->p = mem_alloc(r->cap * sizeof(*r->p));
	for (uint64_t i = old.head; i < old.tail; i++)
		*run_at(r, i) = *run_at(&old, i);
	free(old.p);
}

/* The link's next command is for this key. */
static void note_key(struct member *m, uint64_t key)
{
	struct runs *r = &m->runs;
	uint64_t at = m->node.link.tags.tail;

	while (r->tail > r->head && run_at(r, r->tail - 1)->from >= at)
		r->tail--;
	while (r->tail - r->head > 1 && run_at(r, r->head + 1)->from <= m->node.link.tags.head)
		r->head++;
	if (r->tail > r->head && run_at(r, r->tail - 1)->key == key)
		return;
	if (r->tail - r->head == r->cap)
		grow_runs(r);
	*run_at(r, r->tail++) = (struct run){at, key};
}

/* Of the command whose reply was taken last. Returns false when it is not known. */
static bool key_of(const struct member *m, uint64_t *key)
{
	const struct runs *r = &m->runs;
	uint64_t at = m->node.link.tags.head - 1, i = r->tail;

	while (i > r->head && run_at(r, i - 1)->from > at)
		i--;
	if (i == r->head)
		return false;
	*key = run_at(r, i - 1)->key;
	return true;
}

/* ---- commands ---- */

static const struct asked *asked_for(const struct cluster *c, uint64_t key)
{
	for (int i = 0; i < ASKED_MAX; i++)
		if (c->asked[i].at && c->asked[i].key == key)
			return &c->asked[i];
	return NULL;
}

/* The same one as long as it serves. */
static struct member *any(struct cluster *c)
{
	if (c->any < 0 || !c->members[c->any] || !c->members[c->any]->named)
		c->any = c->owner[0];
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
	note_key(m, hash);
	return &m->node;
}

/* ---- redirections ---- */

static void redirect(struct cluster *c, struct member *m, const struct slot_redirect *to)
{
	int owner = place(c, to->host, to->port, m->at.host);
	uint64_t key;

	if (owner < 0)
		return;
	c->settles = true;
	if (!to->is_ask) {
		set_owner(c, to->slot, (uint16_t)owner);
		c->members[owner]->named = true;
		for (int i = 0; i < ASKED_MAX; i++)
			if (c->asked[i].slot == to->slot)
				c->asked[i].at = NULL;
		map_to(&c->map, c->members[owner]->at.host, c->members[owner]->at.port, c->now_ms);
	} else if (key_of(m, &key)) {
		c->members[owner]->named = true;
		c->asked[c->asked_at++ % ASKED_MAX] =
			(struct asked){key, to->slot, c->members[owner]};
	}
}

/* Whether the command is to be sent again for this error. */
static bool gives_back(struct cluster *c, struct member *m, struct span error)
{
	static const char *const away[] = {
		"CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "READONLY", "LOADING"};
	struct slot_redirect to;

	if (slot_redirect(error, &to)) {
		m->aborts = true;
		if (++c->redirects > PATIENCE)
			hold(c, EXIT_TEMP, "redis at %s: %.*s", m->node.link.name, error);
		redirect(c, m, &to);
		return true;
	}
	if (span_starts(error, "EXECABORT") && m->aborts)
		return true;
	for (size_t i = 0; i < sizeof(away) / sizeof(*away); i++)
		if (span_starts(error, away[i])) {
			m->aborts = true;
			hold(c, EXIT_TEMP, "redis at %s: %.*s", m->node.link.name, error);
			return true;
		}
	return false;
}

/* The server has done a command. */
static void on_good(struct cluster *c, struct member *m, const struct link_reply *reply)
{
	if (reply->value.type == RESP_STATUS) /* "QUEUED" says little */
		return;
	m->aborts = false;
	if (c->settles)
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
		if (got == NODE_NONE) {
			c->next = (c->next + 1) % CLUSTER_NODES_MAX;
			continue;
		}
		*from = &m->node;
		if (got == NODE_REPLY && reply->value.type != RESP_ERROR)
			on_good(c, m, reply);
		else if (got == NODE_REPLY && gives_back(c, m, reply->value.text))
			return NODE_AGAIN;
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
		drop(c, i);
	else if (n->link.trouble.status)
		link_redial(&n->link, c->now_ms);
	else
		link_dial(&n->link, c->now_ms);
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
		break;
	case NODE_LOST:
		/* What it has not answered is sent again, behind what others have still to answer. */
		c->settles = c->map.due = true;
		break;
	case NODE_SAME:
		break;
	}
	if (m->node.doubtful)
		on_doubt(c, m);
}

void cluster_step(struct cluster *c, const struct pollfd *p, int64_t now_ms)
{
	c->now_ms = now_ms;
	step_map(c, p ? p->revents : 0);
	for (int i = 0; c->serves && i < CLUSTER_NODES_MAX; i++) {
		struct member *m = c->members[i];

		if (m)
			step_member(c, i, p && m->polled >= 0 ? p[m->polled].revents : 0);
	}
	if (c->settles && !has_results(c))
		c->settles = false;
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
	int timeout = map_timeout_ms(&c->map, interval_ms(c), now_ms);

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
