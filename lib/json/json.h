/* SPDX-License-Identifier: ISC */
/* A strict RFC 8259 scanner that returns spans: one pass, nothing copied, nothing allocated.
 * UTF-8 is validated, nesting is limited, numbers are left as text.
 *
 * Texts handed in must have BUF_SLACK readable bytes behind their end, but for json_escape and
 * json_utf8, which read nothing behind it. */
#ifndef EVPIPE_JSON_H
#define EVPIPE_JSON_H

#include "base/buf.h"

#include <stdbool.h>

enum { JSON_DEPTH_MAX = 512 };

enum json_type {
	JSON_ABSENT, /* all zero: not there */
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};

struct json_value {
	enum json_type type;
	bool escaped; /* string: holds a backslash */
	bool lone; /* string: holds a lone surrogate escape, so it stands for no text */
	bool integer; /* number: without fraction and exponent */
	struct span text; /* string: between the quotes; else the whole value as it stands */
};

/* A walk over one text. After an error `why` is a static sentence ("unexpected character") and `p`
 * where it is; `deep` tells that the nesting limit was the reason. */
struct json {
	const char *p, *end, *start;
	const char *why;
	unsigned depth; /* containers entered and not yet closed */
	bool deep;
	bool first; /* inside a container, before its first member */
};

void json_init(struct json *j, struct span text);
/* The whole of a value, validated: containers with all in them. Returns 0 or -1. */
int json_value(struct json *j, struct json_value *v);
/* json_value for a text that must hold one value and white space alone. */
int json_parse(struct span text, struct json_value *v, struct json *why);

/* Walks the members of the container at the cursor. Enter, then next until it is not 1:
 * 1 a member, 0 the container was closed, -1 error. Keys come as strings (maybe escaped). */
int json_enter(struct json *j, char bracket); /* '{' or '['; -1 if it is not there */
int json_member(struct json *j, struct json_value *key, struct json_value *value);
int json_element(struct json *j, struct json_value *value);
/* json_member and json_element in parts. json_next: another one follows and the cursor stands at it
 * (1), or the container was closed by this bracket (0). json_name: takes `"name":`. json_key: both.
 * Then the cursor stands at the value, which json_value or json_enter must take. */
int json_next(struct json *j, char close);
int json_name(struct json *j, struct json_value *key);
int json_key(struct json *j, struct json_value *key);
/* Passes the members up to the next one of that name, and stands at its value: 1; else 0 and -1 as
 * json_next. */
int json_member_named(struct json *j, struct span name);
/* The character the next value begins with; 0 at the end of the text. */
char json_peek(struct json *j);
/* Only white space is left. Returns 0 or -1. */
int json_done(struct json *j);

/* A string value stands for this text? Compares decoded; false for other types. */
bool json_is(const struct json_value *v, const char *text);
bool json_equals(const struct json_value *v, struct span text);

/* Decodes the text between the quotes, which json_value has passed, appending to @b (which must not
 * own the text). Returns 0, or -1 when it holds a lone surrogate (then @b is as it was). */
int json_unescape(struct buf *b, struct span text);
/* The same, but without an escape *@out is the text itself, and nothing is appended. */
int json_string(const struct json_value *v, struct buf *b, struct span *out);
/* Appends with quotes not added. @s must be valid UTF-8. Escapes " \ and controls alone. Returns
 * whether all of it was ASCII. */
bool json_escape(struct buf *b, struct span s);
/* Appends @s as a string, with its quotes; and as a member, `"name":"…"`, whose name needs no
 * escapes. */
static inline void json_put_text(struct buf *b, struct span s)
{
	buf_putc(b, '"');
	json_escape(b, s);
	buf_putc(b, '"');
}
static inline void json_put_member(struct buf *b, const char *name, struct span value)
{
	buf_putc(b, '"');
	buf_puts(b, name);
	buf_put(b, "\":", 2);
	json_put_text(b, value);
}
/* Whether a JSON text, or the text between the quotes of a string that holds one, may have a string
 * that stands for @plain, or a number written so. Parses nothing: true when the bytes of @plain, or
 * an escape that could hide one of them, are anywhere in the text. False is certain. */
bool json_may_hold(struct span text, struct span plain);
/* The place in the escaped text that decodes to the @decoded-th byte of its decoded form. That byte
 * must begin a character, or be the end. */
const char *json_seek(struct span text, size_t decoded);
/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms, up to U+10FFFF)? */
bool json_utf8(struct span s);

#endif
