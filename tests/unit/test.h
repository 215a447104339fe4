/* SPDX-License-Identifier: ISC */
/* What the unit tests share: cmocka, a generator whose seed can be given, texts that end where the
 * slack does. */
#ifndef EVPIPE_TEST_H
#define EVPIPE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t test_seed;
static uint64_t test_state;

/* From $TEST_SEED, else of the clock. Printed, so that a failure can be had again. */
static inline void test_seed_init(void)
{
	const char *s = getenv("TEST_SEED");

	test_seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);
	test_state = test_seed * 2654435761u + 1;
	fprintf(stderr, "# TEST_SEED=%llu\n", (unsigned long long)test_seed);
}

/* splitmix64 */
static inline uint64_t test_random(void)
{
	uint64_t z = test_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline size_t test_below(size_t n)
{
	return (size_t)(test_random() % n);
}

/* A copy of @s at the very end of its allocation: exactly BUF_SLACK bytes of @fill behind it, so
 * that a sanitizer sees every byte read too many. Free with free((char *)span.p). */
static inline struct span span_flush(struct span s, char fill)
{
	char *p = malloc(s.len + BUF_SLACK);

	assert_non_null(p);
	if (s.len)
		memcpy(p, s.p, s.len);
	memset(p + s.len, fill, BUF_SLACK);
	return (struct span){p, s.len};
}

static inline void span_free(struct span s)
{
	free((char *)(uintptr_t)s.p);
}

static inline bool span_equal(struct span a, struct span b)
{
	return a.len == b.len && (!a.len || memcmp(a.p, b.p, a.len) == 0);
}

/* Says which text it was: cmocka's own messages do not. */
#define check(cond, ...)                                                                           \
	do {                                                                                       \
		struct span check_ = (__VA_ARGS__);                                                \
		if (!(cond))                                                                       \
			fail_msg("%s: <%.*s> (%zu bytes)", #cond, (int)check_.len,                 \
				check_.p ? check_.p : "", check_.len);                             \
	} while (0)

#endif
