/* SPDX-License-Identifier: ISC */
/* A large body on its way to Kafka: it is looked through as a whole before the first of its records
 * is sent, then it is read once more, so many bytes at a time. */
#ifndef KHTTP_FEED_H
#define KHTTP_FEED_H

#include "khttp/records.h"
#include "khttp/route.h"

enum { FEED_BYTES = 8 << 20 }; /* of records without Kafka's answer */

struct feed {
	size_t count, bytes; /* of all records */
	struct records rs; /* the ones to be sent */
	size_t at; /* how many were there before */
	size_t out; /* bytes without Kafka's answer */
	int64_t sent_ms;
	bool over; /* there are no more */
	rd_kafka_resp_err_t err; /* why the rest is not sent; 0 */
	/* own */
	struct records_reader in, begin;
	struct http_body *body;
};

/* Looks the request's body through. Returns 0; or the status of a refusal, as in->status, with
 * in->errors, in->why. */
int feed_open(struct feed *f, const struct call *c, const struct records_how *how);
/* The body is the feed's from now on. */
void feed_take(struct feed *f, struct http_request *r);
/* Reads the next records. */
void feed_next(struct feed *f);
void feed_close(struct feed *f);

#endif
