/* SPDX-License-Identifier: ISC */
/* What the parts of evpipe share. */
#ifndef EVPIPE_EVPIPE_H
#define EVPIPE_EVPIPE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum program_kind { PROGRAM_SOURCE, PROGRAM_FILTER, PROGRAM_SINK };

/* A program of ours. */
struct program {
	const char *name;
	enum program_kind kind;
};

struct member {
	char **argv; /* NULL-ended */
	char *name; /* the program's, with a number if there are more of it: unique */
	const struct program *ours; /* NULL: a foreign program */
	/* Of this run: */
	pid_t pid; /* 0: not started */
	bool own_group; /* a process group of its own, called as pid */
	bool ended; /* the process was waited for */
	bool empty; /* … and no process is left in its group */
	bool asked; /* we sent it SIGTERM before it ended */
	bool forced; /* … after --drain */
	int wait_status;
	int64_t ended_ms;
};

/* The next step of the stop order. */
enum stop_step { STOP_SOURCE, STOP_ALL, STOP_AGAIN, STOP_KILL };

struct status;

struct evpipe {
	/* The command line. */
	struct member *members;
	int count;
	const char *name;
	char *parent; /* holds the directories of the runs */
	bool keep; /* the parent was given by -d */
	const char *listen;
	int64_t drain_ms, grace_ms;
	bool restart;
	/* The run. */
	char *directory; /* $EVPIPE_DIR; NULL between runs */
	bool running;
	int64_t start_ms; /* of this run, or of the next */
	enum stop_step step;
	int64_t step_ms; /* when step is due; 0: the run goes on */
	int64_t source_stop_ms; /* when the first member was asked to end; 0: it was not */
	int start_status; /* not 0: a member could not be started */
	/* All runs. */
	int stops; /* stop signals so far */
	uint64_t restarts;
	int64_t backoff_ms;
	int last_status; /* of the last run */
	char why[512]; /* the sentence about its failure */
	struct status *status;
};

/* ---- cmdline.c: the members ---- */

/* Splits the operands at their '|' into e->members. Dies with 100. */
void cmdline_parse(struct evpipe *e, int argc, const char *const *argv);
/* Whether the first member is a source of ours. */
bool cmdline_has_source(const struct evpipe *e);
/* The last member's name when it is a sink of ours, which can acknowledge records; "" when it is not, or is
 * a filter by --pass. */
const char *cmdline_sink(const struct evpipe *e);
/* Appends the names of the foreign programs between the first and the last that may drop records, separated
 * by spaces, and a NUL. */
void cmdline_foreign(const struct evpipe *e, struct buf *names);

/* ---- members.c: processes ---- */

/* Sets up signals; returns the descriptor of wake_open, which wakes for an ended child too. */
int members_open(void);
/* Looks all programs up, then starts them, the source last. Returns 0, or the status to end with when
 * one cannot be started; what was started then ends by members_step. */
int members_start(struct evpipe *e);
/* Waits for members that have ended; begins to stop the others when one has failed. */
void members_reap(struct evpipe *e, int64_t now_ms);
/* Begins the end of the run at a time, unless an earlier one is set. */
void members_stop(struct evpipe *e, int64_t at_ms);
/* Does what is due of the stop order. */
void members_step(struct evpipe *e, int64_t now_ms);
/* No process of the run is left. */
bool members_all_ended(const struct evpipe *e);
bool member_failed(const struct member *m);
/* "exit 111, temporary trouble". */
void member_describe(const struct member *m, char *text, size_t size);
/* The status of the run which has ended: that of the member that failed first; fills e->why with a
 * sentence about it, and prints the table. */
int members_verdict(struct evpipe *e);

/* ---- directory.c ---- */

/* Finds the parent of the runs' directories: @parent, which -d gave, or NULL. Dies. */
void directory_open(struct evpipe *e, const char *parent);
/* Makes the directory of the next run and sets $EVPIPE_DIR and $EVPIPE_ACK. Dies. */
void directory_make(struct evpipe *e);
/* Removes it; under -d it stays. */
void directory_leave(struct evpipe *e);

/* ---- status.c: metrics, health, readiness ---- */

/* Opens what --listen, --ready-fd, --metrics and $NOTIFY_SOCKET ask for. Dies. */
void status_open(struct evpipe *e, bool ready_fd, bool metrics_file);
/* A stop signal has come. */
void status_stopping(struct evpipe *e);
/* A run has begun, or has ended. */
void status_run(struct evpipe *e);
/* For poll: the servers' and the directory's descriptors, -1 for none. */
int status_http_fd(const struct evpipe *e);
int status_ready_fd(const struct evpipe *e);
/* Serves requests and scans the members' files when that is due. Returns ms until the next call, -1: no limit. */
int status_serve(struct evpipe *e, int64_t now_ms);
void status_close(struct evpipe *e);

#endif
