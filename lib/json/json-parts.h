/* SPDX-License-Identifier: ISC */
/* Functions that the files of lib/json share. */
#ifndef EVPIPE_JSON_PARTS_H
#define EVPIPE_JSON_PARTS_H

#include "json/json.h"

#if defined(__SSE2__) && !defined(JSON_NO_SIMD)
#define JSON_SIMD 1
#else
#define JSON_SIMD 0
#endif

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* ---- json.c ---- */
/* Sets why and where, and returns NULL. */
__attribute__((cold)) const char *json_fail(struct json *j, const char *p, const char *why);

/* ---- json-string.c ---- */
/* Finds the end of the string whose first byte, behind the opening quote, is at @p, and validates
 * it. Fills in @v but for its type and returns the place behind the closing quote, or NULL. */
const char *json_long_string(struct json *j, const char *p, struct json_value *v);

/* ---- json-unescape.c ---- */
/* Judges the escape whose character (behind the backslash) is at @p. @low is where the second half
 * of a surrogate pair was seen to be, when it was; a lone half is noted in @v. */
bool json_escape_valid(const char *p, const char **low, struct json_value *v);

#endif
