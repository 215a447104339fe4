/* SPDX-License-Identifier: ISC */
#include "redis/resp.h"

enum { LINE_LONGEST = 64 << 10 }; /* of a status or an error */

static enum resp_type bad(struct resp *r, const char *why)
{
	r->why = why;
	return RESP_BAD;
}

/* A decimal number and CR LF at *@p, and *@p behind it. RESP_INTEGER, RESP_MORE or RESP_BAD. */
static inline enum resp_type number(struct resp *r, const char **p, int64_t *n)
{
	const char *s = *p, *digits, *end = r->end;
	bool minus = s < end && *s == '-';
	uint64_t v = 0, max = (uint64_t)INT64_MAX + minus;
	unsigned digit;

	digits = s += minus;
	for (; s < end && (digit = (unsigned)*s - '0') < 10 && s - digits < 18; s++)
		v = v * 10 + digit;
	for (; s < end && (digit = (unsigned)*s - '0') < 10; s++) {
		if (v > (max - digit) / 10)
			return bad(r, "a number is out of range");
		v = v * 10 + digit;
	}
	if (s == end || (s + 1 == end && s > digits && *s == '\r'))
		return RESP_MORE;
	if (s == digits || s[0] != '\r' || s[1] != '\n')
		return bad(r, "a number does not end as one");
	*n = minus ? (int64_t)(0 - v) : (int64_t)v;
	*p = s + 2;
	return RESP_INTEGER;
}

static enum resp_type line(struct resp *r, struct resp_value *v, enum resp_type type)
{
	const char *s = r->p + 1, *cr = memchr(s, '\r', (size_t)(r->end - s));
	const char *stop = cr ? cr : r->end;

	if (stop - s > LINE_LONGEST)
		return bad(r, "a line has no end");
	if (stop == r->end || stop + 1 == r->end)
		return RESP_MORE;
	if (stop[1] != '\n')
		return bad(r, "a line does not end with CR LF");
	v->text = (struct span){s, (size_t)(stop - s)};
	r->p = stop + 2;
	return type;
}

/* Passes what has come of a large string. */
static void skip_large(struct resp *r)
{
	size_t have = (size_t)(r->end - r->p);
	size_t n = have < r->skip ? have : r->skip;

	r->p += n;
	r->skip -= n;
}

static enum resp_type string(struct resp *r, struct resp_value *v)
{
	const char *p = r->p + 1;
	enum resp_type got = number(r, &p, &v->n);

	if (got != RESP_INTEGER)
		return got;
	if (v->n < 0) {
		if (v->n != -1)
			return bad(r, "a string has a negative length");
		r->p = p;
		return RESP_NIL;
	}
	if ((uint64_t)v->n > r->max_string) {
		if (v->n > INT64_MAX - 2)
			return bad(r, "a string's length is out of range");
		r->p = p;
		r->skip = (size_t)v->n + 2;
		skip_large(r);
		return RESP_LARGE;
	}
	if ((uint64_t)(r->end - p) < (uint64_t)v->n + 2)
		return RESP_MORE;
	if (p[v->n] != '\r' || p[v->n + 1] != '\n')
		return bad(r, "a string does not end with CR LF");
	v->text = (struct span){p, (size_t)v->n};
	r->p = p + v->n + 2;
	return RESP_STRING;
}

static enum resp_type scalar(struct resp *r, struct resp_value *v, enum resp_type type)
{
	const char *p = r->p + 1;
	enum resp_type got = number(r, &p, &v->n);

	if (got != RESP_INTEGER)
		return got;
	if (type == RESP_ARRAY && v->n < 0) {
		if (v->n != -1)
			return bad(r, "an array has a negative length");
		type = RESP_NIL;
	}
	r->p = p;
	return type;
}

static enum resp_type take(struct resp *r, struct resp_value *v)
{
	if (r->skip) {
		skip_large(r);
		if (r->skip)
			return RESP_MORE;
	}
	if (r->p == r->end)
		return RESP_MORE;
	switch (*r->p) {
	case '$':
		return string(r, v);
	case ':':
		return scalar(r, v, RESP_INTEGER);
	case '*':
		return scalar(r, v, RESP_ARRAY);
	case '+':
		return line(r, v, RESP_STATUS);
	case '-':
		return line(r, v, RESP_ERROR);
	default:
		return bad(r, "a value begins with a byte that none has");
	}
}

/* The common case: a number of few digits, or a whole string whose length has few digits.
 * RESP_MORE: the value is something else, and nothing is taken. */
static inline enum resp_type take_short(struct resp *r, struct resp_value *v)
{
	const char *p = r->p + 1;
	char type = *r->p;
	size_t n = 0;

	for (unsigned digit; p < r->p + 6 && (digit = (unsigned)*p - '0') < 10; p++)
		n = n * 10 + digit;
	if (p == r->p + 1 || p[0] != '\r' || p[1] != '\n')
		return RESP_MORE;
	p += 2;
	v->n = (int64_t)n;
	if (type == '$') {
		if (n > r->max_string || (size_t)(r->end - p) < n + 2 || p[n] != '\r' ||
			p[n + 1] != '\n')
			return RESP_MORE;
		v->text = (struct span){p, n};
		r->p = p + n + 2;
		return RESP_STRING;
	}
	if (type != ':' && type != '*')
		return RESP_MORE;
	r->p = p;
	return type == ':' ? RESP_INTEGER : RESP_ARRAY;
}

enum resp_type resp_next(struct resp *r, struct resp_value *v)
{
	enum resp_type got = RESP_MORE;

	v->text = SPAN_NONE;
	/* The type, five digits, CR LF. */
	if (r->end - r->p >= 8 && !r->skip)
		got = take_short(r, v);
	return v->type = got == RESP_MORE ? take(r, v) : got;
}

enum resp_type resp_skip(struct resp *r, uint64_t *left)
{
	struct resp_value v;

	while (*left) {
		enum resp_type got = resp_next(r, &v);

		if (got == RESP_MORE || got == RESP_BAD)
			return got;
		if (got == RESP_ARRAY && (uint64_t)v.n > UINT64_MAX - *left)
			return bad(r, "an array's length is out of range");
		*left += got == RESP_ARRAY ? (uint64_t)v.n - 1 : UINT64_MAX;
	}
	skip_large(r);
	return r->skip ? RESP_MORE : RESP_NIL;
}
