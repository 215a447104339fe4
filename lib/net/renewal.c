/* SPDX-License-Identifier: ISC */
/* DESIGN: OpenSSL tells of each context that is made, in the thread that makes it, by the "ex data"
 * of contexts. So the library's contexts get a call of ours, which OpenSSL makes as a handshake
 * begins, in whichever thread that is. What is read stands in a context of our own, from which the
 * call copies. A context is changed by nobody once others see it. */
#define _GNU_SOURCE
#include "net/renewal.h"

#include "base/mem.h"
#include "base/msg.h"
#include "net/tls-parts.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

struct renewal {
	pthread_mutex_t lock;
	SSL_CTX *fresh; /* under the lock; NULL: nothing is renewed */
	bool has_ca;
	bool is_seen; /* a context was made; of the thread between begin and end */
};

static _Thread_local struct renewal *making;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int ex_index = -1;

static void on_handshake(const SSL *connection, int where, int value)
{
	struct renewal *r = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(connection), ex_index);
	SSL *ssl = (SSL *)(uintptr_t)connection;
	STACK_OF(X509) *chain = NULL;

	(void)value;
	/* What comes behind the first handshake begins with the same call. */
	if (!(where & SSL_CB_HANDSHAKE_START) || !SSL_in_before(connection))
		return;
	pthread_mutex_lock(&r->lock);
	if (r->fresh && r->has_ca)
		SSL_set1_verify_cert_store(ssl, SSL_CTX_get_cert_store(r->fresh));
	if (r->fresh && SSL_CTX_get0_certificate(r->fresh)) {
		SSL_CTX_get0_chain_certs(r->fresh, &chain);
		SSL_use_cert_and_key(ssl, SSL_CTX_get0_certificate(r->fresh),
			SSL_CTX_get0_privatekey(r->fresh), chain, 1);
	}
	pthread_mutex_unlock(&r->lock);
}

static void on_context(void *ctx, void *ptr, CRYPTO_EX_DATA *data, int index, long n, void *arg)
{
	(void)ptr, (void)n, (void)arg;
	if (!making || !CRYPTO_set_ex_data(data, index, making))
		return;
	making->is_seen = true;
	SSL_CTX_set_info_callback(ctx, on_handshake);
}

static void make_index(void)
{
	ex_index = SSL_CTX_get_ex_new_index(0, NULL, on_context, NULL, NULL);
}

struct renewal *renewal_new(void)
{
	struct renewal *r = mem_alloc(sizeof(*r));

	pthread_once(&once, make_index);
	*r = (struct renewal){0};
	pthread_mutex_init(&r->lock, NULL);
	return r;
}

void renewal_free(struct renewal *r)
{
	SSL_CTX_free(r->fresh);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void renewal_begin(struct renewal *r)
{
	r->is_seen = false;
	making = r;
}

bool renewal_end(struct renewal *r)
{
	making = NULL;
	return r->is_seen;
}

int renewal_set(struct renewal *r, const struct tls_config *config, struct trouble *why)
{
	bool has_cert = config->cert_file || config->cert_pem || config->keystore_file;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method()), *old;

	if (!ctx || tls_read_files(ctx, config, why)) {
		SSL_CTX_free(ctx);
		return -1;
	}
	if (has_cert && SSL_CTX_check_private_key(ctx) != 1) {
		SSL_CTX_free(ctx);
		return trouble_set(
			why, EXIT_PERM, "the certificate and the key do not go together");
	}
	pthread_mutex_lock(&r->lock);
	old = r->fresh;
	r->fresh = ctx;
	r->has_ca = config->ca_file || config->ca_pem || config->crl_file;
	pthread_mutex_unlock(&r->lock);
	SSL_CTX_free(old);
	return 0;
}
