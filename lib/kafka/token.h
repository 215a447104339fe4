/* SPDX-License-Identifier: ISC */
/* --oauth-token-cmd: a command prints the token with which a client logs in by OAUTHBEARER (RFC 7628), a JWT. It is run
 * at the start and again before the token ends. */
#ifndef EVPIPE_KAFKA_TOKEN_H
#define EVPIPE_KAFKA_TOKEN_H

#include <librdkafka/rdkafka.h>
#include <stddef.h>
#include <stdint.h>

struct token {
	char *text, *principal; /* principal: "sub", or "" */
	int64_t end_ms; /* since the epoch; without "exp" five minutes from now */
};

/* Runs the command by a shell and waits for it, half a minute at most. Returns 0, or -1 with the reason in @why. Free
 * with token_free. For any thread. */
int token_run(const char *command, struct token *t, char *why, size_t why_size);
void token_free(struct token *t);

/* Of a client: before it is made, whose opaque pointer leads to a text with the command by token_command; and when
 * it is. The command runs in a thread of librdkafka. */
void token_prepare(rd_kafka_conf_t *conf);
void token_start(rd_kafka_t *rk);
/* Defined where clients are made. */
const char *token_command(const void *opaque);

#endif
