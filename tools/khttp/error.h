/* SPDX-License-Identifier: ISC */
/* Answers with an error: {"error_code":404,"message":"…"} as application/vnd.kafka.v2+json, and
 * which status an error of Kafka has. http_error makes such answers too. */
#ifndef KHTTP_ERROR_H
#define KHTTP_ERROR_H

#include "http/http.h"

#include <librdkafka/rdkafka.h>

#define TYPE_V2 "application/vnd.kafka.v2+json"

/* For http_conf.error; @khttp. 405 has no body. */
void error_answer(void *khttp, struct http_request *r, int status, const char *message);
/* 400 for a body that is not as the schema has it. @errors: the members of a list, as body.h makes
 * them. */
void error_schema(struct http_request *r, struct buf *errors);
/* 400 for a parameter of the query that cannot be read. */
void error_query(struct http_request *r, const char *name);
/* What may be better later, 502, 503 or 504: 503 with Retry-After; to a reader of events 200 and
 * when to come again. */
void error_for_now(struct http_request *r, int status, const char *message);
/* The same with 503. */
__attribute__((format(printf, 2, 3))) void error_unavailable(
	struct http_request *r, const char *fmt, ...);

/* The status for what Kafka, or librdkafka, says. @compat: the reference's, 404 or 500. */
int error_status(rd_kafka_resp_err_t err, bool compat);
/* Answers with it. @text NULL: Kafka's words for @err. */
void error_kafka(struct http_request *r, bool compat, rd_kafka_resp_err_t err, const char *text);
/* Appends {"error_code":N,"message":"…"}; any bytes may stand in @message. */
void error_put(struct buf *b, int status, const char *message);

#endif
