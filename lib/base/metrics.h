/* SPDX-License-Identifier: ISC */
/* Counters and gauges in Prometheus's text format, rewritten to a file once a second, atomically
 * (temporary file and rename in the same directory, as node_exporter's textfile collector wants),
 * and readiness. Under evpipe(1) both go to the pipeline's directory too:
 * $EVPIPE_DIR/metrics/TOOL.prom, and $EVPIPE_DIR/ready/TOOL, which is there while the program is
 * ready. TOOL, also the label, is the program's name, or $EVPIPE_MEMBER when that is this name and
 * a number ("evstamp-2"). A directory that is not there is warned of once.
 *
 * Names are the same in every pipeline. The label pipeline is $EVPIPE_NAME, else "evpipe". */
#ifndef EVPIPE_METRICS_H
#define EVPIPE_METRICS_H

#include "base/buf.h"
#include "base/errclass.h"

#include <stdbool.h>
#include <stdint.h>

/* Counters that several modules increment, whether or not a file is written. No program decides by
 * them. */
struct metrics {
	uint64_t records_in, records_out, forwarded, dropped;
	uint64_t errors[CLASS_COUNT], dead_letters[CLASS_COUNT];
};

extern struct metrics metrics;

/* A module says which of those counters it increments: they are printed from then on, also while
 * they are 0. */
enum metrics_shared {
	METRICS_IN = 1,
	METRICS_OUT = 2,
	METRICS_FORWARDED = 4,
	METRICS_DROPPED = 8,
	METRICS_ERRORS = 16,
	METRICS_DEAD_LETTERS = 32,
};
void metrics_counts(unsigned which);

/* The labels of a series beside pipeline. */
enum metrics_labels {
	METRICS_PIPELINE, /* none: one program of a pipeline counts it */
	METRICS_TOOL,
	/* tool, and type: the value is an array of CLASS_COUNT, one for each class */
	METRICS_CLASS,
};

/* The module that counts registers its own series in the same way. @name is without "evpipe_"; a
 * counter's ends with "_total". @n is read at each writing. Strings and values must live on; a
 * second registration of a name replaces the first. */
void metrics_counter(
	const char *name, const char *help, enum metrics_labels labels, const uint64_t *n);
void metrics_gauge(
	const char *name, const char *help, enum metrics_labels labels, const uint64_t *n);

enum { METRICS_BUCKETS = 16 }; /* the last is above all bounds */
/* Times, all zero at first. */
struct metrics_histogram {
	uint64_t counts[METRICS_BUCKETS];
	int64_t sum_us;
};
/* @name ends with "_seconds"; the label is pipeline. */
void metrics_histogram(const char *name, const char *help, const struct metrics_histogram *h);
/* @count times the same. */
void metrics_observe(struct metrics_histogram *h, int64_t us, uint64_t count);

/* Whether a peer ("kafka") can be reached. */
void metrics_up(const char *peer, bool up);
/* A peer that cannot be reached, or NULL. */
const char *metrics_down(void);
/* Consumer lag of a partition; -1 forgets it. */
void metrics_lag(const char *topic, int32_t partition, int64_t lag);

/* @file is that of --metrics; NULL: none. @tool is the program's name and must live on. */
void metrics_init(const char *tool, const char *file);
/* Appends the text. */
void metrics_print(struct buf *text);
/* From now on @print makes the text of the files, in place of metrics_print. It appends to
 * @text. */
void metrics_print_with(void (*print)(struct buf *text));
/* Appends a label, and a comma where another stands before it. @value may be any text. */
void metrics_put_label(struct buf *text, const char *name, const char *value);
/* The value of the label pipeline. */
const char *metrics_pipeline(void);
/* Rewrites the files if a second has gone by since the last time. Returns ms until the next is due,
 * -1 without a file. A failed write is warned of once. */
int metrics_tick(int64_t now_ms);
/* Rewrites now: at the end of the program. */
void metrics_flush(void);

/* Tells readiness: sets the gauge, makes or removes the file, and writes LF to the --ready-fd
 * descriptor (s6's notification-fd) once. Does nothing when @ready is no news. @fd -1: none. */
void metrics_ready_fd(int fd);
void metrics_set_ready(bool ready);

#endif
