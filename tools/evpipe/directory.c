/* SPDX-License-Identifier: ISC */
/* The directory of a run: made anew for each, so that no program of an earlier run can meet one of
 * this run in it. With -d it is DIR/run.XXXXXX, and DIR/current is a link to the last one. */
#define _GNU_SOURCE
#include "evpipe/directory.h"

#include "evpipe/cmdline.h"

#include "base/child.h"
#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The variable may be inherited from another user, by sudo -E or su: the owner of a directory, and
 * whoever may write there, can replace what is in it. */
static bool is_own_directory(const char *path)
{
	struct stat st;

	return *path == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
		st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)) &&
		access(path, W_OK | X_OK) == 0;
}

/* Trouble that passes by itself; a path that cannot be used does not. */
static int status_of(int error)
{
	return msg_errno_is_limit(error) || error == ENOSPC || error == EDQUOT || error == ENOMEM ||
			error == EIO
		? EXIT_TEMP
		: EXIT_PERM;
}

static int fail(struct trouble *why, const char *what, const char *path)
{
	return trouble_set(
		why, status_of(errno), "cannot %s '%s': %s", what, path, msg_errno(errno));
}

/* The lock is held until evpipe ends. It is taken anew when the file at its path is another one:
 * then the directory was removed and made again. */
static int take_lock(struct evpipe *e, const char *path, struct trouble *why)
{
	char *lock = mem_printf("%s/lock", e->parent);
	struct stat ours, now;
	int ret = 0;

	if (e->lock_fd >= 0 && fstat(e->lock_fd, &ours) == 0 && lstat(lock, &now) == 0 &&
		ours.st_dev == now.st_dev && ours.st_ino == now.st_ino) {
		free(lock);
		return 0;
	}
	if (e->lock_fd >= 0)
		close(e->lock_fd);
	e->lock_fd = open(lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (e->lock_fd < 0) {
		ret = fail(why, "open", lock);
	} else if (flock(e->lock_fd, LOCK_EX | LOCK_NB)) {
		ret = trouble_set(why, EXIT_PERM, "the directory '%s' is another evpipe's", path);
		close(e->lock_fd);
		e->lock_fd = -1;
	}
	free(lock);
	return ret;
}

static int keep_parent(struct evpipe *e, const char *path, struct trouble *why)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return fail(why, "make the directory", path);
	if (!e->parent)
		e->parent = realpath(path, NULL);
	if (!e->parent)
		return fail(why, "use the directory", path);
	return take_lock(e, path, why);
}

/* $XDG_RUNTIME_DIR may vanish while we run: logind removes it when the user logs out. */
static void choose_parent(struct evpipe *e)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	bool usable = runtime && is_own_directory(runtime);
	const char *parent = usable ? runtime : "/tmp";

	if (e->parent && strcmp(e->parent, parent) == 0)
		return;
	if (e->parent)
		msg_warn("the unit's directory is in '%s' from now on: '%s' has gone", parent,
			e->parent);
	else if (runtime && *runtime && !usable)
		msg_info("XDG_RUNTIME_DIR '%s' is no directory of this user's alone; /tmp is used",
			runtime);
	free(e->parent);
	e->parent = mem_dup(parent);
}

int directory_open(struct evpipe *e, const char *parent, struct trouble *why)
{
	e->lock_fd = -1;
	e->keep = parent != NULL;
	if (parent)
		return keep_parent(e, parent, why);
	choose_parent(e);
	return 0;
}

/* Points DIR/current to the new run, and removes the run that it named. */
static int replace_current(const struct evpipe *e, struct trouble *why)
{
	char *link = mem_printf("%s/current", e->parent),
	     *fresh = mem_printf("%s/current.new", e->parent);
	char target[64];
	ssize_t n = readlink(link, target, sizeof(target) - 1);
	int ret = 0;

	unlink(fresh);
	if (symlink(strrchr(e->directory, '/') + 1, fresh) || rename(fresh, link))
		ret = trouble_set(
			why, EXIT_TEMP, "cannot make the link '%s': %s", link, msg_errno(errno));
	else if (n > 0) {
		char *old;

		target[n] = '\0';
		old = mem_printf("%s/%s", e->parent, target);
		if (strncmp(target, "run.", 4) == 0 && !strchr(target, '/'))
			child_remove(old);
		free(old);
	}
	free(link);
	free(fresh);
	return ret;
}

/* For each pipeline, whatever its members: a source may stand behind `nice` or in a script. */
static int set_ack(const struct evpipe *e, struct trouble *why)
{
	char *ack = mem_printf("%s/ack", e->directory);
	bool fits = strlen(ack) < sizeof(((struct sockaddr_un *)NULL)->sun_path);
	int ret = 0;

	if (!fits && cmdline_has_source(e))
		ret = trouble_set(why, EXIT_PERM,
			"the path '%s' is too long for a socket; use a shorter -d", ack);
	if (fits)
		setenv("EVPIPE_ACK", ack, 1);
	else
		unsetenv("EVPIPE_ACK");
	free(ack);
	return ret;
}

static const char *const parts[] = {"metrics", "ready"};

/* Returns the path of the part that cannot be made, for the caller to free, and errno; NULL when
 * all are there. */
static char *make_parts(const char *directory)
{
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		char *part = mem_printf("%s/%s", directory, parts[i]);

		if (mkdir(part, 0700) && errno != EEXIST)
			return part;
		free(part);
	}
	return NULL;
}

static int make_directory(struct evpipe *e, struct trouble *why)
{
	char *path = e->keep ? mem_printf("%s/run.XXXXXX", e->parent)
			     : mem_printf("%s/evpipe-%s.XXXXXX", e->parent, e->name),
	     *part;

	/* Mode 0700. */
	if (!mkdtemp(path)) {
		trouble_set(why, EXIT_TEMP, "cannot make a directory in '%s': %s", e->parent,
			msg_errno(errno));
		free(path);
		return -1;
	}
	e->directory = path;
	part = make_parts(path);
	if (part)
		trouble_set(why, EXIT_TEMP, "cannot make the directory '%s': %s", part,
			msg_errno(errno));
	free(part);
	return part ? -1 : 0;
}

int directory_make(struct evpipe *e, struct trouble *why)
{
	if (!e->keep)
		choose_parent(e);
	else if (keep_parent(e, e->parent, why))
		return -1;
	if (make_directory(e, why) || (e->keep && replace_current(e, why)) || set_ack(e, why)) {
		if (e->directory)
			child_remove(e->directory);
		free(e->directory);
		e->directory = NULL;
		return -1;
	}
	setenv("EVPIPE_DIR", e->directory, 1);
	/* evbatch's commands have no EVPIPE_DIR. */
	setenv("EVPIPE_RUN", e->directory, 1);
	return 0;
}

bool directory_mend(struct evpipe *e, int64_t now_ms)
{
	char *ready = e->directory ? mem_printf("%s/ready", e->directory) : NULL, *part;
	bool gone = ready && access(ready, F_OK) && (errno == ENOENT || errno == ENOTDIR);

	free(ready);
	if (!gone)
		return false;
	e->mended_ms = now_ms;
	if (e->keep)
		mkdir(e->parent, 0700);
	/* Not one that another user has made. */
	if (mkdir(e->directory, 0700) && (errno != EEXIST || !is_own_directory(e->directory)))
		return false;
	part = make_parts(e->directory);
	free(part);
	return !part;
}

void directory_mark_stopping(const struct evpipe *e)
{
	char *path = e->directory ? mem_printf("%s/stopping", e->directory) : NULL;
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;

	if (fd >= 0)
		close(fd);
	free(path);
}

void directory_leave(struct evpipe *e)
{
	if (e->directory && !e->keep)
		child_remove(e->directory);
	free(e->directory);
	e->directory = NULL;
}
