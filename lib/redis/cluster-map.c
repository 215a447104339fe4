/* SPDX-License-Identifier: ISC */
/* What the map of a cluster's slots means for its members. */
#include "redis/cluster-parts.h"

#include "base/msg.h"

#include <string.h>

enum {
	CALM_MS = 2000, /* the map is asked for so often */
	TROUBLE_MS = 200, /* … while the cluster is not ready */
};

void cluster_set_owner(struct cluster *c, unsigned slot, uint16_t owner)
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
		owner = cluster_place(c, range.host, range.port, c->map.link.dial.host);
		if (owner < 0)
			return false;
		for (unsigned i = range.from; i <= range.to; i++)
			c->new_owner[i] = (uint16_t)owner;
	}
	return true;
}

static bool is_used(const struct cluster *c, unsigned slot)
{
	return c->only < 0 || (unsigned)c->only == slot;
}

static void name_members(struct cluster *c)
{
	bool named[CLUSTER_NODES_MAX] = {false};

	for (unsigned i = 0; i < SLOT_COUNT; i++)
		if (c->owner[i] != NOBODY && is_used(c, i))
			named[c->owner[i]] = true;
	/* A new primary has no slots when the first one is on its way there. */
	for (int i = 0; i < ASKED_MAX; i++)
		if (c->asked[i].at)
			named[cluster_find(c, c->asked[i].at->at.host, c->asked[i].at->at.port)] =
				true;
	for (int i = 0; i < CLUSTER_NODES_MAX; i++) {
		struct member *m = c->members[i];

		if (!m)
			continue;
		/* A primary without slots may get some; but nothing is sent to it until then. */
		m->named = named[i];
		if (!named[i] && !c->serves)
			cluster_drop(c, i);
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
		cluster_set_owner(c, i, c->new_owner[i]);
		c->uncovered += c->owner[i] == NOBODY && is_used(c, i);
	}
	if (c->uncovered)
		trouble_set(&c->why, EXIT_TEMP, "%d %s of the cluster at %s %s no primary",
			c->uncovered, PLURAL(c->uncovered, "slot", "slots"), c->map.link.name,
			PLURAL(c->uncovered, "has", "have"));
	name_members(c);
}

void cluster_doubt(struct cluster *c, struct member *m)
{
	bool alone = true;

	for (int i = 0; i < CLUSTER_NODES_MAX; i++)
		alone &= !c->members[i] || !c->members[i]->named || c->members[i] == m;
	if (m->named && c->map.answered_ms >= m->node.doubt_ms &&
		(alone || !redis_at_is(&m->at, c->map.link.dial.host, c->map.link.dial.port)))
		node_trust(&m->node);
	else if (redis_at_is(&m->at, c->map.link.dial.host, c->map.link.dial.port) && !alone)
		ask_elsewhere(c);
	else
		c->map.due = true;
}

int64_t cluster_interval_ms(const struct cluster *c)
{
	return !c->serves || cluster_is_named_up(c) ? CALM_MS : TROUBLE_MS;
}

void cluster_step_map(struct cluster *c, short revents)
{
	if (c->map.link.state == LINK_DOWN && c->map.link.news == LINK_SAME)
		ask_elsewhere(c);
	switch (map_step(&c->map, revents, cluster_interval_ms(c), c->now_ms)) {
	case MAP_ANSWERED:
		on_map(c);
		break;
	case MAP_ELSEWHERE:
	case MAP_REFUSED:
		/* One node may be wrong; that all are is found out by the first one where no map
		 * has come. */
		if (c->uncovered || c->map.why.status == EXIT_TEMP)
			c->why = c->map.why;
		ask_elsewhere(c);
		break;
	case MAP_SAME:
		break;
	}
}
