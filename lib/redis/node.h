/* SPDX-License-Identifier: ISC */
/* A server that a client uses: a link, and what makes sure that the server is fit for the client's
 * commands, before the first one and later. Prints nothing; its owner says when to dial. */
#ifndef EVPIPE_REDIS_NODE_H
#define EVPIPE_REDIS_NODE_H

#include "redis/link.h"

enum redis_use {
	REDIS_COMMANDS,
	REDIS_PUBLISHER, /* commands whose server must still be a primary when they count as done */
	REDIS_SUBSCRIBER, /* commands, then pushes alone: subscribe.h */
};

enum {
	NODE_LATE_MS =
		/* answers that took longer may be those of a server that slept, and is no primary
		 * now */
	1000,
	NODE_QUIET_MS = 1000, /* so long a link may be opened anew that was idle */
};

/* What all nodes of a client have in common; it must live on. */
struct node_rules {
	enum redis_use use;
	bool asks_role; /* the server must be a primary before the first command */
	bool confirms; /* replies wait until ROLE, behind them, has said so again */
	bool doubts; /* late answers of ROLE do not count until node_trust */
	bool advises; /* finds out whether min-replicas-to-write is set, where there are replicas */
	int wait; /* replicas that must have the commands before their replies count */
	struct buf
		/* a command that changes nothing, refused while the server cannot serve; empty:
		 * PING */
		probe;
	/* what the probe is, and its stream, where a lack of rights is final; NULL: it says
	 * nothing */
	const char *probe_what, *probe_stream;
	bool role_unknown; /* a server has no ROLE: PING in its place */
	bool hurry; /* no more commands come: replies are not to wait for company */
	uint64_t shortfalls; /* fewer replicas than wait had it in time */
};

enum node_news {
	NODE_SAME,
	NODE_CAME, /* up now */
	NODE_LOST, /* link.trouble; EXIT_PERM: the configuration is wrong */
};

struct node_held { /* a reply that waits for ROLE */
	uint64_t tag;
	int64_t n;
};

struct redis_node {
	struct link link;
	bool up; /* fit for commands */
	bool is_replica, is_refused; /* why it was lost, or was not fit: it cannot serve */
	int replicas; /* of the server, when ROLE was answered last; -1: not known */
	/* it has replicas, and min-replicas-to-write is 0: once, if the rules want to know */
	bool unguarded;
	bool has_done; /* a command, whoever else must have it: the owner takes that back */
	bool doubtful; /* a ROLE was answered late: see node_trust */
	int64_t doubt_ms; /* when */
	int64_t quiet_ms; /* when the link was closed that is opened anew quietly; 0: it is not */
	/* internal */
	struct node_rules *rules;
	unsigned checks; /* answers that are due before it is up */
	bool role_sent, waited, lost;
	bool probe_denied; /* the user lacks a right that the probe needs */
	/* a subscriber's server, on this link: it has sent more than confirmations */
	bool is_useful;
	bool is_asked; /* a subscriber's PING is unanswered */
	bool has_answered; /* … and one was answered well on this link */
	bool hurry; /* the same for this node */
	size_t behind, behind_bytes; /* commands since the last ROLE */
	int64_t role_ms; /* when the last ROLE was sent */
	struct node_held *held;
	size_t held_cap; /* a power of 2 */
	uint64_t held_head, held_sure, held_tail; /* up to held_sure ROLE has confirmed them */
};

/* The server has closed a link on which nothing was under way, as its "timeout" or a proxy does,
 * and it is being opened anew: no outage so far. */
static inline bool node_is_quiet(const struct redis_node *n, int64_t now_ms)
{
	return n->quiet_ms && now_ms - n->quiet_ms < NODE_QUIET_MS;
}

/* As link_open, and link_close. */
void node_open(struct redis_node *n, const char *name, const char *host, const char *port,
	const struct link_login *login, struct node_rules *rules);
void node_close(struct redis_node *n);

/* Dials: anew after a back-off, if the last link was not lost quietly. */
static inline void node_dial(struct redis_node *n, int64_t now_ms)
{
	if (n->link.trouble.status && !n->quiet_ms)
		link_redial(&n->link, now_ms);
	else
		link_dial(&n->link, now_ms);
}
/* Goes on with what is due, as link_step. */
enum node_news node_step(struct redis_node *n, short revents, int64_t now_ms);
/* Sends pending commands, and ROLE when it is due. */
void node_flush(struct redis_node *n, int64_t now_ms);
int node_timeout_ms(const struct redis_node *n, int64_t now_ms);
/* Nothing is being written: finds out whether it would go through, as when the link came. A node
 * that says nothing for a while does so by itself. */
void node_try(struct redis_node *n);
/* The link is given up for a reason of the owner's; node_step does not report it. */
void node_drop(struct redis_node *n, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The server is the right one after all: ROLE is asked for again. */
void node_trust(struct redis_node *n);

enum node_got {
	NODE_NONE,
	NODE_REPLY,
	NODE_AGAIN, /* the link was lost: the command may or may not be done */
};
/* The next result of a command, whose tag is below NODE_TAGS. The news may change by it: see
 * node_lost. */
#define NODE_TAGS (UINT64_MAX - 7)
enum node_got node_next(struct redis_node *n, struct link_reply *reply);
/* Whether node_next has lost the link, which node_step does not report then. Once. */
bool node_lost(struct redis_node *n);
/* Whether results of a lost link have not been taken yet. */
static inline bool node_has_results(const struct redis_node *n)
{
	return n->held_head < n->held_tail || link_has_tags(&n->link);
}

static inline struct buf *node_begin(struct redis_node *n)
{
	return link_begin(&n->link);
}
static inline void node_commit(struct redis_node *n, uint64_t tag)
{
	n->behind++;
	n->behind_bytes += n->link.out.len - n->link.begun;
	link_commit(&n->link, tag);
}

#endif
