/* SPDX-License-Identifier: ISC */
/* evpipe's processes: started from the last to the first, so that nothing is read before all are
 * there; ended in the order of section "Stop order" of evpipe(1); waited for with what they
 * left. */
#define _GNU_SOURCE
#include "evpipe/members.h"

#include "evpipe/cmdline.h"
#include "evpipe/ends.h"
#include "evpipe/terminal.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	/* The source is given --drain, and this to say why it was not enough. */
	GRACE_MS = 1000,
	AGAIN_MS = 200, /* between the two signals that end a program of ours at once */
	KILL_MS = 2000,
};

static struct sigaction pipe_action; /* SIGPIPE's, as we were started */

/* ---- starting ---- */

static void on_child(int sig)
{
	int saved = errno;

	(void)sig;
	wake_poke();
	errno = saved;
}

int members_open(void)
{
	struct sigaction sa = {.sa_handler = on_child, .sa_flags = SA_RESTART};
	int wake_fd;

	sigaction(SIGPIPE, NULL, &pipe_action);
	wake_fd = wake_open();
	sigaction(SIGCHLD, &sa, NULL);
	/* Children that their parents leave become ours, so that all are waited for. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return wake_fd;
}

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* Whether it can be executed, as execvp will look for it. */
static bool look_up(const char *name)
{
	const char *path = getenv("PATH");
	char file[PATH_MAX];

	if (strchr(name, '/'))
		return is_program(name);
	for (const char *p = path ? path : "/usr/local/bin:/bin:/usr/bin";; p++) {
		int n = (int)strcspn(p, ":");

		if (snprintf(file, sizeof(file), "%.*s/%s", n ? n : 1, n ? p : ".", name) <
				(int)sizeof(file) &&
			is_program(file))
			return true;
		p += n;
		if (!*p)
			return false;
	}
}

static bool look_up_all(const struct evpipe *e)
{
	for (int i = 0; i < e->count; i++) {
		const char *name = e->members[i].argv[0];

		if (look_up(name))
			continue;
		if (strpbrk(name, " |"))
			msg_error("there is no program '%s': each word, and each '|', is an "
				  "argument of its own",
				name);
		else if (cmdline_near(name))
			msg_error("there is no program '%s': did you mean %s?", name,
				cmdline_near(name));
		else
			msg_error("there is no program '%s' that can be run", name);
		return false;
	}
	return true;
}

/* A foreign program that uses stdio writes each line when it is whole. */
static char **line_buffered(const struct member *m)
{
	size_t n = 0;
	char **argv;

	while (m->argv[n])
		n++;
	argv = mem_alloc((n + 3) * sizeof(*argv));
	argv[0] = "stdbuf";
	argv[1] = "-oL";
	memcpy(argv + 2, m->argv, (n + 1) * sizeof(*argv));
	return argv;
}

/* A file that says to the source: all programs between it and the last member have ended well. */
static char *well_path(const struct evpipe *e)
{
	return mem_printf("%s/well", e->directory);
}

static void tell_well(const struct evpipe *e)
{
	char *well;
	int fd;

	for (const struct member *m = e->members + 1; m < e->members + e->count - 1; m++)
		if (!member_ended_well(m))
			return;
	well = well_path(e);
	fd = open(well, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	free(well);
}

/* A source judges by itself what the line means for its records. */
static void tell_source(const struct evpipe *e)
{
	struct buf foreign = {0};
	char *well;

	cmdline_foreign(e, &foreign);
	setenv("EVPIPE_FOREIGN", foreign.p, 1);
	setenv("EVPIPE_SINK", cmdline_sink(e), 1);
	well = well_path(e);
	setenv("EVPIPE_WELL", well, 1);
	free(well);
	if (e->unit)
		setenv("EVPIPE_UNIT", e->unit, 1);
	buf_free(&foreign);
}

/* What execvp says of a program that can be run at another time. */
static bool passes(int error)
{
	return msg_errno_is_limit(error) || error == ENOMEM || error == EAGAIN || error == ETXTBSY;
}

/* In the child. */
static _Noreturn void become(const struct evpipe *e, const struct member *m, int in, int out,
	pid_t parent, const sigset_t *mask)
{
	static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
	char **argv = m->argv;
	struct sigaction action;
	int error;

	if (m->own_group)
		setpgid(0, 0);
	for (size_t i = 0; i < sizeof(handled) / sizeof(*handled); i++)
		if (sigaction(handled[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			signal(handled[i], SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	if (m == e->members) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(EXIT_TEMP);
	}
	if ((in >= 0 && dup2(in, STDIN_FILENO) < 0) || (out >= 0 && dup2(out, STDOUT_FILENO) < 0)) {
		msg_error("cannot set up the pipes of '%s': %s", m->name, msg_errno(errno));
		_exit(EXIT_TEMP);
	}
	sigaction(SIGPIPE, &pipe_action, NULL);
	setenv("EVPIPE_MEMBER", m->name, 1);
	if (m == e->members)
		tell_source(e);
	if (!m->ours && look_up("stdbuf"))
		argv = line_buffered(m);
	execvp(argv[0], argv);
	error = errno;
	msg_error("cannot run '%s': %s", argv[0], msg_errno(error));
	_exit(m->again || passes(error) ? EXIT_TEMP : EXIT_PERM);
}

/* Keyboard input goes to the terminal's foreground group alone: a member that reads it stays in our
 * group. */
static bool reads_terminal(const struct evpipe *e, const struct member *m)
{
	return m == e->members && !cmdline_has_source(e) && isatty(STDIN_FILENO);
}

/* Returns the child's id, or -1. */
static pid_t start(const struct evpipe *e, const struct member *m, int in, int out)
{
	pid_t parent = getpid(), pid;
	sigset_t all, mask;

	/* A signal to the child must wait until the child has put off our handlers. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &mask);
	pid = fork();
	if (pid == 0)
		become(e, m, in, out, parent, &mask);
	if (pid > 0 && m->own_group)
		setpgid(pid, pid);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	return pid;
}

int members_start(struct evpipe *e)
{
	int out = -1;

	/* At a restart the program may be in the middle of being replaced. */
	if (!look_up_all(e))
		return e->restarts ? EXIT_TEMP : EXIT_PERM;
	for (int i = e->count - 1; i >= 0; i--) {
		struct member *m = &e->members[i];
		int ends[2] = {-1, -1};

		m->own_group = !reads_terminal(e, m);
		if (i > 0 && pipe2(ends, O_CLOEXEC))
			m->pid = -1;
		else
			m->pid = start(e, m, ends[0], out);
		if (m->pid < 0)
			msg_error("cannot start '%s': %s", m->name, msg_errno(errno));
		if (ends[0] >= 0)
			close(ends[0]);
		if (out >= 0)
			close(out);
		out = ends[1];
		if (m->pid < 0) {
			m->pid = 0;
			if (out >= 0)
				close(out);
			return EXIT_TEMP;
		}
	}
	return 0;
}

/* ---- waiting for them ---- */

static void on_end(struct evpipe *e, struct member *m, int wait_status, int64_t now_ms)
{
	char how[128];

	m->ended = true;
	m->wait_status = wait_status;
	m->ended_ms = now_ms;
	member_describe(m, how, sizeof(how));
	msg_info("%s: %s", m->name, how);
	tell_well(e);
	if (member_failed(m)) {
		members_stop(e, now_ms);
		return;
	}
	/* A member that ends before those in front of it: they get the time to notice. */
	for (struct member *before = e->members; before < m; before++)
		if (!before->ended)
			members_stop(e, now_ms + e->drain_ms + GRACE_MS);
}

static void on_change(struct evpipe *e, struct member *m, int wait_status, int64_t now_ms)
{
	if (WIFSTOPPED(wait_status)) {
		terminal_member_stopped(m, WSTOPSIG(wait_status));
		return;
	}
	terminal_member_ended(m);
	on_end(e, m, wait_status, now_ms);
}

/* Children that outlived a member, such as those of a shell. */
static bool has_left_some(const struct member *m)
{
	return m->own_group && kill(-m->pid, 0) == 0;
}

void members_reap(struct evpipe *e, int64_t now_ms)
{
	bool all_ended = true, left = false;
	int wait_status;
	pid_t pid;

	while ((pid = waitpid(-1, &wait_status, WNOHANG | WUNTRACED)) > 0)
		for (int i = 0; i < e->count; i++)
			if (e->members[i].pid == pid && !e->members[i].ended)
				on_change(e, &e->members[i], wait_status, now_ms);
	for (int i = 0; i < e->count; i++) {
		struct member *m = &e->members[i];

		if (m->ended && !m->empty)
			m->empty = !has_left_some(m);
		all_ended = all_ended && (m->ended || !m->pid);
		left = left || (m->ended && !m->empty);
	}
	if (all_ended && left && !e->step_ms) {
		e->step = STOP_ALL;
		e->step_ms = now_ms + e->drain_ms;
	}
}

bool members_all_ended(const struct evpipe *e)
{
	for (int i = 0; i < e->count; i++)
		if (e->members[i].pid && !e->members[i].empty)
			return false;
	return true;
}

/* ---- the stop order ---- */

static void send_signal(struct member *m, int sig)
{
	if (!m->pid || m->empty)
		return;
	if (sig != SIGCONT && !m->ended)
		m->asked = true;
	kill(m->own_group ? -m->pid : m->pid, sig);
}

static void send_all(struct evpipe *e, int sig)
{
	for (int i = 0; i < e->count; i++) {
		if (!e->members[i].ended)
			e->members[i].forced = true;
		send_signal(&e->members[i], sig);
	}
}

static void say_forced(const struct evpipe *e)
{
	char names[512] = "";
	size_t n = 0;

	for (int i = 0; i < e->count && n < sizeof(names); i++)
		if (e->members[i].pid && !e->members[i].empty)
			n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", n ? ", " : "",
				e->members[i].name);
	if (n)
		msg_error("ended by force, %s: %s",
			e->stops > 1 ? "for a second signal" : "after --drain", names);
}

void members_stop(struct evpipe *e, int64_t at_ms)
{
	if (e->step == STOP_SOURCE && (!e->step_ms || e->step_ms > at_ms))
		e->step_ms = at_ms;
}

void members_step(struct evpipe *e, int64_t now_ms)
{
	while (e->running && e->step_ms && now_ms >= e->step_ms) {
		switch (e->step) {
		case STOP_SOURCE:
			if (!e->members[0].ended)
				e->source_stop_ms = now_ms;
			/* The others end with their input. A stopped process would hold them up. */
			send_signal(&e->members[0], SIGTERM);
			for (int i = 0; i < e->count; i++)
				send_signal(&e->members[i], SIGCONT);
			e->step = STOP_ALL;
			e->step_ms = now_ms + e->drain_ms + GRACE_MS;
			break;
		case STOP_ALL:
			say_forced(e);
			send_all(e, SIGTERM);
			e->step = STOP_AGAIN;
			e->step_ms = now_ms + AGAIN_MS;
			break;
		case STOP_AGAIN:
			/* A second SIGTERM might come while the first is pending, and be one with
			 * it. */
			send_all(e, SIGINT);
			e->step = STOP_KILL;
			e->step_ms = now_ms + KILL_MS;
			break;
		case STOP_KILL:
			send_all(e, SIGKILL);
			e->step_ms = now_ms + KILL_MS;
			break;
		}
	}
}
