/* SPDX-License-Identifier: ISC */
/* The topics that replies come to, which one consumer reads for all requests. A topic is read from
 * its end, which is known before the first request that names the topic is sent: no reply is too
 * fast. The consumer has no group, and each bridge reads all replies. */
#ifndef KHTTP_REPLIES_H
#define KHTTP_REPLIES_H

#include "khttp/khttp.h"

struct replies;

struct reply_topic {
	char *name;
	size_t users; /* the caller's: while there are some the topic stays */
	bool is_read; /* from a point before now */
	/* internal */
	struct replies *all;
	struct reply_topic *next;
	rd_kafka_topic_t *rkt;
	int32_t partitions; /* that are read, or whose ends are asked for */
	bool asks;
	int64_t used_ms, asked_ms;
};

struct replies_user {
	/* A record of one of the topics. */
	void (*reply)(void *ctx, const rd_kafka_message_t *m);
	/* The topic is read. */
	void (*ready)(void *ctx, struct reply_topic *t);
	/* It is not read, or not any more, and nothing of it will come. @status: of the answer that
	 * says so. */
	void (*failed)(void *ctx, struct reply_topic *t, int status, const char *text);
	void *ctx;
};

/* The client is started when the first topic is named. */
struct replies *replies_open(struct khttp *k, const struct replies_user *user);
/* The topic of that name. When it is not read yet, `ready` or `failed` is called later. NULL:
 * @why. */
struct reply_topic *replies_topic(struct replies *all, const char *name, struct trouble *why);
/* In the loop: polled for POLLIN; -1: nothing is read. */
int replies_fd(const struct replies *all);
/* Call each turn. */
void replies_serve(struct replies *all);
/* The next turn must not wait. */
bool replies_has_more(const struct replies *all);
/* The asks must be closed before; see kafka_stop. */
void replies_close(struct replies *all);

#endif
