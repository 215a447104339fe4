/* SPDX-License-Identifier: ISC */
/* A process that has lost its parent becomes ours (PR_SET_CHILD_SUBREAPER), so all that the members
 * have left are among our descendants. So may be what a shell had started before it became evpipe
 * by `exec`: a process belongs to a run if its environment has $EVPIPE_RUN, with another value than
 * ours. A daemon that is to live on is started without the variable. */
#define _GNU_SOURCE
#include "evpipe/strays.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/msg.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	ALONE_MS = 100, /* the time to end by itself, as when its pipes have gone */
	TERM_MS = 1000, /* then SIGKILL */
	GIVE_UP_MS = 5000,
	ENVIRONMENT_MAX = 4 << 20,
};

struct process {
	pid_t pid, parent;
	char state;
	char name[16];
	bool ours;
};

static char *inherited; /* our own $EVPIPE_RUN, of the pipeline that this evpipe is a member of */

void strays_open(void)
{
	const char *run = getenv("EVPIPE_RUN");

	inherited = run ? mem_dup(run) : NULL;
}

static bool read_all(pid_t pid, const char *name, struct buf *b)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	buf_clear(b);
	while (b->len < ENVIRONMENT_MAX && (n = read(fd, buf_room(b, 16384), 16384)) > 0)
		b->len += (size_t)n;
	close(fd);
	buf_putc(b, '\0');
	return true;
}

/* Its line is "PID (NAME) STATE PARENT …", where NAME may be any text. */
static bool read_process(pid_t pid, struct process *p, struct buf *b)
{
	char *open, *close;
	long parent;

	if (!read_all(pid, "stat", b))
		return false;
	open = strchr(b->p, '(');
	close = strrchr(b->p, ')');
	*p = (struct process){.pid = pid};
	if (!open || !close || sscanf(close + 1, " %c %ld", &p->state, &parent) != 2)
		return false;
	*close = '\0';
	snprintf(p->name, sizeof(p->name), "%s", open + 1);
	p->parent = (pid_t)parent;
	return true;
}

static bool is_of_run(pid_t pid, struct buf *b)
{
	static const char name[] = "EVPIPE_RUN=";

	if (!read_all(pid, "environ", b))
		return false;
	for (const char *s = b->p; s < b->p + b->len; s += strlen(s) + 1)
		if (strncmp(s, name, sizeof(name) - 1) == 0)
			return !inherited || strcmp(s + sizeof(name) - 1, inherited) != 0;
	return false;
}

/* All processes, for the caller to free. */
static struct process *list_all(size_t *count, struct buf *b)
{
	DIR *directory = opendir("/proc");
	struct process *all = NULL, p;
	const struct dirent *d;

	*count = 0;
	while (directory && (d = readdir(directory))) {
		long pid = atol(d->d_name);

		if (pid <= 0 || !read_process((pid_t)pid, &p, b))
			continue;
		if (!(*count & (*count - 1)))
			all = mem_realloc(all, (*count ? *count * 2 : 1) * sizeof(*all));
		all[(*count)++] = p;
	}
	if (directory)
		closedir(directory);
	return all;
}

/* Marks our descendants, generation by generation. */
static void mark(struct process *all, size_t count)
{
	pid_t self = getpid();
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < count; i++) {
			bool found = all[i].parent == self;

			for (size_t j = 0; j < count && !found && !all[i].ours; j++)
				found = all[j].ours && all[j].pid == all[i].parent;
			more = more || (found && !all[i].ours);
			all[i].ours = all[i].ours || found;
		}
	}
}

/* Sends @sig to each stray and appends their names. Returns how many there are. */
static int send(int sig, struct buf *names)
{
	struct buf b = {0};
	struct process *all;
	size_t count;
	int n = 0;

	all = list_all(&count, &b);
	mark(all, count);
	for (size_t i = 0; i < count; i++) {
		if (!all[i].ours || all[i].state == 'Z' || !is_of_run(all[i].pid, &b) ||
			kill(all[i].pid, sig))
			continue;
		if (sig)
			kill(all[i].pid, SIGCONT);
		buf_printf(names, "%s%s (%ld)", n++ ? ", " : "", all[i].name, (long)all[i].pid);
	}
	free(all);
	buf_free(&b);
	return n;
}

bool strays_ended(struct evpipe *e, int64_t now_ms)
{
	int64_t since_ms = e->strays_ms ? now_ms - e->strays_ms : 0;
	bool is_due = !e->strays_told && (since_ms >= ALONE_MS || e->stops > 1);
	struct buf names = {0};
	bool none;

	/* Whoever has no child has no descendant. */
	if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
		return true;
	if (!e->strays_ms)
		e->strays_ms = now_ms;
	none = !send(is_due ? SIGTERM : since_ms >= TERM_MS ? SIGKILL : 0, &names);
	buf_putc(&names, '\0');
	if (is_due && !none) {
		e->strays_told = true;
		msg_warn("members have left processes, which are ended: %s", names.p);
	} else if (!none && since_ms > GIVE_UP_MS) {
		msg_error("processes that members have left do not end: %s", names.p);
		none = true;
	}
	buf_free(&names);
	return none;
}
