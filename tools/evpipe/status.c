/* SPDX-License-Identifier: ISC */
/* Who is told of metrics, health and readiness: HTTP clients, --ready-fd, --metrics, a service
 * manager. */
#define _GNU_SOURCE
#include "evpipe/status.h"

#include "evpipe/directory.h"
#include "evpipe/health.h"
#include "evpipe/manager.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"
#include "http/http.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { SCAN_MS = 1000 };

struct status {
	struct http *http;
	bool scanning, ready_fd;
	int inotify; /* watches $EVPIPE_DIR/ready; -1: a look a second has to do */
	bool was_ready, ready;
	int64_t scan_ms; /* the next */
	int64_t red_ms; /* since when health is red, as the log has it; 0: it is green */
};

static struct evpipe *self; /* for metrics_print_with */

/* ---- looking ---- */

static void watch_ready(const struct evpipe *e)
{
	struct status *s = e->status;
	char path[PATH_MAX];

	if (s->inotify < 0 || !e->directory)
		return;
	snprintf(path, sizeof(path), "%s/ready", e->directory);
	if (inotify_add_watch(s->inotify, path, IN_CREATE | IN_DELETE) >= 0)
		return;
	msg_warn("cannot watch '%s': %s; evpipe looks there once a second", path, msg_errno(errno));
	s->scanning = true;
}

static void look(struct evpipe *e, int64_t now_ms)
{
	if (e->running && directory_mend(e, now_ms))
		watch_ready(e);
	health_scan(e, now_ms);
}

/* ---- HTTP ---- */

static void print_metrics(struct buf *out)
{
	look(self, wake_now_ms());
	health_metrics(self, out);
}

static void on_metrics(void *at, struct buf *out)
{
	(void)at;
	print_metrics(out);
}

static void on_health(void *at, struct buf *causes)
{
	int64_t now_ms = wake_now_ms();

	look(at, now_ms);
	health_causes(at, now_ms, causes);
}

static void on_note(void *at, struct buf *text)
{
	if (*health_disk(at))
		buf_printf(text, "%s\n", health_disk(at));
}

static void on_readiness(void *at, struct buf *causes)
{
	int64_t now_ms = wake_now_ms();

	look(at, now_ms);
	health_unready(at, now_ms, causes);
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

/* ---- the others ---- */

/* A server that is frozen says nothing, and neither does a program that waits for it: the log has
 * what /healthz shows, once when it turns red and once when it is green again. The end of a member
 * has messages of its own. */
static void log_health(struct evpipe *e, int64_t now_ms)
{
	struct status *s = e->status;
	struct buf causes = {0};

	if (!e->running || e->step_ms)
		return;
	health_causes(e, now_ms, &causes);
	if (causes.len && !s->red_ms) {
		for (size_t i = 0; i + 1 < causes.len; i++)
			if (causes.p[i] == '\n')
				causes.p[i] = ';';
		msg_warn("health is red: %.*s", (int)causes.len - 1, causes.p);
		s->red_ms = now_ms;
	} else if (!causes.len && s->red_ms && s->ready) {
		msg_warn("health is green again after %lld s",
			(long long)(now_ms - s->red_ms) / 1000);
		s->red_ms = 0;
	}
	buf_free(&causes);
}

static void tell(struct evpipe *e, int64_t now_ms)
{
	struct status *s = e->status;
	struct buf text = {0};
	const char *state = "";

	health_unready(e, now_ms, &text);
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
		health_causes(e, now_ms, &text);
		if (!text.len)
			buf_printf(
				&text, "running%s%s", *health_disk(e) ? "; " : "", health_disk(e));
	}
	manager_tell(state, buf_as_span(&text));
	buf_free(&text);
	log_health(e, now_ms);
}

/* ---- the loop's view ---- */

static void serve_watchdog(struct evpipe *e, int64_t now_ms)
{
	struct buf causes = {0};

	if (manager_watchdog_ms(now_ms))
		return;
	look(e, now_ms);
	health_causes(e, now_ms, &causes);
	manager_alive(!causes.len, now_ms);
	/* The manager may end us before the next look: the log is to say why. */
	if (causes.len)
		tell(e, now_ms);
	buf_free(&causes);
}

void status_open(struct evpipe *e, bool ready_fd, bool metrics_file)
{
	struct status *s = mem_alloc(sizeof(*s));

	*s = (struct status){.inotify = -1};
	self = e;
	e->status = s;
	health_open(e);
	manager_open();
	if (e->listen) {
		static const struct http_conf conf = {.error = on_error};
		static const struct http_status about = {.metrics = on_metrics,
			.unhealthy = on_health,
			.note = on_note,
			.unready = on_readiness};

		s->http = http_open(e->listen, &conf, e);
		http_status_routes(s->http, &about);
		msg_info("listening on %s", http_address(s->http));
	}
	metrics_counter("restarts_total", "Times the pipeline was started again.", METRICS_PIPELINE,
		&e->restarts);
	if (metrics_file)
		metrics_print_with(print_metrics);
	s->ready_fd = ready_fd;
	s->scanning = e->listen || e->restart || manager_is_there() || ready_fd || metrics_file;
	s->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (s->inotify < 0) {
		msg_warn("cannot watch files: %s; evpipe looks at them once a second",
			msg_errno(errno));
		s->scanning = true;
	}
}

void status_run(struct evpipe *e)
{
	health_run(e);
	e->status->scan_ms = 0;
	watch_ready(e);
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
		look(e, now_ms);
		tell(e, now_ms);
		s->scan_ms = now_ms + SCAN_MS;
	}
	if (e->running && !e->ready_ms && health_members_ready(e))
		e->ready_ms = now_ms;
	serve_watchdog(e, now_ms);
	return wake_least(wake_least(wake_least(http_timeout_ms(s->http), metrics_tick(now_ms)),
				  s->scanning ? (int)(s->scan_ms - now_ms) : -1),
		manager_watchdog_ms(now_ms));
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
