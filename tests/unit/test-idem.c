/* SPDX-License-Identifier: ISC */
/* khttp's Idempotency-Keys: how many are remembered, how long, and which go first. */
#include "test.h"

#include "khttp/idem.h"

#include <stdio.h>
#include <string.h>

/* ---- a request, and how it was answered ---- */

static char header[300];
static int answered; /* the status; 0: not */

const char *http_header(const struct http_request *r, const char *name)
{
	(void)r;
	assert_string_equal(name, "Idempotency-Key");
	return header;
}

const char *http_param(const struct http_request *r, const char *name)
{
	(void)r;
	return strcmp(name, "topic") ? NULL : "t";
}

const char *http_pattern(const struct http_request *r)
{
	(void)r;
	return "/topics/{topic}";
}

struct http_body *http_body(const struct http_request *r)
{
	(void)r;
	return NULL;
}

void http_body_pass(struct http_body *b, const char *to)
{
	(void)b;
	(void)to;
}

void http_set_header(struct http_request *r, const char *name, const char *value)
{
	(void)r;
	assert_string_equal(name, "Idempotency-Replayed");
	assert_string_equal(value, "true");
}

void http_reply(struct http_request *r, int status, const char *type, struct buf *body)
{
	(void)r;
	(void)type;
	answered = status;
	if (body)
		buf_free(body);
}

void http_error(struct http_request *r, int status, const char *fmt, ...)
{
	(void)r;
	(void)fmt;
	answered = status;
}

/* ---- keys ---- */

static struct http_request request;
static uint64_t repeated;

/* Asks with the key number @n. Returns the status of a repetition; 0: it is new. */
static int ask(struct idem *d, int n, int64_t now_ms, struct idem_entry **e)
{
	bool is_known;

	answered = 0;
	snprintf(header, sizeof(header), "%d", n);
	request = (struct http_request){.body = SPAN("body")};
	is_known = idem_begin(d, &request, now_ms, e);
	assert_int_equal(is_known, !*e);
	return answered;
}

/* And if it is new, it is done. */
static int ask_and_do(struct idem *d, int n, int64_t now_ms)
{
	struct idem_entry *e = NULL;
	int status = ask(d, n, now_ms, &e);

	if (e)
		idem_end(d, e, 200, NULL, SPAN("ok"), IDEM_DONE, now_ms);
	return status;
}

static void the_last_are_remembered(void **state)
{
	struct idem *d = idem_open(&repeated);

	(void)state;
	for (int n = 0; n < IDEM_KEYS_MAX; n++)
		assert_int_equal(ask_and_do(d, n, 1), 0);
	for (int n = 0; n < IDEM_KEYS_MAX; n++)
		assert_int_equal(ask_and_do(d, n, 1), 200);
	for (int n = 0; n < 10; n++)
		assert_int_equal(ask_and_do(d, IDEM_KEYS_MAX + n, 1), 0);
	for (int n = 10; n < IDEM_KEYS_MAX + 10; n++)
		assert_int_equal(ask_and_do(d, n, 1), 200);
	/* Each takes the place of the next oldest. */
	for (int n = 0; n < 10; n++)
		assert_int_equal(ask_and_do(d, n, 1), 0);
	assert_int_equal(ask_and_do(d, 20, 1), 200);
	idem_close(d);
}

static void what_is_on_its_way_is_not_forgotten(void **state)
{
	struct idem *d = idem_open(&repeated);
	struct idem_entry *first = NULL, *again = NULL;
	uint64_t before = repeated;

	(void)state;
	assert_int_equal(ask(d, -1, 1, &first), 0);
	for (int n = 0; n < IDEM_KEYS_MAX + 10; n++)
		assert_int_equal(ask_and_do(d, n, 1), 0);
	/* It waits for the first one's answer. */
	assert_int_equal(ask(d, -1, 1, &again), 0);
	assert_null(again);
	assert_int_equal(repeated, before + 1);
	idem_end(d, first, 201, NULL, SPAN("ok"), IDEM_DONE, 1);
	assert_int_equal(answered, 201);
	assert_int_equal(repeated, before + 1);
	idem_close(d);
}

static void after_its_time_a_key_is_new(void **state)
{
	struct idem *d = idem_open(&repeated);

	(void)state;
	ask_and_do(d, 1, 1);
	ask_and_do(d, 2, 2);
	assert_int_equal(ask_and_do(d, 1, IDEM_TTL_MS), 200);
	assert_int_equal(ask_and_do(d, 1, IDEM_TTL_MS + 1), 0);
	assert_int_equal(ask_and_do(d, 2, IDEM_TTL_MS + 1), 200);
	idem_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_are_remembered),
		cmocka_unit_test(what_is_on_its_way_is_not_forgotten),
		cmocka_unit_test(after_its_time_a_key_is_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
