/* SPDX-License-Identifier: ISC */
#include "evpipe/terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static int tty = -1;
static pid_t holder; /* the group that we have given the terminal; 0: none */

/* The kernel would stop us if we asked for it from the background. */
static void set_foreground(pid_t group)
{
	sigset_t ttou, before;

	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	sigprocmask(SIG_BLOCK, &ttou, &before);
	tcsetpgrp(tty, group);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void take_back(void)
{
	/* Unless a shell above us has it by now. */
	if (tcgetpgrp(tty) == holder)
		set_foreground(getpgrp());
	holder = 0;
}

void terminal_member_stopped(struct member *m, int sig)
{
	if (sig == SIGTTIN || sig == SIGTTOU) {
		m->wants_terminal = true;
	} else if (holder && m->pid == holder) {
		/* ^Z was meant for the pipeline: the shell gets the terminal, and gives it to us
		 * again. */
		take_back();
		m->wants_terminal = true;
		raise(SIGTSTP);
	}
}

void terminal_member_ended(const struct member *m)
{
	if (holder && m->pid == holder)
		take_back();
}

bool terminal_serve(struct evpipe *e)
{
	for (struct member *m = e->members; m < e->members + e->count; m++) {
		if (!m->wants_terminal || m->ended)
			continue;
		if (tty < 0)
			tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
		/* A first member in our own group reads from it. */
		if (tty < 0 || !e->members[0].own_group || tcgetpgrp(tty) != getpgrp())
			return true;
		set_foreground(m->pid);
		holder = m->pid;
		m->wants_terminal = false;
		kill(-m->pid, SIGCONT);
	}
	return false;
}
