/* SPDX-License-Identifier: ISC */
/* What the files of redis.h have of one another. */
#ifndef EVPIPE_REDIS_PARTS_H
#define EVPIPE_REDIS_PARTS_H

#include "redis/redis.h"

enum { REDIS_CONNECT_MS = 5000 }; /* for the name, for an address, for the login */

/* ---- redis.c ---- */
/* The link is lost or was not made; it is tried again later. Said once an outage, with this reason. */
void redis_give_up(struct redis *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same without a word. */
void redis_drop(struct redis *r);
/* REDIS_REFUSED, with this sentence. */
void redis_refuse(struct redis *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- redis-url.c ---- */
/* Fills in where and who from the options and the environment. Dies with 100. */
void redis_read_opts(struct redis *r, const struct redis_opts *o);

/* ---- redis-connect.c: up to a connected socket, then redis_begin_login ---- */
extern const struct redis_transport redis_tcp, redis_unix;
void redis_resolve(struct redis *r);
void redis_on_resolving(struct redis *r);
/* @late: the address under way took too long. */
void redis_go_on_connecting(struct redis *r, bool late);
void redis_drop_addrs(struct redis *r);

/* ---- redis-login.c ---- */
void redis_begin_login(struct redis *r);
/* Something was read. Goes on, to REDIS_UP in the end. */
void redis_on_login(struct redis *r);

/* ---- redis-reply.c ---- */
/* Frees the reply that hiredis read last. */
void redis_free_reply(struct redis *r);

#endif
