/* SPDX-License-Identifier: ISC */
/* What the parts of kafka.c share. All belong to the loop's thread. */
#ifndef EVPIPE_KAFKA_KAFKA_PARTS_H
#define EVPIPE_KAFKA_KAFKA_PARTS_H

#include "kafka/kafka.h"

enum {
	KAFKA_UNANSWERED_MS = 500
}; /* librdkafka is silent about packets that are dropped, and more */

/* A handshake also fails because a broker goes away. A certificate or a protocol does not mend
 * itself. */
bool kafka_is_tls_config(const char *text);

/* Whether the text says that a connection was lost, or fell silent, in the middle of a login:
 * nobody was refused, though librdkafka calls it a failure of authentication. */
bool kafka_login_cut(const char *text);
/* Hands to k->refusal what a text of librdkafka says of a partition. @before, @behind: what stands
 * around the reason. Another text says nothing. */
void kafka_read_refusal(
	const struct kafka *k, const char *text, const char *before, const char *behind);
/* An error has come: of an outage the first one counts. */
void kafka_outage_begins(struct kafka *k);
/* Whether the error waits for a diagnosis, which tells more than librdkafka: then it becomes
 * trouble later. */
bool kafka_outage_holds(struct kafka *k, rd_kafka_resp_err_t err, const char *text);
/* Begins a diagnosis when one is due, and takes what the last one has found. */
void kafka_outage_tick(struct kafka *k, int64_t now_ms);
/* When it has something to do next, unless it is woken before; INT64_MAX: nothing. */
int64_t kafka_outage_next_ms(struct kafka *k);

/* Reads secrets and certificates anew when a file of them has changed, or SIGHUP has come. */
void kafka_renew(struct kafka *k, int64_t now_ms);
/* A login has failed, or the command that prints a token: whether that may mend itself, or has
 * become trouble here: a secret has been read anew since, or the last token still serves. */
bool kafka_renew_login(struct kafka *k, rd_kafka_resp_err_t err, const char *text);
/* A handshake has failed: whether that may mend itself, since certificates have been read anew
 * since. */
bool kafka_renew_certs(struct kafka *k, rd_kafka_resp_err_t err);

#endif
