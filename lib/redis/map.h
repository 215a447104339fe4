/* SPDX-License-Identifier: ISC */
/* Asks one node of a cluster, after the other, who serves which slot, and whether the cluster is
 * well. Never blocks, prints nothing. */
#ifndef EVPIPE_REDIS_MAP_H
#define EVPIPE_REDIS_MAP_H

#include "redis/link.h"

enum map_news {
	MAP_SAME,
	MAP_ANSWERED, /* `reply` is an array, of CLUSTER SLOTS: valid until the next step */
	MAP_ELSEWHERE, /* this node is of no use, for the reason `why`: map_to another one */
	MAP_REFUSED, /* the same, and EXIT_PERM: no other one will do either */
};

struct map {
	struct link link; /* its dial.host and dial.port are where it asks */
	struct trouble why;
	struct link_reply reply;
	int64_t answered_ms; /* when the question was put that was answered last */
	bool due; /* to be asked in the next step */
	/* internal */
	bool asked, is_well;
	int64_t asked_ms;
};

void map_open(struct map *m, const struct link_login *login);
void map_close(struct map *m);
/* From now on that node is asked, the first time at once if it is another one, or after a back-off
 * if it is the same. */
void map_to(struct map *m, const char *host, const char *port, int64_t now_ms);
/* Goes on, and asks when @interval_ms have passed since the last question. */
enum map_news map_step(struct map *m, short revents, int64_t interval_ms, int64_t now_ms);
int map_timeout_ms(const struct map *m, int64_t interval_ms, int64_t now_ms);

#endif
