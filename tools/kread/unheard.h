/* SPDX-License-Identifier: ISC */
/* Partitions that a group has assigned and of which nothing has come, not even their end:
 * librdkafka says nothing of one that has no leader. They are asked for their offsets, which fails
 * then, and that is told (refusal.h). */
#ifndef EVPIPE_KREAD_UNHEARD_H
#define EVPIPE_KREAD_UNHEARD_H

#include "kread/parts.h"

#include <stdbool.h>
#include <stdint.h>

struct unheard {
	/* internal */
	struct parts *parts;
	struct listing listing;
	struct parts_failure failure;
	int64_t next_ms;
};

void unheard_open(struct unheard *u, struct parts *r);
/* Call at least once a second while no ends are asked for (parts.need_ends). */
void unheard_serve(struct unheard *u, int64_t now_ms);
/* As listing_close. */
bool unheard_close(struct unheard *u);

#endif
