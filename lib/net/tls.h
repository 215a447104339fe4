/* SPDX-License-Identifier: ISC */
/* TLS over OpenSSL as a layer of bytes.h. The process ignores SIGPIPE (wake_open does it). The server's certificate must
 * be for the host, a name or an address; the server is told a name, never an address. */
#ifndef EVPIPE_NET_TLS_H
#define EVPIPE_NET_TLS_H

#include "net/bytes.h"

struct tls_config {
	const char *ca_file; /* of certificates that are trusted; NULL: the system's */
	const char *cert_file, *key_file; /* ours, PEM; NULL: none. The key is not encrypted */
	const char
		*name; /* what the server's certificate must be for, in place of the host; NULL */
};
/* Reads the files. NULL when that fails: *@why has the sentence and EXIT_PERM. Free with tls_free, once all
 * connections are closed. */
struct bytes_client *tls_open(const struct tls_config *config, struct trouble *why);
void tls_free(struct bytes_client *client);
/* "OpenSSL 3.0.17", of the library that runs. */
const char *tls_library(void);

#endif
