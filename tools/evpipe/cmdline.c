/* SPDX-License-Identifier: ISC */
/* evpipe's command line: members between bars, which of them are ours, and what the others mean. */
#include "evpipe/cmdline.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/near.h"
#include "base/opt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All programs of ours that can stand in a pipeline. */
static const struct program programs[] = {
	{"kread", PROGRAM_SOURCE},
	{"rsub", PROGRAM_SOURCE},
	{"evstamp", PROGRAM_FILTER},
	{"evkey", PROGRAM_FILTER},
	{"evsel", PROGRAM_FILTER},
	{"evbatch", PROGRAM_FILTER},
	{"evfmt", PROGRAM_FILTER},
	{"evreplay", PROGRAM_FILTER},
	{"evtop", PROGRAM_FILTER},
	{"kwrite", PROGRAM_SINK},
	{"rpub", PROGRAM_SINK},
	{"rapply", PROGRAM_SINK},
	{"evack", PROGRAM_SINK},
	{"evchain", PROGRAM_SINK},
	{"evcorr", PROGRAM_FILTER},
	{"evsse", PROGRAM_SINK},
};
/* A command of a program that is of another kind than the program. */
static const struct program evcorr_store = {"evcorr", PROGRAM_SINK};

/* Foreign programs that hand on each line they read. */
static const char *const one_to_one[] = {"cat", "tee", "pv", "mbuffer"};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Whether evcorr's command is store, before which options may stand. */
static bool is_store(char *const argv[])
{
	size_t at = 1;

	if (argv[1] && argv[1][0] == '-')
		while (argv[at] && strcmp(argv[at], "--") && strcmp(argv[at], "store"))
			at++;
	return argv[at] && strcmp(argv[at], "store") == 0;
}

static const struct program *find_program(const char *name, char *const argv[])
{
	if (strcmp(name, "evcorr") == 0 && is_store(argv))
		return &evcorr_store;
	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		if (strcmp(programs[i].name, name) == 0)
			return &programs[i];
	return NULL;
}

const char *cmdline_near(const char *name)
{
	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		if (near_word(name, programs[i].name))
			return programs[i].name;
	return NULL;
}

static char *unique_name(const struct evpipe *e, const char *name)
{
	char *text = mem_alloc(strlen(name) + 16);
	int same = 1;

	for (int i = 0; i < e->count; i++)
		same += strcmp(base_name(e->members[i].argv[0]), name) == 0;
	sprintf(text, same > 1 ? "%s-%d" : "%s", name, same);
	return text;
}

static void add_member(struct evpipe *e, int argc, const char *const *argv)
{
	struct member *m;
	const char *name;

	if (!argc || !argv[0][0])
		opt_bad("a member is missing before or behind a '|'");
	e->members = mem_realloc(e->members, ((size_t)e->count + 1) * sizeof(*m));
	m = &e->members[e->count];
	*m = (struct member){.argv = mem_alloc(((size_t)argc + 1) * sizeof(*m->argv))};
	for (int i = 0; i < argc; i++)
		m->argv[i] = mem_dup(argv[i]);
	m->argv[argc] = NULL;
	name = base_name(m->argv[0]);
	m->name = unique_name(e, name);
	m->ours = find_program(name, m->argv);
	e->count++;
}

static bool is_kind(const struct member *m, enum program_kind kind)
{
	return m->ours && m->ours->kind == kind;
}

void cmdline_parse(struct evpipe *e, int argc, const char *const *argv)
{
	int start = 0;

	for (int i = 0; i <= argc; i++)
		if (i == argc || strcmp(argv[i], "|") == 0) {
			add_member(e, i - start, argv + start);
			start = i + 1;
		}
	if (e->count == 1 && !strpbrk(e->members[0].name, " |"))
		msg_warn("'%s' is the only member: a bar between members is quoted, '|'",
			e->members[0].name);
}

bool cmdline_has_source(const struct evpipe *e)
{
	return is_kind(&e->members[0], PROGRAM_SOURCE);
}

/* ---- what the first member is told of the others ---- */

/* False when the jq program has a word that may print nothing for a line, or more than one line. A
 * program in a file is not read. */
static bool jq_is_one_to_one(const struct member *m)
{
	static const char *const words[] = {"select", "empty", "limit", "first", "last", "until",
		"range", "inputs", "values", "[]", "?", "..", "try"};

	for (char **a = m->argv + 1; *a; a++) {
		if (strcmp(*a, "-f") == 0 || strcmp(*a, "--from-file") == 0 ||
			strcmp(*a, "-n") == 0 || strcmp(*a, "-s") == 0)
			return false;
		for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
			if (strstr(*a, words[i]))
				return false;
	}
	return true;
}

static bool hands_on_all(const struct member *m)
{
	const char *name = base_name(m->argv[0]);

	for (size_t i = 0; i < sizeof(one_to_one) / sizeof(*one_to_one); i++)
		if (strcmp(name, one_to_one[i]) == 0)
			return true;
	return strcmp(name, "jq") == 0 && jq_is_one_to_one(m);
}

/* In front of evack stands the sink itself: what it does not print back is not done. */
static bool is_sink(const struct evpipe *e, const struct member *m)
{
	return m == &e->members[e->count - 2] &&
		strcmp(m[1].ours ? m[1].ours->name : "", "evack") == 0;
}

const char *cmdline_sink(const struct evpipe *e)
{
	const struct member *last = &e->members[e->count - 1];

	/* With this word, literally, a sink is a filter. Other programs' options are not read. */
	for (char **a = last->argv; *a; a++)
		if (strcmp(*a, "--pass") == 0)
			return "";
	return is_kind(last, PROGRAM_SINK) ? last->ours->name : "";
}

void cmdline_foreign(const struct evpipe *e, struct buf *names)
{
	for (const struct member *m = e->members + 1; m < e->members + e->count - 1; m++)
		if (!m->ours && !hands_on_all(m) && !is_sink(e, m))
			buf_printf(names, "%s%s", names->len ? " " : "", base_name(m->argv[0]));
	buf_putc(names, '\0');
}
