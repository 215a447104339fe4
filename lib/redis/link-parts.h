/* SPDX-License-Identifier: ISC */
/* Between link.c and login.c. */
#ifndef EVPIPE_REDIS_LINK_PARTS_H
#define EVPIPE_REDIS_LINK_PARTS_H

#include "redis/link.h"

/* ---- link.c ---- */
/* The link is lost for this reason; link_step returns LINK_LOST. */
void link_lose(struct link *l, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- login.c ---- */
/* The connection is made: sends the login. */
void link_begin_login(struct link *l);
/* Something was read. Goes on, to LINK_UP in the end. */
void link_on_login(struct link *l);

#endif
