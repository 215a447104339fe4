/* SPDX-License-Identifier: ISC */
/* The certificate and the key that a server shows. */
#ifndef EVPIPE_HTTP_PAIR_H
#define EVPIPE_HTTP_PAIR_H

#include "http/http.h"

/* Reads both into @c, where they stay. @cert NULL: nothing is read; @key NULL: it stands in the
 * file of the certificate. Dies with 100, and the cause, when the server could not use them. */
void pair_read(struct http_conf *c, const char *cert, const char *key);

/* Reads the certificates of the CA that signs clients' certificates. @ca NULL: nothing is read.
 * Dies as pair_read. */
void pair_read_ca(struct http_conf *c, const char *ca);

#endif
