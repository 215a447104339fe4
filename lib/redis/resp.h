/* SPDX-License-Identifier: ISC */
/* RESP2, the protocol's replies (redis.io/docs/reference/protocol-spec), pulled value by value out
 * of the bytes that have come so far: nothing is copied, nothing allocated, nesting has no limit.
 *
 * An array is given as its head alone, with the number of its elements, which are the values that
 * come next:
 *
 * 	struct resp c = *r;                     a walk that may have to be made again
 * 	if (resp_next(&c, &v) == RESP_ARRAY)
 * 		for (int64_t i = 0; i < v.n; i++)
 * 			resp_next(&c, &element);
 * 	*r = c;                                 taken
 *
 * RESP_MORE takes nothing: read, set `end` behind what has come (and `p`, if the bytes have moved),
 * call again. */
#ifndef EVPIPE_REDIS_RESP_H
#define EVPIPE_REDIS_RESP_H

#include "base/buf.h"

enum resp_type {
	RESP_MORE, /* the rest of the value has not come yet */
	RESP_BAD, /* these bytes are no RESP: `why` of the walk */
	RESP_INTEGER,
	RESP_STATUS,
	RESP_ERROR,
	RESP_STRING,
	RESP_NIL, /* a string or an array that is not there */
	RESP_ARRAY,
	RESP_LARGE, /* a string longer than max_string: passed over, as its bytes come */
};

struct resp {
	const char *p, *end;
	size_t max_string;
	const char *why; /* RESP_BAD: a static sentence */
	/* bytes of a large string that are still to come; its walk cannot be made again */
	size_t skip;
};

struct resp_value {
	enum resp_type type;
	/* an integer; of an array the number of elements; of a large string that of bytes */
	int64_t n;
	struct span text; /* of status, error and string; valid as long as the walk's bytes */
};

/* Takes the next value, or the head of an array. */
enum resp_type resp_next(struct resp *r, struct resp_value *v);
/* Takes *@left values with all that is in them, as far as they have come, and counts *@left down.
 * RESP_MORE: what is whole has been taken: call again with the same *@left; RESP_NIL: all have
 * been. */
enum resp_type resp_skip(struct resp *r, uint64_t *left);

#endif
