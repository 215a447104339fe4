/* SPDX-License-Identifier: ISC */
/* A client is opened, told what it is for and how its caller fares, and closed. */
#include "redis/client-parts.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/progress.h"
#include "redis/slot.h"

#include <stdlib.h>

struct redis_all redis_all;

static struct bytes_client *open_tls(const struct redis_url *url)
{
	struct trouble why = {0};
	struct bytes_client *tls;

	if (!url->tls && !url->sentinel_tls)
		return NULL;
	tls = tls_open(&url->tls_config, &why);
	if (!tls)
		die(EXIT_PERM, "%s", why.text);
	return tls;
}

static bool show_away(void *all, struct buf *text, uint64_t per_second)
{
	const struct redis *away = ((struct redis_all *)all)->away;

	(void)per_second;
	if (away)
		buf_printf(text, ", waiting for redis at %s", redis_name(away));
	return away;
}

void redis_count_outage(void)
{
	redis_all.outages++;
}

void redis_open(struct redis *r, const struct redis_opts *o, enum redis_use use)
{
	struct redis_url url = {0};

	redis_url_read(&url, o);
	redis_open_at(r, &url, use);
	redis_url_free(&url);
}

void redis_open_at(struct redis *r, const struct redis_url *url, enum redis_use use)
{
	const struct redis_url *u = &r->url;

	*r = (struct redis){.rules = {.use = use}, .url = redis_url_copy(url)};
	r->tls = open_tls(u);
	r->login = (struct link_login){.what = "redis",
		.user = u->user,
		.password = u->password,
		.password_file = u->password_file,
		.client = msg_prog(),
		.no_sentinel = true,
		.db = u->db,
		.tls = u->tls ? r->tls : NULL,
		.tls_if_spoken = u->sentinel_tls && !u->tls ? r->tls : NULL};
	if (u->kind == REDIS_SENTINELS)
		r->sentinels = sentinels_open(u, u->sentinel_tls ? r->tls : NULL);
	if (u->kind == REDIS_CLUSTER)
		r->cluster = cluster_open(u, &r->login, &r->rules, use != REDIS_SUBSCRIBER);
	r->rules.asks_role = use == REDIS_PUBLISHER || r->sentinels || redis_serves(r);
	r->rules.confirms = use == REDIS_PUBLISHER;
	r->rules.doubts = r->sentinels || r->cluster;
	r->rules.advises = use != REDIS_SUBSCRIBER;
	node_open(&r->node, u->name, u->at[0].host, u->at[0].port, &r->login, &r->rules);
	r->target = &r->node;
	metrics_up("redis", false);
	progress_more(show_away, &redis_all);
	if (!redis_all.clients++)
		metrics_counter("outages_total",
			"Times that the server was away or could not serve.", METRICS_TOOL,
			&redis_all.outages);
}

void redis_close(struct redis *r)
{
	redis_all.clients--;
	redis_all.unwatched -= r->unwatched;
	redis_all.reachable -= r->was_reachable;
	if (redis_all.away == r)
		redis_all.away = NULL;
	node_close(&r->node);
	buf_free(&r->rules.probe);
	sentinels_close(r->sentinels);
	cluster_close(r->cluster);
	tls_free(r->tls);
	free(r->at.host);
	free(r->at.port);
	redis_url_free(&r->url);
}

void redis_try(struct redis *r)
{
	struct redis_node *n;

	if (!redis_serves(r))
		node_try(&r->node);
	for (int i = 0; redis_serves(r) && (n = cluster_each(r->cluster, &i));)
		node_try(n);
}

void redis_heard(struct redis *r, int64_t now_ms)
{
	link_heard(&r->node.link, now_ms);
	if (r->sentinels)
		sentinels_heard(r->sentinels, now_ms);
	if (r->cluster)
		cluster_heard(r->cluster, now_ms);
}

void redis_follow(struct redis *r, const char *name)
{
	if (!r->cluster)
		return;
	r->followed = (struct span){name, strlen(name)};
	if (redis_serves(r))
		cluster_only(r->cluster, slot_of(r->followed));
}

void redis_wait(struct redis *r, int replicas)
{
	r->rules.wait = replicas;
	if (replicas)
		metrics_counter("wait_shortfalls_total",
			"Times that fewer replicas than --wait had the records in time.",
			METRICS_TOOL, &r->rules.shortfalls);
}

void redis_probe_stream(struct redis *r, const char *what, int argc, const char *const *argv)
{
	redis_probe(r, argc, argv);
	r->rules.probe_what = what;
	r->rules.probe_stream = argv[1];
}

void redis_probe(struct redis *r, int argc, const char *const *argv)
{
	link_words(&r->rules.probe, argc, argv);
}
