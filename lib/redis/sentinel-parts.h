/* SPDX-License-Identifier: ISC */
/* What the parts of lib/redis/sentinel share. */
#ifndef EVPIPE_REDIS_SENTINEL_PARTS_H
#define EVPIPE_REDIS_SENTINEL_PARTS_H

#include "redis/sentinel.h"

enum verdict {
	UNTRIED,
	FINE, /* it has answered on the present link */
	AWAY,
	REFUSES, /* for ever: why has EXIT_PERM */
};

struct sentinel {
	struct redis_at at, word; /* word.host NULL: none yet */
	char *name;
	char *id; /* NULL: not known */
	bool learned;
	struct link ask, ear;
	bool asked; /* and not answered */
	bool due; /* to be asked at once */
	int64_t asked_ms, peers_ms;
	/* when the question was put that was answered last; 0: none on this link */
	int64_t answered_ms;
	uint64_t changed; /* its place among the changes of all words; 0: it has never changed */
	enum verdict verdict;
	struct trouble why;
};

struct sentinels {
	struct sentinel *all[SENTINELS_MAX];
	int count, polled;
	const char *master;
	struct link_login login;
	struct redis_at primary;
	struct redis_at avoided; /* a primary that is of no use, though it is named */
	int64_t blamed_ms; /* since when the primary has been of no use; 0: it has not */
	uint64_t changes;
	int64_t began_ms, now_ms;
	int64_t silent_ms; /* since when none answers that had named a primary; 0: one does */
};

/* ---- sentinel-replies.c ---- */

struct sentinel_peer { /* members that were not there, or were empty, have no bytes */
	struct span host, port, id;
};
/* The primary that SENTINEL GET-MASTER-ADDR-BY-NAME names. Returns false when it names none. */
bool sentinel_word_take(const struct link_reply *reply, struct span *host, struct span *port);
/* The next one of the elements that SENTINEL SENTINELS answers. Returns false at another form than
 * theirs. */
bool sentinel_peer_take(struct resp *c, struct sentinel_peer *peer);

/* ---- sentinel-words.c ---- */

/* Both are known, and the same. */
static inline bool sentinel_at_is(const struct redis_at *a, const struct redis_at *b)
{
	return redis_at_is(a, b->host, b->port);
}
void sentinel_at_free(struct redis_at *a);
void sentinel_at_set(struct redis_at *a, const char *host, const char *port);
/* The primary is what counts most of what the sentinels say. */
void sentinels_choose(struct sentinels *s);

#endif
