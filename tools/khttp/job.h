/* SPDX-License-Identifier: ISC */
/* What topics.c and admin.c share: a request that waits for Kafka has a job, which lives until its
 * last answer has come; the client may go before. */
#ifndef KHTTP_JOB_H
#define KHTTP_JOB_H

#include "khttp/ask.h"
#include "khttp/topics.h"

struct job {
	struct khttp *k;
	struct http_request *r; /* NULL: the client has gone */
	char *topic;
	int32_t partition; /* -1: all */
	int waits; /* for so many answers */
	int64_t offsets[2];
	struct buf configs; /* {"name":"value",…} */
	struct buf partitions;
};

/* A job for the request, and for the topic of its path. */
struct job *job_begin(const struct call *c);
/* An answer has come. Returns whether there is still somebody to tell; else the job may be gone. */
bool job_came(struct job *j);
/* Answers with Kafka's error. @text NULL: Kafka's words for @err. */
void job_fail(struct job *j, rd_kafka_resp_err_t err, const char *text);
/* 404 */
void job_no_topic(struct job *j);
/* Asks for the topics of the cluster. */
void job_ask(struct job *j, ask_fn *fn);
/* An answer with metadata has come: its topic; NULL: the client has gone, or it has answered. */
const rd_kafka_metadata_topic_t *job_topic(
	struct job *j, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md);
/* Appends a string; a list of all partitions. */
void job_put_text(struct buf *b, const char *text);
void job_put_partitions(struct buf *b, const rd_kafka_metadata_topic_t *t);

#endif
