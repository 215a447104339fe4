/* SPDX-License-Identifier: ISC */
/* Between link.c and login.c. */
#ifndef EVPIPE_REDIS_LINK_PARTS_H
#define EVPIPE_REDIS_LINK_PARTS_H

#include "redis/link.h"

/* ---- link.c ---- */
/* The link is lost for this reason; link_step returns LINK_LOST. */
void link_lose(struct link *l, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Sends what is to be sent, whatever the state. */
void link_send(struct link *l);

/* ---- probe.c ---- */
/* The link is lost, and @state is where: whether to find out first what the port speaks. Then the
 * link is dialling. */
bool link_should_probe(struct link *l, enum link_state state);
/* Connected: begins, and goes on. link_step returns LINK_LOST in the end, or it is dialling
 * again. */
void link_begin_probe(struct link *l, int fd);
void link_on_probing(struct link *l, short revents);

/* ---- login.c ---- */
/* The connection is made: sends the login. */
void link_begin_login(struct link *l);
/* Something was read. Goes on, to LINK_UP in the end. */
void link_on_login(struct link *l);

#endif
