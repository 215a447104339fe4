/* SPDX-License-Identifier: ISC */
#include "rsub/names.h"

#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for 2^k names and the one in front. */
void names_add(struct names *n, const char *name)
{
	if (!(n->count & (n->count - 1)))
		n->list = mem_realloc(
			n->list, (2 * (size_t)(n->count ? n->count : 1) + 1) * sizeof(*n->list));
	n->list[++n->count] = name;
}

void names_once(struct names *n)
{
	int count = n->count;

	n->count = 0;
	for (int i = 1; i <= count; i++) {
		const char *name = n->list[i];
		int at = 1;

		while (at <= n->count && strcmp(n->list[at], name))
			at++;
		if (at > n->count)
			n->list[++n->count] = name;
	}
}

static void read_file(struct names *n, const char *path, const char *what)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	if (!f)
		die(msg_errno_status(errno), "cannot open '%s': %s", path, msg_errno(errno));
	while ((len = getline(&line, &size, f)) > 0) {
		if (line[len - 1] == '\n')
			line[--len] = '\0';
		if (memchr(line, '\0', (size_t)len))
			die(EXIT_PERM, "'%s': a %s contains NUL", path, what);
		if (len)
			names_add(n, mem_dup(line));
	}
	if (ferror(f))
		die(EXIT_PERM, "cannot read '%s': %s", path, msg_errno(errno));
	fclose(f);
	free(line);
}

void names_take(struct names *n, const struct arg_str *given, const struct arg_file *file,
	const char *option, const char *what)
{
	const char *path = file ? opt_file(file, option) : NULL;

	for (int i = 0; i < given->count; i++) {
		if (!given->sval[i][0])
			opt_bad("a %s must not be empty", what);
		names_add(n, given->sval[i]);
	}
	if (path)
		read_file(n, path, what);
	if (path && !n->count)
		die(EXIT_PERM, "'%s' names no %s", path, what);
}
