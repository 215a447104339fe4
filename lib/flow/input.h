/* SPDX-License-Identifier: ISC */
/* Standard input of a program that takes records: whole lines come out; what is over the limit is
 * streamed into the dead letters, a torn last line is left out and remembered, and a refused
 * record ends the input under --on-error stop. */
#ifndef EVPIPE_INPUT_H
#define EVPIPE_INPUT_H

#include "ack/client.h"
#include "base/errclass.h"
#include "flow/dead.h"
#include "base/line.h"
#include "base/opt.h"

#include <stdbool.h>

/* The options of a program that reads lines and can refuse one. */
struct input_opts {
	struct arg_str *on_error;
	struct arg_file *dead_letter;
	struct arg_str *max_line;
};
enum input_letters { INPUT_DEAD_TO_FILE, INPUT_DEAD_TO_TOPIC }; /* where --dead-letter can write */
void input_opts(struct input_opts *o, enum input_letters to);
#define INPUT_ENTRIES(o) (o).on_error, (o).dead_letter, (o).max_line

struct input {
	struct line line;
	struct dead dead;
	bool ended; /* no more lines come: EOF, or a record was refused under `stop` */
	/* Set by a sink that has records unfinished, which may yet be refused: a line over the limit
	 * waits then, since nothing may stand in the middle of its dead letter. */
	bool busy;
	bool held; /* such a line waits: call input_next, not input_read, once not busy */
	/* Set by a program that has an ack_open one; NULL: none. What is refused under `stop` and lines
	 * over the limit are told there; the rest is input_account's. dead_sync goes before ack_serve. */
	struct ack *ack;
	/* A line over the limit was refused, and goes to the dead letters next. Called with the label that
	 * stands in it, which is valid until the next such line; NULL: input_account does. */
	void (*on_big)(void *ctx, const struct ack_label *label);
	void *ctx;
	/* internal */
	bool big; /* a line over the limit is being streamed */
	struct span piece; /* its first, while held */
	struct ack_label big_label;
	struct buf big_text; /* of big_label */
	uint64_t torn; /* number of a last line without its end; 0: none */
};

/* @end: '\n' or '\0'. @give with its @ctx takes the dead letters for a topic (dead_open); NULL: the program
 * writes none there. Dies as dead_open does. */
void input_open(
	struct input *in, const struct input_opts *o, char end, dead_give_fn *give, void *ctx);
/* One read(2), to be called when poll tells of input. Dies with 111 on an error. */
void input_read(struct input *in);
/* The next whole line; counts it as read. false: none before the next input_read, or held, or ended. */
bool input_next(struct input *in, struct span *text);
/* Refuses a line of this number: dead_refuse, and ends the input under `stop`. */
void input_refuse(struct input *in, enum errclass c, struct span line, bool is_record,
	uint64_t number, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Reports what has become of a record that was refused: in a dead letter, or dropped; under `stop`
 * nothing, so that the source's position stays before it. A sink does so when it is its turn. */
void input_account(struct input *in, const struct ack_label *label);
/* Whether a line that record_parse has refused as @c may account for the seq found in it. Not one that
 * is not JSON: it may be two records in one. */
bool input_accounts(enum errclass c);
/* Says what is left to say and closes the dead letters. Returns EXIT_DONE, EXIT_REFUSED, or EXIT_TEMP
 * when the last line was torn. */
int input_close(struct input *in);

#endif
