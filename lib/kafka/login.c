/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/login.h"

#include "base/num.h"
#include "net/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { ITERATIONS_MAX = 1000000 };

static bool is_scram(const char *mechanism)
{
	return strcmp(mechanism, "SCRAM-SHA-256") == 0 || strcmp(mechanism, "SCRAM-SHA-512") == 0;
}

bool login_knows(const struct login_as *as)
{
	return is_scram(as->mechanism) || strcmp(as->mechanism, "PLAIN") == 0 ||
		(strcmp(as->mechanism, "OAUTHBEARER") == 0 && as->token);
}

const char *login_remedy(const char *mechanism)
{
	if (is_scram(mechanism))
		return "-X sasl.username=USER -X sasl.password=PASSWORD, as the broker has them for this very mechanism";
	if (strcmp(mechanism, "PLAIN") == 0)
		return "-X sasl.username=USER -X sasl.password=PASSWORD, as the broker has them";
	if (strcmp(mechanism, "OAUTHBEARER") == 0)
		return "--oauth-token-cmd CMD, with a command that prints a token of which the broker knows issuer, audience and key, and whose time is not over";
	return "";
}

static int fail(struct login *l, const char *why)
{
	snprintf(l->why, sizeof(l->why), "%s", why);
	return -1;
}

/* ---- SCRAM ---- */

/* Letters and digits; it must differ from any other, no more. */
static void make_nonce(char *nonce, size_t size)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345";
	unsigned char bytes[64] = {0};

	if (getrandom(bytes, sizeof(bytes), 0) < 0)
		abort();
	for (size_t i = 0; i + 1 < size; i++)
		nonce[i] = letters[bytes[i] % (sizeof(letters) - 1)];
	nonce[size - 1] = '\0';
}

/* A user's name, in which '=' and ',' are escaped. */
static void put_user(struct buf *b, const char *user)
{
	for (; *user; user++) {
		if (*user == '=')
			buf_puts(b, "=3D");
		else if (*user == ',')
			buf_puts(b, "=2C");
		else
			buf_putc(b, *user);
	}
}

static void scram_first(struct login *l, struct buf *token)
{
	make_nonce(l->nonce, sizeof(l->nonce));
	buf_puts(&l->first, "n=");
	put_user(&l->first, l->as->user);
	buf_printf(&l->first, ",r=%s", l->nonce);
	buf_puts(token, "n,,");
	buf_span(token, buf_as_span(&l->first));
}

/* The value of "x=value" among those that commas separate; SPAN_NONE: it is not there. */
static struct span attribute(struct span text, char name)
{
	while (text.len) {
		const char *comma = memchr(text.p, ',', text.len);
		size_t len = comma ? (size_t)(comma - text.p) : text.len;

		if (len >= 2 && text.p[0] == name && text.p[1] == '=')
			return (struct span){text.p + 2, len - 2};
		len += comma != NULL;
		text.p += len;
		text.len -= len;
	}
	return SPAN_NONE;
}

/* From the salted password: the proof that we know it, and the signature that shows that the server
 * does. */
static void prove(struct login *l, enum digest d, const unsigned char *salted, struct span signed_,
	unsigned char *proof)
{
	unsigned char client[DIGEST_MAX], stored[DIGEST_MAX], server[DIGEST_MAX];
	struct span key = {(const char *)salted, digest_size(d)};

	digest_hmac(d, key, SPAN("Client Key"), client);
	digest_hash(d, (struct span){(char *)client, digest_size(d)}, stored);
	digest_hmac(d, (struct span){(char *)stored, digest_size(d)}, signed_, proof);
	for (size_t i = 0; i < digest_size(d); i++)
		proof[i] ^= client[i];
	digest_hmac(d, key, SPAN("Server Key"), server);
	digest_hmac(d, (struct span){(char *)server, digest_size(d)}, signed_, l->signature);
}

static enum digest digest_of(const struct login *l)
{
	return strcmp(l->as->mechanism, "SCRAM-SHA-512") == 0 ? DIGEST_SHA512 : DIGEST_SHA256;
}

static int scram_proof(struct login *l, struct span answer, struct buf *token)
{
	struct span nonce = attribute(answer, 'r'), salt = attribute(answer, 's'),
		    count = attribute(answer, 'i');
	unsigned char salted[DIGEST_MAX], proof[DIGEST_MAX];
	enum digest d = digest_of(l);
	char *digits = count.p ? span_text(count) : NULL;
	struct buf raw = {0}, text = {0};
	int64_t n = 0;

	if (!digits || num_i64(digits, &n) || n < 1 || n > ITERATIONS_MAX || !salt.p ||
		buf_unbase64(&raw, salt) || !nonce.p || !span_starts(nonce, l->nonce)) {
		free(digits);
		buf_free(&raw);
		return fail(l, "the broker's challenge is not as SCRAM has it");
	}
	free(digits);
	/* "biws" is "n,," in base64. */
	buf_puts(token, "c=biws,r=");
	buf_span(token, nonce);
	buf_span(&text, buf_as_span(&l->first));
	buf_putc(&text, ',');
	buf_span(&text, answer);
	buf_putc(&text, ',');
	buf_span(&text, buf_as_span(token));
	digest_password(d, l->as->password, buf_as_span(&raw), (int)n, salted);
	prove(l, d, salted, buf_as_span(&text), proof);
	buf_puts(token, ",p=");
	buf_base64(token, proof, digest_size(d));
	buf_free(&raw);
	buf_free(&text);
	return 0;
}

static int scram_end(struct login *l, struct span answer)
{
	struct span text = attribute(answer, 'v'), why = attribute(answer, 'e');
	struct buf raw = {0};
	int bad = 0;

	if (why.p) {
		snprintf(l->why, sizeof(l->why), "%.*s", (int)why.len, why.p);
		return -1;
	}
	bad = !text.p || buf_unbase64(&raw, text) || raw.len != digest_size(digest_of(l)) ||
		memcmp(raw.p, l->signature, raw.len) != 0;
	buf_free(&raw);
	return bad ? fail(l, "the broker does not prove that it knows the password") : 1;
}

/* ---- all of them ---- */

int login_first(struct login *l, const struct login_as *as, struct buf *token)
{
	*l = (struct login){.as = as};
	if (strcmp(as->mechanism, "OAUTHBEARER") == 0) {
		buf_printf(token, "n,,\001auth=Bearer %s\001\001", as->token);
		return 0;
	}
	if (!as->user || !as->password)
		return fail(l,
			as->password ? "there is no user name (sasl.username)"
				     : "there is no password (sasl.password)");
	if (is_scram(as->mechanism)) {
		scram_first(l, token);
		return 0;
	}
	buf_putc(token, '\0');
	buf_puts(token, as->user);
	buf_putc(token, '\0');
	buf_puts(token, as->password);
	return 0;
}

int login_next(struct login *l, struct span answer, struct buf *token)
{
	l->round++;
	if (is_scram(l->as->mechanism))
		return l->round == 1 ? scram_proof(l, answer, token) : scram_end(l, answer);
	if (strcmp(l->as->mechanism, "OAUTHBEARER") == 0 && answer.len) {
		/* The broker tells the error so, and fails the next round. */
		if (l->round > 1)
			return fail(l, "the broker does not accept the token");
		buf_putc(token, '\001');
		return 0;
	}
	return 1;
}

void login_free(struct login *l)
{
	buf_free(&l->first);
}
