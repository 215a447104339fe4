/* SPDX-License-Identifier: ISC */
/* Certificates and keys, from files and from texts. */
#define _GNU_SOURCE
#include "net/tls-parts.h"

#include "base/msg.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Without one of ours OpenSSL would ask at the terminal. */
static int on_password(char *buf, int size, int writing, void *password)
{
	(void)writing;
	if (!password || strlen(password) > (size_t)size)
		return -1;
	memcpy(buf, password, strlen(password));
	return (int)strlen(password);
}

/* What OpenSSL means. */
static const char *file_reason(unsigned long error)
{
	static const struct {
		const char *said, *meant;
	} all[] = {
		{"mac verify failure", "its password is wrong, or missing"},
		{"bad decrypt", "its password is wrong"},
		{"interrupted or cancelled", "it is encrypted, and there is no password"},
		{"bad password read", "it is encrypted, and there is no password"},
		{"key values mismatch", "it is not the key of the certificate"},
		{"wrong tag", "it is no PKCS#12"},
		{"unsupported", "it has none in PEM"},
		{"no start line", "it has none in PEM"},
	};
	const char *said = tls_reason(error);

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (strcmp(all[i].said, said) == 0)
			return all[i].meant;
	return said;
}

static int no_file(struct trouble *why, const char *what, const char *file)
{
	unsigned long error = ERR_peek_error();
	int status = ERR_SYSTEM_ERROR(error) ? msg_errno_status(ERR_GET_REASON(error)) : EXIT_PERM;

	return trouble_set(
		why, status, "cannot read the %s '%s': %s", what, file, file_reason(error));
}

/* ---- whom we trust ---- */

static int trust_text(SSL_CTX *ctx, const char *pem, struct trouble *why)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert;
	int count = 0;

	while ((cert = PEM_read_bio_X509(bio, NULL, on_password, NULL))) {
		X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);
		X509_free(cert);
		count++;
	}
	BIO_free(bio);
	ERR_clear_error();
	return count ? 0 : trouble_set(why, EXIT_PERM, "the text of the CA certificates has none");
}

static int trust(SSL_CTX *ctx, const struct tls_config *c, struct trouble *why)
{
	struct stat st;
	int ok;

	if (c->ca_pem && trust_text(ctx, c->ca_pem, why))
		return -1;
	if (c->ca_file) {
		bool is_folder = stat(c->ca_file, &st) == 0 && S_ISDIR(st.st_mode);

		ok = is_folder ? SSL_CTX_load_verify_dir(ctx, c->ca_file)
			       : SSL_CTX_load_verify_file(ctx, c->ca_file);
		return ok == 1 ? 0 : no_file(why, "CA certificates", c->ca_file);
	}
	if (!c->ca_pem && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return no_file(why, "CA certificates", "of the system");
	return 0;
}

static int take_revoked(SSL_CTX *ctx, const char *file, struct trouble *why)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());

	if (!lookup || X509_load_crl_file(lookup, file, X509_FILETYPE_PEM) < 1)
		return no_file(why, "list of revoked certificates", file);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	return 0;
}

/* ---- who we are ---- */

static int take_keystore(SSL_CTX *ctx, const struct tls_config *c, struct trouble *why)
{
	FILE *f = fopen(c->keystore_file, "re");
	PKCS12 *store = f ? d2i_PKCS12_fp(f, NULL) : NULL;
	STACK_OF(X509) *others = NULL;
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	int ok;

	if (!f)
		return trouble_set(why, msg_errno_status(errno), "cannot open '%s': %s",
			c->keystore_file, msg_errno(errno));
	fclose(f);
	ok = store && PKCS12_parse(store, c->keystore_password, &key, &cert, &others) && cert &&
		key && SSL_CTX_use_cert_and_key(ctx, cert, key, others, 1);
	PKCS12_free(store);
	X509_free(cert);
	EVP_PKEY_free(key);
	sk_X509_pop_free(others, X509_free);
	return ok ? 0 : no_file(why, "key store", c->keystore_file);
}

static int take_cert_text(SSL_CTX *ctx, const char *pem, struct trouble *why)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, on_password, NULL), *next;
	int ok = cert && SSL_CTX_use_certificate(ctx, cert) == 1;

	while (ok && (next = PEM_read_bio_X509(bio, NULL, on_password, NULL)))
		ok = SSL_CTX_add0_chain_cert(ctx, next) == 1;
	X509_free(cert);
	BIO_free(bio);
	return ok ? 0
		  : trouble_set(why, EXIT_PERM, "the text of the certificate cannot be read: %s",
			    tls_reason(ERR_peek_error()));
}

static int take_key_text(SSL_CTX *ctx, const struct tls_config *c, struct trouble *why)
{
	BIO *bio = BIO_new_mem_buf(c->key_pem, -1);
	EVP_PKEY *key =
		PEM_read_bio_PrivateKey(bio, NULL, on_password, (void *)(uintptr_t)c->key_password);
	int ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1;

	EVP_PKEY_free(key);
	BIO_free(bio);
	return ok ? 0
		  : trouble_set(why, EXIT_PERM, "the text of the key cannot be read: %s",
			    tls_reason(ERR_peek_error()));
}

static int take_cert(SSL_CTX *ctx, const struct tls_config *c, struct trouble *why)
{
	if (c->cert_pem)
		return take_cert_text(ctx, c->cert_pem, why);
	if (c->cert_file && SSL_CTX_use_certificate_chain_file(ctx, c->cert_file) != 1)
		return no_file(why, "certificate", c->cert_file);
	return 0;
}

int tls_read_files(SSL_CTX *ctx, const struct tls_config *c, struct trouble *why)
{
	const char *key = c->key_file ? c->key_file : c->cert_file;

	SSL_CTX_set_default_passwd_cb(ctx, on_password);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, (void *)(uintptr_t)c->key_password);
	ERR_clear_error();
	if (!c->no_trust &&
		(trust(ctx, c, why) || (c->crl_file && take_revoked(ctx, c->crl_file, why))))
		return -1;
	if (c->keystore_file)
		return take_keystore(ctx, c, why);
	if (c->key_file && !c->cert_file && !c->cert_pem)
		return trouble_set(why, EXIT_PERM, "the key '%s' has no certificate", key);
	if (take_cert(ctx, c, why))
		return -1;
	if (c->cert_pem && !c->key_pem && !key)
		return trouble_set(why, EXIT_PERM, "the text of the certificate has no key");
	if (c->key_pem)
		return take_key_text(ctx, c, why);
	if (key && SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		return no_file(why, "key", key);
	return 0;
}
