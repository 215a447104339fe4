/* SPDX-License-Identifier: ISC */
/* What a login by challenge and answer (SCRAM, RFC 5802) needs: hashes, keyed ones, and a salted
 * password. */
#ifndef EVPIPE_NET_DIGEST_H
#define EVPIPE_NET_DIGEST_H

#include "base/buf.h"

enum digest { DIGEST_SHA256, DIGEST_SHA512 };
enum { DIGEST_MAX = 64 }; /* bytes of the longest */

/* Bytes of one. */
size_t digest_size(enum digest d);
void digest_hash(enum digest d, struct span text, unsigned char *out);
void digest_hmac(enum digest d, struct span key, struct span text, unsigned char *out);
/* PBKDF2; takes time for many @iterations: some 0.2 ms for a thousand. */
void digest_password(
	enum digest d, const char *password, struct span salt, int iterations, unsigned char *out);

#endif
