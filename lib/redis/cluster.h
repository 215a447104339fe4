/* SPDX-License-Identifier: ISC */
/* A Redis Cluster: which primary serves which slot, a node for each primary, and what redirections
 * and outages mean. Never blocks, prints nothing.
 *
 * A command goes to the primary of its key's slot. It is given back, to be sent again, when the
 * server redirects it or says that the cluster cannot serve. Then the cluster is not ready, and no
 * command is taken, until the results of all commands that are on their way have been taken: so
 * those of one key, sent again in their order, keep their order. */
#ifndef EVPIPE_REDIS_CLUSTER_H
#define EVPIPE_REDIS_CLUSTER_H

#include "redis/node.h"
#include "redis/url.h"

#include <poll.h>

enum {
	CLUSTER_NODES_MAX = 256, /* primaries */
	CLUSTER_FDS = 1 + CLUSTER_NODES_MAX,
};

struct cluster;
/* Connects nothing yet. All that is given must live on. @serves: with a node for each primary;
 * without, there are only the addresses. */
struct cluster *cluster_open(const struct redis_url *url, const struct link_login *login,
	struct node_rules *rules, bool serves);
void cluster_close(struct cluster *c);
/* Before the first step: all commands will be for keys of this slot, and no other primary is
 * needed. */
void cluster_only(struct cluster *c, unsigned slot);

/* Appends to the loop's array; returns how many. cluster_step takes them back, or NULL: they were
 * not polled. */
int cluster_poll(struct cluster *c, struct pollfd *p);
int cluster_timeout_ms(const struct cluster *c, int64_t now_ms);
void cluster_step(struct cluster *c, const struct pollfd *p, int64_t now_ms);
void cluster_flush(struct cluster *c, int64_t now_ms);
/* The time without a step was the caller's choice. */
void cluster_heard(struct cluster *c, int64_t now_ms);

/* Whether each slot has a primary that is up, and commands may be sent. */
bool cluster_ready(const struct cluster *c);
/* Whether no command was refused for the time being since one was done. */
bool cluster_is_proven(const struct cluster *c);
/* Whether all nodes answer. */
bool cluster_answers(const struct cluster *c);
/* Whether it is not ready only because a redirection is being followed. */
bool cluster_settles(const struct cluster *c);
/* Whether it is not ready only because nodes are quiet (node.h). */
bool cluster_is_quiet(const struct cluster *c);
/* Why it is not ready. Status 0: not known yet; EXIT_PERM: it will not be. */
struct trouble cluster_why(const struct cluster *c);
/* The node that serves the key, with ASKING sent if that is due; SPAN_NONE: any, always the same
 * one. cluster_ready only. */
struct redis_node *cluster_node(struct cluster *c, struct span key);
/* The next result of any node's commands; *@from is the node. NODE_AGAIN also for what was
 * redirected. */
enum node_got cluster_next(struct cluster *c, struct link_reply *reply, struct redis_node **from);
/* This server has said that it cannot serve now: the cluster is ready again after a while, and
 * proven when the server has done a command, or has not refused one for some seconds. */
void cluster_wait(struct cluster *c, const struct redis_node *from, struct span why);
/* The primaries that are known, or the URL's hosts, one after the other for @turn = 0, 1, 2, …. */
const struct redis_at *cluster_at(const struct cluster *c, unsigned turn);
/* The same of the primaries alone; NULL: none is known yet. */
const struct redis_at *cluster_primary(const struct cluster *c, unsigned turn);
/* Whether a primary of the cluster is there; true while the slots are not known. */
bool cluster_has(const struct cluster *c, const struct redis_at *at);
/* The primary of the key's slot; NULL: not known. */
const struct redis_at *cluster_owner(const struct cluster *c, struct span key);
/* The index of the slot's primary, and above its bits (CLUSTER_NODES_MAX) the number of the
 * connection to it. */
uint64_t cluster_owner_of(const struct cluster *c, unsigned slot);
/* Asks for the slots in the next step. */
void cluster_ask(struct cluster *c);
/* The nodes that are there, one after the other: NULL behind the last one. */
struct redis_node *cluster_each(const struct cluster *c, int *i);

#endif
