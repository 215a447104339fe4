/* SPDX-License-Identifier: ISC */
/* The directory of a run: made anew for each, so that no program of an earlier run can meet one of this
 * run in it. With -d it is DIR/run.XXXXXX, and DIR/current is a link to the last one. */
#define _GNU_SOURCE
#include "evpipe/directory.h"

#include "evpipe/cmdline.h"

#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

static void remove_all(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The variable may be inherited from another user, by sudo -E or su: the owner of a directory, and whoever may write
 * there, can replace what is in it. */
static bool is_own_directory(const char *path)
{
	struct stat st;

	return *path == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
		st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)) &&
		access(path, W_OK | X_OK) == 0;
}

void directory_open(struct evpipe *e, const char *parent)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char *lock;
	int fd;

	e->keep = parent != NULL;
	if (!parent) {
		bool usable = runtime && is_own_directory(runtime);

		if (runtime && *runtime && !usable)
			msg_info(
				"XDG_RUNTIME_DIR '%s' is no directory of this user's alone; /tmp is used",
				runtime);
		e->parent = mem_dup(usable ? runtime : "/tmp");
		return;
	}
	if (mkdir(parent, 0700) && errno != EEXIST)
		die(EXIT_PERM, "cannot make the directory '%s': %s", parent, strerror(errno));
	e->parent = realpath(parent, NULL);
	if (!e->parent)
		die(EXIT_PERM, "cannot use the directory '%s': %s", parent, strerror(errno));
	lock = mem_printf("%s/lock", e->parent);
	fd = open(lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		die(EXIT_PERM, "cannot open '%s': %s", lock, strerror(errno));
	/* The lock is held until evpipe ends. */
	if (flock(fd, LOCK_EX | LOCK_NB))
		die(EXIT_PERM, "the directory '%s' is another evpipe's", parent);
	free(lock);
}

/* Points DIR/current to the new run, and removes the run that it named. */
static void replace_current(const struct evpipe *e)
{
	char *link = mem_printf("%s/current", e->parent),
	     *fresh = mem_printf("%s/current.new", e->parent);
	char target[64];
	ssize_t n = readlink(link, target, sizeof(target) - 1);

	unlink(fresh);
	if (symlink(strrchr(e->directory, '/') + 1, fresh) || rename(fresh, link))
		die(EXIT_TEMP, "cannot make the link '%s': %s", link, strerror(errno));
	if (n > 0) {
		char *old;

		target[n] = '\0';
		old = mem_printf("%s/%s", e->parent, target);
		if (strncmp(target, "run.", 4) == 0 && !strchr(target, '/'))
			remove_all(old);
		free(old);
	}
	free(link);
	free(fresh);
}

/* For each pipeline, whatever its members: a source may stand behind `nice` or in a script. */
static void set_ack(const struct evpipe *e)
{
	char *ack = mem_printf("%s/ack", e->directory);
	bool fits = strlen(ack) < sizeof(((struct sockaddr_un *)NULL)->sun_path);

	if (!fits && cmdline_has_source(e))
		die(EXIT_PERM, "the path '%s' is too long for a socket; use a shorter -d", ack);
	if (fits)
		setenv("EVPIPE_ACK", ack, 1);
	else
		unsetenv("EVPIPE_ACK");
	free(ack);
}

void directory_make(struct evpipe *e)
{
	static const char *const parts[] = {"metrics", "ready"};
	char *path = e->keep ? mem_printf("%s/run.XXXXXX", e->parent)
			     : mem_printf("%s/evpipe-%s.XXXXXX", e->parent, e->name);

	/* Mode 0700. */
	if (!mkdtemp(path))
		die(EXIT_TEMP, "cannot make a directory in '%s': %s", e->parent, strerror(errno));
	e->directory = path;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		char *part = mem_printf("%s/%s", path, parts[i]);

		if (mkdir(part, 0700))
			die(EXIT_TEMP, "cannot make the directory '%s': %s", part, strerror(errno));
		free(part);
	}
	if (e->keep)
		replace_current(e);
	setenv("EVPIPE_DIR", path, 1);
	set_ack(e);
}

void directory_leave(struct evpipe *e)
{
	if (e->directory && !e->keep)
		remove_all(e->directory);
	free(e->directory);
	e->directory = NULL;
}
