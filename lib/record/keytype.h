/* SPDX-License-Identifier: ISC */
/* Keys that are numbers in binary form: their bytes in Kafka, and their decimal digits in a
 * record. */
#ifndef EVPIPE_KEYTYPE_H
#define EVPIPE_KEYTYPE_H

#include "base/buf.h"

#include <stdbool.h>

/* bytes == 0: keys are what they are. */
struct keytype {
	const char *name; /* as the user gave it */
	unsigned char bytes;
	bool is_signed, is_little; /* the first byte is the least significant one */
};

enum { KEYTYPE_TEXT_MAX = 24, KEYTYPE_BYTES_MAX = 8 };
#define KEYTYPE_FORMS "i8, i16, i32, i64, u8, u16, u32 or u64, and le behind it for little endian"

/* Takes "i32", "u64le", "i16-be", "i64:le"; without le or be it is big endian. @text must live on.
 * false: it is none. */
bool keytype_parse(const char *text, struct keytype *t);
/* Writes the digits of the number that @key is. Returns their span; SPAN_NONE when its length is
 * another. */
struct span keytype_digits(const struct keytype *t, struct span key, char digits[KEYTYPE_TEXT_MAX]);
/* Writes the bytes of the number that stands in @text. false: it is no number, or one that does not
 * fit. */
bool keytype_bytes(
	const struct keytype *t, struct span text, unsigned char bytes[KEYTYPE_BYTES_MAX]);

#endif
