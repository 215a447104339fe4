/* SPDX-License-Identifier: ISC */
/* A program that is run inside a poll loop: input is fed to it and output taken from it side by
 * side, so that it may read first and write then, or both by turns, or not read at all. Standard
 * error is ours.
 *
 * It leads a process group of its own: Ctrl-C on a terminal is for the pipeline, which ends in
 * order, and all that it has started can be ended with it. If we end, be it by SIGKILL, so does the
 * group: a small process of its own, started with the first child, sees to that. SIGCHLD must not
 * be ignored: child_apart. */
#ifndef EVPIPE_CHILD_H
#define EVPIPE_CHILD_H

#include "base/buf.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { CHILD_FDS = 3 };

struct child {
	pid_t pid; /* 0: none runs; leads a process group */
	int pid_fd, in_fd, out_fd; /* -1: closed; pid_fd: it has exited */
	int note_fd; /* -1: none */
	int wait_status;
	struct span input; /* the bytes that it has not read yet; the caller's */
	struct buf output;
	size_t input_len, output_max; /* bytes */
	bool stays; /* its input is left open; child_open */
	bool untouched; /* it has ended, and read nothing of what child_give gave last */
	bool may_match_none; /* the caller's, after the start: status 1 is no failure */
};

enum child_state { CHILD_RUNS, CHILD_DONE, CHILD_FAILED };

/* Before the first child, and after what the program itself takes from the environment: what it
 * runs is no member of its pipeline, even if it is one of ours; and SIGCHLD is not ignored, as it
 * is if our parent ignores it. */
void child_apart(void);
/* Runs @argv, looked up in $PATH, on @input, which stays until the end of the run; it may write
 * @output_max bytes. Returns 0, or errno's value when it cannot be run. Dies with 111 when there
 * are no pipes. */
int child_start(struct child *c, char *const argv[], struct span input, size_t output_max);
/* The same with an input that stays open, and with descriptor 3, on which it may write notes. */
int child_open(struct child *c, char *const argv[], size_t output_max);
/* Gives it @input, which stays until the end of the run, or the next call; what was given before
 * has been read. The caller takes the output out of c->output. */
void child_give(struct child *c, struct span input);
/* Closes its input, which has been read. */
void child_end_input(struct child *c);
/* Takes what it has written on descriptor 3, up to @size bytes. Returns how many; never blocks. */
size_t child_note(struct child *c, char *text, size_t size);
/* Whether status 1 of @program, a name or a path, says that no line matched: grep and its kin. */
bool child_matches(const char *program);
/* Fills in CHILD_FDS entries; child_serve takes them back after poll, and never blocks. DONE: the
 * output has ended and it has exited with 0, or with 1 where it may match none. FAILED: else, or
 * the output was too much; nothing runs any more. */
void child_poll(const struct child *c, struct pollfd *p);
enum child_state child_serve(struct child *c, const struct pollfd *p);
/* Of a failed one: "exited with status 3", "was killed by signal 9", "wrote 64 MiB more than …". */
void child_why(const struct child *c, char *why, size_t size);
/* The output was too much: another run on the same input would give the same. */
bool child_overflowed(const struct child *c);
/* It has ended, but its output is still open: a process that it has started holds it. */
bool child_lingers(const struct child *c);
/* Which process that is: "process 77 (sleep)"; the first one found in /proc, which is read through.
 * Returns false when none is found. */
bool child_holder(const struct child *c, char *name, size_t size);
/* Ends it and what it has started, at once; nothing when none runs. Waits for its end. */
void child_kill(struct child *c);
/* At the end of the program, after the last child: ends all groups, those too that a child has left
 * behind. */
void child_end_all(void);
/* Removes a directory with all that is in it, as far as that can be done; a link in it is not
 * followed. */
void child_remove(const char *path);
/* Before the first child. This directory, with all that is in it, is removed when we have ended, be
 * it by SIGKILL, and all groups have. @path is copied. Dies with 111 when there is no room for
 * another process. */
void child_remove_at_end(const char *path);

#endif
