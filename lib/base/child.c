/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "base/child.h"

#include "base/msg.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
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
		die(EXIT_TEMP, "cannot make a pipe: %s", msg_errno(errno));
}

/* ---- what must not outlive us ---- */

/* A process that waits for our end, be it by SIGKILL, and then ends all groups of commands. Over a
 * pipe it is told of each: the number of a group that begins, and the same below 0 once it has
 * ended. In the end it removes the directory of child_remove_at_end. The kernel's own way, a signal
 * at the death of the parent, reaches the command alone and not what it has started. */
static pid_t guard_pid;
static int guard_fd = -1;
static char guarded[PATH_MAX]; /* the directory that it removes; "": none */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

void child_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Who is being killed may still make a file. */
static void remove_guarded(void)
{
	enum { TRIES = 500 };
	const struct timespec pause = {.tv_nsec = 10000000};

	for (int i = 0; *guarded && i < TRIES && access(guarded, F_OK) == 0; i++) {
		if (i)
			nanosleep(&pause, NULL);
		child_remove(guarded);
	}
}

_Noreturn static void guard(int fd)
{
	enum { GROUPS_MAX = 1024 };
	static pid_t groups[GROUPS_MAX];
	size_t count = 0;
	pid_t word;

	/* What is sent to our group, or typed on the terminal, is not for it. */
	setpgid(0, 0);
	dup2(fd, 0);
	syscall(SYS_close_range, 1, ~0U, 0);
	while (read(0, &word, sizeof(word)) == sizeof(word)) {
		if (word > 0 && count < GROUPS_MAX)
			groups[count++] = word;
		for (size_t i = 0; i < count && word < 0; i++)
			if (groups[i] == -word)
				groups[i--] = groups[--count];
	}
	while (count)
		kill(-groups[--count], SIGKILL);
	remove_guarded();
	_exit(0);
}

static void start_guard(void)
{
	sigset_t all, before;
	int fds[2];

	if (guard_fd >= 0)
		return;
	if (pipe2(fds, O_CLOEXEC))
		die(EXIT_TEMP, "cannot make a pipe: %s", msg_errno(errno));
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	guard_pid = fork();
	if (guard_pid == 0)
		guard(fds[0]);
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(fds[0]);
	if (guard_pid < 0)
		die(EXIT_TEMP, "cannot start a process: %s", msg_errno(errno));
	guard_fd = fds[1];
}

void child_remove_at_end(const char *path)
{
	snprintf(guarded, sizeof(guarded), "%s", path);
	start_guard();
}

static void tell_guard(pid_t word)
{
	while (write(guard_fd, &word, sizeof(word)) < 0 && errno == EINTR)
		;
}

void child_end_all(void)
{
	if (guard_fd < 0)
		return;
	close_fd(&guard_fd);
	while (waitpid(guard_pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* ---- starting ---- */

void child_apart(void)
{
	signal(SIGCHLD, SIG_DFL);
	unsetenv("EVPIPE_ACK");
	unsetenv("EVPIPE_DIR");
	unsetenv("EVPIPE_MEMBER");
}

enum { NOTE_FD = 3 };

/* The ends of its pipes that are a child's; note -1: none. */
struct its {
	int in, out, note;
};

static int move_note(int fd)
{
	if (fd == NOTE_FD)
		return fcntl(fd, F_SETFD, 0);
	return fd < 0 ? 0 : dup2(fd, NOTE_FD);
}

/* In the new process, which may share our memory until it runs another program. Returns why it
 * cannot. */
static int become(char *const argv[], const struct its *its, pid_t parent, const sigset_t *mask)
{
	struct sigaction defaults = {.sa_handler = SIG_DFL}, old;

	for (int sig = 1; sig < NSIG; sig++)
		if (sigaction(sig, NULL, &old) == 0 &&
			(sig == SIGPIPE ||
				(old.sa_handler != SIG_IGN && old.sa_handler != SIG_DFL)))
			sigaction(sig, &defaults, NULL);
	setpgid(0, 0);
	tell_guard(getpid());
	/* Until the guard knows of us we depend on the kernel's word; our parent may have died
	 * before it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_TEMP);
	if (dup2(its->in, STDIN_FILENO) < 0 || dup2(its->out, STDOUT_FILENO) < 0 ||
		move_note(its->note) < 0)
		return errno;
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(argv[0], argv);
	return errno;
}

/* Signals are blocked meanwhile: our handlers must not run in the new process. A pipe tells why it
 * could not run the program, and by its end that it runs it: where vfork is a fork, as under qemu
 * or valgrind, it shares no memory. */
static int spawn(struct child *c, char *const argv[], const struct its *its)
{
	pid_t parent = getpid();
	int why[2], error = 0;
	sigset_t all, before;

	start_guard();
	if (pipe2(why, O_CLOEXEC))
		die(EXIT_TEMP, "cannot make a pipe: %s", msg_errno(errno));
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	c->pid = vfork();
	if (c->pid == 0) {
		int own = become(argv, its, parent, &before);

		_exit(write(why[1], &own, sizeof(own)) < 0 ? 126 : 127);
	}
	if (c->pid < 0)
		error = errno;
	close(why[1]);
	if (c->pid > 0 && read(why[0], &error, sizeof(error)) == sizeof(error)) {
		waitpid(c->pid, NULL, 0);
		tell_guard(-c->pid);
	}
	close(why[0]);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return error;
}

static void close_pipes(struct child *c)
{
	close_fd(&c->in_fd);
	close_fd(&c->out_fd);
	close_fd(&c->note_fd);
}

static int start(struct child *c, char *const argv[], size_t output_max)
{
	int in[2], out[2], note[2] = {-1, -1}, error;

	make_pipe(in, 1);
	make_pipe(out, 0);
	if (c->stays)
		make_pipe(note, 0);
	error = spawn(c, argv, &(struct its){in[0], out[1], note[1]});
	close(in[0]);
	close(out[1]);
	close_fd(&note[1]);
	c->in_fd = in[1];
	c->out_fd = out[0];
	c->note_fd = note[0];
	c->pid_fd = -1;
	c->output_max = output_max;
	c->wait_status = 0;
	c->untouched = false;
	c->may_match_none = false;
	buf_clear(&c->output);
	if (error) {
		c->pid = 0;
		close_pipes(c);
		return error;
	}
	c->pid_fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (c->pid_fd < 0)
		die(EXIT_TEMP, "cannot watch a child: %s", msg_errno(errno));
	return 0;
}

int child_start(struct child *c, char *const argv[], struct span input, size_t output_max)
{
	c->stays = false;
	c->input = input;
	c->input_len = input.len;
	return start(c, argv, output_max);
}

int child_open(struct child *c, char *const argv[], size_t output_max)
{
	c->stays = true;
	c->input = SPAN_NONE;
	c->input_len = 0;
	return start(c, argv, output_max);
}

void child_poll(const struct child *c, struct pollfd *p)
{
	bool waits = c->stays && !c->input.len;

	p[0] = (struct pollfd){.fd = waits ? -1 : c->in_fd, .events = POLLOUT};
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
	if (!c->stays) {
		close_fd(&c->in_fd);
		return;
	}
	c->input_len -= c->input.len;
	c->input = SPAN_NONE;
}

void child_give(struct child *c, struct span input)
{
	c->input = input;
	c->input_len = input.len;
	feed(c);
}

void child_end_input(struct child *c)
{
	close_fd(&c->in_fd);
}

size_t child_note(struct child *c, char *text, size_t size)
{
	ssize_t n = c->note_fd >= 0 ? read(c->note_fd, text, size) : 0;

	return n > 0 ? (size_t)n : 0;
}

/* Whether nothing of the last input was read: the pipe, which keeps what its reader has left, still
 * holds it. */
static bool is_untouched(const struct child *c)
{
	int left = 0;

	return c->stays && c->in_fd >= 0 && ioctl(c->in_fd, FIONREAD, &left) == 0 &&
		(size_t)left + c->input.len >= c->input_len;
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

bool child_matches(const char *program)
{
	static const char *const names[] = {"grep", "egrep", "fgrep", "rg"};
	const char *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static bool has_failed(const struct child *c)
{
	bool no_match = WIFEXITED(c->wait_status) && WEXITSTATUS(c->wait_status) == 1;

	return c->wait_status && !(c->may_match_none && no_match);
}

enum child_state child_serve(struct child *c, const struct pollfd *p)
{
	if (p[0].revents)
		feed(c);
	if (p[1].revents)
		take(c);
	if (p[2].revents && waitpid(c->pid, &c->wait_status, WNOHANG) == c->pid) {
		c->untouched = is_untouched(c);
		close_fd(&c->pid_fd);
	}
	if (child_overflowed(c) || (c->pid_fd < 0 && has_failed(c))) {
		child_kill(c);
		return CHILD_FAILED;
	}
	if (c->pid_fd >= 0 || c->out_fd >= 0)
		return CHILD_RUNS;
	close_pipes(c);
	tell_guard(-c->pid);
	c->pid = 0;
	return CHILD_DONE;
}

bool child_lingers(const struct child *c)
{
	return c->pid && c->pid_fd < 0 && c->out_fd >= 0;
}

/* Whether a process has the pipe open. */
static bool has_open(const char *pid, const char *pipe)
{
	char path[64], target[64];
	struct dirent *entry;
	bool found = false;
	ssize_t n;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		if (n > 0)
			target[n] = '\0';
		found = n > 0 && strcmp(target, pipe) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

static void name_process(const char *pid, char *name, size_t size)
{
	char path[64], comm[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	file = fopen(path, "re");
	if (file) {
		if (fgets(comm, sizeof(comm), file))
			comm[strcspn(comm, "\n")] = '\0';
		fclose(file);
	}
	snprintf(name, size, "process %.20s (%s)", pid, comm);
}

bool child_holder(const struct child *c, char *name, size_t size)
{
	struct dirent *entry;
	struct stat st;
	bool found = false;
	char pipe[64];
	DIR *proc;

	if (fstat(c->out_fd, &st))
		return false;
	snprintf(pipe, sizeof(pipe), "pipe:[%llu]", (unsigned long long)st.st_ino);
	proc = opendir("/proc");
	while (proc && !found && (entry = readdir(proc))) {
		long pid = strtol(entry->d_name, NULL, 10);

		found = pid > 0 && pid != (long)getpid() && has_open(entry->d_name, pipe);
		if (found)
			name_process(entry->d_name, name, size);
	}
	if (proc)
		closedir(proc);
	return found;
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
	tell_guard(-c->pid);
	close_fd(&c->pid_fd);
	close_pipes(c);
	c->pid = 0;
}
