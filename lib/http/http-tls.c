/* SPDX-License-Identifier: ISC */
/* libmicrohttpd asks a client for its certificate, and leaves it to us to look at. Of the server's
 * own it says no more than that it cannot use them. */
#include "http/http-parts.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/socket.h>

bool http_is_certified(const struct http_request_inner *r)
{
	const union MHD_ConnectionInfo *info;
	unsigned flaws = 0;

	if (!r->client->http->conf.client_ca)
		return true;
	info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	return info && gnutls_certificate_verify_peers2(info->tls_session, &flaws) == 0 && !flaws;
}

static gnutls_datum_t datum(const char *text)
{
	return (gnutls_datum_t){(unsigned char *)text, (unsigned)strlen(text)};
}

/* The first certificate of the text; NULL: it has none. */
static gnutls_x509_crt_t first_cert(const char *text)
{
	gnutls_datum_t pem = datum(text);
	gnutls_x509_crt_t *list, first;
	unsigned count;

	if (gnutls_x509_crt_list_import2(&list, &count, &pem, GNUTLS_X509_FMT_PEM, 0) < 0)
		return NULL;
	first = list[0];
	for (unsigned i = 1; i < count; i++)
		gnutls_x509_crt_deinit(list[i]);
	gnutls_free(list);
	return first;
}

bool http_has_certs(const char *text)
{
	gnutls_x509_crt_t cert = first_cert(text);

	if (cert)
		gnutls_x509_crt_deinit(cert);
	return cert;
}

static const char *key_flaw(gnutls_x509_crt_t cert, gnutls_x509_privkey_t key, const char *text)
{
	unsigned char of_cert[64], of_key[64];
	size_t cert_size = sizeof(of_cert), key_size = sizeof(of_key);
	gnutls_datum_t pem = datum(text);
	int err = gnutls_x509_privkey_import2(key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);

	if (err == GNUTLS_E_DECRYPTION_FAILED)
		return "it is encrypted, and there is no password";
	if (err)
		return "it has none in PEM";
	if (gnutls_x509_crt_get_key_id(cert, 0, of_cert, &cert_size) ||
		gnutls_x509_privkey_get_key_id(key, 0, of_key, &key_size) ||
		cert_size != key_size || memcmp(of_cert, of_key, key_size) != 0)
		return "it is not the key of the certificate";
	return NULL;
}

const char *http_pair_flaw(const char *cert_text, const char *key_text, bool *of_key)
{
	gnutls_x509_crt_t cert = first_cert(cert_text);
	gnutls_x509_privkey_t key;
	const char *flaw = "it has none in PEM";

	*of_key = cert;
	if (!cert)
		return flaw;
	if (gnutls_x509_privkey_init(&key) == 0) {
		flaw = key_flaw(cert, key, key_text);
		gnutls_x509_privkey_deinit(key);
	}
	gnutls_x509_crt_deinit(cert);
	return flaw;
}

void http_send_last(const struct http_request_inner *r, const char *text, size_t len)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	ssize_t n = info ? gnutls_record_send(info->tls_session, text, len)
			 : send(r->client->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	/* A client that has taken nothing so far, and does not take this, gets no answer. */
	(void)n;
}
