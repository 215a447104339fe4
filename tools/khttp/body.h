/* SPDX-License-Identifier: ISC */
/* Bodies against their schema. It is closed: what it does not name is an error, and so is another
 * type. All errors of a body are told at once, as the members of a JSON list in a buf;
 * BODY_ERRORS_MAX of them at most. */
#ifndef KHTTP_BODY_H
#define KHTTP_BODY_H

#include "base/buf.h"
#include "http/http.h"
#include "json/json.h"

#include <stdbool.h>

enum { BODY_ERRORS_MAX = 20 };

/* Types that a member may have: 1 << enum json_type; a boolean is two. An integer is a number
 * without fraction and exponent. */
enum {
	BODY_NULL = 1 << JSON_NULL,
	BODY_BOOLEAN = 1 << JSON_TRUE | 1 << JSON_FALSE,
	BODY_NUMBER = 1 << JSON_NUMBER,
	BODY_STRING = 1 << JSON_STRING,
	BODY_ARRAY = 1 << JSON_ARRAY,
	BODY_OBJECT = 1 << JSON_OBJECT,
	BODY_INTEGER = 1 << 16,
};

struct body_field {
	const char *name;
	unsigned types;
	bool required;
	struct json_value v; /* out; JSON_ABSENT: not there. Of two with one name the last counts */
};

/* Reads an object's members into @fields. @where names the object in errors: "#/records/3"; "#" is
 * the body. Returns whether it is as it should be. */
bool body_object(const struct json_value *object, const char *where, struct body_field *fields,
	size_t count, struct buf *errors);
/* The same of the body itself, and json_parse of all of it: they pass a large body by piece by
 * piece. @file: it; NULL: a text that stands by itself. */
bool body_root(const struct json_value *object, struct http_body *file, struct body_field *fields,
	size_t count, struct buf *errors);
int body_parse(struct span text, struct http_body *file, struct json_value *v);
/* How an error names what a value is. */
const char *body_type_name(const struct json_value *v);
/* Appends an error's text, if there is room. */
__attribute__((format(printf, 2, 3))) void body_wrong(struct buf *errors, const char *fmt, ...);

/* The number of an integer that body_object has passed. Returns 0, or -1 when it has more than 64
 * bits. */
int body_int(const struct json_value *v, int64_t *n);
/* The text of a string, to be freed; NULL: it is no text, or has a NUL in it. */
char *body_text(const struct json_value *v);
/* Appends what a string of base64 stands for, as Java has it: the padding may lack. Returns 0; or
 * -1 with @why. */
int body_base64(struct buf *out, struct span text, char *why, size_t why_size);

#endif
