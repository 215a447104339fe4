/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/opt-parts.h"

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
#include <sys/stat.h>

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
const char *opt_call_name(const char *prog)
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
	die(EXIT_PERM, "%s; try '%s --help'", text, opt_call_name(msg_prog()));
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
	printf("Usage: %s", opt_call_name(page->prog));
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

static const struct opt_command *find_command(const struct opt_command *commands, const char *word)
{
	for (const struct opt_command *c = commands; c->name; c++)
		if (strcmp(word, c->name) == 0)
			return c;
	return NULL;
}

/* Options may stand before the command: it becomes argv[1]. */
static void bring_command_forward(char **argv, const struct opt_command *commands)
{
	size_t at = 1;

	if (argv[1][0] != '-')
		return;
	while (argv[at] && strcmp(argv[at], "--") && !find_command(commands, argv[at]))
		at++;
	if (argv[at] && strcmp(argv[at], "--")) {
		char *word = argv[at];

		memmove(argv + 2, argv + 1, (at - 1) * sizeof(*argv));
		argv[1] = word;
	}
}

int opt_run(int argc, char **argv, const struct opt_page *page, const struct opt_command *commands)
{
	const struct opt_command *c;

	fill_standard_descriptors();
	msg_init(page->prog);
	if (argc < 2)
		opt_bad("a command is missing");
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
		print_commands(page, commands);
	if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0)
		print_version(page);
	bring_command_forward(argv, commands);
	c = find_command(commands, argv[1]);
	if (c) {
		command = c->name;
		return c->run(argc - 1, argv + 1);
	}
	if (argv[1][0] == '-')
		opt_bad("'%s' stands there without a command", argv[1]);
	for (c = commands; c->name; c++)
		if (strlen(c->name) > 3 && near_word(argv[1], c->name))
			opt_bad("'%s' is none of the commands: did you mean %s?", argv[1], c->name);
	opt_bad("'%s' is none of the commands", argv[1]);
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
		opt_refuse_host(argc, argv, page);
		print_help(table, page);
	}
	if (o->version->count)
		print_version(page);
	opt_refuse_words(argc, argv, table, page);
	if (errors)
		opt_refuse(argc, argv, table, end, page);
	if (o->log->count)
		log = o->log->sval[0];
	if (log && strcmp(log, "text") && strcmp(log, "json"))
		opt_bad("%s takes text or json, not '%s'", o->log->count ? "--log" : "$EVPIPE_LOG",
			log);
	msg_setup(o->quiet->count ? -1 : o->verbose->count, log && strcmp(log, "json") == 0);
	metrics_init(page->prog, opt_metrics_file(o));
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

/* evchain(1)'s, wherever it stands. */
static void mask_keys(char *word)
{
	static const char begin[] = "PRIVATE+KEY+";

	for (char *s = word; (s = strstr(s, begin));) {
		s += strlen(begin);
		memset(s, 'x', strcspn(s, " \t\n'\""));
	}
}

void opt_mask_words(int count, const char *const *words)
{
	for (int i = 0; i < count; i++) {
		char *word = (char *)(uintptr_t)words[i];

		mask_urls(word);
		mask_values(word);
		mask_keys(word);
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

char *opt_shell(const struct arg_str *a, const char *name)
{
	const char *text = opt_text(a, name);
	char *copy = text ? mem_dup(text) : NULL;

	opt_mask_words(a->count, a->sval);
	return copy;
}

const char *opt_file(const struct arg_file *a, const char *name)
{
	if (!a->count)
		return NULL;
	if (!a->filename[0][0])
		opt_bad("%s takes a file name that is not empty", name);
	return a->filename[0];
}

const char *opt_metrics_file(const struct opt_common *o)
{
	const char *file = opt_file(o->metrics, "--metrics");
	struct stat st;

	if (!file || stat(file, &st))
		return file;
	if (!S_ISREG(st.st_mode))
		opt_bad("--metrics takes a file, which is replaced again and again, and '%s' is none",
			file);
	return lstat(file, &st) == 0 && S_ISLNK(st.st_mode) ? realpath(file, NULL) : file;
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
