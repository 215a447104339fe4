/* SPDX-License-Identifier: ISC */
/* The members' files in $EVPIPE_DIR are read when they are asked for and once a second. A member of
 * ours that lives rewrites its metrics once a second; where it cannot, since the file system is
 * full or gone, an old file says nothing of the member: we try a write of our own before we call it
 * stuck. */
#define _GNU_SOURCE
#include "evpipe/health.h"

#include "evpipe/directory.h"
#include "evpipe/ends.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/prom.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	STALE_MS = 5000, /* programs rewrite their files once a second */
	FILE_MAX = 16 << 20,
	PROBE_BYTES = 16 << 10, /* where it is not known how much a member writes */
};

/* A file of metrics, and what was seen of it over time. */
struct file {
	char name[128]; /* of the tool */
	struct buf text;
	ino_t inode;
	struct timespec mtime;
	int64_t changed_ms;
	int64_t down_ms; /* since when a peer is away; 0: none is */
	char peer[32]; /* which */
	double stalled; /* records */
};

struct health {
	struct file *files; /* of this run */
	size_t count;
	char disk[512]; /* why members cannot write their files; "": they can, as far as we know */
};

/* ---- reading the files ---- */

static struct file *file_named(struct health *s, const char *name, int64_t now_ms)
{
	struct file *f;

	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->files[i].name, name) == 0)
			return &s->files[i];
	s->files = mem_realloc(s->files, (s->count + 1) * sizeof(*f));
	f = &s->files[s->count++];
	*f = (struct file){.changed_ms = now_ms};
	snprintf(f->name, sizeof(f->name), "%s", name);
	return f;
}

static void judge(struct file *f, int64_t now_ms)
{
	struct span text = buf_as_span(&f->text), peer;
	struct prom_line line;
	bool down = false;

	f->stalled = 0;
	while (prom_next(&text, &line)) {
		if (line.kind != PROM_SAMPLE)
			continue;
		if (span_is(line.name, "evpipe_stalled_records")) {
			f->stalled += prom_value(&line);
		} else if (span_is(line.name, "evpipe_up") && prom_value(&line) == 0 && !down) {
			down = true;
			peer = prom_label(line.labels, "peer");
			snprintf(f->peer, sizeof(f->peer), "%.*s", (int)peer.len,
				peer.p ? peer.p : "");
		}
	}
	if (!down)
		f->down_ms = 0;
	else if (!f->down_ms)
		f->down_ms = now_ms;
}

static void read_file(struct health *s, int directory, const char *name, int64_t now_ms)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct file *f;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX) {
		char tool[sizeof(f->name)];

		snprintf(tool, sizeof(tool), "%.*s", (int)(strlen(name) - 5), name);
		f = file_named(s, tool, now_ms);
		buf_clear(&f->text);
		while ((n = read(fd, buf_room(&f->text, 65536), 65536)) > 0)
			f->text.len += (size_t)n;
		/* Told by a change, not by the clock, which may be set. */
		if (f->inode != st.st_ino || f->mtime.tv_sec != st.st_mtim.tv_sec ||
			f->mtime.tv_nsec != st.st_mtim.tv_nsec)
			f->changed_ms = now_ms;
		f->inode = st.st_ino;
		f->mtime = st.st_mtim;
		judge(f, now_ms);
	}
	close(fd);
}

static int is_metrics(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 5 && strcmp(d->d_name + n - 5, ".prom") == 0;
}

void health_scan(struct evpipe *e, int64_t now_ms)
{
	struct dirent **list;
	char path[4096];
	int n, fd;

	if (!e->directory)
		return;
	snprintf(path, sizeof(path), "%s/metrics", e->directory);
	n = scandir(path, &list, is_metrics, alphasort);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < n; i++) {
		if (fd >= 0)
			read_file(e->health, fd, list[i]->d_name, now_ms);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	if (fd >= 0)
		close(fd);
}

/* ---- what is said of it ---- */

static const struct member *member_named(const struct evpipe *e, const char *name)
{
	for (int i = 0; i < e->count; i++)
		if (strcmp(e->members[i].name, name) == 0)
			return &e->members[i];
	return NULL;
}

static bool has_file(const struct health *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->files[i].name, name) == 0)
			return true;
	return false;
}

/* Tries to write what a member writes once a second. Fills in the reason when that fails. */
static bool can_write(const struct evpipe *e, size_t bytes)
{
	struct health *h = e->health;
	char *path = mem_printf("%s/metrics/evpipe.%ld.try", e->directory, (long)getpid());
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	char *text = calloc(1, bytes);
	bool ok = fd >= 0 && text && write(fd, text, bytes) == (ssize_t)bytes;

	if (fd >= 0 && close(fd))
		ok = false;
	if (!ok)
		snprintf(h->disk, sizeof(h->disk), "cannot write to '%s/metrics': %s", e->directory,
			msg_errno(errno));
	if (fd >= 0)
		unlink(path);
	free(text);
	free(path);
	return ok;
}

static void file_causes(
	const struct evpipe *e, const struct file *f, int64_t now_ms, struct buf *causes)
{
	const struct member *m = member_named(e, f->name);

	/* The end of a member is a cause by itself; its file tells nothing more. */
	if (m && m->ended)
		return;
	if (f->down_ms && now_ms - f->down_ms >= e->grace_ms)
		buf_printf(causes, "%s: no connection to %s for %lld s\n", f->name, f->peer,
			(long long)((now_ms - f->down_ms) / 1000));
	if (f->stalled > 0)
		buf_printf(causes,
			"%s: %.0f records are stalled: a program behind it has not handed them on\n",
			f->name, f->stalled);
	if (now_ms - f->changed_ms > STALE_MS && can_write(e, f->text.len))
		buf_printf(causes, "%s: has not written its metrics for %lld s: stopped or stuck\n",
			f->name, (long long)((now_ms - f->changed_ms) / 1000));
}

static void member_causes(
	const struct evpipe *e, const struct member *m, int64_t now_ms, struct buf *causes)
{
	char how[128];

	member_describe(m, how, sizeof(how));
	if (!m->pid || (m->ended && member_failed(m)))
		buf_printf(causes, "%s: %s\n", m->name, how);
	else if (m->ours && !m->ended && !has_file(e->health, m->name) &&
		now_ms - e->start_ms > STALE_MS && can_write(e, PROBE_BYTES))
		buf_printf(causes, "%s: has not written its metrics\n", m->name);
}

void health_causes(const struct evpipe *e, int64_t now_ms, struct buf *causes)
{
	struct health *s = e->health;
	bool was_full = s->disk[0];

	if (!e->running) {
		buf_printf(causes, "%s; starting again\n", e->why);
		return;
	}
	s->disk[0] = '\0';
	for (int i = 0; i < e->count; i++)
		member_causes(e, &e->members[i], now_ms, causes);
	for (size_t i = 0; i < s->count; i++)
		file_causes(e, &s->files[i], now_ms, causes);
	if (s->disk[0] && !was_full)
		msg_warn("%s: metrics are old, and a member that is stuck is not seen", s->disk);
}

const char *health_disk(const struct evpipe *e)
{
	return e->health->disk;
}

static bool has_ready_file(const struct evpipe *e, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/ready/%s", e->directory, name);
	return access(path, F_OK) == 0;
}

/* Files that have gone with their directory tell nothing; members make theirs again once a
 * second. */
static bool has_lost_files(const struct evpipe *e, int64_t now_ms)
{
	return e->mended_ms && now_ms - e->mended_ms < STALE_MS;
}

void health_unready(const struct evpipe *e, int64_t now_ms, struct buf *who)
{
	const struct health *s = e->health;

	if (!e->running) {
		buf_printf(who, "%s; starting again\n", e->why);
		return;
	}
	if (e->step_ms && (e->stops || e->step != STOP_SOURCE))
		buf_puts(who, "the pipeline is stopping\n");
	if (e->ready_ms && has_lost_files(e, now_ms))
		return;
	for (int i = 0; i < e->count; i++) {
		const struct member *m = &e->members[i];

		if (m->ours && !has_ready_file(e, m->name))
			buf_printf(who, "%s is not ready\n", m->name);
	}
	for (size_t i = 0; i < s->count; i++)
		if (!member_named(e, s->files[i].name) && !has_ready_file(e, s->files[i].name))
			buf_printf(who, "%s is not ready\n", s->files[i].name);
}

bool health_members_ready(const struct evpipe *e)
{
	for (int i = 0; i < e->count; i++)
		if (e->members[i].ours && !has_ready_file(e, e->members[i].name))
			return false;
	return true;
}

/* ---- metrics ---- */

static void print_own(const struct evpipe *e, struct buf *b)
{
	metrics_print(b);
	buf_puts(b,
		"# HELP evpipe_member_up Whether the member runs.\n# TYPE evpipe_member_up gauge\n");
	for (int i = 0; i < e->count; i++) {
		const struct member *m = &e->members[i];

		buf_puts(b, "evpipe_member_up{");
		metrics_put_label(b, "pipeline", metrics_pipeline());
		metrics_put_label(b, "tool", m->name);
		buf_printf(b, "} %d\n", e->running && m->pid && !m->ended);
	}
}

void health_metrics(const struct evpipe *e, struct buf *out)
{
	struct health *s = e->health;
	struct prom merged = {0};
	struct buf own = {0};

	print_own(e, &own);
	prom_add(&merged, buf_as_span(&own));
	for (size_t i = 0; i < s->count; i++)
		prom_add(&merged, buf_as_span(&s->files[i].text));
	prom_print(&merged, out);
	prom_free(&merged);
	buf_free(&own);
}

/* ---- the whole ---- */

void health_open(struct evpipe *e)
{
	e->health = mem_alloc(sizeof(*e->health));
	*e->health = (struct health){0};
}

void health_run(struct evpipe *e)
{
	struct health *h = e->health;

	for (size_t i = 0; i < h->count; i++)
		buf_free(&h->files[i].text);
	free(h->files);
	*h = (struct health){0};
}
