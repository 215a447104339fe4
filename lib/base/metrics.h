/* SPDX-License-Identifier: ISC */
/* Counters and gauges in Prometheus's text format, rewritten to a file once a second, atomically
 * (temporary file and rename in the same directory, as node_exporter's textfile collector wants), and
 * readiness. Under evpipe(1) both go to the pipeline's directory too: $EVPIPE_DIR/metrics/TOOL.prom, and
 * $EVPIPE_DIR/ready/TOOL, which is there while the program is ready. TOOL, also the label, is the
 * program's name, or $EVPIPE_MEMBER when that is this name and a number ("evstamp-2"). A directory
 * that is not there is warned of once.
 *
 * Names take the pipeline's name as prefix: $EVPIPE_NAME, else "evpipe". */
#ifndef EVPIPE_METRICS_H
#define EVPIPE_METRICS_H

#include "base/buf.h"
#include "base/errclass.h"

#include <stdbool.h>
#include <stdint.h>

/* One a process; counting costs an increment whether or not a file is written. */
struct metrics {
	uint64_t records_in, records_out, forwarded, dropped;
	uint64_t receivers_zero, gaps;
	uint64_t errors[CLASS_COUNT], dead_letters[CLASS_COUNT];
	bool ready;
	int up; /* -1: this program has no peer; else 0 or 1 */
	const char *peer; /* "kafka", "redis" */
	bool is_sink; /* print forwarded */
	bool is_subscriber; /* print gaps */
	bool is_publisher; /* print receivers_zero */
	bool is_ledger; /* print what a source knows of its records' fate: */
	uint64_t open_records, stalled_records; /* not yet final; for too long */
	uint64_t late_reports, stale_reports, ack_garbage;
};

extern struct metrics metrics;

/* @file is that of --metrics; NULL: none. @tool is the program's name and must live on. */
void metrics_init(const char *tool, const char *file);
/* From now on @print makes the text, in place of the counters here. It appends to @text. */
void metrics_print_with(void (*print)(struct buf *text));
/* The pipeline's name as the prefix of a metric's. */
const char *metrics_prefix(void);
/* Consumer lag of a partition; -1 forgets it. */
void metrics_lag(const char *topic, int32_t partition, int64_t lag);
/* A record was final so long after it was read, for the histogram of deliveries. */
void metrics_delivery(int64_t taken_us);
/* Rewrites the files if a second has gone by since the last time. Returns ms until the next is due,
 * -1 without a file. A failed write is warned of once. */
int metrics_tick(int64_t now_ms);
/* Rewrites now: at the end of the program. */
void metrics_flush(void);

/* Tells readiness: sets the gauge, makes or removes the file, and writes LF to the --ready-fd descriptor
 * (s6's notification-fd) once. @fd -1: none. */
void metrics_ready_fd(int fd);
void metrics_set_ready(bool ready);

#endif
