/* SPDX-License-Identifier: ISC */
/* lib/prom: Prometheus's text format, and merging. */
#include "base/prom.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Merges texts, NULL-ended, and compares. */
static void merges(const char *const *texts, const char *expected)
{
	struct prom p = {0};
	struct buf out = {0};
	char *copies[8];
	size_t n = 0;

	for (; texts[n]; n++) {
		/* Without a byte behind it, for the sanitizer. */
		copies[n] = malloc(strlen(texts[n]) + !*texts[n]);
		memcpy(copies[n], texts[n], strlen(texts[n]));
		prom_add(&p, (struct span){copies[n], strlen(texts[n])});
	}
	prom_print(&p, &out);
	prom_print(&p, &out);
	buf_putc(&out, '\0');
	assert_memory_equal(out.p, expected, strlen(expected));
	assert_string_equal(out.p + strlen(expected), expected);
	prom_free(&p);
	buf_free(&out);
	while (n--)
		free(copies[n]);
}
#define MERGES(expected, ...) merges((const char *const[]){__VA_ARGS__, NULL}, expected)

static void one_text_comes_out_as_it_was(void **state)
{
	static const char text[] = "# HELP a_total What \\\"a\\\" is.\n# TYPE a_total counter\n"
				   "a_total{tool=\"x\"} 18446744073709551615\n"
				   "a_total{tool=\"}\\\" 1\"} 2 1700000000000\n"
				   "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum 0.5\n"
				   "h_count 3\nbare NaN\n";

	(void)state;
	MERGES(text, text);
	MERGES("", "");
}

static void a_family_is_once_and_its_samples_are_together(void **state)
{
	(void)state;
	MERGES("# HELP a first\n# TYPE a gauge\na{t=\"1\"} 1\na{t=\"2\"} 3\na{t=\"3\"} 4\n"
	       "# TYPE b gauge\nb 2\n",
		"# HELP a first\n# TYPE a gauge\na{t=\"1\"} 1\n# TYPE b gauge\nb 2\n",
		"# HELP a second\n# TYPE a gauge\na{t=\"2\"} 3\n", "a{t=\"3\"} 4\n");
	MERGES("# TYPE h histogram\nh_bucket{t=\"1\"} 1\nh_sum{t=\"1\"} 2\nh_bucket{t=\"2\"} 3\n",
		"# TYPE h histogram\nh_bucket{t=\"1\"} 1\nh_sum{t=\"1\"} 2\n",
		"# TYPE h histogram\nh_bucket{t=\"2\"} 3\n");
}

static void a_name_that_begins_like_a_family_is_another(void **state)
{
	(void)state;
	MERGES("# TYPE a gauge\na 1\na_total 2\n# TYPE b counter\nb 3\n",
		"# TYPE a gauge\na 1\na_total 2\n# TYPE b counter\nb 3\n");
}

static void samples_of_one_name_and_labels_are_added_up(void **state)
{
	(void)state;
	MERGES("# TYPE a counter\na{x=\"1\"} 5\na{x=\"2\"} 2\n",
		"# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\n", "a{x=\"1\"} 3\n",
		"a{x=\"1\"} 1\n");
	MERGES("a 9007199254740992\nb 0.75\n", "a 9007199254740991\nb 0.5\n", "a 1\nb 0.25\n");
}

static void what_is_no_line_of_the_format_is_passed_over(void **state)
{
	(void)state;
	MERGES("a 1\nb{x=\"1\"} 2\nc 3\n",
		"\n# a comment\na 1\n{x=\"1\"} 2\nbroken{x=\"1\" 2\nnone\n b{x=\"1\"} 2\n#\n"
		"b{x=\"1\"} 2\r\nc\t 3");
}

static void a_label_is_found_by_its_whole_name(void **state)
{
	struct span labels = SPAN("{apeer=\"no\",x=\"peer=\\\"no\\\"\",peer=\"yes\",e=\"\"}");

	(void)state;
	assert_true(span_is(prom_label(labels, "peer"), "yes"));
	assert_true(span_is(prom_label(labels, "apeer"), "no"));
	assert_true(span_is(prom_label(labels, "e"), ""));
	assert_null(prom_label(labels, "eer").p);
	assert_null(prom_label(SPAN(""), "peer").p);
	assert_null(prom_label(SPAN("{peer}"), "peer").p);
}

static void a_sample_has_a_value(void **state)
{
	struct span text = SPAN("# TYPE a gauge\na{x=\"1\"} 2.5 17\nb x\n");
	struct prom_line line;

	(void)state;
	assert_true(prom_next(&text, &line));
	assert_int_equal(line.kind, PROM_TYPE);
	assert_true(span_is(line.name, "a"));
	assert_true(span_is(line.rest, "gauge"));
	assert_true(prom_next(&text, &line));
	assert_int_equal(line.kind, PROM_SAMPLE);
	assert_true(span_is(line.labels, "{x=\"1\"}"));
	assert_true(prom_value(&line) == 2.5);
	assert_true(prom_next(&text, &line));
	assert_true(prom_value(&line) == 0);
	assert_false(prom_next(&text, &line));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_text_comes_out_as_it_was),
		cmocka_unit_test(a_family_is_once_and_its_samples_are_together),
		cmocka_unit_test(a_name_that_begins_like_a_family_is_another),
		cmocka_unit_test(samples_of_one_name_and_labels_are_added_up),
		cmocka_unit_test(what_is_no_line_of_the_format_is_passed_over),
		cmocka_unit_test(a_label_is_found_by_its_whole_name),
		cmocka_unit_test(a_sample_has_a_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
