/* SPDX-License-Identifier: ISC */
/* What a client says to log in by SASL: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 (RFC 5802) and
 * OAUTHBEARER (RFC 7628). Tokens in and out; nothing here does input or output. */
#ifndef EVPIPE_KAFKA_LOGIN_H
#define EVPIPE_KAFKA_LOGIN_H

#include "base/buf.h"

#include <stdbool.h>

struct login_as {
	const char *mechanism, *user, *password;
	const char *token; /* of OAUTHBEARER */
};

/* One login; all zero at first, ended by login_free. */
struct login {
	const struct login_as *as;
	int round;
	char nonce[32];
	struct buf first; /* what SCRAM signs of the first message */
	unsigned char signature[64]; /* that the server must show */
	char why[128];
};

/* Whether login_first can be called: for a mechanism of another name, and for OAUTHBEARER without a
 * token, which librdkafka may fetch by itself, it cannot. */
bool login_knows(const struct login_as *as);
/* Appends the first token to @token. Returns 0, or -1 with `why` when something that the mechanism
 * needs is missing. */
int login_first(struct login *l, const struct login_as *as, struct buf *token);
/* Takes what the server has answered: 1 the login is done; 0: @token has the next one to send; -1:
 * `why`. */
int login_next(struct login *l, struct span answer, struct buf *token);
void login_free(struct login *l);
/* What to do when a server refuses a login by this mechanism, to be copied; "" if it is none of
 * those. */
const char *login_remedy(const char *mechanism);

#endif
