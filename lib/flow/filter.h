/* SPDX-License-Identifier: ISC */
/* The loop of a pure filter: lines in, records looked at one by one, lines out. */
#ifndef EVPIPE_FILTER_H
#define EVPIPE_FILTER_H

#include "ack/client.h"
#include "base/buf.h"
#include "base/out.h"
#include "flow/input.h"
#include "record/record.h"

enum filter_verdict {
	FILTER_PASS, /* hand the line on as it came */
	FILTER_EDITED, /* hand on what was appended to @out */
	FILTER_KEEP, /* the program has a copy, which it hands on later */
	FILTER_DROP, /* by declared choice: counted */
	FILTER_REFUSE, /* @e says why */
};

/* Looks at one record. May append one line, without its LF, to @out when it says FILTER_EDITED. */
typedef enum filter_verdict filter_fn(
	void *self, const struct record *r, struct buf *out, struct record_error *e);

/* The same for a filter of lines that need not be records: @r is NULL where @line is none, and @e
 * says why. */
typedef enum filter_verdict filter_line_fn(void *self, struct span line, const struct record *r,
	struct buf *out, struct record_error *e);

/* For a program that keeps records. */
struct filter_later {
	/* Appends the records that are due, each with its LF, and counts them in *@count. @ended:
	 * no more come in. Returns the milliseconds until it is to be asked again, or -1: it keeps
	 * none. */
	int64_t (*emit)(void *self, int64_t now_ms, bool ended, struct buf *out, uint64_t *count);
	/* Whether it takes no more for now. */
	bool (*is_full)(void *self);
};

enum { FILTER_QUIT = -2 };

struct filter {
	filter_fn *each;
	filter_line_fn *line; /* instead of each */
	void *self;
	const struct input_opts *input;
	const struct ack_opts *ack; /* NULL: it takes no part in acknowledgements */
	/* What goes out is text for people: FILTER_EDITED appends all of it, line ends too, and a
	 * reader that goes is no trouble. */
	bool prints;
	const struct filter_later *later; /* NULL: it keeps none */
	/* Called in each turn, and once with @ended. May append to @out. Returns the milliseconds
	 * until it is to be called again, -1: with the next event, or FILTER_QUIT: no more input is
	 * read. */
	int64_t (*tick)(void *self, int64_t now_ms, bool ended, struct buf *out);
	bool ends_on_signal; /* the first signal is the end of its input */
	/* An input that is a file is read to where it ends at the start: programs behind append to
	 * it what they refuse. */
	bool reads_as_it_stands;
};

/* Runs from standard input to standard output until EOF and returns the exit status. The first
 * SIGTERM or SIGINT only makes a warning while input is open (a filter ends on EOF, so that nothing
 * in the pipe is lost); the second ends it at once, and so does the first after EOF. Ends as soon
 * as the reader has gone, with input or without. A program that keeps records is asked for them
 * after the end of input too, but a signal ends it when its input is a file.
 *
 * Drops and dead letters are reported to the source; records that are handed on are not. A record
 * of another source's run passes as it came: the sink will judge it. */
int filter_run(const struct filter *f);

/* The end of a filter that has a loop of its own: reports leave, standard output is closed, what
 * was refused is counted. @status: why it ends before its time; EXIT_TEMP: the source reads again
 * what has no report. @gone: the reader has gone. Returns the exit status, for a reader that is
 * there. */
int filter_finish(struct input *in, struct ack *ack, struct out *out, int status, bool gone);

#endif
