/* SPDX-License-Identifier: ISC */
/* Refused records: --on-error stop|skip, --dead-letter FILE|kafka:TOPIC (evpipe-record(5)).
 * A dead letter is {"error":{"tool","class","message","at"},"record":…} and a LF; "line" or
 * "line_b64" instead of "record" when the line was not one, and behind it "length" when only the
 * beginning of a line over the limit is there. */
#ifndef EVPIPE_DEAD_H
#define EVPIPE_DEAD_H

#include "base/buf.h"
#include "base/errclass.h"

#include <stdbool.h>
#include <stdint.h>

enum dead_policy { DEAD_STOP, DEAD_SKIP, DEAD_FILE, DEAD_TOPIC };

/* DEAD_TOPIC: takes a dead letter, without its LF, and makes it durable before the record is
 * reported. */
typedef void dead_give_fn(void *ctx, struct span letter);

struct dead {
	enum dead_policy policy;
	const char *file;
	int fd;
	bool dirty; /* written, not yet synced */
	/* a record was refused under DEAD_STOP: end with 1 after what came before it */
	bool stopped;
	struct buf b;
	bool replaced; /* the file of this name is not the one that earlier letters went to */
	int lock_ms; /* how long another program may hold the file's lock */
	int64_t start; /* length of the file before the dead letter being written; -1 no file */
	uint64_t refused;
	uint64_t shown[CLASS_COUNT];
	dead_give_fn *give;
	void *ctx;
};

/* Whether the dead-letter file is the regular file that @fd has open. */
bool dead_is_file_of(const struct dead *d, int fd);
/* Whether refused records are kept. */
static inline bool dead_keeps(const struct dead *d)
{
	return d->policy >= DEAD_FILE;
}
/* @on_error: "stop", "skip" or NULL; @file: NULL or the dead-letter file, which is opened for
 * appending, and made with mode 0600 if it is not there. With @give "kafka:TOPIC" is given there
 * instead. A torn last line of an earlier run is ended first. Dies with 100 on bad arguments and
 * when the file cannot be opened, with 111 when the machine has no room for it. */
void dead_open(
	struct dead *d, const char *on_error, const char *file, dead_give_fn *give, void *ctx);
/* Refuses one line: counts, tells the user (the first ten of a class, with where: "line 7: …", but
 * for a @number of 0), and writes the dead letter. @is_record: the line is a JSON object and stands
 * in "record" as it came. A file that was moved, removed or replaced is made anew. May block for
 * lock_ms (10 s) while another program holds the file's lock. Returns true when the program may go
 * on; false under `stop`. Dies with 111 when a dead letter cannot be written. */
bool dead_refuse(struct dead *d, enum errclass c, struct span line, bool is_record, uint64_t number,
	const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* The same for a line over the limit of @max bytes: it was @length bytes long, and @head is what
 * was kept. */
bool dead_refuse_long(
	struct dead *d, struct span head, uint64_t length, size_t max, uint64_t number);
/* Makes all dead letters durable (fdatasync). Call before their records are reported, committed or
 * forgotten: at the latest before the loop waits. Dies with 111. */
void dead_sync(struct dead *d);
/* Syncs, closes, says how many were refused. Returns EXIT_DONE or EXIT_REFUSED; EXIT_DONE too if
 * all of them stand in dead letters and the program was asked to stop by a signal
 * (wake_stopped). */
int dead_close(struct dead *d);

#endif
