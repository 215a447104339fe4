/* SPDX-License-Identifier: ISC */
#include "jq/expr.h"

#include "config.h"
#include "base/mem.h"
#include "base/msg.h"

#include <jq.h>
#include <jv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct expr {
	jq_state *jq;
	bool was_null;
	char message[256]; /* libjq's last complaint */
};

static void on_message(void *data, jv message)
{
	struct expr *e = data;
	jv text = jq_format_error(message);

	/* The first message names the fault; libjq's summary with the count follows. */
	if (!e->message[0])
		snprintf(e->message, sizeof(e->message), "%s", jv_string_value(text));
	jv_free(text);
	for (char *c = e->message; *c; c++)
		if (*c == '\n')
			*c = ' ';
}

/* libjq guesses at the shell's quotes, and pads the program's text. */
static void trim(char *message)
{
	static const char guess[] = " (Unix shell quoting issues?)";
	char *at = strstr(message, guess);
	size_t n;

	if (at)
		memmove(at, at + sizeof(guess) - 1, strlen(at + sizeof(guess) - 1) + 1);
	for (n = strlen(message); n && message[n - 1] == ' '; n--)
		message[n - 1] = '\0';
}

struct expr *expr_compile(const char *program, char *why, size_t why_size)
{
	struct expr *e = mem_alloc(sizeof(*e));

	e->message[0] = '\0';
	e->jq = jq_init();
	if (!e->jq)
		die(EXIT_TEMP, "out of memory: cannot start libjq");
	jq_set_error_cb(e->jq, on_message, e);
	/* Without these an import is an assertion in libjq, not an error. */
	jq_set_attr(e->jq, jv_string("JQ_LIBRARY_PATH"), jv_array());
	jq_set_attr(e->jq, jv_string("PROGRAM_ORIGIN"), jv_string("."));
	if (!jq_compile(e->jq, program)) {
		trim(e->message);
		snprintf(why, why_size, "%s", e->message[0] ? e->message : "not a jq expression");
		expr_free(e);
		return NULL;
	}
	return e;
}

void expr_free(struct expr *e)
{
	if (e)
		jq_teardown(&e->jq);
	free(e);
}

static enum expr_result take(jv v, struct buf *out)
{
	jv text;

	switch (jv_get_kind(v)) {
	case JV_KIND_STRING:
		buf_put(out, jv_string_value(v), (size_t)jv_string_length_bytes(jv_copy(v)));
		return EXPR_TEXT;
	case JV_KIND_NUMBER:
		if (fabs(jv_number_value(v)) >= 9007199254740992.0)
			return EXPR_INEXACT;
		/* fall through */
	case JV_KIND_TRUE:
	case JV_KIND_FALSE:
		text = jv_dump_string(jv_copy(v), 0);
		buf_puts(out, jv_string_value(text));
		jv_free(text);
		return EXPR_TEXT;
	default:
		return EXPR_NOTHING;
	}
}

static void tell(jv message, const char *otherwise, char *why, size_t why_size)
{
	snprintf(why, why_size, "%s",
		jv_get_kind(message) == JV_KIND_STRING ? jv_string_value(message) : otherwise);
	jv_free(message);
}

/* Why jq_next gave no value; takes the invalid one. */
static enum expr_result without_value(struct expr *e, jv invalid, char *why, size_t why_size)
{
	if (jv_invalid_has_msg(jv_copy(invalid))) {
		tell(jv_invalid_get_msg(invalid), "it raised an error", why, why_size);
		return EXPR_ERROR;
	}
	jv_free(invalid);
	if (!jq_halted(e->jq))
		return EXPR_NOTHING;
	tell(jq_get_error_message(e->jq), "it has halted", why, why_size);
	return EXPR_ERROR;
}

/* Starts the program on a JSON text. Returns EXPR_TEXT, or else with @why. */
static enum expr_result start(struct expr *e, struct span json, char *why, size_t why_size)
{
	static const char too_deep[] = "Exceeds depth limit";
	char *place;
	jv v;

	if (json.len > INT32_MAX) {
		snprintf(why, why_size, "longer than libjq takes");
		return EXPR_BAD_JSON;
	}
	v = jv_parse_sized(json.p, (int)json.len);
	if (!jv_is_valid(v)) {
		tell(jv_invalid_get_msg(v), "not JSON", why, why_size);
		/* "… at line 1, column 281 (while parsing '…": a place in a copy of the caller's. */
		place = strstr(why, " at line ");
		if (place)
			*place = '\0';
		return strncmp(why, too_deep, strlen(too_deep)) == 0 ? EXPR_TOO_DEEP
								     : EXPR_BAD_JSON;
	}
	e->message[0] = '\0';
	jq_start(e->jq, v, 0);
	return EXPR_TEXT;
}

enum expr_result expr_text(
	struct expr *e, struct span json, struct buf *out, char *why, size_t why_size)
{
	enum expr_result result = start(e, json, why, why_size);
	jv v;

	if (result != EXPR_TEXT)
		return result;
	v = jq_next(e->jq);
	if (!jv_is_valid(v))
		return without_value(e, v, why, why_size);
	result = take(v, out);
	jv_free(v);
	return result;
}

enum expr_result expr_holds(
	struct expr *e, struct span json, bool *holds, char *why, size_t why_size)
{
	enum expr_result result = start(e, json, why, why_size);
	jv v;

	*holds = e->was_null = false;
	if (result != EXPR_TEXT)
		return result;
	v = jq_next(e->jq);
	if (!jv_is_valid(v))
		return without_value(e, v, why, why_size) == EXPR_ERROR ? EXPR_ERROR : EXPR_TEXT;
	*holds = jv_get_kind(v) != JV_KIND_FALSE && jv_get_kind(v) != JV_KIND_NULL;
	e->was_null = jv_get_kind(v) == JV_KIND_NULL;
	jv_free(v);
	return EXPR_TEXT;
}

bool expr_was_null(const struct expr *e)
{
	return e->was_null;
}

const char *expr_library(void)
{
	return "libjq" JQ_VERSION;
}
