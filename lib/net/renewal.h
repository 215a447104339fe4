/* SPDX-License-Identifier: ISC */
/* Certificates that a library has read once for all are renewed: each connection that it opens from
 * then on is given the new ones as its handshake begins. Of a library that uses the same OpenSSL as
 * we do. */
#ifndef EVPIPE_NET_RENEWAL_H
#define EVPIPE_NET_RENEWAL_H

#include "net/tls.h"

struct renewal;

struct renewal *renewal_new(void);
void renewal_free(struct renewal *r);
/* Between the two the calling thread has the library make what it connects with. Returns whether
 * the library has made that in a way that can be renewed; @r must live until the library has freed
 * it. */
void renewal_begin(struct renewal *r);
bool renewal_end(struct renewal *r);
/* Reads the files that @config names. Certificate and key are taken if there are any; the CA
 * certificates and what they have revoked if one of both is named. Fails with 100, for a
 * certificate and a key that do not go together too: then all is as it was. */
int renewal_set(struct renewal *r, const struct tls_config *config, struct trouble *why);

#endif
