/* SPDX-License-Identifier: ISC */
#include "net/digest.h"

#include "base/msg.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

static const EVP_MD *kind(enum digest d)
{
	return d == DIGEST_SHA256 ? EVP_sha256() : EVP_sha512();
}

size_t digest_size(enum digest d)
{
	return d == DIGEST_SHA256 ? 32 : 64;
}

/* OpenSSL fails at these only for want of memory. */
static void must(int ok)
{
	if (!ok)
		die(EXIT_TEMP, "out of memory");
}

void digest_hash(enum digest d, struct span text, unsigned char *out)
{
	must(EVP_Digest(text.p, text.len, out, NULL, kind(d), NULL));
}

void digest_hmac(enum digest d, struct span key, struct span text, unsigned char *out)
{
	must(HMAC(kind(d), key.p, (int)key.len, (const unsigned char *)text.p, text.len, out,
		     NULL) != NULL);
}

void digest_password(
	enum digest d, const char *password, struct span salt, int iterations, unsigned char *out)
{
	must(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), (const unsigned char *)salt.p,
		(int)salt.len, iterations, kind(d), (int)digest_size(d), out));
}
