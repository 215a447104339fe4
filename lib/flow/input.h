/* SPDX-License-Identifier: ISC */
/* Standard input of a program that takes records: whole lines come out, a line over the limit is
 * refused, a torn last line is left out and remembered, and a refused record ends the input under
 * --on-error stop. */
#ifndef EVPIPE_INPUT_H
#define EVPIPE_INPUT_H

#include "ack/client.h"
#include "base/errclass.h"
#include "base/line.h"
#include "base/opt.h"
#include "flow/dead.h"

#include <stdbool.h>

/* The options of programs that read lines and can refuse one. */
struct input_opts {
	struct arg_str *on_error;
	struct arg_file *dead_letter;
	struct arg_str *max_line;
};
enum input_letters { INPUT_DEAD_TO_FILE, INPUT_DEAD_TO_TOPIC }; /* where --dead-letter can write */
void input_opts(struct input_opts *o, enum input_letters to);
#define INPUT_ENTRIES(o) (o).on_error, (o).dead_letter, (o).max_line
/* For a file as an operand, where there is no better advice. */
extern const struct opt_hint input_hints[];

struct input {
	struct line line;
	struct dead dead;
	/* internal */
	struct ack *ack;
	bool drained; /* no whole line is left of what was read */
	bool ended;
	int64_t signal_ms; /* when the first one was noticed; 0: none was */
	uint64_t torn; /* number of a last line without its end; 0: none */
};

/* @end: '\n' or '\0'. @ack is open or will be before the first line; it is told of a record that is
 * refused under `stop`. @give with its @ctx takes the dead letters for a topic (dead_open); NULL:
 * the program writes none there. Dies as dead_open does. */
void input_open(struct input *in, const struct input_opts *o, char end, struct ack *ack,
	dead_give_fn *give, void *ctx);
/* Standard input, if it is a file, is read to where it ends now, whoever appends to it. */
void input_read_as_it_stands(struct input *in);
/* With --dead-letter kafka:TOPIC: the topic's name, else NULL. */
const char *input_dead_topic(const struct input *in);

/* Whether standard input is to be polled, and input_read called when it is readable. */
static inline bool input_wants(const struct input *in)
{
	return in->drained && !in->ended;
}
/* One read(2), which does not block after poll has told of input. Dies with 111 on an error. */
void input_read(struct input *in);
/* No more lines come: end of file, input_stop, or a record was refused under `stop`. */
static inline bool input_ended(const struct input *in)
{
	return in->ended;
}
/* Whether nobody writes to the input any more: it has ended, its writer has closed it, or it is a
 * file. Lines may be left in it. */
bool input_is_closed(const struct input *in);
/* Whether a signal must end the program: as wake_must_end says, or at the first one when nobody
 * writes to the input any more, read or not, and the program has stood still for a second.
 * @still_ms: for how long nothing was taken from it, by a server or by the reader of its output; it
 * stands still, too, as long as its source has not greeted it.
 * Call when wake's descriptor is ready, and each turn after a signal or the end of input; at least
 * each INPUT_LOOK_MS after a signal, since standing still makes no event. */
bool input_must_end(struct input *in, int64_t still_ms);
enum { INPUT_LOOK_MS = 100 };
/* Lets no more lines come. */
static inline void input_stop(struct input *in)
{
	in->ended = true;
}

enum input_got {
	INPUT_NONE, /* the input has ended, or there is no whole line before the next input_read */
	INPUT_LINE,
	/* a line over the limit, of which @text is the beginning: call input_refuse_long */
	INPUT_LONG,
};
/* The next line, which is counted as read. */
enum input_got input_take(struct input *in, struct span *text);
/* Refuses the line that was taken last, since it is over the limit. Fills in the label that stands
 * near its beginning: a record that no program can take would hold up its partition for ever
 * otherwise. */
void input_refuse_long(struct input *in, struct span text, struct ack_label *label);
/* input_take for a program that reports refused records at once: lines over the limit are refused
 * and accounted for here. false: as INPUT_NONE. */
bool input_next(struct input *in, struct span *text);
/* Refuses a line of this number: dead_refuse, and ends the input under `stop`. */
void input_refuse(struct input *in, enum errclass c, struct span line, bool is_record,
	uint64_t number, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Reports a refused record: it is in a dead letter, or dropped. Under `stop` nothing is reported,
 * so that the source's position stays before the record. dead_sync goes between this and
 * ack_serve. */
void input_account(struct input *in, const struct ack_label *label);
/* Whether a line that record_parse has refused as @c may account for the seq found in it. A line
 * that is not JSON may not: it may be two records in one. */
bool input_accounts(enum errclass c);
/* Says that the last line was torn, or how many records were refused, and closes the dead letters.
 * Returns EXIT_DONE, EXIT_REFUSED, or EXIT_TEMP when the last line was torn. */
int input_close(struct input *in);

#endif
