/* SPDX-License-Identifier: ISC */
/* The members of a cluster, and the keys that their commands are for. */
#include "redis/cluster-parts.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cluster_find(const struct cluster *c, const char *host, const char *port)
{
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i] && redis_at_is(&c->members[i]->at, host, port))
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

int cluster_place(struct cluster *c, struct span host, int port, const char *asked)
{
	char number[12], *name = host.len ? span_text(host) : mem_dup(asked);
	int i;

	snprintf(number, sizeof(number), "%d", port);
	i = cluster_find(c, name, number);
	if (i < 0)
		i = add(c, name, number);
	free(name);
	return i;
}

void cluster_drop(struct cluster *c, int i)
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

/* ---- which key a command was for ---- */

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

void cluster_note_key(struct member *m, uint64_t key)
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

bool cluster_key_of(const struct member *m, uint64_t *key)
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

bool cluster_is_quiet(const struct cluster *c)
{
	bool quiet = false;

	for (int i = 0; i < CLUSTER_NODES_MAX; i++) {
		const struct member *m = c->members[i];

		if (!m || !m->named || m->node.up)
			continue;
		if (!node_is_quiet(&m->node, c->now_ms))
			return false;
		quiet = true;
	}
	return quiet && !c->uncovered && c->now_ms >= c->hold_ms;
}

bool cluster_answers(const struct cluster *c)
{
	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		if (c->members[i] && c->members[i]->named && !c->members[i]->node.link.answers)
			return false;
	return true;
}
