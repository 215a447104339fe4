/* SPDX-License-Identifier: ISC */
/* DESIGN
 * The state is AWAY, UP or REFUSED; the node below has its own. With sentinels the node's address
 * is what they name: when that changes, the present link is dropped at once, well as it may look,
 * and the new one is dialled as soon as the caller has taken all results. */
#define _GNU_SOURCE
#include "redis/client-parts.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"

#include <stdlib.h>
#include <string.h>

enum { CAUSE_MS = 2000 };

/* ---- coming and going ---- */

static void came(struct redis *r)
{
	if (r->reported_away)
		msg_warn("redis at %s is there after %.1f s", redis_name(r),
			(double)(r->now_ms - r->away_ms) / 1000);
	r->reported_away = r->reported_cause = r->reported_replica = r->is_quiet = false;
	r->state = REDIS_UP;
	r->news = REDIS_CAME;
	if (r->rules.use != REDIS_SUBSCRIBER)
		dial_reset(&r->node.link.dial);
	if (r->sentinels)
		sentinels_praise(r->sentinels);
}

static void refuse(struct redis *r, const struct trouble *why)
{
	r->trouble = *why;
	r->is_quiet = false;
	r->state = REDIS_REFUSED;
	r->news = REDIS_FAILED;
}

/* Without descriptors of our own it would be tried for ever. */
static bool is_final(const struct trouble *why)
{
	return why->status == EXIT_PERM || (why->status && msg_tells_limit(why->text));
}

/* The server has been lost, and is reached again, but cannot serve: not only for a moment. */
static void report_cause(struct redis *r, bool is_cause, const char *name, const char *why)
{
	if (!is_cause || r->reported_cause || r->now_ms - r->reported_ms < CAUSE_MS)
		return;
	r->reported_cause = true;
	msg_warn("redis at %s is reached, and cannot serve: %s", name, why);
}

static void report(struct redis *r, bool was_up, const char *name, const char *why)
{
	bool is_cause = r->node.is_replica ||
		redis_fault((struct span){why, strlen(why)}) == REDIS_FAULT_AWAY;

	if (r->reported_away) {
		report_cause(r, is_cause, name, why);
		return;
	}
	r->reported_away = true;
	r->reported_cause = is_cause;
	r->reported_ms = r->now_ms;
	redis_all.outages++;
	if (r->node.is_replica && !r->reported_replica)
		msg_warn("redis at %s is a replica%s; trying again until it is one", name,
			r->sentinels ? ", though the sentinels name it as the primary"
				     : ": what is written there does not reach its primary");
	else if (r->node.is_refused)
		msg_warn("redis at %s cannot serve: %s; trying again", name, why);
	else
		msg_warn("%s redis at %s%s: %s; trying again", was_up ? "lost" : "cannot reach",
			name,
			was_up		       ? ""
				: r->sentinels ? ", which the sentinels have named"
				: r->cluster   ? ", which the cluster has named"
					       : "",
			why);
}

/* The link is down: it is tried again later, or never. */
static void on_lost(struct redis *r)
{
	const struct link *l = &r->node.link;
	bool was_up = r->state == REDIS_UP, was_quiet = r->is_quiet;

	if (was_up) {
		/* Messages come unasked, and may have waited; what others read are answers. */
		r->away_ms = r->rules.use == REDIS_SUBSCRIBER ? l->alive_ms : l->heard_ms;
		r->news = REDIS_WENT;
	}
	r->state = REDIS_AWAY;
	if (is_final(&l->trouble)) {
		refuse(r, &l->trouble);
		return;
	}
	if (r->sentinels)
		sentinels_blame(r->sentinels);
	r->is_quiet = node_is_quiet(&r->node, r->now_ms);
	if (!r->is_quiet)
		report(r, was_up || was_quiet, redis_name(r), l->trouble.text);
}

/* ---- a cluster ---- */

/* Where a command was refused for the time being, the next one may be, too. */
static void report_cluster_there(struct redis *r)
{
	if (!r->reported_away || !cluster_is_proven(r->cluster))
		return;
	msg_warn("the redis cluster at %s is there after %.1f s", redis_name(r),
		(double)(r->now_ms - r->away_ms) / 1000);
	r->reported_away = false;
}

static void cluster_came(struct redis *r)
{
	report_cluster_there(r);
	r->state = REDIS_UP;
	r->news = REDIS_CAME;
}

static void cluster_went(struct redis *r)
{
	if (r->state != REDIS_UP)
		return;
	if (!r->reported_away)
		r->away_ms = r->now_ms;
	r->state = REDIS_AWAY;
	r->news = REDIS_WENT;
}

static void report_cluster(struct redis *r, const struct trouble *why)
{
	if (r->reported_away)
		return;
	r->reported_away = true;
	redis_all.outages++;
	msg_warn(
		"the redis cluster at %s cannot serve: %s; trying again", redis_name(r), why->text);
}

/* What the cluster has become by a step or a result. A redirection that is followed is nothing to
 * speak of. */
static void on_cluster(struct redis *r)
{
	struct trouble why;

	if (r->state == REDIS_REFUSED)
		return;
	if (cluster_ready(r->cluster)) {
		if (r->state == REDIS_AWAY && r->news == REDIS_SAME)
			cluster_came(r);
		else if (r->state == REDIS_UP)
			report_cluster_there(r);
		return;
	}
	cluster_went(r);
	why = cluster_why(r->cluster);
	if (is_final(&why))
		refuse(r, &why);
	else if (why.status && !cluster_settles(r->cluster) && !cluster_is_quiet(r->cluster))
		report_cluster(r, &why);
}

static bool is_at(const struct redis *r, const struct redis_at *at)
{
	return r->at.host && strcmp(r->at.host, at->host) == 0 && strcmp(r->at.port, at->port) == 0;
}

/* A subscriber hears all messages at any node, but for one that the others have left behind. */
static void follow_cluster(struct redis *r)
{
	const struct redis_at *owner =
		r->followed.p ? cluster_owner(r->cluster, r->followed) : NULL;

	if (r->node.link.state == LINK_DOWN || !r->at.host ||
		(owner ? is_at(r, owner) : cluster_has(r->cluster, &r->at)))
		return;
	node_drop(&r->node, EXIT_TEMP,
		owner ? "the slot of the channels has moved" : "it serves no slots of the cluster");
	on_lost(r);
}

void redis_lose(struct redis *r, struct span why)
{
	int n = (int)(why.len < 200 ? why.len : 200);

	if (redis_serves(r)) {
		cluster_wait(r->cluster, r->target, why);
		on_cluster(r);
		return;
	}
	if (r->cluster)
		cluster_ask(r->cluster);
	dial_blame(&r->node.link.dial);
	node_drop(&r->node, EXIT_TEMP, "%.*s", n, why.p);
	on_lost(r);
}

/* ---- sentinels ---- */

/* Leaves a server that is no longer named as the primary. */
static void follow(struct redis *r)
{
	const struct redis_at *primary = sentinels_primary(r->sentinels);
	char *name;

	if (!primary->host || r->node.link.state == LINK_DOWN || is_at(r, primary))
		return;
	name = redis_at_name(primary->host, primary->port);
	node_drop(&r->node, EXIT_TEMP, "the sentinels name %s as the primary", name);
	free(name);
	on_lost(r);
}

static void dial_at(struct redis *r, const struct redis_at *at, bool again)
{
	char *name = redis_at_name(at->host, at->port);

	free(r->at.host);
	free(r->at.port);
	r->at = (struct redis_at){mem_dup(at->host), mem_dup(at->port)};
	link_to(&r->node.link, name, at->host, at->port);
	if (again)
		link_redial(&r->node.link, r->now_ms);
	else
		link_dial(&r->node.link, r->now_ms);
	free(name);
}

static void on_no_owner(struct redis *r)
{
	struct trouble why = cluster_why(r->cluster);

	if (is_final(&why))
		refuse(r, &why);
	else if (why.status)
		report_cluster(r, &why);
}

static void on_no_primary(struct redis *r)
{
	struct trouble why = sentinels_why(r->sentinels);

	if (is_final(&why)) {
		refuse(r, &why);
	} else if (why.status && !r->reported_away) {
		r->reported_away = true;
		redis_all.outages++;
		msg_warn("no sentinel names the primary '%s': %s; trying again", r->url.master,
			why.text);
	}
}

/* Late answers count only if a sentinel, asked after them, still names this server. */
static void on_doubt(struct redis *r)
{
	if (sentinels_confirm(r->sentinels, r->node.doubt_ms))
		node_trust(&r->node);
	else
		sentinels_ask(r->sentinels);
}

/* The present primary may be none any more, and goes on taking what it is sent. */
static void watch_sentinels(struct redis *r)
{
	enum { SILENT_MS = 3000 };
	int64_t since_ms = sentinels_silent_ms(r->sentinels);
	bool silent = since_ms && r->now_ms - since_ms >= SILENT_MS;
	struct trouble why = {0};

	if (silent == r->unwatched)
		return;
	if (silent)
		why = sentinels_why(r->sentinels);
	if (silent && !why.status)
		return;
	r->unwatched = silent;
	redis_all.unwatched += silent ? 1 : -1;
	if (silent && redis_all.unwatched == 1)
		msg_warn(
			"no sentinel of '%s' answers any more: %s; a new primary would not be noticed; trying again",
			r->url.master, why.text);
	else if (!redis_all.unwatched)
		msg_warn("a sentinel of '%s' answers again", r->url.master);
}

/* ---- the loop ---- */

/* Whether a link that is down is to be dialled: the caller has taken what became of its
 * commands. */
static bool may_dial(const struct redis *r)
{
	return r->state != REDIS_REFUSED && r->news == REDIS_SAME &&
		r->node.link.state == LINK_DOWN && r->node.link.news == LINK_SAME &&
		!node_has_results(&r->node);
}

/* Where a subscriber of a cluster goes next, by the address that the cluster names: a node of the
 * URL may have another one, or be of no cluster. */
static const struct redis_at *subscribers_node(const struct redis *r)
{
	return r->followed.p ? cluster_owner(r->cluster, r->followed)
			     : cluster_primary(r->cluster, r->turn);
}

static void dial_some(struct redis *r)
{
	const struct redis_at *at = subscribers_node(r);

	r->turn++;
	if (at)
		dial_at(r, at, r->node.link.trouble.status);
	else
		on_no_owner(r);
}

static void on_down(struct redis *r)
{
	const struct redis_at *primary = r->sentinels ? sentinels_primary(r->sentinels) : NULL;

	if (r->cluster)
		dial_some(r);
	else if (primary && !primary->host)
		on_no_primary(r);
	else if (primary && !is_at(r, primary))
		dial_at(r, primary, false);
	else
		node_dial(&r->node, r->now_ms);
}

/* What the node has found out, and what people should know. */
static void say_what_is_new(struct redis *r, struct redis_node *n)
{
	if (r->rules.role_unknown && !r->reported_role) {
		r->reported_role = true;
		msg_warn("redis at %s does not know ROLE: a replica would not be noticed",
			n->link.name);
	}
	if (n->unguarded && r->rules.advises) {
		n->unguarded = r->rules.advises = false;
		msg_warn("redis at %s has replicas, and min-replicas-to-write is 0: what it has "
			 "acknowledged is lost if it fails before they have it; set it to 1",
			n->link.name);
	}
	if (r->rules.shortfalls && !r->reported_wait) {
		r->reported_wait = true;
		msg_warn("redis at %s has %d %s, and fewer than --wait %d have the records: "
			 "waiting",
			n->link.name, n->replicas, PLURAL(n->replicas, "replica", "replicas"),
			r->rules.wait);
	}
}

static void step_cluster(struct redis *r)
{
	struct redis_node *n;

	on_cluster(r);
	r->is_quiet = r->state == REDIS_AWAY && cluster_is_quiet(r->cluster);
	for (int i = 0; (n = cluster_each(r->cluster, &i));)
		say_what_is_new(r, n);
}

/* The server that is the only one. */
static void step_node(struct redis *r, const struct pollfd *p)
{
	if (may_dial(r))
		on_down(r);
	switch (node_step(&r->node, p ? p->revents : 0, r->now_ms)) {
	case NODE_CAME:
		came(r);
		break;
	case NODE_LOST:
		on_lost(r);
		break;
	case NODE_SAME:
		if (r->is_quiet && !node_is_quiet(&r->node, r->now_ms))
			on_lost(r);
		break;
	}
	if (r->node.doubtful)
		on_doubt(r);
	say_what_is_new(r, &r->node);
}

enum redis_news redis_step(struct redis *r, const struct pollfd *p, int64_t now_ms)
{
	enum redis_news news;

	r->now_ms = now_ms;
	if (!r->away_ms)
		r->away_ms = now_ms;
	if (r->sentinels) {
		sentinels_step(r->sentinels, p ? p + 1 : NULL, now_ms);
		follow(r);
		watch_sentinels(r);
	}
	if (r->cluster) {
		r->target = &r->node; /* that of the last command may be gone after this */
		cluster_step(r->cluster, p ? p + 1 : NULL, now_ms);
	}
	if (r->cluster && !redis_serves(r))
		follow_cluster(r);
	if (redis_serves(r))
		step_cluster(r);
	else
		step_node(r, p);
	r->reachable = r->is_quiet ||
		(r->state == REDIS_UP &&
			(redis_serves(r) ? cluster_answers(r->cluster) : r->node.link.answers));
	redis_all.reachable += r->reachable - r->was_reachable;
	if (!r->reachable)
		redis_all.away = r;
	else if (redis_all.away == r)
		redis_all.away = NULL;
	r->was_reachable = r->reachable;
	metrics_up("redis", redis_all.reachable == redis_all.clients);
	news = r->news;
	r->news = REDIS_SAME;
	return news;
}

static enum redis_got next_of_cluster(struct redis *r, struct link_reply *reply)
{
	enum node_got got = cluster_next(r->cluster, reply, &r->target);

	if (got == NODE_AGAIN || !cluster_ready(r->cluster))
		on_cluster(r);
	return got == NODE_REPLY ? REDIS_REPLY : got == NODE_AGAIN ? REDIS_AGAIN : REDIS_NONE;
}

enum redis_got redis_next(struct redis *r, struct link_reply *reply)
{
	enum node_got got;

	if (redis_serves(r))
		return next_of_cluster(r, reply);
	got = node_next(&r->node, reply);
	if (node_lost(&r->node))
		on_lost(r);
	if (r->node.unguarded)
		say_what_is_new(r, &r->node);
	return got == NODE_REPLY ? REDIS_REPLY : got == NODE_AGAIN ? REDIS_AGAIN : REDIS_NONE;
}

void redis_command(
	struct redis *r, struct span key, uint64_t tag, int argc, const char *const *argv)
{
	link_words(redis_begin(r, key), argc, argv);
	redis_commit(r, tag);
}

void redis_flush(struct redis *r, int64_t now_ms)
{
	r->now_ms = now_ms;
	if (redis_serves(r))
		cluster_flush(r->cluster, now_ms);
	else
		node_flush(&r->node, now_ms);
}

int redis_poll(struct redis *r, struct pollfd *p)
{
	*p = (struct pollfd){.fd = link_fd(&r->node.link), .events = link_events(&r->node.link)};
	if (r->cluster)
		return 1 + cluster_poll(r->cluster, p + 1);
	return 1 + (r->sentinels ? sentinels_poll(r->sentinels, p + 1) : 0);
}

int redis_timeout_ms(const struct redis *r, int64_t now_ms)
{
	int timeout = node_timeout_ms(&r->node, now_ms);

	if (r->state == REDIS_REFUSED)
		return r->news == REDIS_SAME ? -1 : 0;
	if (r->news != REDIS_SAME)
		return 0;
	if (r->sentinels)
		timeout = wake_least(timeout, sentinels_timeout_ms(r->sentinels, now_ms));
	if (r->cluster)
		timeout = wake_least(timeout, cluster_timeout_ms(r->cluster, now_ms));
	if (r->cluster && !redis_serves(r) && !subscribers_node(r))
		return timeout;
	if (!redis_serves(r) && may_dial(r) &&
		(!r->sentinels || sentinels_primary(r->sentinels)->host))
		return 0;
	return timeout;
}
