/* SPDX-License-Identifier: ISC */
/* Commands in RESP, a word at a time. A function that returns an int refuses what it is given with
 * -1 and @e, as invalid-record. */
#ifndef EVPIPE_RAPPLY_WRITER_H
#define EVPIPE_RAPPLY_WRITER_H

#include "rapply/commands.h"

#include "json/json.h"

struct writer {
	struct commands *c;
	struct buf *out;
	struct record_error *e;
	size_t begin; /* of the command in out */
	size_t words;
	uint32_t count; /* of whole commands */
	int64_t ts; /* of the record; -1: none */
};

void writer_begin(struct writer *w);
void writer_word(struct writer *w, struct span text);
/* The command is whole: may it be given to Redis? */
int writer_end(struct writer *w);
/* The whole command, whose first word behind the name is a key, becomes a script: when it is not
 * refused, the key expires @at, in milliseconds. */
int writer_expire(struct writer *w, struct span at);
int writer_refuse(struct writer *w, const char *why);

/* A string's text; what base64 stands for; a string, a number, a boolean or {"b64":"…"}; the same,
 * but that an object or an array is its own text; all elements of an array. */
int writer_string(struct writer *w, const struct json_value *v);
int writer_base64(struct writer *w, const struct json_value *v);
int writer_scalar(struct writer *w, const struct json_value *v);
int writer_value(struct writer *w, const struct json_value *v);
int writer_words(struct writer *w, struct span array);

#endif
