/* SPDX-License-Identifier: ISC */
/* evpipe - run a pipeline as one unit.
 *
 * DESIGN: the members are processes with pipes between them; evpipe stands beside the pipe, not in
 * it, and sees no record. One poll() loop waits for signals, ended children and HTTP requests.
 *
 * What always holds:
 * - Each run of the unit has a directory of its own ($EVPIPE_DIR), so that no program of an earlier
 *   run
 *   can be taken for one of this run.
 * - Members are started from the last to the first: the source reads nothing before all others are
 *   there. Each is a process group of its own: Ctrl-C reaches evpipe alone.
 * - A run ends from its source: SIGTERM to the first member, the others end with their input, so
 *   that
 *   what is under way is delivered and committed. This is so for a stop signal and for a member
 *   that
 *   failed. What still runs after --drain gets SIGTERM, SIGINT, then SIGKILL; a second stop
 *   signal does that at once.
 * - A run has ended when all members have, and all that they left in their process groups. What
 *   they left elsewhere
 *   is ended then.
 * - evpipe killed: the source gets SIGTERM by the kernel, the others end with their input.
 *
 * The status is that of the member that failed first. With --restart the unit, never one member
 * alone, is started again after a back-off, unless it ended with 0, with 100, or for a signal.
 *
 * Files: evpipe.c the command line, the loop, restarts; cmdline.c the members and which are ours;
 * unit.c the unit's name; directory.c $EVPIPE_DIR; members.c processes; ends.c how they ended and
 * which is the cause; strays.c what they left; terminal.c the keyboard; health.c what members say
 * of themselves; status.c who is told; manager.c the service manager. */
#define _GNU_SOURCE
#include "evpipe/evpipe.h"

#include "evpipe/cmdline.h"
#include "evpipe/directory.h"
#include "evpipe/ends.h"
#include "evpipe/members.h"
#include "evpipe/status.h"
#include "evpipe/strays.h"
#include "evpipe/terminal.h"
#include "evpipe/unit.h"

#include "base/msg.h"
#include "base/metrics.h"
#include "base/opt.h"
#include "base/wake.h"
#include "http/http.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	BACKOFF_MIN_MS = 250,
	BACKOFF_MAX_MS = 30000,
	BACKOFF_KILLED_MAX_MS =
		1000, /* nothing is wrong with a member that was killed from outside */
	RAN_WELL_MS = 10000, /* ready for so long, failures before are forgotten */
	LOOK_MS = 1000, /* between two looks whether the children that a member left have ended */
};

/* ---- the command line ---- */

static struct {
	struct opt_common common;
	struct arg_str *name, *listen, *drain, *grace, *members;
	struct arg_file *directory;
	struct arg_lit *restart;
} opt;

static void parse_options(int argc, char **argv)
{
	static const char *const examples[] = {
		"evpipe -n bridge kread -g bridge orders '|' rpub 'sse:{topic}' --dead-letter dead.ndjson",
		"evpipe --restart --listen \"$LISTEN\" rsub -p 'sse:*' '|' kwrite -t '{channel#sse:}'",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evpipe",
		.summary = "Runs a pipeline as one unit: evpipe [options] CMD… '|' CMD…",
		.examples = examples,
		.libraries = {http_library},
	};

	opt.name = arg_str0("n", "name", "NAME", "name of the pipeline (default $EVPIPE_NAME)");
	opt.directory = arg_file0("d", "directory", "PATH", "keep the unit's directories in PATH");
	opt.listen = arg_str0(NULL, "listen", "HOST:PORT",
		"serve /metrics, /healthz, /readyz there, or on unix:PATH");
	opt.restart = arg_lit0(NULL, "restart", "start the unit again when it has failed");
	opt.drain =
		arg_str0(NULL, "drain", "TIME", "how long the unit may take to stop (default 10s)");
	opt.grace = arg_str0(NULL, "health-grace", "TIME",
		"how long a server may be away until health is red (default 10s)");
	opt.members = opt_many(NULL, NULL, "CMD", 1, "a member's words; '|' between members");
	opt_common(&opt.common);
	void *table[] = {opt.name, opt.directory, opt.listen, opt.restart, opt.drain, opt.grace,
		OPT_COMMON_ENTRIES(opt.common), opt.members, arg_end(5)};
	const char *posixly = getenv("POSIXLY_CORRECT");

	/* Options behind the first word belong to the members. */
	setenv("POSIXLY_CORRECT", "1", 1);
	opt_parse(argc, argv, table, &opt.common, &page);
	if (!posixly)
		unsetenv("POSIXLY_CORRECT");
}

static const char *pipeline_name(void)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	const char *given = opt_text(opt.name, "-n"), *inherited = getenv("EVPIPE_NAME");
	const char *name = given ? given : inherited && *inherited ? inherited : "evpipe";

	if (name[strspn(name, allowed)] || strlen(name) > 64)
		opt_bad("a pipeline's name is up to 64 letters, digits, '_', '.' and '-', not '%s'",
			name);
	return name;
}

static void take_options(struct evpipe *e)
{
	struct trouble why = {0};

	e->drain_ms = opt_duration_ms(opt.drain, "--drain", 10000);
	e->grace_ms = opt_duration_ms(opt.grace, "--health-grace", 10000);
	e->restart = opt.restart->count;
	e->listen = opt_text(opt.listen, "--listen");
	cmdline_parse(e, opt.members->count, opt.members->sval);
	opt_mask_words(opt.members->count, opt.members->sval);
	e->name = pipeline_name();
	setenv("EVPIPE_NAME", e->name, 1);
	if (opt.common.log->count)
		setenv("EVPIPE_LOG", opt.common.log->sval[0], 1);
	e->unit = unit_take_name(e->name);
	/* Again, since the name is known now. */
	metrics_init("evpipe", opt_metrics_file(&opt.common));
	if (directory_open(e, opt_file(opt.directory, "-d"), &why))
		die(why.status, "%s", why.text);
}

/* ---- runs ---- */

/* At the first start all that is wrong ends evpipe; at a restart it is a failed run. */
static int start(struct evpipe *e)
{
	struct trouble why = {0};

	if (!directory_make(e, &why))
		return members_start(e);
	if (!e->restarts)
		die(why.status, "%s", why.text);
	msg_error("%s", why.text);
	return EXIT_TEMP;
}

static void begin(struct evpipe *e, int64_t now_ms)
{
	for (int i = 0; i < e->count; i++) {
		struct member *m = &e->members[i];

		*m = (struct member){.argv = m->argv,
			.name = m->name,
			.ours = m->ours,
			.again = e->restarts > 0};
	}
	e->step = STOP_SOURCE;
	e->step_ms = e->source_stop_ms = e->ready_ms = e->mended_ms = e->strays_ms = 0;
	e->strays_told = false;
	e->start_ms = now_ms;
	e->running = true;
	e->start_status = start(e);
	if (e->start_status)
		members_stop(e, now_ms);
	status_run(e);
}

/* For a source that cannot replay. */
static void tell_next_run(const struct evpipe *e)
{
	const struct member *m = &e->members[0];
	char text[24];

	if (!m->ended)
		return;
	snprintf(text, sizeof(text), "%lld",
		(long long)(e->source_stop_ms ? e->source_stop_ms : m->ended_ms));
	setenv("EVPIPE_READ_UNTIL", text, 1);
}

/* How long to wait after this run, in milliseconds. */
static int64_t next_wait_ms(struct evpipe *e)
{
	const struct member *m = e->cause;
	bool killed = m && ends_killed(m);

	if (m && e->ready_ms && m->ended_ms - e->ready_ms >= RAN_WELL_MS)
		e->backoff_ms = 0;
	return wake_backoff_ms(
		&e->backoff_ms, BACKOFF_MIN_MS, killed ? BACKOFF_KILLED_MAX_MS : BACKOFF_MAX_MS);
}

/* Returns the status to end with, or -1 when another run follows. */
static int finish(struct evpipe *e, int64_t now_ms)
{
	int status = members_verdict(e);
	int64_t wait_ms;

	e->running = false;
	tell_next_run(e);
	if (e->start_status) {
		status = e->start_status;
		strcpy(e->why, "the unit could not be started");
	}
	directory_leave(e);
	if (!e->restart || e->stops || status == EXIT_DONE || status == EXIT_PERM)
		return status;
	wait_ms = next_wait_ms(e);
	msg_warn("starting again in %.1f s", (double)wait_ms / 1000);
	e->start_ms = now_ms + wait_ms;
	e->last_status = status;
	status_run(e);
	return -1;
}

/* ---- the loop ---- */

static void on_signal(struct evpipe *e, int64_t now_ms)
{
	int stops = wake_stops(), before = e->stops;

	e->stops = stops;
	if (stops > 0 && !before) {
		directory_mark_stopping(e);
		members_stop(e, now_ms);
		status_stopping(e);
	}
	if (stops > 1 && before < 2 && e->step <= STOP_ALL) {
		e->step = STOP_ALL;
		e->step_ms = now_ms;
	}
	if (stops > 2 && before < 3) {
		e->step = STOP_KILL;
		e->step_ms = now_ms;
	}
}

static int until_ms(int timeout, int64_t at_ms, int64_t now_ms)
{
	int64_t ms = at_ms > now_ms ? at_ms - now_ms : 0;

	return timeout < 0 || ms < timeout ? (int)(ms < INT_MAX ? ms : INT_MAX) : timeout;
}

/* Milliseconds until something is due without an event; -1: never. */
static int timeout_ms(struct evpipe *e, int64_t now_ms)
{
	int timeout = status_serve(e, now_ms);

	if (!e->running)
		return until_ms(timeout, e->start_ms, now_ms);
	if (members_all_ended(e))
		return until_ms(timeout, now_ms + STRAYS_LOOK_MS, now_ms);
	if (e->step_ms)
		timeout = until_ms(timeout, e->step_ms, now_ms);
	if (terminal_serve(e))
		timeout = until_ms(timeout, now_ms + LOOK_MS, now_ms);
	for (int i = 0; i < e->count; i++)
		if (e->members[i].ended && !e->members[i].empty)
			return until_ms(timeout, now_ms + LOOK_MS, now_ms);
	return timeout;
}

static int run(struct evpipe *e, int wake_fd)
{
	int status = -1;

	begin(e, wake_now_ms());
	while (status < 0) {
		struct pollfd p[] = {
			{.fd = wake_fd, .events = POLLIN},
			{.fd = status_http_fd(e), .events = POLLIN},
			{.fd = status_ready_fd(e), .events = POLLIN},
		};
		int64_t now_ms;

		if (poll(p, 3, timeout_ms(e, wake_now_ms())) < 0)
			wake_poll_failed();
		now_ms = wake_now_ms();
		on_signal(e, now_ms);
		if (e->running) {
			members_reap(e, now_ms);
			members_step(e, now_ms);
			if (members_all_ended(e) && strays_ended(e, now_ms))
				status = finish(e, now_ms);
		} else if (e->stops) {
			status = e->last_status;
		} else if (now_ms >= e->start_ms) {
			e->restarts++;
			begin(e, now_ms);
		}
	}
	return status;
}

int main(int argc, char **argv)
{
	static struct evpipe self;
	struct evpipe *e = &self;
	int status, wake_fd;

	strays_open();
	/* They belong to a pipeline that this evpipe is a member of. */
	unsetenv("EVPIPE_DIR");
	unsetenv("EVPIPE_ACK");
	unsetenv("EVPIPE_MEMBER");
	unsetenv("EVPIPE_SINK");
	unsetenv("EVPIPE_FOREIGN");
	unsetenv("EVPIPE_WELL");
	unsetenv("EVPIPE_READ_UNTIL");
	unsetenv("EVPIPE_UNIT");
	unsetenv("EVPIPE_RUN");
	parse_options(argc, argv);
	take_options(e);
	wake_fd = members_open();
	status_open(e, opt.common.ready_fd->count, opt.common.metrics->count);
	status = run(e, wake_fd);
	status_close(e);
	return status;
}
