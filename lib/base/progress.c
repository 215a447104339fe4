/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/progress.h"

#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	STEP_MS = 1000,
	SINK_FIRST_MS = 3000, /* a source in the same pipeline knows more, and is first */
	WIDTH = 80,
};

static struct {
	enum progress_kind kind;
	int fd; /* the terminal, without waiting; -1: nothing is shown */
	bool prints, is_shared, has_looked, is_owner, is_shown;
	progress_fn *more;
	void *ctx;
	int64_t start_ms, tick_ms, moved_ms;
	uint64_t records, per_second;
	struct buf text, shown;
} self = {.fd = -1};

/* ---- the terminal ---- */

static void put(const char *text, size_t n)
{
	if (write(self.fd, text, n) < 0) {
		/* A terminal that takes nothing shows nothing. */
	}
}

static void erase(void)
{
	if (!self.is_shown)
		return;
	self.is_shown = false;
	put("\r\033[K", 4);
}

/* A program in the background would draw over what the user types. */
static bool is_in_front(void)
{
	return tcgetpgrp(self.fd) == getpgrp();
}

/* Of the programs of one pipeline one draws. The lock goes with the process. */
static bool own_terminal(bool own)
{
	struct flock lock = {.l_type = own ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET};

	return fcntl(self.fd, F_SETLK, &lock) == 0;
}

/* ---- who else prints on it ---- */

static bool is_on_terminal(int pid, const char *terminal)
{
	char path[64], link[256];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/1", pid);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = '\0';
	return strcmp(link, terminal) == 0;
}

struct process {
	char name[32];
	int parent, group;
};

static bool read_process(int pid, struct process *p)
{
	char path[64], stat[512], *name, *end;
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	n = fread(stat, 1, sizeof(stat) - 1, file);
	fclose(file);
	stat[n] = '\0';
	name = strchr(stat, '(');
	end = strrchr(stat, ')');
	if (!name || !end || sscanf(end + 1, " %*c %d %d", &p->parent, &p->group) != 2)
		return false;
	snprintf(p->name, sizeof(p->name), "%.*s", (int)(end - name - 1), name + 1);
	return true;
}

/* The shell that runs a script prints nothing meanwhile. */
static bool is_ancestor(int pid)
{
	struct process p;
	int above = getppid();

	while (above > 1 && above != pid && read_process(above, &p))
		above = p.parent;
	return above == pid;
}

/* Whether the process is of our pipeline, as a shell starts it, and no sink, which prints
 * nothing. */
static bool may_print(int pid)
{
	static const char *const silent[] = {"kwrite", "rpub", "rapply", NULL};
	struct process p;

	if (!read_process(pid, &p) || p.group != getpgrp() || is_ancestor(pid))
		return false;
	for (const char *const *s = silent; *s; s++)
		if (strcmp(p.name, *s) == 0)
			return false;
	return true;
}

/* Once, since a shell starts all programs of a line at the same time. */
static bool others_print(void)
{
	char terminal[256];
	ssize_t n = readlink("/proc/self/fd/2", terminal, sizeof(terminal) - 1);
	DIR *proc = n < 0 ? NULL : opendir("/proc");
	struct dirent *e;
	bool found = false;

	if (!proc)
		return true;
	terminal[n] = '\0';
	while (!found && (e = readdir(proc))) {
		int pid = (int)strtol(e->d_name, NULL, 10);

		found = pid > 0 && pid != getpid() && is_on_terminal(pid, terminal) &&
			may_print(pid);
	}
	closedir(proc);
	return found;
}

/* ---- the line ---- */

static void make_text(void)
{
	const char *down = metrics_down();
	struct buf *b = &self.text;

	buf_clear(b);
	buf_printf(b, "%s: %" PRIu64 " record%s %s", msg_prog(), self.records,
		self.records == 1 ? "" : "s", self.kind == PROGRESS_READ ? "read" : "written");
	if (self.per_second)
		buf_printf(b, ", %" PRIu64 "/s", self.per_second);
	if (!(self.more && self.more(self.ctx, b, self.per_second)) && down)
		buf_printf(b, ", waiting for %s", down);
	buf_putc(b, '\0');
	msg_clean(b->p);
	b->len = strlen(b->p);
}

static void show(void)
{
	struct winsize size = {0};
	struct buf line = {0};
	size_t width = WIDTH;

	make_text();
	if (ioctl(self.fd, TIOCGWINSZ, &size) == 0 && size.ws_col)
		width = size.ws_col;
	/* The last column would make some terminals begin a new line. */
	if (self.text.len >= width)
		self.text.len = width - 1;
	if (self.is_shown && self.shown.len == self.text.len &&
		memcmp(self.shown.p, self.text.p, self.text.len) == 0)
		return;
	buf_puts(&line, "\r");
	buf_span(&line, buf_as_span(&self.text));
	buf_puts(&line, "\033[K");
	put(line.p, line.len);
	buf_free(&line);
	buf_clear(&self.shown);
	buf_span(&self.shown, buf_as_span(&self.text));
	self.is_shown = true;
}

/* ---- what programs call ---- */

static void before_message(void)
{
	erase();
}

void progress_open(enum progress_kind kind, bool prints, bool reads)
{
	const char *dir = getenv("EVPIPE_DIR"), *term = getenv("TERM");

	self.kind = kind;
	self.prints = prints;
	self.start_ms = self.tick_ms = self.moved_ms = wake_now_ms();
	if (!msg_is_for_people() || (dir && *dir) || !isatty(STDERR_FILENO) || !term || !*term ||
		strcmp(term, "dumb") == 0 || (reads && isatty(STDIN_FILENO)))
		return;
	self.fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (self.fd >= 0)
		msg_before(before_message);
}

void progress_more(progress_fn *fn, void *ctx)
{
	self.more = fn;
	self.ctx = ctx;
}

static void look(void)
{
	if (self.has_looked)
		return;
	self.has_looked = true;
	self.is_shared = (self.prints && isatty(STDOUT_FILENO)) || others_print();
}

void progress_tick(int64_t now_ms, uint64_t records)
{
	int64_t passed_ms = now_ms - self.tick_ms;
	bool is_late =
		now_ms - self.start_ms >= (self.kind == PROGRESS_READ ? STEP_MS : SINK_FIRST_MS);

	if (self.fd < 0 || passed_ms < STEP_MS)
		return;
	self.per_second = (records - self.records) * 1000 / (uint64_t)passed_ms;
	if (records != self.records)
		self.moved_ms = now_ms;
	self.records = records;
	self.tick_ms = now_ms;
	look();
	if (!is_in_front()) {
		self.is_shown = false;
		self.is_owner = self.is_owner && !own_terminal(false);
		return;
	}
	if (!is_late || (self.is_shared && self.moved_ms == now_ms))
		return;
	if (!self.is_owner)
		self.is_owner = own_terminal(true);
	if (self.is_owner)
		show();
}

int progress_timeout_ms(int64_t now_ms)
{
	int64_t ms = self.tick_ms + STEP_MS - now_ms;

	return self.fd < 0 ? -1 : ms < 0 ? 0 : (int)ms;
}

void progress_print(void)
{
	if (self.is_shown && self.is_shared)
		erase();
}

void progress_close(uint64_t records)
{
	int64_t tenths = (wake_now_ms() - self.start_ms + 50) / 100;

	erase();
	msg_info("%" PRIu64 " record%s %s in %" PRId64 ".%d s", records, records == 1 ? "" : "s",
		self.kind == PROGRESS_READ ? "read" : "written", tenths / 10, (int)(tenths % 10));
	if (self.fd >= 0)
		close(self.fd);
	self.fd = -1;
	buf_free(&self.text);
	buf_free(&self.shown);
}
