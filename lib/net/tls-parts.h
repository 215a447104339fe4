/* SPDX-License-Identifier: ISC */
/* What the parts of tls.c share. */
#ifndef EVPIPE_NET_TLS_PARTS_H
#define EVPIPE_NET_TLS_PARTS_H

#include "net/tls.h"

#include <openssl/ssl.h>

/* Of a connection: SSL's app data. */
struct tls_state {
	unsigned flaws;
	int flaw; /* the first one: X509_V_ERR_… */
	enum tls_end end;
	bool asks_cert;
};

/* OpenSSL's reason, in its own words. */
const char *tls_reason(unsigned long error);
/* Reads what the configuration names. Returns 0, or -1 with EXIT_PERM in @why. */
int tls_read_files(SSL_CTX *ctx, const struct tls_config *c, struct trouble *why);
/* The bit for one of OpenSSL's codes. */
enum tls_flaw tls_flaw_of(int code);

#endif
