/* SPDX-License-Identifier: ISC */
/* How the members of a run have ended, and which of them is the cause. */
#define _GNU_SOURCE
#include "evpipe/ends.h"

#include "evpipe/cmdline.h"

#include "base/child.h"
#include "base/msg.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* A program's end is seen a little after its neighbours have seen its pipes closed. */
enum { TOGETHER_MS = 100 };

static int foreign_status(const struct member *m, int code)
{
	switch (code) {
	case 0:
	case EXIT_TIMEOUT:
	case EXIT_PERM:
	case EXIT_TEMP:
		return code;
	case 1: /* no line has matched */
		return child_matches(m->argv[0]) ? EXIT_DONE : EXIT_TEMP;
	case 126: /* what a shell, env, stdbuf say of a program that cannot be run */
	case 127:
		return m->again ? EXIT_TEMP : EXIT_PERM;
	case 128 + SIGINT: /* a shell's, when we have ended what it ran */
	case 128 + SIGTERM:
		return m->asked && !m->forced ? EXIT_DONE : EXIT_TEMP;
	}
	return EXIT_TEMP;
}

/* Whether it has died of the signal by which it was asked to stop. */
static bool was_asked(const struct member *m)
{
	int sig = WTERMSIG(m->wait_status);

	/* In our group it got Ctrl-C too. */
	return (sig == SIGTERM && m->asked && !m->forced) || (sig == SIGINT && !m->own_group);
}

/* A member's exit status in terms of ours. */
static int status_of(const struct member *m)
{
	int code = WEXITSTATUS(m->wait_status);

	if (!m->ended)
		return EXIT_DONE;
	if (WIFSIGNALED(m->wait_status)) {
		/* SIGPIPE: its reader has ended; the reader's status tells why. */
		return was_asked(m) || WTERMSIG(m->wait_status) == SIGPIPE ? EXIT_DONE : EXIT_TEMP;
	}
	if (!m->ours)
		return foreign_status(m, code);
	return code == EXIT_DONE || code == EXIT_REFUSED || code == EXIT_TIMEOUT ||
			code == EXIT_PERM
		? code
		: EXIT_TEMP;
}

bool ends_killed(const struct member *m)
{
	int status = m->wait_status;

	return m->ended && !m->forced &&
		(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) - 128) == SIGKILL;
}

bool member_failed(const struct member *m)
{
	return status_of(m) != EXIT_DONE;
}

bool member_ended_well(const struct member *m)
{
	return m->ended && WIFEXITED(m->wait_status) &&
		(WEXITSTATUS(m->wait_status) == EXIT_DONE ||
			(WEXITSTATUS(m->wait_status) == 1 && (m->ours || !member_failed(m))));
}

static const char *name_of_signal(int sig)
{
#define NAME(S) [S] = #S
	static const char *const names[] = {NAME(SIGHUP), NAME(SIGINT), NAME(SIGQUIT), NAME(SIGILL),
		NAME(SIGTRAP), NAME(SIGABRT), NAME(SIGBUS), NAME(SIGFPE), NAME(SIGKILL),
		NAME(SIGUSR1), NAME(SIGSEGV), NAME(SIGUSR2), NAME(SIGPIPE), NAME(SIGALRM),
		NAME(SIGTERM), NAME(SIGSTKFLT), NAME(SIGCHLD), NAME(SIGCONT), NAME(SIGSTOP),
		NAME(SIGTSTP), NAME(SIGTTIN), NAME(SIGTTOU), NAME(SIGURG), NAME(SIGXCPU),
		NAME(SIGXFSZ), NAME(SIGVTALRM), NAME(SIGPROF), NAME(SIGWINCH), NAME(SIGPOLL),
		NAME(SIGPWR), NAME(SIGSYS)};
#undef NAME
	size_t count = sizeof(names) / sizeof(*names);

	return (size_t)sig < count && names[sig] ? names[sig] : "SIG?";
}

void member_describe(const struct member *m, char *text, size_t size)
{
	int code = WEXITSTATUS(m->wait_status);
	const char *means = "";

	if (!m->ended) {
		snprintf(text, size, m->pid ? "still runs" : "was not started");
		return;
	}
	if (WIFSIGNALED(m->wait_status)) {
		int sig = WTERMSIG(m->wait_status);
		snprintf(text, size, "killed by %s%s", name_of_signal(sig),
			m->forced		 ? " of ours"
				: was_asked(m)	 ? " that asked it to stop"
				: sig == SIGPIPE ? ", its reader had gone"
						 : "");
		return;
	}
	if (m->ours || code == EXIT_PERM || code == EXIT_TEMP)
		means = code == EXIT_REFUSED   ? ", records were refused"
			: code == EXIT_TIMEOUT ? ", timed out"
			: code == EXIT_PERM    ? ", permanent trouble"
			: code == EXIT_TEMP    ? ", temporary trouble"
					       : "";
	else if (code == 1 && !member_failed(m))
		means = ", no match";
	snprintf(text, size, "exit %d%s", code, means);
}

/* ---- the verdict ---- */

/* Of two that failed together, the one with the higher rank is the likelier cause. */
static int rank(const struct member *m)
{
	return status_of(m) == EXIT_PERM ? 2 : WIFSIGNALED(m->wait_status) ? 1 : 0;
}

/* A source that was asked to stop for good waits for open records: the time of its end tells
 * nothing. */
static bool is_stopped_source(const struct evpipe *e, const struct member *m)
{
	return m == e->members && cmdline_has_source(e) && status_of(m) == EXIT_PERM;
}

/* Who may have asked the source to stop for good: of the programs of ours that ended before it, the
 * first that has refused a record or had permanent trouble. NULL: the source's trouble is its
 * own. */
static const struct member *refuser(const struct evpipe *e)
{
	const struct member *first = NULL;

	if (!is_stopped_source(e, e->members))
		return NULL;
	for (const struct member *m = e->members + 1; m < e->members + e->count; m++) {
		int status = status_of(m);

		if (m->ours && (status == EXIT_REFUSED || status == EXIT_PERM) &&
			m->ended_ms <= e->members->ended_ms + TOGETHER_MS &&
			(!first || m->ended_ms < first->ended_ms))
			first = m;
	}
	return first;
}

static const struct member *first_failed(const struct evpipe *e)
{
	const struct member *first = NULL, *cause = NULL;

	for (const struct member *m = e->members; m < e->members + e->count; m++)
		if (member_failed(m) && (!first || m->ended_ms < first->ended_ms))
			first = m;
	/* Of those ended by force, the first: the others waited for it. */
	for (const struct member *m = e->members; first && first->forced; m++)
		if (m->forced && member_failed(m))
			return m;
	for (const struct member *m = e->members; first && m < e->members + e->count; m++)
		/* Equals: the reader, since a writer ends with 111 when its reader has ended. */
		if (member_failed(m) &&
			(m->ended_ms <= first->ended_ms + TOGETHER_MS || is_stopped_source(e, m)) &&
			(!cause || rank(m) >= rank(cause)))
			cause = m;
	return cause;
}

int members_verdict(struct evpipe *e)
{
	const struct member *told = refuser(e), *cause = told ? told : first_failed(e);

	e->cause = cause;
	e->why[0] = '\0';
	for (int i = 0; i < e->count; i++) {
		const struct member *m = &e->members[i];
		char how[128];

		member_describe(m, how, sizeof(how));
		if (m == cause)
			snprintf(e->why, sizeof(e->why), "%s: %s", m->name, how);
		if (cause)
			msg_error("%s: %s%s", m->name, how, m == cause ? " (failed first)" : "");
	}
	/* Who has refused a record under --on-error stop would refuse it again: the source's 100
	 * counts. */
	return told ? EXIT_PERM : cause ? status_of(cause) : EXIT_DONE;
}
