/* SPDX-License-Identifier: ISC */
/* Entries are short: OpenSSL's newer calls take a third of the time of hashing them for their own.
 * The plain ones are deprecated, and still in every release. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "evchain/hash.h"

#include <endian.h>
#include <openssl/sha.h>

enum {
	BLOCK = 64,
	LENGTH = 8, /* bytes at the end of the padding */
	SHORT = 1024, /* lines up to this are hashed in one call: a call costs a third of a block */
};

/* SHA256_Final costs as much as a block does. @text has room for two blocks behind the @n bytes
 * that it holds, the last ones of a text of @len. */
static void finish(SHA256_CTX *c, uint8_t *text, size_t n, uint64_t len, struct hash *out)
{
	size_t size = (n + 1 + LENGTH + BLOCK - 1) / BLOCK * BLOCK;
	uint64_t bits = htobe64(len * 8);

	text[n] = 0x80;
	memset(text + n + 1, 0, size - n - 1 - LENGTH);
	memcpy(text + size - LENGTH, &bits, LENGTH);
	SHA256_Update(c, text, size);
	for (int i = 0; i < 8; i++) {
		uint32_t word = htobe32(c->h[i]);

		memcpy(out->b + 4 * i, &word, sizeof(word));
	}
}

void hash_leaf(struct span line, struct hash *out)
{
	uint8_t text[1 + SHORT + 2 * BLOCK];
	size_t len = line.len + 1, n;
	SHA256_CTX c;

	SHA256_Init(&c);
	text[0] = 0;
	if (line.len <= SHORT) {
		memcpy(text + 1, line.p, line.len);
		finish(&c, text, len, len, out);
		return;
	}
	memcpy(text + 1, line.p, BLOCK - 1);
	SHA256_Update(&c, text, BLOCK);
	line.p += BLOCK - 1;
	line.len -= BLOCK - 1;
	n = line.len % BLOCK;
	SHA256_Update(&c, line.p, line.len - n);
	memcpy(text, line.p + line.len - n, n);
	finish(&c, text, n, len, out);
}

void hash_node(const struct hash *left, const struct hash *right, struct hash *out)
{
	uint8_t text[1 + 2 * HASH_BYTES + 2 * BLOCK];
	SHA256_CTX c;

	text[0] = 1;
	memcpy(text + 1, left->b, HASH_BYTES);
	memcpy(text + 1 + HASH_BYTES, right->b, HASH_BYTES);
	SHA256_Init(&c);
	finish(&c, text, 1 + 2 * HASH_BYTES, 1 + 2 * HASH_BYTES, out);
}

void hash_bytes(struct span bytes, struct hash *out)
{
	SHA256_CTX c;

	SHA256_Init(&c);
	SHA256_Update(&c, bytes.p, bytes.len);
	SHA256_Final(out->b, &c);
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void hash_print(const struct hash *h, char *text)
{
	const uint8_t *b = h->b;

	for (int i = 0; i < 10; i++, b += 3, text += 4) {
		uint32_t bits = (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2];

		text[0] = digits[bits >> 18];
		text[1] = digits[bits >> 12 & 63];
		text[2] = digits[bits >> 6 & 63];
		text[3] = digits[bits & 63];
	}
	text[0] = digits[b[0] >> 2];
	text[1] = digits[(b[0] & 3) << 4 | b[1] >> 4];
	text[2] = digits[(b[1] & 15) << 2];
	text[3] = '=';
}

int hash_parse(struct span text, struct hash *h)
{
	struct buf b = {0};
	int bad = text.len != HASH_TEXT || buf_unbase64(&b, text) || b.len != HASH_BYTES;

	if (!bad)
		memcpy(h->b, b.p, HASH_BYTES);
	buf_free(&b);
	return bad ? -1 : 0;
}
