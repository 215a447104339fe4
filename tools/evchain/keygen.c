/* SPDX-License-Identifier: ISC */
/* evchain keygen, and keys on command lines. */
#define _GNU_SOURCE
#include "evchain/parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "evchain/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
	struct opt_common common;
	struct arg_str *name;
} opt;

int keygen_command(int argc, char **argv)
{
	static const char *const examples[] = {
		"(umask 077; evchain keygen example.com/audit >audit.key) 2>audit.vkey",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evchain",
		.summary =
			"Makes a key: the private one on standard output, its verifier on standard error.",
		.examples = examples,
		.libraries = {evchain_library},
	};
	struct buf private = {0}, verifier = {0};
	struct skey key;
	const char *name;

	opt.name = arg_str1(
		NULL, NULL, "NAME", "the name of the key and of the log: example.com/audit");
	opt_common(&opt.common);
	void *table[] = {opt.name, OPT_COMMON_ENTRIES(opt.common), arg_end(8)};
	opt_parse(argc, argv, table, &opt.common, &page);
	name = opt_text(opt.name, "NAME");
	if (!key_name_is_good((struct span){name, strlen(name)}))
		opt_bad("a key's name is UTF-8 of at most %d bytes without blanks and '+', not '%s'",
			KEY_NAME_MAX, name);
	skey_make(name, &key);
	skey_print(&key, &private);
	buf_putc(&private, '\n');
	vkey_print(&key.verifier, &verifier);
	if (file_write(STDOUT_FILENO, buf_as_span(&private)) || close(STDOUT_FILENO))
		die(EXIT_TEMP, "cannot write standard output: %s", strerror(errno));
	if (fprintf(stderr, "%.*s\n", (int)verifier.len, verifier.p) < 0)
		die(EXIT_TEMP, "cannot write standard error: %s", strerror(errno));
	explicit_bzero(private.p, private.len);
	explicit_bzero(&key, sizeof(key));
	buf_free(&private);
	buf_free(&verifier);
	return EXIT_DONE;
}

/* ---- keys on command lines ---- */

static void read_standard_input(struct buf *out)
{
	ssize_t n;

	while ((n = read(STDIN_FILENO, buf_room(out, 16 << 10), 16 << 10)) > 0)
		out->len += (size_t)n;
	if (n < 0)
		die(EXIT_TEMP, "cannot read standard input: %s", strerror(errno));
}

void take_text(const char *arg, const char *begin, struct buf *out)
{
	if (strcmp(arg, "-") == 0)
		read_standard_input(out);
	else if (strncmp(arg, begin, strlen(begin)) == 0)
		buf_puts(out, arg);
	else if (file_read(AT_FDCWD, arg + (arg[0] == '@'), out))
		die(msg_errno_status(errno), "cannot open '%s': %s", arg + (arg[0] == '@'),
			msg_errno(errno));
}

void take_note(const char *arg, const char *begin, struct buf *out)
{
	take_text(arg, strchr(arg, '\n') ? begin : "\n", out);
	/* $(…) takes the last line end away, jq -r adds one. */
	while (out->len && out->p[out->len - 1] == '\n')
		out->len--;
	buf_putc(out, '\n');
}

static const char private_begin[] = "PRIVATE+KEY+";

void take_vkey(const char *arg, struct vkey *key)
{
	struct buf b = {0};
	const char *end;

	if (arg[0] == '@')
		take_text(arg, "\n", &b);
	else
		buf_puts(&b, arg);
	/* A log's file of keys has the first one first. */
	end = memchr(b.p, '\n', b.len);
	if (span_starts(buf_as_span(&b), private_begin))
		opt_bad("a private key was given: here it is the verifier key, NAME+ID+KEY");
	if (vkey_parse((struct span){b.p, end ? (size_t)(end - b.p) : b.len}, key))
		opt_bad("'%s' is no verifier key, NAME+ID+KEY, and names none as @FILE", arg);
	buf_free(&b);
}

void take_skey(const char *arg, struct skey *key, const char **file)
{
	bool is_text = strncmp(arg, private_begin, strlen(private_begin)) == 0;
	struct buf b = {0};

	*file = is_text ? NULL : arg + (arg[0] == '@');
	take_text(arg, private_begin, &b);
	if (skey_parse(buf_as_span(&b), key))
		opt_bad("%s%s%s is no private key of 'evchain keygen'", is_text ? "" : "what '",
			is_text ? "the text" : *file, is_text ? "" : "' holds");
	if (is_text)
		memset((char *)(uintptr_t)arg + strlen(private_begin), 'x',
			strlen(arg) - strlen(private_begin));
	explicit_bzero(b.p, b.len);
	buf_free(&b);
}
