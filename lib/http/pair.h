/* SPDX-License-Identifier: ISC */
/* The certificate and the key that a server shows. */
#ifndef EVPIPE_HTTP_PAIR_H
#define EVPIPE_HTTP_PAIR_H

#include "http/http.h"

/* Reads both into @c, where they stay. @cert NULL: nothing is read; @key NULL: it stands in the file of the certificate.
 * Dies with 100 when a file cannot be read. */
void pair_read(struct http_conf *c, const char *cert, const char *key);

#endif
