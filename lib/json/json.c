/* SPDX-License-Identifier: ISC */
/* The scanner: values, and the walk over them.
 *
 * DESIGN
 * A JSON payload inside a JSON string has an escaped quote every six bytes, so a scanner that skips
 * to the next interesting byte stops all the time. The three loops that see every byte, finding a
 * string's end (json-string.c), taking escapes out (json-unescape.c), putting them in
 * (json-escape.c), take 64 bytes at once instead, turn them into bit masks (json-block.h) and walk
 * the set bits. Without SSE2 (or with JSON_NO_SIMD) plain loops do the same; the tests hold the two
 * against each other. (JSON_NO_COMPRESS leaves the AVX-512 loops out, JSON_NO_SHUFFLE all loops
 * newer than SSE2.)
 *
 * An error is judged by where it is: at or behind the end of the text, whatever was found, the
 * reason is "unexpected end". */
#include "json/json-block.h"

const char *json_fail(struct json *j, const char *p, const char *why)
{
	j->p = p < j->end ? p : j->end;
	j->why = p < j->end ? why : "unexpected end";
	return NULL;
}

/* @p is behind the opening quote. Returns the place behind the closing one. Most strings are names
 * and short words: they end within 16 bytes with nothing unusual before. */
static inline const char *scan_string(struct json *j, const char *p, struct json_value *v)
{
#if JSON_SIMD
	__m128i b = _mm_loadu_si128((const __m128i *)p), control = _mm_set1_epi8(0x1f);
	__m128i stop = _mm_or_si128(
		_mm_cmpeq_epi8(b, _mm_set1_epi8('"')), _mm_cmpeq_epi8(b, _mm_set1_epi8('\\')));
	unsigned stops, n;

	stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_max_epu8(b, control), control));
	/* A byte above ASCII has its highest bit set by itself. */
	stops = (unsigned)_mm_movemask_epi8(_mm_or_si128(stop, b));
	if (unlikely(!stops))
		return json_long_string(j, p, v);
	n = (unsigned)__builtin_ctz(stops);
	if (unlikely(p[n] != '"' || p + n >= j->end))
		return json_long_string(j, p, v);
	v->text = (struct span){p, n};
	return p + n + 1;
#else
	return json_long_string(j, p, v);
#endif
}

__attribute__((noinline)) static const char *skip_spaces(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

static inline const char *skip_space(const char *p, const char *end)
{
	return likely((unsigned char)*p > ' ') ? p : skip_spaces(p, end);
}

static inline const char *skip_digits(struct json *j, const char *p)
{
	const char *start = p;

	while (p < j->end && *p >= '0' && *p <= '9')
		p++;
	return p > start ? p : json_fail(j, p, "unexpected character");
}

static inline const char *scan_number(struct json *j, const char *p, struct json_value *v)
{
	if (*p == '-')
		p++;
	if (p < j->end && *p == '0')
		p++;
	else if (!(p = skip_digits(j, p)))
		return NULL;
	v->integer = true;
	if (likely(p >= j->end || (*p != '.' && *p != 'e' && *p != 'E')))
		return p;
	v->integer = false;
	if (*p == '.' && !(p = skip_digits(j, p + 1)))
		return NULL;
	if (p < j->end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < j->end && (*p == '+' || *p == '-'))
			p++;
		return skip_digits(j, p);
	}
	return p;
}

__attribute__((noinline)) static const char *scan_word(
	struct json *j, const char *p, struct json_value *v)
{
	const char *word;

	switch (*p) {
	case 't':
		v->type = JSON_TRUE;
		word = "true";
		break;
	case 'f':
		v->type = JSON_FALSE;
		word = "false";
		break;
	case 'n':
		v->type = JSON_NULL;
		word = "null";
		break;
	default:
		return json_fail(j, p, "unexpected character");
	}
	for (v->text.p = p; *word; p++, word++)
		if (p >= j->end || *p != *word)
			return json_fail(j, p, "unexpected character");
	v->text.len = (size_t)(p - v->text.p);
	return p;
}

/* A value that is no container; @p is before its end. */
static inline const char *scan_scalar(struct json *j, const char *p, struct json_value *v)
{
	v->escaped = v->lone = false;
	if (likely(*p == '"')) {
		v->type = JSON_STRING;
		return scan_string(j, p + 1, v);
	}
	if (*p == '-' || (*p >= '0' && *p <= '9')) {
		v->type = JSON_NUMBER;
		v->text.p = p;
		p = scan_number(j, p, v);
		if (likely(p != NULL))
			v->text.len = (size_t)(p - v->text.p);
		return p;
	}
	return scan_word(j, p, v);
}

/* `"name" :` up to the value's first byte. */
static inline const char *scan_name(struct json *j, const char *p, struct json_value *key)
{
	if (p >= j->end || *p != '"')
		return json_fail(j, p, "expected a member's name");
	key->type = JSON_STRING;
	p = scan_string(j, p + 1, key);
	if (!p)
		return NULL;
	p = skip_space(p, j->end);
	if (p >= j->end || *p != ':')
		return json_fail(j, p, "expected a colon");
	return skip_space(p + 1, j->end);
}

/* A container with all in it; @p is at its bracket. No recursion: one bit a level says which
 * bracket closes it. */
__attribute__((noinline)) static const char *scan_container(struct json *j, const char *p)
{
	uint64_t objects[JSON_DEPTH_MAX / 64];
	struct json_value v = {0};
	unsigned depth = 0;
	bool object = false, first;

	for (;;) {
		/* At a value. */
		if (p < j->end && (*p == '{' || *p == '[')) {
			uint64_t bit = (uint64_t)1 << depth % 64;

			if (j->depth + depth >= JSON_DEPTH_MAX) {
				j->deep = true;
				return json_fail(j, p, "nested too deep");
			}
			object = *p == '{';
			objects[depth / 64] = (objects[depth / 64] & ~bit) | (object ? bit : 0);
			depth++;
			p = skip_space(p + 1, j->end);
			first = true;
		} else {
			if (p >= j->end)
				return json_fail(j, p, NULL);
			p = scan_scalar(j, p, &v);
			if (!p)
				return NULL;
			p = skip_space(p, j->end);
			first = false;
		}
		/* Behind a value or an opening bracket: close what is closed here. */
		while (p < j->end && *p == (object ? '}' : ']')) {
			if (--depth == 0)
				return p + 1;
			object = objects[(depth - 1) / 64] >> (depth - 1) % 64 & 1;
			p = skip_space(p + 1, j->end);
			first = false;
		}
		if (!first) {
			if (p >= j->end || *p != ',')
				return json_fail(j, p, "unexpected character");
			p = skip_space(p + 1, j->end);
		}
		if (object && !(p = scan_name(j, p, &v)))
			return NULL;
	}
}

static inline const char *scan_value(struct json *j, const char *p, struct json_value *v)
{
	if (unlikely(p >= j->end))
		return json_fail(j, p, NULL);
	if (likely(*p == '"' || (*p != '{' && *p != '[')))
		return scan_scalar(j, p, v);
	v->type = *p == '{' ? JSON_OBJECT : JSON_ARRAY;
	v->escaped = v->lone = false;
	v->text.p = p;
	p = scan_container(j, p);
	if (likely(p != NULL))
		v->text.len = (size_t)(p - v->text.p);
	return p;
}

/* ---- the walk ---- */

void json_init(struct json *j, struct span text)
{
	*j = (struct json){.p = text.p, .start = text.p, .end = text.p + text.len};
}

char json_peek(struct json *j)
{
	j->p = skip_space(j->p, j->end);
	return j->p < j->end ? *j->p : 0;
}

int json_value(struct json *j, struct json_value *v)
{
	const char *p = scan_value(j, skip_space(j->p, j->end), v);

	if (!p)
		return -1;
	j->p = p;
	return 0;
}

int json_done(struct json *j)
{
	j->p = skip_space(j->p, j->end);
	if (j->p == j->end)
		return 0;
	json_fail(j, j->p, "unexpected character");
	return -1;
}

int json_parse(struct span text, struct json_value *v, struct json *why)
{
	struct json j;
	int ret;

	json_init(&j, text);
	ret = json_value(&j, v) < 0 || json_done(&j) < 0 ? -1 : 0;
	if (why)
		*why = j;
	return ret;
}

int json_enter(struct json *j, char bracket)
{
	if (json_peek(j) != bracket) {
		json_fail(j, j->p, "unexpected character");
		return -1;
	}
	if (j->depth >= JSON_DEPTH_MAX) {
		j->deep = true;
		json_fail(j, j->p, "nested too deep");
		return -1;
	}
	j->depth++;
	j->p++;
	j->first = true;
	return 0;
}

int json_next(struct json *j, char close)
{
	const char *p = j->p;

	if (likely(*p == ',' && p < j->end && !j->first)) {
		j->p = skip_space(p + 1, j->end);
		return 1;
	}
	p = skip_space(p, j->end);
	if (p < j->end && *p == close) {
		j->p = p + 1;
		j->first = false;
		j->depth--;
		return 0;
	}
	if (!j->first) {
		if (p >= j->end || *p != ',') {
			json_fail(j, p, "unexpected character");
			return -1;
		}
		p = skip_space(p + 1, j->end);
	}
	j->first = false;
	j->p = p;
	return 1;
}

int json_name(struct json *j, struct json_value *key)
{
	const char *p;

	key->escaped = key->lone = false;
	p = scan_name(j, j->p, key);
	if (!p)
		return -1;
	j->p = p;
	return 0;
}

int json_key(struct json *j, struct json_value *key)
{
	int ret = json_next(j, '}');

	return ret == 1 && json_name(j, key) < 0 ? -1 : ret;
}

int json_member(struct json *j, struct json_value *key, struct json_value *value)
{
	int ret = json_key(j, key);

	if (ret != 1)
		return ret;
	return json_value(j, value) < 0 ? -1 : 1;
}

int json_member_named(struct json *j, struct span name)
{
	const char *p = j->p;
	struct json_value v;

	for (bool first = j->first;; first = false) {
		p = skip_space(p, j->end);
		if (p < j->end && *p == '}') {
			j->p = p + 1;
			j->first = false;
			j->depth--;
			return 0;
		}
		if (!first) {
			if (p >= j->end || *p != ',') {
				json_fail(j, p, "unexpected character");
				return -1;
			}
			p = skip_space(p + 1, j->end);
		}
		v.escaped = v.lone = false;
		p = scan_name(j, p, &v);
		if (unlikely(!p))
			return -1;
		if (unlikely(v.escaped ? json_equals(&v, name)
				       : v.text.len == name.len &&
					    memcmp(v.text.p, name.p, name.len) == 0)) {
			j->first = false;
			j->p = p;
			return 1;
		}
		p = scan_value(j, p, &v);
		if (unlikely(!p))
			return -1;
	}
}

int json_element(struct json *j, struct json_value *value)
{
	int ret = json_next(j, ']');

	if (ret != 1)
		return ret;
	return json_value(j, value) < 0 ? -1 : 1;
}
