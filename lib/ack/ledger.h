/* SPDX-License-Identifier: ISC */
/* The source's account of what it has emitted and what has become of it (evpipe-ack(7)). Pure: no
 * I/O, no clock, no third-party type, so that it can be tested to death.
 *
 * Numbers are dense over all partitions: 1, 2, 3 …. A number is open from ledger_emit until it is
 * reported, all its parts if it was split. A partition's numbers belong to its present assignment;
 * when that ends they leave the account, and what is still reported of them is counted and no more. */
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
	uint64_t emitted, committed; /* how many, and how many of them a commit has covered */
	bool moved;
	struct ledger_part *before, *after;
};

enum ledger_kind { LEDGER_FINAL, LEDGER_DROP, LEDGER_DEAD };

enum ledger_answer {
	LEDGER_TAKEN, /* also when all of it was of ended assignments */
	LEDGER_GARBAGE, /* a number never emitted, or parts that contradict others: nothing was changed */
	LEDGER_TWICE, /* a second report of a label: nothing was changed, the pipeline is to end */
	LEDGER_BACKWARDS, /* in order: the sink reported a lower number; the pipeline is to end */
	LEDGER_WAIT, /* a transaction: a number below its highest is neither settled nor named */
	LEDGER_ABORT, /* a transaction: one of its numbers belongs to an ended assignment */
};

/* What has become of numbers, each counted once. */
struct ledger_counts {
	uint64_t emitted, final, dropped, dead;
	uint64_t vouched; /* in order: passed over by the sink's report of a later one */
	uint64_t ended; /* open when their assignment ended */
	uint64_t late; /* reports of those */
	uint64_t forgotten; /* by ledger_forget */
	uint64_t open;
	uint64_t open_bytes;
};

struct ledger;

/* Called with each number that is settled, in the order of settling: @at and @low as given to
 * ledger_emit, @taken_us the time between ledger_emit and the report, for latency. May be NULL. */
typedef void ledger_settled_fn(void *ctx, struct ledger_part *p, int64_t at, int64_t low,
	enum ledger_kind kind, int64_t taken_us);

/* @window, @window_bytes: how much may be open before ledger_full. @order: accounting by order.
 * Never fails (dies when out of memory). */
struct ledger *ledger_new(uint64_t window, uint64_t window_bytes, bool order);
void ledger_on_settled(struct ledger *l, ledger_settled_fn *fn, void *ctx);
void ledger_free(struct ledger *l);

/* A partition is assigned. @topic and @user stay the caller's and must outlive the assignment. */
struct ledger_part *ledger_assign(
	struct ledger *l, const char *topic, int32_t partition, void *user);
/* The assignment has ended: its open numbers leave the account. Frees @p. */
void ledger_end(struct ledger *l, struct ledger_part *p);

/* The next number, for the record at offset @at (a stream: @at and @low are its id's halves), of
 * @bytes bytes. */
uint64_t ledger_emit(struct ledger *l, struct ledger_part *p, int64_t at, int64_t low, size_t bytes,
	int64_t now_us);
/* Positions below @next hold no record: control records, or compacted away. */
void ledger_skip(struct ledger_part *p, int64_t next);
/* The window is full: nothing more is to be emitted. Never on an empty ledger, unless its source commits:
 * then what is not committed counts too, and it is to commit now. */
bool ledger_full(const struct ledger *l);
/* A source that cannot replay and must not wait gives up the lowest open number. */
void ledger_forget(struct ledger *l);
/* The last number given. */
uint64_t ledger_last(const struct ledger *l);

/* A report. @sink: by the acknowledging sink. In order accounting a sink's report settles all that
 * is below its lowest number. */
enum ledger_answer ledger_report(struct ledger *l, bool sink, enum ledger_kind kind,
	const struct label *label, int64_t now_us);

/* What may be committed of the partition: the offset after the last number below which all are
 * settled. -1: nothing of this assignment yet. Never falls. */
int64_t ledger_position(const struct ledger *l, const struct ledger_part *p);
/* How many of the partition's records come before that position: for ledger_committed. */
uint64_t ledger_covered(const struct ledger *l, const struct ledger_part *p);
/* A commit is confirmed, of the position whose ledger_covered was @covered. From the first call on the
 * window reaches from the last commit, not from the lowest open number: it is what a crash repeats. */
void ledger_committed(struct ledger *l, struct ledger_part *p, uint64_t covered);
/* How much a crash would repeat: all that was emitted, beyond what ledger_committed covers. */
uint64_t ledger_uncommitted(const struct ledger *l);
/* Whether @due numbers, of which no commit was asked for yet though their positions allow it, are worth one
 * now: a quarter of the window when nothing else fills it, and fewer the less room is left, since until the
 * answer comes as much again is emitted; but never so few that one commit follows another for nothing. */
bool ledger_commit_due(const struct ledger *l, uint64_t due);
/* How many numbers of the partition are open. */
uint64_t ledger_part_open(const struct ledger_part *p);

/* A transaction names its numbers. LEDGER_TAKEN: ledger_txn_position tells what it moves to, until
 * the next call; the numbers stay open until they are reported. @labels: separated by single spaces,
 * or empty; one named twice, or named and already reported, is LEDGER_TWICE. In order accounting it
 * vouches for what is below, as its reports will. */
enum ledger_answer ledger_txn(struct ledger *l, struct span labels);
/* What ledger_position will be when the named numbers are settled. */
int64_t ledger_txn_position(const struct ledger *l, const struct ledger_part *p);

/* The assigned partitions, in no order: start with NULL. */
struct ledger_part *ledger_next_part(const struct ledger *l, const struct ledger_part *p);

struct ledger_counts ledger_counts(const struct ledger *l);

/* An open number: where it stands and how many open ones of its partition are like it. */
struct ledger_open {
	const struct ledger_part *part;
	uint64_t number;
	int64_t at, low;
	uint64_t count;
};
/* The lowest open number of all and how many are open. false: none is. */
bool ledger_first_open(const struct ledger *l, struct ledger_open *o);
/* Numbers that have been overdue for @limit_us without a break: open although the sink has reported a
 * later one, or has said that it holds nothing (@sink_idle), or its transaction waits for them. Calls @fn once a partition that has such, with the
 * lowest and the count; returns the sum. Call about once a second: the time begins to count when a
 * call finds a number overdue. */
uint64_t ledger_stalled(struct ledger *l, bool sink_idle, int64_t now_us, int64_t limit_us,
	void (*fn)(void *ctx, const struct ledger_open *o), void *ctx);

#endif
