/* SPDX-License-Identifier: ISC */
/* What a server's certificate says, and what is wrong with it. */
#define _GNU_SOURCE
#include "net/tls-parts.h"

#include "base/buf.h"
#include "base/msg.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum tls_flaw tls_flaw_of(int code)
{
	switch (code) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_OTHER_HOST;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return TLS_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return TLS_NOT_YET_VALID;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		return TLS_UNKNOWN_CA;
	default:
		return TLS_OTHER_FLAW;
	}
}

static void put_name(X509_NAME *name, char *text, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int n;

	X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
	n = BIO_read(bio, text, (int)size - 1);
	text[n > 0 ? n : 0] = '\0';
	msg_clean(text);
	BIO_free(bio);
}

static void put_address(struct buf *b, const ASN1_OCTET_STRING *ip)
{
	int len = ASN1_STRING_length(ip);
	char text[INET6_ADDRSTRLEN] = "";

	if (len == 4 || len == 16)
		inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(ip), text,
			sizeof(text));
	buf_printf(b, "%sIP:%s", b->len ? ", " : "", text);
}

static void put_names(X509 *cert, char *text, size_t size)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	struct buf b = {0};

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_DNS)
			buf_printf(&b, "%sDNS:%.*s", b.len ? ", " : "",
				ASN1_STRING_length(name->d.dNSName),
				(const char *)ASN1_STRING_get0_data(name->d.dNSName));
		else if (name->type == GEN_IPADD)
			put_address(&b, name->d.iPAddress);
	}
	GENERAL_NAMES_free(names);
	snprintf(text, size, "%.*s", (int)b.len, buf_as_span(&b).p);
	msg_clean(text);
	buf_free(&b);
}

static int64_t seconds(const ASN1_TIME *t)
{
	struct tm tm = {0};

	return ASN1_TIME_to_tm(t, &tm) ? timegm(&tm) : 0;
}

/* The way from the server's certificate to the CA, where it is broken. */
static void report_chain(STACK_OF(X509) * chain, struct tls_report *r)
{
	int count = sk_X509_num(chain);
	X509 *top = count > 0 ? sk_X509_value(chain, count - 1) : NULL;
	bool is_late = r->flaws & (TLS_EXPIRED | TLS_NOT_YET_VALID);

	if (top && r->flaws & TLS_UNKNOWN_CA) {
		put_name(X509_get_issuer_name(top), r->missing, sizeof(r->missing));
		r->is_alone = count == 1 && strcmp(r->subject, r->issuer) != 0;
	}
	for (int i = 0; i < count && is_late; i++) {
		X509 *cert = sk_X509_value(chain, i);

		if (X509_cmp_current_time(X509_get0_notAfter(cert)) > 0 &&
			X509_cmp_current_time(X509_get0_notBefore(cert)) < 0)
			continue;
		put_name(X509_get_subject_name(cert), r->late, sizeof(r->late));
		r->late_from_s = seconds(X509_get0_notBefore(cert));
		r->late_until_s = seconds(X509_get0_notAfter(cert));
		return;
	}
}

void tls_report(const struct bytes *b, struct tls_report *r)
{
	const struct tls_state *state = SSL_get_app_data((SSL *)b->state);
	X509 *cert = SSL_get0_peer_certificate(b->state);

	*r = (struct tls_report){
		.end = state->end, .flaws = state->flaws, .asks_cert = state->asks_cert};
	if (state->flaws)
		snprintf(
			r->flaw, sizeof(r->flaw), "%s", X509_verify_cert_error_string(state->flaw));
	if (SSL_get_current_cipher(b->state))
		r->version = SSL_get_version(b->state);
	if (!cert)
		return;
	put_name(X509_get_subject_name(cert), r->subject, sizeof(r->subject));
	put_name(X509_get_issuer_name(cert), r->issuer, sizeof(r->issuer));
	put_names(cert, r->names, sizeof(r->names));
	r->from_s = seconds(X509_get0_notBefore(cert));
	r->until_s = seconds(X509_get0_notAfter(cert));
	report_chain(SSL_get0_verified_chain(b->state), r);
}
