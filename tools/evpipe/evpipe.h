/* SPDX-License-Identifier: ISC */
/* The state that the parts of evpipe share. */
#ifndef EVPIPE_EVPIPE_H
#define EVPIPE_EVPIPE_H

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
	bool again; /* not the first run: what cannot be run may be there again soon */
	bool own_group; /* a process group of its own, called as pid */
	bool ended; /* the process was waited for */
	bool empty; /* … and no process is left in its group */
	bool asked; /* we sent it SIGTERM before it ended */
	bool forced; /* … after --drain */
	bool wants_terminal; /* it is stopped until it has it */
	int wait_status;
	int64_t ended_ms;
};

/* The next step of the stop order. */
enum stop_step { STOP_SOURCE, STOP_ALL, STOP_AGAIN, STOP_KILL };

struct status;
struct health;

struct evpipe {
	/* The command line. */
	struct member *members;
	int count;
	const char *name;
	const char
		*unit; /* the name of this unit among those on the host; NULL: none could be had */
	char *parent; /* holds the directories of the runs */
	bool keep; /* the parent was given by -d */
	int lock_fd; /* of the file that keeps other evpipes out of it */
	const char *listen;
	int64_t drain_ms, grace_ms;
	bool restart;
	/* The run. */
	char *directory; /* $EVPIPE_DIR; NULL between runs */
	bool running;
	int64_t start_ms; /* of this run, or of the next */
	/* when all programs of ours were ready for the first time in this run; 0: never */
	int64_t ready_ms;
	int64_t mended_ms; /* when the directory was found removed, last */
	enum stop_step step;
	int64_t step_ms; /* when step is due; 0: the run goes on */
	int64_t source_stop_ms; /* when the first member was asked to end; 0: it was not */
	int start_status; /* not 0: a member could not be started */
	bool strays_told;
	int64_t strays_ms; /* when what members left was first looked for; 0: not yet */
	/* All runs. */
	int stops; /* stop signals so far */
	uint64_t restarts;
	int64_t backoff_ms;
	int last_status; /* of the last run */
	const struct member *cause; /* the member that failed first in it, or NULL */
	char why[512]; /* the sentence about its failure */
	struct status *status;
	struct health *health;
};

#endif
