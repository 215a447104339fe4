/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/child.h"

#include "base/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void make_pipe(int fds[2], int ours)
{
	if (pipe2(fds, O_CLOEXEC) || fcntl(fds[ours], F_SETFL, O_NONBLOCK))
		die(EXIT_TEMP, "cannot make a pipe: %s", strerror(errno));
}

static int spawn(struct child *c, char *const argv[], int in, int out)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int error;

	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	error = posix_spawnp(&c->pid, argv[0], &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

int child_start(struct child *c, char *const argv[], struct span input, size_t output_max)
{
	int in[2], out[2], error;

	make_pipe(in, 1);
	make_pipe(out, 0);
	error = spawn(c, argv, in[0], out[1]);
	close(in[0]);
	close(out[1]);
	c->in_fd = in[1];
	c->out_fd = out[0];
	c->pid_fd = -1;
	c->input = input;
	c->output_max = output_max;
	c->input_len = input.len;
	c->wait_status = 0;
	buf_clear(&c->output);
	if (error) {
		c->pid = 0;
		close_fd(&c->in_fd);
		close_fd(&c->out_fd);
		return error;
	}
	c->pid_fd = pidfd_open(c->pid, 0);
	if (c->pid_fd < 0)
		die(EXIT_TEMP, "cannot watch a child: %s", strerror(errno));
	return 0;
}

void child_poll(const struct child *c, struct pollfd *p)
{
	p[0] = (struct pollfd){.fd = c->in_fd, .events = POLLOUT};
	p[1] = (struct pollfd){.fd = c->out_fd, .events = POLLIN};
	p[2] = (struct pollfd){.fd = c->pid_fd, .events = POLLIN};
}

static void feed(struct child *c)
{
	while (c->input.len) {
		ssize_t n = write(c->in_fd, c->input.p, c->input.len);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && errno == EINTR)
			continue;
		/* A program that exits with 0 need not read all of its input. */
		if (n < 0)
			break;
		c->input.p += n;
		c->input.len -= (size_t)n;
	}
	close_fd(&c->in_fd);
}

bool child_overflowed(const struct child *c)
{
	return c->output.len > c->output_max;
}

static void take(struct child *c)
{
	enum { PIECE = 64 << 10 };

	while (!child_overflowed(c)) {
		ssize_t n = read(c->out_fd, buf_room(&c->output, PIECE), PIECE);

		if (n > 0)
			c->output.len += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			return;
		else if (n == 0 || errno != EINTR)
			break;
	}
	close_fd(&c->out_fd);
}

enum child_state child_serve(struct child *c, const struct pollfd *p)
{
	if (p[0].revents)
		feed(c);
	if (p[1].revents)
		take(c);
	if (p[2].revents && waitpid(c->pid, &c->wait_status, WNOHANG) == c->pid)
		close_fd(&c->pid_fd);
	if (child_overflowed(c) || (c->pid_fd < 0 && c->wait_status)) {
		child_kill(c);
		return CHILD_FAILED;
	}
	if (c->pid_fd >= 0 || c->out_fd >= 0)
		return CHILD_RUNS;
	close_fd(&c->in_fd);
	c->pid = 0;
	return CHILD_DONE;
}

void child_why(const struct child *c, char *why, size_t size)
{
	if (child_overflowed(c))
		snprintf(why, size, "wrote %zu MiB more than it was given",
			(c->output_max - c->input_len) >> 20);
	else if (WIFSIGNALED(c->wait_status))
		snprintf(why, size, "was killed by signal %d (%s)", WTERMSIG(c->wait_status),
			strsignal(WTERMSIG(c->wait_status)));
	else
		snprintf(why, size, "exited with status %d", WEXITSTATUS(c->wait_status));
}

void child_kill(struct child *c)
{
	if (!c->pid)
		return;
	/* Children of a program that has ended may still hold its output. */
	if (c->pid_fd >= 0 || c->out_fd >= 0)
		kill(-c->pid, SIGKILL);
	if (c->pid_fd >= 0)
		waitpid(c->pid, NULL, 0);
	close_fd(&c->pid_fd);
	close_fd(&c->in_fd);
	close_fd(&c->out_fd);
	c->pid = 0;
}
