/* SPDX-License-Identifier: ISC */
/* jq expressions, by libjq, which only read JSON: libjq 1.6 holds numbers as doubles (64-bit
 * integers, 1.10 and 1E400 come out changed), so no payload that is handed on goes through it.
 *
 * A user's expression may run for ever ("def f: f; f"); nothing here stops it. */
#ifndef EVPIPE_EXPR_H
#define EVPIPE_EXPR_H

#include "base/buf.h"

#include <stdbool.h>

struct expr;

/* NULL with libjq's reason in @why. Free with expr_free. */
struct expr *expr_compile(const char *program, char *why, size_t why_size);
void expr_free(struct expr *e);

enum expr_result {
	EXPR_TEXT, /* a string, a number or a boolean: its text was appended */
	EXPR_NOTHING, /* no output, null, an object or an array */
	EXPR_INEXACT, /* a number that a double may have changed: beyond 2^53 */
	EXPR_ERROR, /* the program raised an error or halted */
	EXPR_BAD_JSON,
	EXPR_TOO_DEEP, /* JSON that nests deeper than libjq reads: 256 in libjq 1.6 */
};
/* Runs the program on one JSON text and takes its first output. @why is filled on EXPR_ERROR,
 * EXPR_BAD_JSON and EXPR_TOO_DEEP. */
enum expr_result expr_text(
	struct expr *e, struct span json, struct buf *out, char *why, size_t why_size);
/* EXPR_TEXT: *@holds tells whether the first output is true as jq sees it, anything but false and
 * null; without an output it is false. Else one of these three. */
enum expr_result expr_holds(
	struct expr *e, struct span json, bool *holds, char *why, size_t why_size);

/* Whether the output that expr_holds has seen last was null. */
bool expr_was_null(const struct expr *e);

/* "libjq 1.7", of the library at build time; only "libjq" where configure found no version. */
const char *expr_library(void);

#endif
