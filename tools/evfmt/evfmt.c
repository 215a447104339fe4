/* SPDX-License-Identifier: ISC */
/* evfmt - records for people.
 *
 * DESIGN: stands at the end of a pipe and prints text, by a format (-f) or in a layout of its own.
 * It is for looking: it takes no part in acknowledgements, since what stands on a terminal is
 * delivered nowhere, and it hands no record on. A field that a record has not is printed as
 * nothing: a look at a mixed topic does not end at the first record that is different. Text on a
 * terminal is safe whatever the bytes are; in a file or a pipe -f copies them as they are.
 *
 * Files: evfmt.c the command line; format-parse.c and format.c the format string; layout.c the
 * layout without one; paint.c colours and JSON; clock.c times; view.c a record's fields,
 * decoded. */
#include "base/msg.h"
#include "base/opt.h"
#include "evfmt/clock.h"
#include "evfmt/format.h"
#include "evfmt/layout.h"
#include "flow/filter.h"

#include <locale.h>
#include <stdlib.h>
#include <unistd.h>

struct evfmt {
	struct view view;
	struct layout layout;
	struct format *format; /* NULL: the layout */
	struct paint_style style;
	struct span null;
};

static struct {
	struct opt_common common;
	struct input_opts input;
	struct arg_str *format, *color, *escape;
	struct arg_lit *pretty, *headers, *null;
} opt;

static enum filter_verdict on_record(
	void *self, const struct record *r, struct buf *out, struct record_error *e)
{
	struct evfmt *f = self;

	(void)e;
	view_record(&f->view, r);
	if (f->format)
		format_print(f->format, &f->view, &f->style, f->null,
			format_wants_now(f->format) ? clock_now_ms() : 0, out);
	else
		layout_print(&f->layout, &f->view, out);
	return FILTER_EDITED;
}

/* ---- the command line ---- */

/* As with ls and grep: --color alone is --color=always, and here --color WHEN is --color=WHEN. */
static void join_color(int argc, char **argv)
{
	static char always[] = "--color=always";

	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		const char *next = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--color") == 0 && strcmp(next, "auto") != 0 &&
			strcmp(next, "always") != 0 && strcmp(next, "never") != 0)
			argv[i] = always;
	}
}

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"kread -o -5 -e orders | evfmt",
		"kread -e orders | evfmt -f '%{ts:iso} %t/%p@%o %-12k %{.payload.id}\\n'",
		"rsub -p 'sse:*' | evfmt -p",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evfmt",
		.summary = "Prints records for people.",
		.examples = examples,
		.hints = input_hints,
	};

	opt.format = arg_str0("f", "format", "FORMAT",
		"print this for each record: %t %p %o %k %s %T %h, %{.payload.id}, \\n");
	opt.pretty = arg_lit0("p", "pretty", "a line for each member of a JSON payload");
	opt.headers = arg_lit0("H", "headers", "without -f: headers too");
	opt.null = arg_lit0("Z", "null", "with -f: NULL for what is null or not there");
	opt.color = arg_str0(
		NULL, "color", "auto|always|never", "colours (default auto: on a terminal)");
	opt.escape = arg_str0(NULL, "escape", "auto|always|never",
		"control characters as \\n, \\x1b (default auto: on a terminal, or without -f)");
	input_opts(&opt.input, INPUT_DEAD_TO_FILE);
	opt_common(&opt.common);
	void *table[] = {opt.format, opt.pretty, opt.headers, opt.null, opt.color, opt.escape,
		INPUT_ENTRIES(opt.input), OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	join_color(argc, argv);
	opt_parse(argc, argv, table, &opt.common, &page);
}

static bool when(const struct arg_str *a, const char *name, bool automatic)
{
	const char *text = a->count ? a->sval[0] : "auto";

	if (strcmp(text, "always") == 0)
		return true;
	if (strcmp(text, "never") == 0)
		return false;
	if (strcmp(text, "auto") != 0)
		opt_bad("%s takes auto, always or never, not '%s'", name, text);
	return automatic;
}

static void take_options(struct evfmt *f)
{
	bool terminal = isatty(STDOUT_FILENO);
	char why[600];

	f->style.coloured = when(opt.color, "--color", out_wants_colour(STDOUT_FILENO));
	f->style.safe = when(opt.escape, "--escape", terminal || !opt.format->count);
	f->style.pretty = opt.pretty->count;
	f->null = opt.null->count ? SPAN("NULL") : SPAN("");
	f->layout = (struct layout){
		.style = f->style, .aligned = terminal, .headers = opt.headers->count};
	if (opt.null->count && !opt.format->count)
		opt_bad("-Z is for a format, -f: without one what is not there is '-'");
	if (!opt.format->count)
		return;
	if (opt.headers->count)
		opt_bad("-H is for the layout without -f: a format has %%h and %%{header:NAME}");
	f->format = format_parse(opt.format->sval[0], why, sizeof(why));
	if (!f->format)
		opt_bad("-f: %s", why);
}

int main(int argc, char **argv)
{
	static struct evfmt f;

	setlocale(LC_TIME, "");
	parse_options(argc, argv);
	take_options(&f);
	return filter_run(&(struct filter){
		.each = on_record,
		.self = &f,
		.input = &opt.input,
		.prints = true,
	});
}
