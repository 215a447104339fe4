/* SPDX-License-Identifier: ISC */
/* The source's account of the records that it has emitted and of what has become of them
 * (evpipe-ack(7)). Pure: no I/O, no clock, no third-party type, so that it can be tested to death.
 *
 * Numbers are dense over all partitions: 1, 2, 3 …. A number is open from ledger_emit until it is
 * reported, with all its parts if the record was split. A partition's numbers belong to its present
 * assignment. When the assignment ends they leave the account; later reports of them are only
 * counted. */
#ifndef EVPIPE_LEDGER_H
#define EVPIPE_LEDGER_H

#include "base/buf.h"
#include "ack/label.h"

#include <stdbool.h>
#include <stdint.h>

/* One assignment of one partition, or one stream. */
struct ledger_part {
	const char *topic; /* the caller's; for messages and for answers to a transaction */
	int32_t partition;
	void *user; /* the caller's */
	/* internal */
	int64_t next;
	uint32_t head, tail; /* its open numbers, ascending */
	uint64_t open;
	uint64_t emitted,
		committed; /* how many numbers, and how many of them a commit has covered */
	bool moved;
	struct ledger_part *before, *after;
};

enum ledger_kind { LEDGER_FINAL, LEDGER_DROP, LEDGER_DEAD };

enum ledger_answer {
	LEDGER_TAKEN, /* also if all numbers were of ended assignments */
	/* a number never emitted, or parts that contradict others: nothing was changed */
	LEDGER_GARBAGE,
	LEDGER_TWICE, /* a second report of a label: nothing was changed, the pipeline must end */
	LEDGER_BACKWARDS, /* in order: the sink reported a lower number; the pipeline must end */
	LEDGER_WAIT, /* a transaction: a number below its highest is neither settled nor named */
	LEDGER_ABORT, /* a transaction: one of its numbers belongs to an ended assignment */
};

/* The fates of the numbers, each counted once. */
struct ledger_counts {
	uint64_t emitted, final, dropped, dead;
	uint64_t vouched; /* in order: passed over by the sink's report of a later one */
	uint64_t ended; /* open when their assignment ended */
	uint64_t late; /* reports of numbers whose assignment had ended */
	uint64_t forgotten; /* by ledger_forget */
	uint64_t open;
	uint64_t open_bytes;
};

struct ledger;

/* Called with the numbers that are settled, in the order of settling: @at and @low of the first one
 * as given to ledger_emit, and @count, of which each stands one behind the other; @taken_us is the
 * time between ledger_emit and the report, for latency. May be NULL. */
typedef void ledger_settled_fn(void *ctx, struct ledger_part *p, int64_t at, int64_t low,
	uint64_t count, enum ledger_kind kind, int64_t taken_us);

/* @window, @window_bytes: how much may be open before ledger_full. @order: accounting by order.
 * Never fails (dies when out of memory). */
struct ledger *ledger_new(uint64_t window, uint64_t window_bytes, bool order);
void ledger_on_settled(struct ledger *l, ledger_settled_fn *fn, void *ctx);
void ledger_free(struct ledger *l);

/* A partition is assigned. @topic and @user stay the caller's and must outlive the assignment. */
struct ledger_part *ledger_assign(
	struct ledger *l, const char *topic, int32_t partition, void *user);
/* The assignment of @p has ended: its open numbers leave the account. Frees @p. */
void ledger_end(struct ledger *l, struct ledger_part *p);

/* The next number, for the record at offset @at (a stream: @at and @low are its id's halves), of
 * @bytes bytes. */
uint64_t ledger_emit(struct ledger *l, struct ledger_part *p, int64_t at, int64_t low, size_t bytes,
	int64_t now_us);
/* Positions below @next hold no record: control records, or records that were compacted away. */
void ledger_skip(struct ledger_part *p, int64_t next);
/* Whether the window is full: then emit nothing. False when nothing is open. With ledger_committed
 * in use, records that are not committed yet count as well; then commit. */
bool ledger_full(const struct ledger *l);
/* Gives up the lowest open number: for a source that cannot replay and must not wait. */
void ledger_forget(struct ledger *l);
/* In order accounting any number of records may be open, and takes little room; but a transaction
 * must know the offset of each number. After ledger_keep_exact, ledger_has_room says whether a
 * further one can be kept so. */
void ledger_keep_exact(struct ledger *l);
/* How many of the newest numbers, at least, are never put together with others of which the sink
 * may speak apart: by default as many as the window, and 2048. */
void ledger_keep(struct ledger *l, uint32_t entries);
bool ledger_has_room(const struct ledger *l);
/* In order: all that is open counts as dropped. */
void ledger_pass_all(struct ledger *l);
/* The last number given. */
uint64_t ledger_last(const struct ledger *l);

/* Takes a report. @sink: it comes from the acknowledging sink. In order accounting a sink's report
 * settles all numbers below the lowest of the report. */
enum ledger_answer ledger_report(struct ledger *l, bool sink, enum ledger_kind kind,
	const struct label *label, int64_t now_us);

/* @id, "#NAME", stands for these sets, "3-5 9 #OTHER", and for those that it was given before.
 * GARBAGE: the name or a label is none, has parts or was never given; nothing was changed. */
enum ledger_answer ledger_name(struct ledger *l, struct span id, struct span labels);
/* label_parse, and the set of a name: it points into the ledger until the next call. -1 also if it
 * has no set. */
int ledger_label(const struct ledger *l, struct label *label, struct span text);

/* The position that may be committed for the partition: the offset after the last number below
 * which all numbers are settled. -1: none of this assignment yet. Never falls. */
int64_t ledger_position(const struct ledger *l, const struct ledger_part *p);
/* How many of the partition's records come before ledger_position: for ledger_committed. */
uint64_t ledger_covered(const struct ledger *l, const struct ledger_part *p);
/* The commit of the position whose ledger_covered was @covered is confirmed. From the first call on
 * the window begins at the last commit, not at the lowest open number: a crash repeats the records
 * behind it. */
void ledger_committed(struct ledger *l, struct ledger_part *p, uint64_t covered);
/* How many records a crash would repeat: those emitted and not covered by ledger_committed. */
uint64_t ledger_uncommitted(const struct ledger *l);
/* Whether to commit now. @due: how many records could be committed and are in no commit that was
 * sent. True if @due >= window/16 and as little of the window is left as is emitted until the
 * answer comes. How much that is follows from the commits before: less when room was left at their
 * answer, more when none was. */
bool ledger_commit_due(const struct ledger *l, uint64_t due);
/* How many numbers of the partition are open. */
uint64_t ledger_part_open(const struct ledger_part *p);

/* A transaction names its numbers. After LEDGER_TAKEN, and until the next call, ledger_txn_position
 * returns the positions to commit with the transaction; the numbers stay open until they are
 * reported. @labels: separated by single spaces, or empty. A label that is named twice, or was
 * already reported, is LEDGER_TWICE. In order accounting the transaction vouches for the numbers
 * below, as its reports will. */
enum ledger_answer ledger_txn(struct ledger *l, struct span labels);
/* The value that ledger_position will have when the named numbers are settled. */
int64_t ledger_txn_position(const struct ledger *l, const struct ledger_part *p);
/* How many of the partition's records come before that position. */
uint64_t ledger_txn_covered(const struct ledger *l, const struct ledger_part *p);

/* The assigned partitions, in no order: start with NULL. */
struct ledger_part *ledger_next_part(const struct ledger *l, const struct ledger_part *p);

struct ledger_counts ledger_counts(const struct ledger *l);

/* An open number: where its record stands, and how many open numbers of its partition are like
 * it. */
struct ledger_open {
	const struct ledger_part *part;
	uint64_t number;
	int64_t at, low;
	uint64_t count;
};
/* The lowest open number, and in o->count how many are open. Returns false if none is. */
bool ledger_first_open(const struct ledger *l, struct ledger_open *o);
/* Calls @fn with each open number of the partition, ascending; count is 1. @fn changes nothing. */
void ledger_each_open(const struct ledger *l, const struct ledger_part *p,
	void (*fn)(void *ctx, const struct ledger_open *o), void *ctx);
/* What the members of the pipeline say of themselves. */
enum ledger_members {
	LEDGER_WORK,
	/* the sink holds nothing, nor does a filter say that it holds something */
	LEDGER_SINK_IDLE,
	LEDGER_FILTER_BUSY, /* a filter holds records and has said so: no number is overdue */
};
/* Finds numbers that have been overdue for @limit_us without a break. A number is overdue if it is
 * open although the sink has reported a later one, or although a transaction of the sink waits for
 * it, or if the sink is idle and nothing was settled since the last call.
 * Calls @fn once for each partition with such numbers, with the lowest and their count; returns the
 * sum. Call about once a second: the time begins when a call finds a number overdue. */
uint64_t ledger_stalled(struct ledger *l, enum ledger_members members, int64_t now_us,
	int64_t limit_us, void (*fn)(void *ctx, const struct ledger_open *o), void *ctx);

#endif
