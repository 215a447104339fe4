/* SPDX-License-Identifier: ISC */
/* A program's Redis, or one of several clients of one: the client finds its server, by itself or
 * with the help of sentinels, comes back to it after an outage, says once that Redis is away and
 * once that it is back, and makes sure that a publisher's server is a primary. It never blocks and
 * never ends the program.
 *
 * Each command has a key, which decides where the command goes, and a tag, a number that the caller
 * chooses, below NODE_TAGS. The result of a command comes back with the command's tag, once.
 * Results of one key come in the order of the commands, but that an error may come before replies
 * that wait for ROLE. A result is one of:
 *
 * - The reply. A server that has just become a replica answers PUBLISH as if nothing had happened,
 *   and one that was
 *   stopped answers late what another primary knows nothing of. So a publisher's reply, unless it
 *   is an error, is given
 *   only after ROLE, sent behind the command, has answered "master", and no sentinel names another
 *   primary.
 *   But a status ("QUEUED") is given at once; and so is an array, whose tag comes a second time,
 *   with an integer or as
 *   REDIS_AGAIN, when ROLE has answered.
 * - REDIS_AGAIN: the connection was lost before that. The server may or may not have done the
 *   command: send it again.
 *
 * In a cluster a command goes to the primary of its key's slot, one without a key (SPAN_NONE)
 * always to the same node. What a server redirects, or a cluster that is down refuses, is given
 * back as REDIS_AGAIN (cluster.h), with EXEC and all else of its transaction; a transaction has one
 * key.
 *
 * UP means that a write would go through, as far as the probe can tell (redis_probe): a server that
 * loads its data, or is out of memory, is waited for like one that cannot be reached. Of a cluster
 * all slots must be served. */
#ifndef EVPIPE_REDIS_CLIENT_H
#define EVPIPE_REDIS_CLIENT_H

#include "redis/cluster.h"
#include "redis/fault.h"
#include "redis/node.h"
#include "redis/sentinel.h"
#include "redis/url.h"

enum redis_state {
	REDIS_AWAY,
	REDIS_UP, /* logged in; a publisher: at a primary */
	REDIS_REFUSED, /* the configuration is wrong: end with 100 and r->trouble */
};

enum redis_news {
	REDIS_SAME,
	REDIS_CAME, /* REDIS_UP now */
	REDIS_WENT, /* it was up and is lost */
	REDIS_FAILED, /* REDIS_REFUSED now */
};

enum { REDIS_FDS = 1 + CLUSTER_FDS }; /* sentinels take fewer */

struct redis {
	enum redis_state state;
	struct redis_url url;
	struct trouble trouble; /* REDIS_REFUSED: the sentence to end with */
	bool reachable; /* REDIS_UP, and it answers: for health */
	/* it was said that redis is away, and not yet that it is back: of a cluster that refused
	 * commands it may be so when it is up, until it has done one */
	bool reported_away;
	bool is_quiet; /* REDIS_AWAY, but only to open anew a link that was idle */
	/* when the server was last heard before the present or last outage (monotonic) */
	int64_t away_ms;
	struct redis_node node; /* not of a cluster, but for a subscriber's */
	/* internal */
	struct node_rules rules;
	struct link_login login;
	struct bytes_client *tls;
	struct sentinels *sentinels; /* NULL: the URL names the server */
	struct cluster *cluster; /* NULL: it is none */
	struct redis_node *target; /* where the last command went to */
	struct span followed; /* … or the primary of this one's slot; SPAN_NONE: any */
	unsigned turn; /* a subscriber's: which node of the cluster is dialled next */
	struct redis_at at; /* where the sentinels' primary was dialled last */
	bool unwatched; /* no sentinel answers */
	bool reported_cause, reported_replica, reported_role, reported_wait;
	int64_t reported_ms; /* when it was said that it is away */
	bool was_reachable;
	enum redis_news news;
	int64_t now_ms;
};

/* Takes the options and the environment; connects nothing yet. Dies with 100 when they are
 * wrong. */
void redis_open(struct redis *r, const struct redis_opts *o, enum redis_use use);
/* The same for one of several clients, with what redis_url_read has found, which is copied. */
void redis_open_at(struct redis *r, const struct redis_url *url, enum redis_use use);
/* Closes, sending nothing more, and frees all. */
void redis_close(struct redis *r);
/* Before the first step. So many replicas must have a publisher's commands before its replies count
 * (WAIT). */
void redis_wait(struct redis *r, int replicas);
/* Before the first step. A command that changes nothing but is refused while the server refuses the
 * program's own, such as XADD with the id 0-0: with it the client learns when the server serves
 * again. Without: PING, which LOADING and MASTERDOWN refuse. Any other answer to it will do. */
void redis_probe(struct redis *r, int argc, const char *const *argv);
/* The same for a command on a stream, argv[1], which is the program's own: where the user may not
 * run it the client is refused. @what it is, for the sentence. Both live on. */
void redis_probe_stream(struct redis *r, const char *what, int argc, const char *const *argv);

/* Nothing has been written for a while, though something was read: sends the probe again. Where the
 * server says nothing for 5 s the client does so by itself. */
void redis_try(struct redis *r);

/* Before the first step: nothing will be written, and what is wrong for writers is not told. */
static inline void redis_reads_only(struct redis *r)
{
	r->rules.advises = false;
}
/* Before the first step: the server may be a sentinel. */
static inline void redis_takes_sentinel(struct redis *r)
{
	r->login.no_sentinel = false;
}
/* Before the first step: of a cluster no other server is used than the primary of this name's slot.
 * The name lives on. */
void redis_follow(struct redis *r, const char *name);

/* Of a cluster: which server has the slot, and the how manieth connection to it this is. Another
 * value: the server may know less than the one before. */
static inline uint64_t redis_owner(const struct redis *r, unsigned slot)
{
	return cluster_owner_of(r->cluster, slot);
}
/* The server alone, below CLUSTER_NODES_MAX. */
static inline unsigned redis_owner_index(uint64_t owner)
{
	return (unsigned)(owner & (CLUSTER_NODES_MAX - 1));
}

/* For the loop: fills in at most REDIS_FDS entries of poll's array, and returns how many. */
int redis_poll(struct redis *r, struct pollfd *p);
/* poll's timeout in milliseconds; -1: none. */
int redis_timeout_ms(const struct redis *r, int64_t now_ms);
/* Goes on with what is due; call each turn of the loop with the same entries, or with NULL if they
 * were not polled, then take replies until there are none, send, and call redis_flush. It reads
 * once when there is something. */
enum redis_news redis_step(struct redis *r, const struct pollfd *p, int64_t now_ms);
/* Sends pending commands, and ROLE when it is due. A later step reports a loss. */
void redis_flush(struct redis *r, int64_t now_ms);
/* No more commands come: replies are not to wait for company. */
static inline void redis_hurry(struct redis *r)
{
	r->rules.hurry = true;
}
/* The time without a step was the caller's choice (not reading): it does not count as silence. */
void redis_heard(struct redis *r, int64_t now_ms);
/* "HOST:PORT" of the server, or "unix:/path", for sentences. */
static inline const char *redis_name(const struct redis *r)
{
	return r->node.link.name;
}

/* Whether it serves, and it is not doubtful after an outage: for readiness. */
static inline bool redis_is_there(const struct redis *r)
{
	return (r->state == REDIS_UP || r->is_quiet) && !r->reported_away;
}

/* As link_advice. */
static inline const char *redis_advice(struct redis *r, struct span error)
{
	return link_advice(&r->node.link, error);
}

/* Sends a command of NUL-ended words. REDIS_UP only. */
void redis_command(
	struct redis *r, struct span key, uint64_t tag, int argc, const char *const *argv);
/* The same for one command in RESP, which the caller appends to the buffer that redis_begin
 * returns; NULL: what serves the key is away. Then redis_commit, or redis_cancel, which takes back
 * what was appended. */
static inline struct buf *redis_begin(struct redis *r, struct span key)
{
	if (r->state != REDIS_UP)
		return NULL;
	if (r->cluster)
		r->target = cluster_node(r->cluster, key);
	return node_begin(r->target);
}
/* The same for a command behind the last one, where that went to: in a transaction, from the second
 * command on. */
static inline struct buf *redis_more(struct redis *r)
{
	return r->state == REDIS_UP ? node_begin(r->target) : NULL;
}
static inline void redis_commit(struct redis *r, uint64_t tag)
{
	node_commit(r->target, tag);
}
static inline void redis_cancel(struct redis *r)
{
	link_cancel(&r->target->link);
}

enum redis_got {
	REDIS_NONE, /* for now */
	REDIS_REPLY,
	REDIS_AGAIN,
};
/* The next result of a command. Of a publisher's replies that waited for ROLE only integers are
 * kept. Spans are valid until the next call. */
enum redis_got redis_next(struct redis *r, struct link_reply *reply);

/* The server has refused to write for the first time: an outage in which the link stays. */
void redis_count_outage(void);
/* Gives the link up for a reason that the server gave: with REDIS_FAULT_AWAY. The next step returns
 * REDIS_WENT. */
void redis_lose(struct redis *r, struct span why);

#endif
