/* SPDX-License-Identifier: ISC */
#include "record/keytype.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool keytype_parse(const char *text, struct keytype *t)
{
	static const char *const sizes[] = {"8", "16", "32", "64"};

	*t = (struct keytype){.name = text, .is_signed = *text == 'i'};
	if (*text != 'i' && *text != 'u')
		return false;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t n = strlen(sizes[i]);
		const char *order = text + 1 + n;

		if (strncmp(text + 1, sizes[i], n))
			continue;
		order += *order == '-' || *order == ':';
		t->is_little = strcmp(order, "le") == 0;
		if (*order && !t->is_little && strcmp(order, "be"))
			return false;
		t->bytes = (unsigned char)(1u << i);
		return true;
	}
	return false;
}

struct span keytype_digits(const struct keytype *t, struct span key, char digits[KEYTYPE_TEXT_MAX])
{
	const unsigned char *p = (const unsigned char *)key.p;
	unsigned unused = 64 - 8u * t->bytes;
	uint64_t n = 0;
	int len;

	if (!p || key.len != t->bytes)
		return SPAN_NONE;
	for (unsigned i = 0; i < t->bytes; i++)
		n = n << 8 | p[t->is_little ? t->bytes - 1 - i : i];
	if (t->is_signed)
		len = snprintf(
			digits, KEYTYPE_TEXT_MAX, "%" PRId64, (int64_t)(n << unused) >> unused);
	else
		len = snprintf(digits, KEYTYPE_TEXT_MAX, "%" PRIu64, n);
	return (struct span){digits, (size_t)len};
}

/* Digits alone, behind a minus sign where the type has one; none of strtoll's other forms. */
static bool read_number(const struct keytype *t, struct span text, uint64_t *n)
{
	bool minus = text.len && *text.p == '-';
	char digits[KEYTYPE_TEXT_MAX];
	unsigned unused = 64 - 8u * t->bytes;

	if (!text.p || text.len >= sizeof(digits) || (minus && !t->is_signed))
		return false;
	memcpy(digits, text.p, text.len);
	digits[text.len] = '\0';
	if (text.len == minus || strspn(digits + minus, "0123456789") != text.len - minus)
		return false;
	errno = 0;
	if (t->is_signed) {
		int64_t i = strtoll(digits, NULL, 10);

		*n = (uint64_t)i;
		return !errno && (int64_t)(*n << unused) >> unused == i;
	}
	*n = strtoull(digits, NULL, 10);
	return !errno && *n << unused >> unused == *n;
}

bool keytype_bytes(
	const struct keytype *t, struct span text, unsigned char bytes[KEYTYPE_BYTES_MAX])
{
	uint64_t n;

	if (!read_number(t, text, &n))
		return false;
	for (unsigned i = 0; i < t->bytes; i++, n >>= 8)
		bytes[t->is_little ? i : t->bytes - 1 - i] = (unsigned char)n;
	return true;
}
