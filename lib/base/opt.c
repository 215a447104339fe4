/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/opt.h"

#include "config.h"
#include "base/mem.h"
#include "base/msg.h"
#include "base/near.h"
#include "base/metrics.h"
#include "base/num.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void opt_common(struct opt_common *o)
{
	o->help = arg_lit0("h", "help", "print this and exit");
	o->version = arg_lit0("V", "version", "print the version and exit");
	o->verbose = arg_litn("v", NULL, 0, 3, "say more on standard error");
	o->quiet = arg_lit0("q", NULL, "say errors alone");
	o->log = arg_str0(NULL, "log", "text|json", "form of messages (default text)");
	o->metrics = arg_file0(NULL, "metrics", "FILE", "rewrite FILE with counters once a second");
	o->ready_fd = arg_int0(NULL, "ready-fd", "N", "write a line to descriptor N when ready");
}

/* argtable wants to know how many values there may be before it sees the command line. So these get
 * their room in opt_parse. */
static struct arg_str **many;
static size_t many_count;

struct arg_str *opt_many(const char *shortopts, const char *longopts, const char *datatype, int min,
	const char *glossary)
{
	struct arg_str *a = arg_strn(shortopts, longopts, datatype, min, min + 3, glossary);

	if (!a)
		return NULL;
	many = mem_realloc(many, (many_count + 1) * sizeof(struct arg_str *));
	return many[many_count++] = a;
}

static void make_room(int argc)
{
	for (size_t i = 0; i < many_count; i++) {
		struct arg_str *a = many[i];

		a->hdr.maxcount += argc;
		a->sval = mem_alloc((size_t)a->hdr.maxcount * sizeof(*a->sval));
	}
}

/* The command that opt_run has found. */
static const char *command;

/* "prog", or "prog command": how the user calls it. */
static const char *call_name(const char *prog)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s%s%s", prog, command ? " " : "", command ? command : "");
	return text;
}

_Noreturn void opt_bad(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	die(EXIT_PERM, "%s; try '%s --help'", text, call_name(msg_prog()));
}

_Noreturn static void end_page(void)
{
	/* A page longer than the buffer may have failed before its end: the reason is asked for
	 * once more. */
	if (ferror(stdout)) {
		clearerr(stdout);
		putchar('\n');
	}
	if (fflush(stdout) || fclose(stdout))
		die(EXIT_TEMP, "cannot write standard output: %m");
	exit(EXIT_DONE);
}

_Noreturn static void end_help(const struct opt_page *page)
{
	if (page->examples && page->examples[0])
		printf("\nExamples:\n");
	for (const char *const *e = page->examples; e && *e; e++)
		printf("  %s\n", *e);
	printf("\nExit status: 0 done, 1 records were refused, 99 timed out, 100 permanent trouble\n"
	       "(usage, configuration, authorisation), 111 temporary trouble. See %s(1).\n",
		page->prog);
	end_page();
}

_Noreturn static void print_help(void **table, const struct opt_page *page)
{
	printf("Usage: %s", call_name(page->prog));
	arg_print_syntax(stdout, table, "\n");
	printf("%s\n\n", page->summary);
	arg_print_glossary(stdout, table, "  %-30s %s\n");
	end_help(page);
}

_Noreturn static void print_commands(
	const struct opt_page *page, const struct opt_command *commands)
{
	printf("Usage: %s COMMAND [OPTION]...\n%s\n\nCommands:\n", page->prog, page->summary);
	for (const struct opt_command *c = commands; c->name; c++)
		printf("  %-30s %s\n", c->name, c->summary);
	printf("\n  %-30s %s\n  %-30s %s\n", "-h, --help",
		"print this and exit; behind a command: its options", "-V, --version",
		"print the version and exit");
	end_help(page);
}

_Noreturn static void print_version(const struct opt_page *page)
{
	printf("%s (evpipe) %s\n", page->prog, PACKAGE_VERSION);
	for (opt_library_fn *const *l = page->libraries; *l; l++)
		printf("%s\n", (*l)());
	end_page();
}

/* When descriptor 0, 1 or 2 comes closed, the next file that is opened would get its number, and
 * output would go into the dead letters. Opened the wrong way round, reads and writes fail as they
 * should. */
static void fill_standard_descriptors(void)
{
	static const int flags[] = {O_WRONLY, O_RDONLY, O_WRONLY};

	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", flags[fd]) != fd)
			exit(EXIT_TEMP);
}

int opt_run(int argc, char **argv, const struct opt_page *page, const struct opt_command *commands)
{
	fill_standard_descriptors();
	msg_init(page->prog);
	if (argc < 2)
		opt_bad("a command is missing");
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
		print_commands(page, commands);
	if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0)
		print_version(page);
	for (const struct opt_command *c = commands; c->name; c++)
		if (strcmp(argv[1], c->name) == 0) {
			command = c->name;
			return c->run(argc - 1, argv + 1);
		}
	for (const struct opt_command *c = commands; c->name; c++)
		if (strlen(c->name) > 3 && near_word(argv[1], c->name))
			opt_bad("'%s' is none of the commands: did you mean %s?", argv[1], c->name);
	opt_bad("'%s' is none of the commands", argv[1]);
}

/* What is said here in place of an option of another program, or of an operand (""), or NULL. */
static const char *find_hint(const struct opt_page *page, const char *option)
{
	size_t len = strlen(option);

	for (const struct opt_hint *h = page->hints; h && h->options; h++) {
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

/* -h is redis-cli's if a host follows. */
static void refuse_host(int argc, char **argv, const struct opt_page *page)
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

/* argtable2 names a long option with an empty value as it was typed: "", or "--name=". */
static void refuse_empty(int argc, char **argv, const char *why)
{
	if (strcmp(why, "option \"\" requires an argument") &&
		!strstr(why, "=\" requires an argument"))
		return;
	for (int i = 1; i < argc; i++) {
		size_t n = strcspn(argv[i], "=");
		const char *value = argv[i][n] ? argv[i] + n + 1 : argv[i + 1];

		if (strncmp(argv[i], "--", 2) == 0 && value && !*value)
			opt_bad("%.*s takes a value that is not empty", (int)n, argv[i]);
	}
}

_Noreturn static void refuse(
	int argc, char **argv, void **table, struct arg_end *end, const struct opt_page *page)
{
	static const char invalid[] = "invalid option \"";
	const char *typed, *hint, *meant = NULL;
	char text[400] = "", word[64] = "";
	FILE *f = fmemopen(text, sizeof(text), "w");
	size_t skip = strlen(page->prog);

	/* argtable2 prints lines, each with the program's name in front: take the first. */
	if (f) {
		arg_print_errors(f, end, page->prog);
		fclose(f);
	}
	text[strcspn(text, "\n")] = '\0';
	skip = strncmp(text, page->prog, skip) == 0 ? skip + 2 : 0;
	refuse_empty(argc, argv, text + skip);
	typed = strstr(text, invalid);
	if (typed)
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(typed + strlen(invalid), "=\""),
			typed + strlen(invalid));
	hint = find_hint(page, word);
	if (typed && hint)
		opt_bad("there is no option %s: %s", word, hint);
	if (page->runs_command && typed && find_command(argc, argv))
		refuse_command(argc, argv, find_command(argc, argv), call_name(page->prog));
	/* argtable2 calls an operand so, too. */
	if (strncmp(text + skip, "missing option ", 15) == 0 && text[skip + 15] != '-')
		opt_bad("%s is missing", text + skip + 15);
	if (strncmp(text + skip, "excess option ", 14) == 0)
		opt_bad("unexpected argument \"%s\"%s%s", text + skip + 14, hint ? ": " : "",
			hint ? hint : "");
	if (strncmp(word, "--", 2) == 0)
		meant = find_near(table, word + 2);
	if (meant)
		opt_bad("%s: did you mean --%s?", text + skip, meant);
	if (strncmp(text + skip, "unexpected argument", 19) == 0 && hint)
		opt_bad("%s: %s", text + skip, hint);
	opt_bad("%s", text + skip);
}

/* The option of the table that is spelled @word, or NULL. Of letters in one word it is the first
 * that takes a value, or the last. */
static struct arg_hdr *find_option(void **table, const char *word)
{
	bool is_long = strncmp(word, "--", 2) == 0;
	size_t len = is_long ? strlen(word + 2) : 1;
	struct arg_hdr *found = NULL;

	if (word[0] != '-' || !word[1] || (is_long && !len))
		return NULL;
	for (word += 1 + is_long; *word; word += len) {
		found = NULL;
		for (void **t = table; !(((struct arg_hdr *)*t)->flag & ARG_TERMINATOR); t++) {
			struct arg_hdr *h = *t;
			const char *at = is_long ? h->longopts : h->shortopts;

			for (; at && *at; at += is_long ? strcspn(at, ",") : 1) {
				at += is_long && *at == ',';
				if (strncmp(at, word, len) == 0 &&
					(!is_long || strchr(",", at[len])))
					found = h;
			}
		}
		if (!found || found->flag & ARG_HASVALUE)
			return word[len] ? NULL : found;
	}
	return found;
}

/* An option whose value was forgotten takes the next one for it. */
static void refuse_swallowed(int argc, char **argv, void **table, const struct opt_page *page)
{
	bool stops = page->runs_command || getenv("POSIXLY_CORRECT");

	for (int i = 1; i + 1 < argc && strcmp(argv[i], "--"); i++) {
		const struct arg_hdr *h = find_option(table, argv[i]);

		if (!h && stops && argv[i][0] != '-')
			return;
		if (!h || !(h->flag & ARG_HASVALUE) || h->flag & ARG_HASOPTVALUE)
			continue;
		if (find_option(table, argv[++i]))
			opt_bad("%s takes %s, and '%s' is an option", argv[i - 1], h->datatype,
				argv[i]);
	}
}

void opt_parse(int argc, char **argv, void **table, const struct opt_common *o,
	const struct opt_page *page)
{
	const char *log = getenv("EVPIPE_LOG");
	struct arg_end *end = NULL;
	int errors;

	fill_standard_descriptors();
	msg_init(page->prog);
	msg_setup(0, log && strcmp(log, "json") == 0);
	if (arg_nullcheck(table))
		die(EXIT_TEMP, "out of memory");
	for (void **t = table; !end; t++)
		if (((struct arg_hdr *)*t)->flag & ARG_TERMINATOR)
			end = *t;
	make_room(argc);
	errors = arg_parse(argc, argv, table);
	if (o->help->count) {
		refuse_host(argc, argv, page);
		print_help(table, page);
	}
	if (o->version->count)
		print_version(page);
	refuse_swallowed(argc, argv, table, page);
	if (errors)
		refuse(argc, argv, table, end, page);
	if (o->log->count)
		log = o->log->sval[0];
	if (log && strcmp(log, "text") && strcmp(log, "json"))
		opt_bad("%s takes text or json, not '%s'", o->log->count ? "--log" : "$EVPIPE_LOG",
			log);
	msg_setup(o->quiet->count ? -1 : o->verbose->count, log && strcmp(log, "json") == 0);
	metrics_init(page->prog, opt_file(o->metrics, "--metrics"));
	if (o->ready_fd->count) {
		int fd = o->ready_fd->ival[0];

		if (fd < 3 || fcntl(fd, F_SETFD, FD_CLOEXEC))
			opt_bad("--ready-fd takes an open descriptor above 2, not %d", fd);
		metrics_ready_fd(fd);
	}
}

bool opt_is_secret(const char *name)
{
	static const char *const parts[] = {"password", "passwd", "secret", "token", ".key.pem",
		"oauthbearer.config", "rediscli_auth"};

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (strcasestr(name, parts[i]))
			return true;
	return false;
}

/* As far as a password may reach that is not written with %XX. */
static void mask_urls(char *word)
{
	for (char *s = word; (s = strstr(s, "://"));) {
		char *colon, *at;

		s += 3;
		at = memrchr(s, '@', strcspn(s, "? \t\n'\""));
		colon = at ? memchr(s, ':', (size_t)(at - s)) : NULL;
		if (colon)
			memset(colon + 1, 'x', (size_t)(at - colon) - 1);
	}
}

/* The word may be the text of a shell, with more than one name in it. */
static void mask_values(char *word)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	char *value = word;

	while ((value = strchr(value, '='))) {
		char *name = value++;
		char saved = *name;
		bool secret;

		while (name > word && strchr(letters, name[-1]))
			name--;
		value[-1] = '\0';
		secret = opt_is_secret(name);
		value[-1] = saved;
		if (secret)
			memset(value, 'x', strlen(value));
	}
}

void opt_mask_words(int count, const char *const *words)
{
	for (int i = 0; i < count; i++) {
		char *word = (char *)(uintptr_t)words[i];

		mask_urls(word);
		mask_values(word);
	}
}

char **opt_command(const struct arg_str *a)
{
	char **words = mem_alloc(((size_t)a->count + 1) * sizeof(*words));

	for (int i = 0; i < a->count; i++)
		words[i] = mem_dup(a->sval[i]);
	words[a->count] = NULL;
	opt_mask_words(a->count, a->sval);
	return words;
}

const char *opt_text(const struct arg_str *a, const char *name)
{
	if (!a->count)
		return NULL;
	if (!a->sval[0][0])
		opt_bad("%s takes a value that is not empty", name);
	return a->sval[0];
}

const char *opt_file(const struct arg_file *a, const char *name)
{
	if (!a->count)
		return NULL;
	if (!a->filename[0][0])
		opt_bad("%s takes a file name that is not empty", name);
	return a->filename[0];
}

int64_t opt_duration_ms(const struct arg_str *a, const char *name, int64_t absent)
{
	int64_t ms;

	if (!a->count)
		return absent;
	if (num_duration_ms(a->sval[0], &ms))
		opt_bad("%s takes a duration such as 200ms, 5s or 1m, not '%s'", name, a->sval[0]);
	return ms;
}

int64_t opt_size(const struct arg_str *a, const char *name, int64_t absent)
{
	int64_t bytes;

	if (!a->count)
		return absent;
	if (num_size(a->sval[0], &bytes))
		opt_bad("%s takes a size such as 512, 64K or 16M, not '%s'", name, a->sval[0]);
	return bytes;
}

int64_t opt_int(const struct arg_str *a, const char *name, int64_t absent, int64_t min, int64_t max)
{
	int64_t n;

	if (!a->count)
		return absent;
	if (num_i64(a->sval[0], &n) || n < min || n > max)
		opt_bad("%s takes a whole number from %lld to %lld, not '%s'", name, (long long)min,
			(long long)max, a->sval[0]);
	return n;
}
