/* SPDX-License-Identifier: ISC */
/* POST to a topic: the records of a request go to Kafka through one producer, and the request is
 * answered when Kafka has answered for all of them. */
#ifndef KHTTP_PRODUCE_H
#define KHTTP_PRODUCE_H

#include "khttp/records.h"
#include "khttp/route.h"

struct produces;

/* Starts a producer; dies with 100 or 111 when that cannot be. @max_bytes: of records on their way;
 * a request beyond is answered with 503. */
struct produces *produces_open(struct khttp *k, size_t max_bytes);
/* A request that is looked through: POST /topics/{topic}, …/partitions/{partition}. */
void produce_post(const struct call *c);

/* The steps of it that a request by another way takes, too. Records may be taken at all; the body's
 * records, to be freed in all cases; there is room for them, and Kafka answers. When they return
 * false, or -1, they have answered. */
bool produce_may(const struct call *c);
int produce_read(const struct call *c, struct records *rs);
bool produce_fits(const struct call *c, size_t bytes);
/* Sends the one record of @rs, which stays the caller's. @fn is called once with Kafka's answer:
 * 200, or the status and the text of an error; it may be called before this returns. */
typedef void produce_fn(void *ctx, int status, const char *text);
void produce_record(
	struct khttp *k, const char *topic, struct records *rs, produce_fn *fn, void *ctx);

/* Takes what Kafka has answered. Call each turn. Returns trouble that ends the program, if its
 * status is not 0. */
const struct trouble *produces_serve(struct produces *p);
/* Requests, and those that were answered before Kafka has (?async=true), whose records are on their
 * way. */
size_t produces_left(const struct produces *p);
void produces_close(struct produces *p);

#endif
