/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evchain/note.h"

#include "base/msg.h"
#include "json/json.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define PRIVATE "PRIVATE+KEY+"
#define DASH "\xe2\x80\x94 " /* U+2014 and a space */

enum { ED25519 = 1 }; /* the algorithm's number in a key and in its id */

/* ---- keys ---- */

/* As Go's unicode.IsSpace, of which UTF-8 has no more than these. */
static bool has_space(struct span s)
{
	static const char *const spaces[] = {"\t", "\n", "\v", "\f", "\r", " ", "\xc2\x85",
		"\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf",
		"\xe2\x81\x9f", "\xe3\x80\x80"};

	for (size_t i = 0; i < sizeof(spaces) / sizeof(*spaces); i++)
		if (memmem(s.p, s.len, spaces[i], strlen(spaces[i])))
			return true;
	for (size_t i = 0; i + 2 < s.len; i++)
		if (memcmp(s.p + i, "\xe2\x80", 2) == 0 && (uint8_t)s.p[i + 2] >= 0x80 &&
			(uint8_t)s.p[i + 2] <= 0x8a)
			return true;
	return false;
}

bool key_name_is_good(struct span name)
{
	return name.len && name.len <= KEY_NAME_MAX && json_utf8(name) && !has_space(name) &&
		!memchr(name.p, '+', name.len) && !memchr(name.p, '\0', name.len);
}

static uint32_t key_id(const char *name, const uint8_t *public)
{
	struct hash h;
	struct buf b = {0};

	buf_puts(&b, name);
	buf_put(&b, "\n\x01", 2);
	buf_put(&b, public, KEY_BYTES);
	hash_bytes(buf_as_span(&b), &h);
	buf_free(&b);
	return (uint32_t)h.b[0] << 24 | (uint32_t)h.b[1] << 16 | (uint32_t)h.b[2] << 8 | h.b[3];
}

/* Takes NAME+ID+KEY apart; the key's 32 bytes. Returns 0, or -1. */
static int split_key(struct span text, struct vkey *key, uint8_t *bytes)
{
	const char *plus, *end;
	struct buf b = {0};
	char id[9];
	int bad;

	while (text.len && (text.p[text.len - 1] == '\n' || text.p[text.len - 1] == '\r'))
		text.len--;
	plus = text.len ? memchr(text.p, '+', text.len) : NULL;
	end = text.p + text.len;
	if (!plus || end - plus < 11 || plus[9] != '+' ||
		!key_name_is_good((struct span){text.p, (size_t)(plus - text.p)}))
		return -1;
	*key = (struct vkey){0};
	memcpy(key->name, text.p, (size_t)(plus - text.p));
	memcpy(id, plus + 1, 8);
	id[8] = '\0';
	if (strspn(id, "0123456789abcdef") != 8)
		return -1;
	key->id = (uint32_t)strtoul(id, NULL, 16);
	bad = buf_unbase64(&b, (struct span){plus + 10, (size_t)(end - plus - 10)}) ||
		b.len != 1 + KEY_BYTES || b.p[0] != ED25519;
	if (!bad)
		memcpy(bytes, b.p + 1, KEY_BYTES);
	buf_free(&b);
	return bad ? -1 : 0;
}

int vkey_parse(struct span text, struct vkey *key)
{
	if (split_key(text, key, key->public))
		return -1;
	return key->id == key_id(key->name, key->public) ? 0 : -1;
}

static void derive(struct skey *key)
{
	size_t size = KEY_BYTES;
	EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->seed, KEY_BYTES);

	if (!k || EVP_PKEY_get_raw_public_key(k, key->verifier.public, &size) != 1)
		die(EXIT_TEMP, "OpenSSL has no Ed25519");
	EVP_PKEY_free(k);
}

int skey_parse(struct span text, struct skey *key)
{
	size_t n = strlen(PRIVATE);

	if (!span_starts(text, PRIVATE) ||
		split_key((struct span){text.p + n, text.len - n}, &key->verifier, key->seed))
		return -1;
	derive(key);
	return key->verifier.id == key_id(key->verifier.name, key->verifier.public) ? 0 : -1;
}

static void print_key(const struct vkey *key, const uint8_t *bytes, struct buf *out)
{
	uint8_t b[1 + KEY_BYTES] = {ED25519};

	memcpy(b + 1, bytes, KEY_BYTES);
	buf_printf(out, "%s+%08" PRIx32 "+", key->name, key->id);
	buf_base64(out, b, sizeof(b));
}

void vkey_print(const struct vkey *key, struct buf *out)
{
	print_key(key, key->public, out);
}

void skey_print(const struct skey *key, struct buf *out)
{
	buf_puts(out, PRIVATE);
	print_key(&key->verifier, key->seed, out);
}

void skey_make(const char *name, struct skey *key)
{
	*key = (struct skey){0};
	snprintf(key->verifier.name, sizeof(key->verifier.name), "%s", name);
	if (getrandom(key->seed, KEY_BYTES, 0) != KEY_BYTES)
		die(EXIT_TEMP, "the system has no random bytes: %s", strerror(errno));
	derive(key);
	key->verifier.id = key_id(name, key->verifier.public);
}

/* ---- heads ---- */

bool note_line(struct span *rest, struct span *line)
{
	const char *end = rest->len ? memchr(rest->p, '\n', rest->len) : NULL;

	if (!end)
		return false;
	*line = (struct span){rest->p, (size_t)(end - rest->p)};
	rest->len -= line->len + 1;
	rest->p = end + 1;
	return true;
}

static int parse_size(struct span s, uint64_t *size)
{
	*size = 0;
	if (!s.len || s.len > 19 || (s.p[0] == '0' && s.len > 1))
		return -1;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		*size = *size * 10 + (uint64_t)(s.p[i] - '0');
	}
	return 0;
}

static bool has_control(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((uint8_t)s.p[i] < ' ' && s.p[i] != '\n')
			return true;
	return false;
}

/* A signature line: "— NAME BASE64". */
static int split_signature(struct span line, struct span *name, struct span *base64)
{
	if (!span_starts(line, DASH))
		return -1;
	line.p += strlen(DASH);
	line.len -= strlen(DASH);
	*name = span_word(&line);
	*base64 = line;
	return key_name_is_good(*name) && buf_is_base64(*base64) ? 0 : -1;
}

int head_parse(struct span note, struct head *h)
{
	struct span rest = note, line, root, size, name, base64;

	*h = (struct head){0};
	if (!note.len || has_control(note) || !json_utf8(note) || !note_line(&rest, &h->origin) ||
		!h->origin.len || !note_line(&rest, &size) || parse_size(size, &h->size) ||
		!note_line(&rest, &root) || hash_parse(root, &h->root))
		return -1;
	/* Lines of extensions, which we do not write. */
	do {
		h->text = (struct span){note.p, (size_t)(rest.p - note.p)};
		if (!note_line(&rest, &line))
			return -1;
	} while (line.len);
	h->signatures = rest;
	if (!rest.len)
		return -1;
	while (rest.len)
		if (!note_line(&rest, &line) || split_signature(line, &name, &base64))
			return -1;
	return 0;
}

static bool is_signature(struct span text, const uint8_t *signature, const struct vkey *key)
{
	EVP_PKEY *k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->public, KEY_BYTES);
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool good = k && c && EVP_DigestVerifyInit(c, NULL, NULL, NULL, k) == 1 &&
		EVP_DigestVerify(
			c, signature, SIGNATURE_BYTES, (const uint8_t *)text.p, text.len) == 1;

	EVP_MD_CTX_free(c);
	EVP_PKEY_free(k);
	return good;
}

enum head_verdict head_verify(const struct head *h, const struct vkey *key)
{
	struct span rest = h->signatures, line, name, base64;
	uint8_t id[4] = {(uint8_t)(key->id >> 24), (uint8_t)(key->id >> 16),
		(uint8_t)(key->id >> 8), (uint8_t)key->id};
	enum head_verdict verdict = HEAD_OTHER;
	struct buf b = {0};

	while (verdict == HEAD_OTHER && note_line(&rest, &line)) {
		if (split_signature(line, &name, &base64) || !span_is(name, key->name))
			continue;
		buf_clear(&b);
		buf_unbase64(&b, base64);
		if (b.len < sizeof(id) || memcmp(b.p, id, sizeof(id)))
			continue;
		verdict = b.len == sizeof(id) + SIGNATURE_BYTES && span_is(h->origin, key->name) &&
				is_signature(h->text, (const uint8_t *)b.p + sizeof(id), key)
			? HEAD_GOOD
			: HEAD_BAD;
	}
	buf_free(&b);
	return verdict;
}

static void make_signature(struct span text, uint8_t *signature, const struct skey *key)
{
	EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->seed, KEY_BYTES);
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	size_t size = SIGNATURE_BYTES;

	if (!k || !c || EVP_DigestSignInit(c, NULL, NULL, NULL, k) != 1 ||
		EVP_DigestSign(c, signature, &size, (const uint8_t *)text.p, text.len) != 1)
		die(EXIT_TEMP, "OpenSSL cannot sign");
	EVP_MD_CTX_free(c);
	EVP_PKEY_free(k);
}

void head_sign(const struct skey *key, uint64_t size, const struct hash *root, struct buf *out)
{
	const struct vkey *v = &key->verifier;
	uint8_t b[4 + SIGNATURE_BYTES] = {(uint8_t)(v->id >> 24), (uint8_t)(v->id >> 16),
		(uint8_t)(v->id >> 8), (uint8_t)v->id};
	char text[HASH_TEXT];
	size_t from = out->len;

	hash_print(root, text);
	buf_printf(out, "%s\n%" PRIu64 "\n%.*s\n", v->name, size, HASH_TEXT, text);
	make_signature((struct span){out->p + from, out->len - from}, b + 4, key);
	buf_printf(out, "\n" DASH "%s ", v->name);
	buf_base64(out, b, sizeof(b));
	buf_putc(out, '\n');
}
