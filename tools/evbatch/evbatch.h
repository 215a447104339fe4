/* SPDX-License-Identifier: ISC */
/* evbatch's parts: batches and the loop (evbatch.c), their output (evbatch-output.c), a run of the
 * command (evbatch-command.c), and the numbers of a batch as a label (evbatch-numbers.c). */
#ifndef EVBATCH_H
#define EVBATCH_H

#include "ack/client.h"
#include "base/buf.h"
#include "flow/input.h"
#include "ack/label.h"
#include "base/out.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- a run of the command ---- */

enum {
	OUTPUT_MAX = 64 << 20, /* bytes beyond those of the input */
	COMMAND_FDS = 3,
};

struct command {
	pid_t pid; /* 0: none runs; leads a process group */
	int pid_fd, in_fd, out_fd; /* -1: closed; pid_fd: it has exited */
	int wait_status;
	struct span input; /* what it has not read yet; the caller's */
	struct buf output;
	size_t output_max;
};

enum command_state { COMMAND_RUNS, COMMAND_DONE, COMMAND_FAILED };

/* Runs it on @input, with standard error as ours. Returns 0, or errno's value when it cannot be run. */
int command_start(struct command *c, char *const argv[], struct span input);
/* Fills in COMMAND_FDS entries; serve takes them back after poll, and never blocks. DONE: the output has
 * ended and it has exited with 0. FAILED: else, or the output was too much; nothing runs any more. */
void command_poll(const struct command *c, struct pollfd *p);
enum command_state command_serve(struct command *c, const struct pollfd *p);
/* "exited with status 3", "was killed by signal 9", "wrote 64 MiB more than …". */
void command_why(const struct command *c, char *why, size_t size);
/* Another run on the same input gives the same: the output was too much. */
bool command_hopeless(const struct command *c);
/* Ends it and what it has started, at once. */
void command_kill(struct command *c);

/* ---- the numbers of a batch ---- */

struct range {
	uint64_t from, to;
};

struct numbers {
	struct range *ranges;
	size_t count, cap;
};

void numbers_add(struct numbers *n, uint64_t from, uint64_t to);
/* The set as labels have it: ascending, what touches melted into one: "3-5,9". */
void numbers_text(struct numbers *n, struct buf *out);

/* ---- batches ---- */

enum {
	RUNS_MAX = 64,
	RING = RUNS_MAX + 1, /* and one to fill */
};

enum state { FILLING, RUNNING, WAITING, DONE, WRITING };

struct batch {
	enum state state;
	struct buf input;
	uint64_t records, first_line;
	int64_t since_ms; /* its first record */
	int64_t backoff_ms, retry_ms;
	unsigned attempts;
	struct command command;
	bool labelled;
	char run[LABEL_RUN_LEN + 1];
	struct numbers numbers;
	struct buf set; /* RUN ":" and the numbers */
	uint32_t part, parts; /* lines of the output: written and refused; all */
	size_t at; /* of the next one */
};

struct evbatch {
	struct input in;
	struct out out;
	struct ack ack;
	char **argv;
	uint64_t batch_records;
	int64_t batch_ms;
	unsigned runs; /* -P */
	struct batch ring[RING];
	uint64_t head, tail;
	unsigned running;
	int status; /* of a trouble that ends it */
	bool gone; /* the reader of standard output */
	struct buf scratch, seq;
};

static inline struct batch *batch(struct evbatch *s, uint64_t i)
{
	return &s->ring[i % RING];
}

/* Input ends, and the batches from @cut on are forgotten: neither written nor reported. */
void evbatch_cut(struct evbatch *s, uint64_t cut);
/* The same, and the program ends with this status; says why, to the source too when it is permanent. */
void evbatch_give_up(struct evbatch *s, uint64_t cut, int status, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Writes what batches that are done have made, in order, up to OUT_BLOCK. */
void evbatch_write(struct evbatch *s);
/* Whether there is something to write and room for it. */
bool evbatch_can_write(struct evbatch *s);

#endif
