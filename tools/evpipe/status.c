/* SPDX-License-Identifier: ISC */
/* Metrics, health and readiness of the members, from the files that they keep in $EVPIPE_DIR; served over HTTP,
 * and told by --ready-fd, --metrics and to a service manager. */
#define _GNU_SOURCE
#include "evpipe/status.h"

#include "evpipe/ends.h"

#include "base/mem.h"
#include "base/msg.h"
#include "http/http.h"
#include "base/metrics.h"
#include "base/prom.h"
#include "base/wake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	SCAN_MS = 1000,
	STALE_MS = 5000, /* programs rewrite their files once a second */
	FILE_MAX = 16 << 20,
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

struct status {
	struct http *http;
	bool scanning, ready_fd;
	int inotify;
	int notify; /* the service manager's socket, -1 none */
	struct sockaddr_un manager;
	socklen_t manager_len;
	char reported[512]; /* to the manager, last */
	bool was_ready, ready;
	int64_t scan_ms; /* the next */
	struct file *files; /* of this run */
	size_t count;
};

static struct evpipe *self; /* for metrics_print_with */

/* ---- reading the files ---- */

static struct file *file_named(struct status *s, const char *name, int64_t now_ms)
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

static void read_file(struct status *s, int directory, const char *name, int64_t now_ms)
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

static void scan(struct evpipe *e, int64_t now_ms)
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
			read_file(e->status, fd, list[i]->d_name, now_ms);
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

static bool has_file(const struct status *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->files[i].name, name) == 0)
			return true;
	return false;
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
	if (now_ms - f->changed_ms > STALE_MS)
		buf_printf(causes, "%s: has not written its metrics for %lld s: stopped or stuck\n",
			f->name, (long long)((now_ms - f->changed_ms) / 1000));
}

/* One line a cause; nothing when all is well. */
static void find_causes(const struct evpipe *e, int64_t now_ms, struct buf *causes)
{
	const struct status *s = e->status;

	if (!e->running) {
		buf_printf(causes, "%s; starting again\n", e->why);
		return;
	}
	for (int i = 0; i < e->count; i++) {
		const struct member *m = &e->members[i];
		char how[128];

		member_describe(m, how, sizeof(how));
		if (!m->pid || (m->ended && member_failed(m)))
			buf_printf(causes, "%s: %s\n", m->name, how);
		else if (m->ours && !m->ended && !has_file(s, m->name) &&
			now_ms - e->start_ms > STALE_MS)
			buf_printf(causes, "%s: has not written its metrics\n", m->name);
	}
	for (size_t i = 0; i < s->count; i++)
		file_causes(e, &s->files[i], now_ms, causes);
}

static bool has_ready_file(const struct evpipe *e, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/ready/%s", e->directory, name);
	return access(path, F_OK) == 0;
}

/* One line a program that is not ready: members of ours, and programs of ours in a script. */
static void find_unready(const struct evpipe *e, struct buf *who)
{
	const struct status *s = e->status;

	if (!e->running) {
		buf_printf(who, "%s; starting again\n", e->why);
		return;
	}
	if (e->step_ms && (e->stops || e->step != STOP_SOURCE))
		buf_puts(who, "the pipeline is stopping\n");
	for (int i = 0; i < e->count; i++) {
		const struct member *m = &e->members[i];

		if (m->ours && !has_ready_file(e, m->name))
			buf_printf(who, "%s is not ready\n", m->name);
	}
	for (size_t i = 0; i < s->count; i++)
		if (!member_named(e, s->files[i].name) && !has_ready_file(e, s->files[i].name))
			buf_printf(who, "%s is not ready\n", s->files[i].name);
}

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

static void print_metrics(struct buf *out)
{
	struct status *s = self->status;
	struct prom merged = {0};
	struct buf own = {0};

	scan(self, wake_now_ms());
	print_own(self, &own);
	prom_add(&merged, buf_as_span(&own));
	for (size_t i = 0; i < s->count; i++)
		prom_add(&merged, buf_as_span(&s->files[i].text));
	prom_print(&merged, out);
	prom_free(&merged);
	buf_free(&own);
}

/* ---- to whom ---- */

static void on_metrics(void *at, struct buf *out)
{
	(void)at;
	print_metrics(out);
}

static void on_health(void *at, struct buf *causes)
{
	int64_t now_ms = wake_now_ms();

	scan(at, now_ms);
	find_causes(at, now_ms, causes);
}

static void on_readiness(void *at, struct buf *causes)
{
	scan(at, wake_now_ms());
	find_unready(at, causes);
}

/* In words: these paths are for people and probes. */
static void on_error(void *at, struct http_request *r, int status, const char *message)
{
	bool reads = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
	struct buf text = {0};

	(void)at;
	(void)message;
	if (status == 404 && !reads)
		http_set_header(r, "Allow", "GET, HEAD");
	buf_puts(&text,
		reads ? "there are /metrics, /healthz and /readyz\n"
		      : "only GET and HEAD are answered\n");
	http_reply(r, reads ? status : 405, "text/plain; charset=utf-8", &text);
}

/* sd_notify(3), without its library. */
static void notify(struct status *s, const char *state, struct span text)
{
	struct buf b = {0};
	size_t line = 0;

	while (line < text.len && text.p[line] != '\n')
		line++;
	buf_printf(&b, "%sSTATUS=%.*s\n", state, (int)(line < 300 ? line : 300), text.p);
	buf_putc(&b, '\0');
	if (s->notify >= 0 && strcmp(b.p, s->reported) != 0) {
		snprintf(s->reported, sizeof(s->reported), "%s", b.p);
		if (sendto(s->notify, b.p, b.len - 1, MSG_NOSIGNAL | MSG_DONTWAIT,
			    (struct sockaddr *)&s->manager, s->manager_len) < 0)
			msg_warn("cannot write to $NOTIFY_SOCKET: %s", strerror(errno));
	}
	buf_free(&b);
}

static void tell(struct evpipe *e, int64_t now_ms)
{
	struct status *s = e->status;
	struct buf text = {0};
	const char *state = "";

	find_unready(e, &text);
	s->ready = !text.len;
	metrics_set_ready(s->ready);
	if (s->ready && !s->was_ready) {
		msg_info("ready");
		s->was_ready = true;
		state = "READY=1\n";
	}
	if (e->stops) {
		state = "STOPPING=1\n";
	} else if (s->ready) {
		find_causes(e, now_ms, &text);
		if (!text.len)
			buf_puts(&text, "running");
	}
	notify(s, state, buf_as_span(&text));
	buf_free(&text);
}

/* ---- the loop's view ---- */

static void open_manager(struct status *s)
{
	const char *path = getenv("NOTIFY_SOCKET");

	s->notify = -1;
	if (!path || (*path != '/' && *path != '@'))
		return;
	s->manager.sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(s->manager.sun_path))
		die(EXIT_PERM, "$NOTIFY_SOCKET is longer than a socket's path can be");
	memcpy(s->manager.sun_path, path, strlen(path));
	s->manager_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (*path == '@')
		s->manager.sun_path[0] = '\0';
	s->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s->notify < 0)
		die(EXIT_TEMP, "cannot make a socket: %s", strerror(errno));
	/* It is not the members' to write to. */
	unsetenv("NOTIFY_SOCKET");
}

void status_open(struct evpipe *e, bool ready_fd, bool metrics_file)
{
	struct status *s = mem_alloc(sizeof(*s));

	*s = (struct status){.inotify = -1};
	self = e;
	e->status = s;
	open_manager(s);
	if (e->listen) {
		static const struct http_conf conf = {.error = on_error};
		static const struct http_status about = {
			.metrics = on_metrics, .unhealthy = on_health, .unready = on_readiness};

		s->http = http_open(e->listen, &conf, e);
		http_status_routes(s->http, &about);
		msg_info("listening on %s", http_address(s->http));
	}
	metrics_counter("restarts_total", "Times the pipeline was started again.", METRICS_PIPELINE,
		&e->restarts);
	if (metrics_file)
		metrics_print_with(print_metrics);
	s->ready_fd = ready_fd;
	s->scanning = e->listen || s->notify >= 0 || ready_fd || metrics_file;
	if (s->scanning) {
		s->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		if (s->inotify < 0)
			die(EXIT_TEMP, "cannot watch files: %s", strerror(errno));
	}
}

void status_run(struct evpipe *e)
{
	struct status *s = e->status;
	char path[4096];

	for (size_t i = 0; i < s->count; i++)
		buf_free(&s->files[i].text);
	free(s->files);
	s->files = NULL;
	s->count = 0;
	s->scan_ms = 0;
	if (e->running && s->inotify >= 0) {
		snprintf(path, sizeof(path), "%s/ready", e->directory);
		if (inotify_add_watch(s->inotify, path, IN_CREATE | IN_DELETE) < 0)
			die(EXIT_TEMP, "cannot watch '%s': %s", path, strerror(errno));
	}
}

int status_http_fd(const struct evpipe *e)
{
	return http_fd(e->status->http);
}

int status_ready_fd(const struct evpipe *e)
{
	return e->status->inotify;
}

int status_serve(struct evpipe *e, int64_t now_ms)
{
	struct status *s = e->status;
	bool changed = false;
	char events[4096];

	http_run(s->http);
	while (s->inotify >= 0 && read(s->inotify, events, sizeof(events)) > 0)
		changed = true;
	if (s->scanning && (changed || now_ms >= s->scan_ms)) {
		scan(e, now_ms);
		tell(e, now_ms);
		s->scan_ms = now_ms + SCAN_MS;
	}
	return wake_least(wake_least(http_timeout_ms(s->http), metrics_tick(now_ms)),
		s->scanning ? (int)(s->scan_ms - now_ms) : -1);
}

void status_stopping(struct evpipe *e)
{
	if (e->status->scanning)
		tell(e, wake_now_ms());
}

void status_close(struct evpipe *e)
{
	metrics_flush();
	http_close(e->status->http);
}
