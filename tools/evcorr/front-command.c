/* SPDX-License-Identifier: ISC */
/* CMD takes requests as long as it has room, also when its server is away. Where it is a program of
 * ours, such as kwrite, its metrics tell: it writes them into a directory that we give it, as
 * evpipe does with its members. */
#include "evcorr/front.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/prom.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOK_MS = 1000 };

static void make_directory(const char *directory, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (mkdir(path, 0700))
		die(EXIT_TEMP, "cannot make the directory '%s': %s", path, msg_errno(errno));
}

/* Appends the file. */
static void read_file(int directory, const char *name, struct buf *text)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while (fd >= 0 && (n = read(fd, buf_room(text, 16 << 10), 16 << 10)) > 0)
		text->len += (size_t)n;
	if (fd >= 0)
		close(fd);
}

static bool is_metrics(const char *name)
{
	size_t n = strlen(name);

	return name[0] != '.' && n > 5 && strcmp(name + n - 5, ".prom") == 0;
}

static void read_metrics(struct front_command *c)
{
	char path[300];
	const struct dirent *entry;
	DIR *dir;

	buf_clear(&c->metrics);
	snprintf(path, sizeof(path), "%s/metrics", c->directory);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		if (is_metrics(entry->d_name))
			read_file(dirfd(dir), entry->d_name, &c->metrics);
	if (dir)
		closedir(dir);
}

int front_command_look(struct front_command *c, int64_t now_ms)
{
	struct prom_line line;
	struct span rest;

	if (now_ms < c->look_ms)
		return (int)(c->look_ms - now_ms);
	c->look_ms = now_ms + LOOK_MS;
	read_metrics(c);
	c->away = false;
	rest = buf_as_span(&c->metrics);
	while (prom_next(&rest, &line))
		if (line.kind == PROM_SAMPLE && span_is(line.name, "evpipe_up") &&
			prom_value(&line) == 0)
			c->away = true;
	return LOOK_MS;
}

void front_command_open(struct front_command *c)
{
	const char *in = getenv("XDG_RUNTIME_DIR");
	char path[200];

	snprintf(path, sizeof(path), "%s/evcorr-http.XXXXXX",
		in && access(in, W_OK) == 0 && strlen(in) < 100 ? in : "/tmp");
	if (!mkdtemp(path))
		die(EXIT_TEMP, "cannot make the directory '%s': %s", path, msg_errno(errno));
	c->directory = mem_dup(path);
	child_remove_at_end(path);
	make_directory(path, "metrics");
	make_directory(path, "ready");
}
