/* SPDX-License-Identifier: ISC */
/* Command lines: argtable2 is the single source of the options, of --help, and through it of the
 * completions; lints hold the man pages against it. */
#ifndef EVPIPE_OPT_H
#define EVPIPE_OPT_H

#include <argtable2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Options every program has. Put OPT_COMMON_ENTRIES(o) at the end of the argtable. */
struct opt_common {
	struct arg_lit *help, *version, *verbose, *quiet;
	struct arg_str *log;
	struct arg_file *metrics;
	struct arg_int *ready_fd;
};
void opt_common(struct opt_common *o);
#define OPT_COMMON_ENTRIES(o)                                                                      \
	(o).help, (o).version, (o).verbose, (o).quiet, (o).log, (o).metrics, (o).ready_fd

/* Names a library that the program links, and its version: "librdkafka 2.0.2". */
typedef const char *opt_library_fn(void);

/* Options of other programs which mean nothing here, a blank between them, and how it is written
 * here. Where @options is empty, for an operand too many. */
struct opt_hint {
	const char *options, *hint;
};

/* The texts that --help and --version print besides the table. */
struct opt_page {
	const char *prog;
	const char *summary; /* one line: the job of the program, or of the command */
	const char *const *examples; /* NULL-ended: command lines */
	opt_library_fn *libraries[4]; /* NULL-ended */
	const struct opt_hint *hints; /* ended by NULL; may be NULL */
	bool runs_command; /* the operands are a command, whose options stand behind -- */
};

/* A command of a program that has several: "evcorr stamp". */
struct opt_command {
	const char *name, *summary;
	/* argv[0] is the command's name. Calls opt_parse with a table and a page of its own, whose
	 * prog is the program's. Returns the exit status. */
	int (*run)(int argc, char **argv);
};

/* Runs the command that argv[1] names, or the first word that is one when options stand before it,
 * and returns its status. @commands ends with a NULL name; --help lists them, and
 * "prog COMMAND --help" prints a command's own options. An unknown command dies with 100 and
 * "try 'prog --help'". */
int opt_run(int argc, char **argv, const struct opt_page *page, const struct opt_command *commands);

/* As arg_strn, with no limit but the command line's: an option or operand that may be given any
 * number of times, or at least @min times. */
struct arg_str *opt_many(const char *shortopts, const char *longopts, const char *datatype, int min,
	const char *glossary);

/* Parses. --help and --version print and exit 0; bad usage dies with 100 and "try 'x --help'"; sets
 * up messages and metrics. @table ends with arg_end. An option given twice where one is meant is an
 * error. Operands may start with '-' only after "--". */
void opt_parse(int argc, char **argv, void **table, const struct opt_common *o,
	const struct opt_page *page);

/* Dies with 100 and "try 'x --help'" at the end of the sentence. */
_Noreturn void opt_bad(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Whether a value of this name is a secret, which ps must not show: sasl.password,
 * client_secret. */
bool opt_is_secret(const char *name);
/* Overwrites, in the command line that ps shows, the secrets in @words, which are another
 * program's: the password of a URL, what stands behind the NAME= of a secret, and a private key of
 * evchain. Copy the words before. */
void opt_mask_words(int count, const char *const *words);
/* Another program's words, for exec: a copy, ended by NULL, which stays. They are masked in the
 * command line. */
char **opt_command(const struct arg_str *a);
/* The same for a command that is a shell's text: NULL when the option is absent; an empty one is
 * refused. */
char *opt_shell(const struct arg_str *a, const char *name);

/* Values with their defaults, in milliseconds, in bytes; die with opt_bad when the text is wrong or
 * out of [min, max]. @name is the option as the message has it. */
int64_t opt_duration_ms(const struct arg_str *a, const char *name, int64_t absent);
int64_t opt_size(const struct arg_str *a, const char *name, int64_t absent);
int64_t opt_int(
	const struct arg_str *a, const char *name, int64_t absent, int64_t min, int64_t max);
/* The value, which is argtable's, or NULL when the option is absent; an empty value is refused. */
const char *opt_text(const struct arg_str *a, const char *name);
const char *opt_file(const struct arg_file *a, const char *name);
/* --metrics: NULL, or the name of the file that is to be replaced: a link is followed, and what is
 * no file is refused, since a device would be gone. */
const char *opt_metrics_file(const struct opt_common *o);

#endif
