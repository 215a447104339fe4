/* SPDX-License-Identifier: ISC */
/* TLS over OpenSSL as a layer of bytes.h. The process ignores SIGPIPE (wake_open does it). The
 * server's certificate must be for the host, a name or an address; the server is told a name, never
 * an address. */
#ifndef EVPIPE_NET_TLS_H
#define EVPIPE_NET_TLS_H

#include "net/bytes.h"

#include <stdint.h>

struct tls_config {
	/* A file of certificates that are trusted, PEM, or a folder of such files by hash; or their
	 * text. All NULL: the system's. */
	const char *ca_file, *ca_pem;
	const char *crl_file; /* PEM: what those CAs have revoked; NULL: is not looked at */
	/* Ours: PEM files, or PEM texts, or a PKCS#12 file with both; NULL: none. The key may stand
	 * in the file of the certificate. */
	const char *cert_file, *key_file, *cert_pem, *key_pem, *keystore_file;
	const char *key_password, *keystore_password; /* NULL: not encrypted */
	const char
		*name; /* what the server's certificate must be for, in place of the host; NULL */
	bool any_host; /* the certificate's names are not looked at */
	/* A handshake succeeds with any certificate; tls_report tells what is wrong with it. For a
	 * look at a server: send no secret before. */
	bool any_cert;
	/* With any_cert: no CA is read, the system's neither, which takes a tenth of a second; the
	 * report then does not tell of TLS_UNKNOWN_CA. */
	bool no_trust;
};
/* Reads the files. NULL when that fails: *@why has the sentence and EXIT_PERM. Free with tls_free,
 * once all connections are closed. */
struct bytes_client *tls_open(const struct tls_config *config, struct trouble *why);
void tls_free(struct bytes_client *client);
/* "OpenSSL 3.0.17", of the library that runs. */
const char *tls_library(void);
/* OpenSSL's own data outlive exit(), for threads that still use them, ours or a library's: else
 * they crash a process that ends. Call it before anything else of OpenSSL. */
void tls_outlive(void);

/* What can be wrong with a server's certificate; several may be. */
enum tls_flaw {
	TLS_EXPIRED = 1,
	TLS_NOT_YET_VALID = 2,
	TLS_OTHER_HOST = 4, /* it is for another name or address */
	TLS_UNKNOWN_CA = 8, /* it comes from no CA that is trusted here */
	TLS_OTHER_FLAW = 16,
};
/* Why a connection has failed. */
enum tls_end {
	TLS_GOES_ON, /* or it was closed without a word */
	TLS_NO_TLS, /* the peer answers, but not in TLS */
	TLS_BAD_CERT, /* its certificate has a flaw */
	TLS_WANTS_CERT, /* it refuses our certificate, or that we have none */
	TLS_ALERT, /* any other failure; the text of bytes.trouble has it */
};
struct tls_report {
	enum tls_end end;
	unsigned flaws; /* of its certificate: bits of enum tls_flaw */
	bool asks_cert; /* it asks for a client certificate; it may be content without */
	const char *version; /* "TLSv1.3"; NULL: nothing was agreed upon */
	/* Of the server's certificate; empty when none was seen. @names: "DNS:a.example,
	 * IP:10.0.0.1". */
	char subject[128], issuer[128], names[256], flaw[128];
	int64_t from_s, until_s; /* seconds since the epoch: it is valid between */
	/* Of the way from there to a CA that is trusted, as far as it goes; empty when the flaw is
	 * none of these. */
	char missing[128]; /* the CA whose certificate was looked for last, and is not there */
	bool is_alone; /* nothing but its own was sent, and that is not self-signed */
	char late[128]; /* the first one, from its own on, whose time is over, or not yet come */
	int64_t late_from_s, late_until_s;
};
/* @b was opened with a client of tls_open, and bytes_close was not called. */
void tls_report(const struct bytes *b, struct tls_report *r);

#endif
