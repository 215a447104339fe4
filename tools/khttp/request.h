/* SPDX-License-Identifier: ISC */
/* POST /topics/{topic}/request: a record that asks for a reply, and the reply as the answer. What a
 * call is stands in headers of the record, as Spring Kafka has them: its id, the topic of the reply
 * and, if one is wanted, its partition. */
#ifndef KHTTP_REQUEST_H
#define KHTTP_REQUEST_H

#include "base/opt.h"
#include "khttp/route.h"

struct requests;

struct request_opts {
	struct arg_str *max, *id, *topic, *partition;
};
void request_opts(struct request_opts *o);
#define REQUEST_ENTRIES(o) (o).max, (o).id, (o).topic, (o).partition

struct requests *requests_open(struct khttp *k, const struct request_opts *o);
/* A request that is looked at so far. */
void request_post(const struct call *c);
/* In the loop: polled for POLLIN (-1: nothing), no longer than requests_timeout_ms (-1: no
 * limit). */
int requests_fd(const struct requests *q);
int requests_timeout_ms(const struct requests *q);
/* Takes replies, ends what has waited too long. Call each turn. */
void requests_serve(struct requests *q);
/* The server, the producer and the asks have ended. */
void requests_close(struct requests *q);

#endif
