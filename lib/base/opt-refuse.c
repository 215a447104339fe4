/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/opt-parts.h"

#include "base/near.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct opt_hint of_all[] = {
	{"--verbose", "-v says more"}, {"--quiet --silent", "-q says errors alone"}, {NULL, NULL}};

static const char *look_up(const struct opt_hint *hints, const char *option)
{
	size_t len = strlen(option);

	for (const struct opt_hint *h = hints; h && h->options; h++) {
		const char *name = h->options;
		size_t n;

		do {
			n = strcspn(name, " ");
			if (n == len && strncmp(name, option, n) == 0)
				return h->hint;
			name += n + (name[n] == ' ');
		} while (*name);
	}
	return NULL;
}

/* What is said here in place of an option of another program, or of an operand (""), or NULL. */
static const char *find_hint(const struct opt_page *page, const char *option)
{
	const char *hint = look_up(page->hints, option);

	return hint ? hint : look_up(of_all, option);
}

void opt_refuse_host(int argc, char **argv, const struct opt_page *page)
{
	const char *hint = find_hint(page, "-h");

	for (int i = 1; hint && i + 1 < argc; i++)
		if (strcmp(argv[i], "-h") == 0 && *argv[i + 1] != '-')
			opt_bad("-h asks for help: %s", hint);
}

/* The long option that may have been meant, or NULL. */
static const char *find_near(void **table, const char *typed)
{
	static char name[64];

	for (void **t = table; !(((struct arg_hdr *)*t)->flag & ARG_TERMINATOR); t++) {
		const char *names = ((struct arg_hdr *)*t)->longopts;

		while (names && *names) {
			size_t n = strcspn(names, ",");

			snprintf(name, sizeof(name), "%.*s", (int)n, names);
			if (near_word(typed, name))
				return name;
			names += n + (names[n] == ',');
		}
	}
	return NULL;
}

/* Where the command begins whose options were taken for the program's own; 0: not known. */
static int find_command(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i++)
		if (argv[i][0] != '-' && argv[i + 1][0] == '-')
			return strcmp(argv[i + 1], "--") ? i : 0;
	return 0;
}

_Noreturn static void refuse_command(int argc, char **argv, int from, const char *prog)
{
	char text[200] = "";

	for (int i = from; i < argc; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s", argv[i]);
	opt_bad("'%s' is no option of %s: put -- before the command: %s --%s", argv[from + 1], prog,
		prog, text);
}

static bool begins(const char *text, const char *head)
{
	return strncmp(text, head, strlen(head)) == 0;
}

static bool is_long(const char *word)
{
	return begins(word, "--");
}

_Noreturn static void refuse_excess(const struct arg_hdr *h)
{
	char text[100] = "";

	if (h->shortopts)
		snprintf(text, sizeof(text), "-%c%s", h->shortopts[0], h->longopts ? ", " : "");
	if (h->longopts)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "--%.*s",
			(int)strcspn(h->longopts, ","), h->longopts);
	if (h->maxcount > 1)
		opt_bad("%s is given more than %d times", text, h->maxcount);
	opt_bad("%s is given twice", text);
}

/* The option of this long name, of @len bytes, or the one option whose name begins so; NULL: none,
 * or several, of which @begin has two. With @begin NULL the name must be whole. */
static struct arg_hdr *find_long(void **table, const char *name, size_t len, const char *begin[2])
{
	struct arg_hdr *found = NULL;
	bool several = false;

	for (void **t = table; len && !(((struct arg_hdr *)*t)->flag & ARG_TERMINATOR); t++) {
		struct arg_hdr *h = *t;

		for (const char *at = h->longopts; at && *at; at += strcspn(at, ",")) {
			at += *at == ',';
			if (strncmp(at, name, len) != 0)
				continue;
			if (strchr(",", at[len]))
				return h;
			if (!begin)
				continue;
			several = several || (found && found != h);
			begin[several] = at;
			found = h;
		}
	}
	return begin && !several ? found : NULL;
}

/* As getopt_long has it, which does not say why it refuses a beginning of several names. */
static void refuse_several(void **table, const char *name)
{
	const char *begin[2] = {NULL, NULL};

	if (!find_long(table, name, strlen(name), begin) && begin[1])
		opt_bad("--%s may be --%.*s or --%.*s", name, (int)strcspn(begin[0], ","), begin[0],
			(int)strcspn(begin[1], ","), begin[1]);
}

/* argtable2 prints lines, each with the program's name in front: the text of the first, in
 * @lines. */
static char *first_error(struct arg_end *end, const char *prog, char *lines, size_t size)
{
	FILE *f = fmemopen(lines, size, "w");
	size_t skip = strlen(prog);

	if (f) {
		arg_print_errors(f, end, prog);
		fclose(f);
	}
	lines[strcspn(lines, "\n")] = '\0';
	return strncmp(lines, prog, skip) == 0 ? lines + skip + 2 : lines;
}

_Noreturn void opt_refuse(
	int argc, char **argv, void **table, struct arg_end *end, const struct opt_page *page)
{
	static const char invalid[] = "invalid option \"", excess[] = "excess option ";
	const struct arg_hdr *first;
	char lines[400] = "", word[64] = "";
	char *text = first_error(end, page->prog, lines, sizeof(lines));
	bool unknown = begins(text, invalid);
	const char *hint, *meant = NULL;

	/* argtable2 does not align it. */
	memcpy(&first, end->parent, sizeof(first));
	if (unknown) {
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(text + strlen(invalid), "=\""),
			text + strlen(invalid));
		/* Behind '=' may be a password. */
		if (is_long(word))
			strcpy(text + strcspn(text, "="), strchr(text, '=') ? "\"" : "");
	}
	hint = find_hint(page, word);
	if (unknown && hint)
		opt_bad("there is no option %s: %s", word, hint);
	if (page->runs_command && unknown && find_command(argc, argv))
		refuse_command(argc, argv, find_command(argc, argv), opt_call_name(page->prog));
	/* argtable2 calls an operand so, too. */
	if (begins(text, "missing option ") && text[15] != '-')
		opt_bad("%s is missing", text + 15);
	if ((first->shortopts || first->longopts) &&
		(begins(text, excess) || begins(text, "extraneous option ")))
		refuse_excess(first);
	if (begins(text, excess))
		opt_bad("unexpected argument \"%s\"%s%s", text + strlen(excess), hint ? ": " : "",
			hint ? hint : "");
	if (is_long(word)) {
		refuse_several(table, word + 2);
		meant = find_near(table, word + 2);
	}
	if (meant)
		opt_bad("%s: did you mean --%s?", text, meant);
	if (begins(text, "unexpected argument") && hint)
		opt_bad("%s: %s", text, hint);
	opt_bad("%s", text);
}

/* The option with this letter, or NULL. */
static struct arg_hdr *find_letter(void **table, char letter)
{
	for (void **t = table; !(((struct arg_hdr *)*t)->flag & ARG_TERMINATOR); t++) {
		struct arg_hdr *h = *t;

		if (letter && h->shortopts && strchr(h->shortopts, letter))
			return h;
	}
	return NULL;
}

/* Of letters in one word the first that takes a value, if it is the last, or else the last; NULL:
 * the word has a value in it, or is no option. */
static struct arg_hdr *find_letters(void **table, const char *word)
{
	struct arg_hdr *h;

	for (word++; (h = find_letter(table, *word)); word++)
		if (!word[1])
			return h;
		else if (h->flag & ARG_HASVALUE)
			break;
	return NULL;
}

static bool is_option(void **table, const char *word)
{
	if (is_long(word))
		return find_long(table, word + 2, strcspn(word + 2, "="), NULL);
	return word[0] == '-' && find_letters(table, word);
}

/* Returns the option whose value is the next word, or NULL. */
static struct arg_hdr *check_long(void **table, const char *word)
{
	size_t len = strcspn(word, "=");
	const char *begin[2];
	struct arg_hdr *h = find_long(table, word + 2, len - 2, begin);

	if (!h || !(h->flag & ARG_HASVALUE)) {
		if (h && word[len])
			opt_bad("%.*s takes no value: leave '%s' away", (int)len, word, word + len);
		return NULL;
	}
	if (word[len] && !word[len + 1])
		opt_bad("%.*s takes a value that is not empty", (int)len, word);
	return word[len] || h->flag & ARG_HASOPTVALUE ? NULL : h;
}

static struct arg_hdr *check_letters(void **table, const char *word)
{
	const char *at = word + 1;
	struct arg_hdr *h;

	while ((h = find_letter(table, *at)) && !(h->flag & ARG_HASVALUE))
		at++;
	if (!h && *at == '=' && at > word + 1)
		opt_bad("-%c takes no value: leave '%s' away", at[-1], at);
	return h && (at[1] || h->flag & ARG_HASOPTVALUE) ? NULL : h;
}

void opt_refuse_words(int argc, char **argv, void **table, const struct opt_page *page)
{
	bool stops = page->runs_command || getenv("POSIXLY_CORRECT");

	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		const char *word = argv[i];
		const struct arg_hdr *h;

		if (word[0] != '-' || !word[1]) {
			if (stops)
				return;
			continue;
		}
		h = is_long(word) ? check_long(table, word) : check_letters(table, word);
		if (!h || ++i == argc)
			continue;
		if (is_option(table, argv[i]))
			opt_bad("%s takes %s, and '%s' is an option", word, h->datatype, argv[i]);
		if (is_long(word) && !*argv[i])
			opt_bad("%s takes a value that is not empty", word);
	}
}
