/* SPDX-License-Identifier: ISC */
/* --oauth-token-cmd: a command prints the token with which a client logs in by OAUTHBEARER (RFC
 * 7628), a JWT. It is run at the start and again before the token ends. */
#ifndef EVPIPE_KAFKA_TOKEN_H
#define EVPIPE_KAFKA_TOKEN_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct token {
	char *text, *principal; /* principal: "sub", or "" */
	int64_t end_ms; /* since the epoch; without "exp" five minutes from now */
};

/* Runs the command by a shell and waits for it, half a minute at most. Returns 0, or -1 with the
 * reason in @why. Free with token_free. For any thread. */
int token_run(const char *command, struct token *t, char *why, size_t why_size);
void token_free(struct token *t);

/* A client's. */
struct token_source {
	const char *command; /* NULL: none */
	_Atomic int64_t end_ms; /* of the last token, since the epoch; 0: there was none */
	/* internal */
	pthread_mutex_t lock; /* a thread of librdkafka sets what follows */
	struct token last;
};

/* Of a client: before it is made, whose opaque pointer leads to its source by token_source_of; and
 * when it is. The command runs in a thread of librdkafka; when it fails librdkafka runs it again
 * ten seconds later. */
void token_prepare(rd_kafka_conf_t *conf);
void token_start(rd_kafka_t *rk);
/* Has librdkafka run the command again within two seconds; until then the last token serves. */
void token_anew(rd_kafka_t *rk, struct token_source *source);
/* The last token, to be freed by token_forget, for any thread; NULL: there is none yet, or it is
 * over. */
char *token_last(struct token_source *source);
void token_forget(const char *token);
/* Of a client that has ended. */
void token_source_close(struct token_source *source);
/* Defined where clients are made. */
struct token_source *token_source_of(void *opaque);

#endif
