/* SPDX-License-Identifier: ISC */
/* What the parts of `evcorr serve` share. */
#ifndef EVCORR_SERVE_H
#define EVCORR_SERVE_H

#include "ack/client.h"
#include "base/buf.h"
#include "base/child.h"
#include "base/out.h"
#include "base/trouble.h"
#include "evcorr/ident.h"
#include "flow/input.h"
#include "record/record.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

enum { SERVE_WORKERS_MAX = 128 };

/* A call that a worker has, or that is being answered. */
struct serve_request {
	uint64_t line; /* its number in the input */
	struct buf input; /* what the worker reads, with its end */
	struct buf kept; /* the bytes of the three spans */
	struct span id, topic;
	struct span seq; /* as it stood in the line, with its quotes; p NULL: none */
	int32_t partition; /* that the reply was asked to; -1: none was */
};

enum serve_work_state {
	WORK_DOWN, /* no process runs */
	WORK_IDLE,
	WORK_BUSY, /* with its request */
};

/* A worker's place: its process is started again when it has ended. */
struct serve_worker {
	enum serve_work_state state;
	struct child child;
	struct serve_request request;
	int64_t since_ms; /* BUSY: when it got the request */
	size_t scanned; /* bytes of the output without a line's end */
	uint64_t answered; /* by this process */
	int64_t backoff_ms, retry_ms; /* DOWN */
};

struct serve {
	struct input in;
	struct out out;
	struct ack ack;
	struct ident ident;
	char **argv;
	struct span reply_to; /* for requests that do not say it; p NULL: none */
	int32_t reply_partition; /* -1: any */
	bool records; /* --format record */
	char end; /* of a payload and an answer: LF or NUL */
	int64_t timeout_ms;
	int64_t skew_ms; /* by which callers' clocks may be behind ours */
	struct serve_worker workers[SERVE_WORKERS_MAX];
	unsigned count; /* of workers */
	int64_t end_ms; /* when workers that do not end are killed; 0: not yet */
	struct trouble trouble; /* why it ends early */
	bool closed; /* by the reader of standard output */
	uint64_t expired, failed, timeouts, unasked;
	uint64_t told; /* warnings of workers */
	bool told_expired; /* that a deadline was over */
	struct buf scratch;
};

/* ---- serve-request.c ---- */

enum serve_verdict {
	SERVE_TAKE,
	SERVE_EXPIRED, /* nobody waits any more */
	SERVE_CANNOT, /* answer with 400 and the sentence in @e */
	SERVE_REFUSE, /* @e says why; it cannot be answered */
};
/* Fills in @q from a record. */
enum serve_verdict serve_request_read(
	struct serve *s, const struct record *r, struct serve_request *q, struct record_error *e);

/* ---- serve-reply.c ---- */

/* Appends the reply to the output: what the worker has printed, a line without its end. @status 0:
 * none was said, beside the line. */
void serve_reply(struct serve *s, const struct serve_request *q, struct span text, int status);
/* An error reply of our own. */
void serve_reply_error(struct serve *s, const struct serve_request *q, int status, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));
/* The status in a worker's note, 100 to 599. 0: the note is empty; -1: it is none. */
int serve_status_of(struct span note);

/* ---- serve-work.c ---- */

/* Starts all; a command that cannot be run is trouble. */
void serve_work_open(struct serve *s);
/* A worker that can take a request now, NULL none: fill in its request, then serve_work_begin. */
struct serve_worker *serve_work_free(struct serve *s, int64_t now_ms);
void serve_work_begin(struct serve *s, struct serve_worker *w, int64_t now_ms);
/* Fills in CHILD_FDS entries for each process, and returns how many; serve_work_serve takes them
 * back after poll. */
nfds_t serve_work_poll(const struct serve *s, struct pollfd *p);
void serve_work_serve(struct serve *s, const struct pollfd *p, int64_t now_ms);
/* Milliseconds until serve_work_serve has to look without an event; -1 none. */
int serve_work_due_ms(const struct serve *s, int64_t now_ms);
/* How many have a request. */
unsigned serve_work_busy(const struct serve *s);
/* Since when the oldest request is here; INT64_MAX: there is none. */
int64_t serve_work_since_ms(const struct serve *s);
/* Has the workers end, by the end of their input. Returns whether all have ended; call it until
 * then. */
bool serve_work_end(struct serve *s, int64_t now_ms);
void serve_work_kill(struct serve *s);

#endif
