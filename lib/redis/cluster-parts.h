/* SPDX-License-Identifier: ISC */
/* What the parts of lib/redis/cluster share. */
#ifndef EVPIPE_REDIS_CLUSTER_PARTS_H
#define EVPIPE_REDIS_CLUSTER_PARTS_H

#include "redis/cluster.h"
#include "redis/map.h"
#include "redis/slot.h"

enum {
	ASKED_MAX = 64,
	NOBODY = UINT16_MAX,
};

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
	uint32_t came; /* how often it has become fit for commands, of all members */
	int polled; /* its place in the loop's array; -1: none */
};

struct asked {
	uint64_t key;
	unsigned slot;
	struct member *at; /* NULL: free */
	int64_t since_ms; /* it counts */
	bool is_new; /* … from the time on when commands may be sent again */
};

struct cluster {
	const struct redis_url *url;
	const struct link_login *login;
	struct node_rules *rules;
	bool serves;
	struct map map;
	unsigned turn; /* whom the map is asked of */
	int only; /* the slot that is used; -1: all are */
	struct member *members[CLUSTER_NODES_MAX]; /* NULL: free */
	uint16_t owner[SLOT_COUNT], new_owner[SLOT_COUNT];
	uint32_t came; /* members that have */
	int uncovered; /* slots; SLOT_COUNT: there was no map yet */
	struct asked asked[ASKED_MAX];
	unsigned asked_at; /* the next one to be used */
	int any, next; /* a member for commands without a key; whose results are taken next */
	bool settles;
	int redirects; /* since a command was done */
	int64_t hold_ms, backoff_ms; /* not ready before hold_ms */
	int refuser; /* the member that has given a reason of its own; -1: none */
	int64_t refused_ms; /* … last */
	int64_t split_ms; /* when the keys of a command were last found at two nodes */
	struct trouble why; /* of the hold, or of the map */
	int64_t now_ms;
};

/* ---- cluster.c ---- */

/* Whether each slot has a primary, and all primaries are up. */
bool cluster_is_named_up(const struct cluster *c);

/* ---- cluster-members.c ---- */

/* The member's index; -1: none. */
int cluster_find(const struct cluster *c, const char *host, const char *port);
/* The member at this place, new or not; @host empty: @asked's. -1: there are too many. */
int cluster_place(struct cluster *c, struct span host, int port, const char *asked);
void cluster_drop(struct cluster *c, int i);
/* The link's next command is for this key. */
void cluster_note_key(struct member *m, uint64_t key);
/* The key of the command whose reply was taken last. Returns false when it is not known. */
bool cluster_key_of(const struct member *m, uint64_t *key);

/* ---- cluster-map.c ---- */

/* The slot gets another primary: the first one may have commands that are still on their way. */
void cluster_set_owner(struct cluster *c, unsigned slot, uint16_t owner);
/* Late answers of a node count only if another one, asked after them, still names it. */
void cluster_doubt(struct cluster *c, struct member *m);
/* How often the map is asked for. */
int64_t cluster_interval_ms(const struct cluster *c);
void cluster_step_map(struct cluster *c, short revents);

#endif
