/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "net/tls-parts.h"

#include "base/mem.h"
#include "base/msg.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_AHEAD = 64 << 10 }; /* read from the socket at once: several records */

struct tls_client {
	struct bytes_client client;
	SSL_CTX *ctx;
	char *name;
	bool any_host, any_cert, no_trust;
};

/* ---- why ---- */

const char *tls_reason(unsigned long error)
{
	const char *text = ERR_reason_error_string(error);

	/* OpenSSL has no words for errno. */
	if (ERR_SYSTEM_ERROR(error))
		return msg_errno(ERR_GET_REASON(error));
	return text ? text : "TLS failed";
}

static int bad_certificate(struct bytes *b, long code)
{
	switch (code) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return trouble_set(&b->trouble, EXIT_PERM, "its certificate is not for %s '%s'",
			code == X509_V_ERR_HOSTNAME_MISMATCH ? "host name" : "address", b->host);
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return trouble_set(&b->trouble, EXIT_PERM, "its certificate has expired");
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return trouble_set(&b->trouble, EXIT_PERM,
			"its certificate is not yet valid: is the clock right?");
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		return trouble_set(&b->trouble, EXIT_PERM,
			"its certificate is from no CA that is trusted here: name the CA's file");
	default:
		return trouble_set(&b->trouble, EXIT_PERM, "its certificate is not accepted: %s",
			X509_verify_cert_error_string(code));
	}
}

/* The server's alert, or OpenSSL's own reason, as trouble. */
static int refused(struct bytes *b, unsigned long error)
{
	struct tls_state *state = SSL_get_app_data((SSL *)b->state);

	state->end = TLS_ALERT;
	if (ERR_GET_REASON(error) > SSL_AD_REASON_OFFSET ||
		ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		b->is_tls = true;
	switch (ERR_GET_REASON(error)) {
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		state->end = TLS_BAD_CERT;
		return bad_certificate(b, SSL_get_verify_result(b->state));
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		state->end = TLS_WANTS_CERT;
		return trouble_set(&b->trouble, EXIT_PERM, "it wants a client certificate");
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
		state->end = TLS_WANTS_CERT;
		return trouble_set(&b->trouble, EXIT_PERM,
			"it refuses the client certificate, or that there is none: %s",
			tls_reason(error));
	case SSL_R_WRONG_VERSION_NUMBER:
		state->end = TLS_NO_TLS;
		return trouble_set(&b->trouble, EXIT_PERM, "it does not speak TLS at this port");
	default:
		return trouble_set(&b->trouble, EXIT_TEMP, "%s", tls_reason(error));
	}
}

/* After a call of OpenSSL that has not succeeded: -1 with errno, or 0 at the end of what the server
 * sends. */
static int failed(struct bytes *b, int got, short *want)
{
	int system_error = errno;
	unsigned long error = ERR_peek_error();

	switch (SSL_get_error(b->state, got)) {
	case SSL_ERROR_WANT_READ:
		*want = POLLIN;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_WANT_WRITE:
		*want = POLLOUT;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		b->broken = true;
		errno = system_error ? system_error : ECONNRESET;
		return trouble_set(&b->trouble, EXIT_TEMP, "%s", msg_errno(errno));
	default:
		b->broken = true;
		errno = EPROTO;
		/* Peers that are killed, and many that are not, send no word of the end. */
		if (ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return 0;
		return refused(b, error);
	}
}

/* ---- the client ---- */

/* Notes what is wrong with a certificate, and goes on with any when that is asked for. */
static int on_verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	const struct tls_client *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	struct tls_state *state = SSL_get_app_data(ssl);
	int code = X509_STORE_CTX_get_error(store);

	if (ok || (tls->no_trust && tls_flaw_of(code) == TLS_UNKNOWN_CA))
		return 1;
	if (!state->flaws)
		state->flaw = code;
	state->flaws |= tls_flaw_of(code);
	return tls->any_cert;
}

static int on_asked(SSL *ssl, void *arg)
{
	struct tls_state *state = SSL_get_app_data(ssl);

	(void)arg;
	state->asks_cert = true;
	return 1;
}

static void start(struct bytes_client *client, struct bytes *b);

static void make_context(struct tls_client *tls)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx)
		die(EXIT_TEMP, "out of memory");
	tls->ctx = ctx;
	SSL_CTX_set_app_data(ctx, tls);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
	SSL_CTX_set_cert_cb(ctx, on_asked, NULL);
}

/* Who only looks may never connect, and OpenSSL's tables are 2.5 MB: they are made when it does. */
static bool reads_nothing(const struct tls_config *c)
{
	return c->no_trust && !c->name && !c->cert_file && !c->cert_pem && !c->key_file &&
		!c->key_pem && !c->keystore_file;
}

struct bytes_client *tls_open(const struct tls_config *config, struct trouble *why)
{
	struct tls_client *tls = mem_alloc(sizeof(*tls));

	*tls = (struct tls_client){.client = {start},
		.any_host = config->any_host,
		.any_cert = config->any_cert,
		.no_trust = config->no_trust};
	if (reads_nothing(config))
		return &tls->client;
	make_context(tls);
	if (tls_read_files(tls->ctx, config, why)) {
		tls_free(&tls->client);
		return NULL;
	}
	tls->name = config->name ? mem_dup(config->name) : NULL;
	return &tls->client;
}

void tls_free(struct bytes_client *client)
{
	struct tls_client *tls = (struct tls_client *)client;

	if (!tls)
		return;
	SSL_CTX_free(tls->ctx);
	free(tls->name);
	free(tls);
}

void tls_outlive(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}

const char *tls_library(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "OpenSSL %s", OpenSSL_version(OPENSSL_VERSION_STRING));
	return text;
}

/* ---- a connection ---- */

static int tls_shake(struct bytes *b)
{
	int got;

	ERR_clear_error();
	errno = 0;
	got = SSL_connect(b->state);
	if (got == 1) {
		b->is_tls = true;
		b->read_want = POLLIN;
		b->more = true; /* what came behind the handshake may be here already */
		return 1;
	}
	got = failed(b, got, &b->read_want);
	if (got < 0 && errno == EAGAIN)
		return 0;
	if (got == 0)
		trouble_set(
			&b->trouble, EXIT_TEMP, "it closed the connection in the TLS handshake");
	return -1;
}

static ssize_t tls_read(struct bytes *b, void *p, size_t n)
{
	size_t len;
	int got;

	ERR_clear_error();
	errno = 0;
	got = SSL_read_ex(b->state, p, n, &len);
	if (got == 1) {
		b->read_want = POLLIN;
		b->more = SSL_has_pending(b->state);
		return (ssize_t)len;
	}
	b->more = false;
	return failed(b, got, &b->read_want);
}

/* Several records leave together: otherwise each is a segment, and wakes the peer. Not of a Unix
 * socket. */
static void cork(const struct bytes *b, int on)
{
	setsockopt(b->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

static ssize_t tls_write(struct bytes *b, const void *p, size_t n)
{
	bool corks = n > SSL3_RT_MAX_PLAIN_LENGTH;
	size_t done = 0, len;
	int got;

	ERR_clear_error();
	errno = 0;
	if (corks)
		cork(b, 1);
	do {
		got = SSL_write_ex(b->state, (const char *)p + done, n - done, &len);
		done += got == 1 ? len : 0;
	} while (got == 1 && done < n);
	if (corks) {
		int saved = errno;

		cork(b, 0);
		errno = saved;
	}
	/* What has stopped it does so again in the next call. */
	if (done) {
		b->write_want = POLLOUT;
		return (ssize_t)done;
	}
	if (failed(b, got, &b->write_want) == 0)
		errno = EPIPE;
	return -1;
}

static void tls_close(struct bytes *b)
{
	ERR_clear_error();
	if (!b->broken && SSL_is_init_finished(b->state))
		SSL_shutdown(b->state);
	free(SSL_get_app_data((SSL *)b->state));
	SSL_free(b->state);
	b->state = NULL;
}

static bool is_address(const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static void start(struct bytes_client *client, struct bytes *b)
{
	static const struct bytes_layer layer = {tls_shake, tls_read, tls_write, tls_close};
	struct tls_client *tls = (struct tls_client *)client;
	X509_VERIFY_PARAM *param;
	struct tls_state *state;
	SSL *ssl;

	if (!tls->ctx)
		make_context(tls);
	ssl = SSL_new(tls->ctx);
	if (!ssl || SSL_set_fd(ssl, b->fd) != 1)
		die(EXIT_TEMP, "out of memory");
	state = mem_alloc(sizeof(*state));
	*state = (struct tls_state){0};
	SSL_set_app_data(ssl, state);
	b->layer = &layer;
	b->state = ssl;
	b->read_want = POLLOUT;
	if (tls->name)
		b->host = tls->name;
	param = SSL_get0_param(ssl);
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (tls->any_host || X509_VERIFY_PARAM_set1_ip_asc(param, b->host) != 1) {
		if (!tls->any_host)
			X509_VERIFY_PARAM_set1_host(param, b->host, 0);
		if (!is_address(b->host))
			SSL_set_tlsext_host_name(ssl, b->host);
	}
}
