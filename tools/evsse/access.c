/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "evsse/access.h"

#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct grant {
	char *token, *patterns; /* patterns: each NUL-ended, an empty one behind the last */
};

struct access {
	char *path, *cookie;
	struct stat seen;
	bool told; /* that it cannot be read */
	struct grant *grants;
	size_t count;
};

static void forget(struct access *a)
{
	while (a->count) {
		free(a->grants[--a->count].token);
		free(a->grants[a->count].patterns);
	}
}

static void take_line(struct access *a, char *line)
{
	struct buf patterns = {0};
	char *rest, *word;

	line[strcspn(line, "#\r\n")] = '\0';
	word = strtok_r(line, " \t", &rest);
	if (!word)
		return;
	a->grants = mem_realloc(a->grants, (a->count + 1) * sizeof(*a->grants));
	a->grants[a->count].token = mem_dup(word);
	while ((word = strtok_r(NULL, " \t", &rest)))
		buf_put(&patterns, word, strlen(word) + 1);
	if (patterns.len)
		buf_putc(&patterns, '\0');
	a->grants[a->count++].patterns = patterns.p;
}

/* Returns 0, or -1 with errno and the tokens as they were. */
static int read_file(struct access *a)
{
	FILE *file = fopen(a->path, "re");
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return -1;
	forget(a);
	fstat(fileno(file), &a->seen);
	while (getline(&line, &size, file) >= 0)
		take_line(a, line);
	free(line);
	fclose(file);
	return 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
		a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void look(struct access *a)
{
	struct stat now;

	if (stat(a->path, &now) == 0 && (is_same(&now, &a->seen) || read_file(a) == 0)) {
		a->told = false;
		return;
	}
	if (!a->told)
		msg_warn("cannot read the tokens in '%s': %s; those that it had are valid", a->path,
			msg_errno(errno));
	a->told = true;
}

struct access *access_open(const char *path, const char *cookie)
{
	struct access *a;

	if (!path)
		return NULL;
	a = mem_alloc(sizeof(*a));
	*a = (struct access){.path = mem_dup(path), .cookie = mem_dup(cookie)};
	if (read_file(a))
		die(msg_errno_status(errno), "cannot read the tokens in '%s': %s", path,
			msg_errno(errno));
	if (!a->count)
		msg_warn("'%s' has no token: nobody may read", path);
	return a;
}

void access_close(struct access *a)
{
	if (!a)
		return;
	forget(a);
	free(a->grants);
	free(a->path);
	free(a->cookie);
	free(a);
}

/* Takes the same time wherever the two differ. */
static bool is_equal(const char *token, const char *shown)
{
	size_t n = strlen(token);
	unsigned char differ = 0;

	if (strlen(shown) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		differ |= (unsigned char)(token[i] ^ shown[i]);
	return !differ;
}

static const struct grant *find(const struct access *a, const char *shown)
{
	const struct grant *found = NULL;

	for (size_t i = 0; i < a->count && shown; i++)
		if (is_equal(a->grants[i].token, shown))
			found = &a->grants[i];
	return found;
}

bool access_check(struct access *a, const struct http_request *r, const char **patterns)
{
	const char *bearer = http_header(r, "Authorization");
	const struct grant *g;

	*patterns = NULL;
	if (!a)
		return true;
	look(a);
	bearer = bearer && strncasecmp(bearer, "Bearer ", 7) == 0 ? bearer + 7 : NULL;
	g = find(a, bearer);
	if (!g)
		g = find(a, http_cookie(r, a->cookie));
	if (!g)
		g = find(a, http_query(r, "token"));
	if (g)
		*patterns = g->patterns;
	return g != NULL;
}
