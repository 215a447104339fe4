/* SPDX-License-Identifier: ISC */
/* Inside the ledger: for ledger.c and its parts. */
#ifndef EVPIPE_LEDGER_PARTS_H
#define EVPIPE_LEDGER_PARTS_H

#include "ack/ledger.h"

#define NONE UINT32_MAX

/* The parts of one label. */
struct ledger_split {
	uint32_t parts, left;
	enum ledger_kind kind; /* the best of the parts so far: FINAL before DEAD before DROP */
	uint32_t members; /* entries that point here */
	bool ended; /* one of its numbers is of an ended assignment, or was when it began */
	uint64_t question; /* the last question that named a part */
	uint32_t unnamed; /* parts that this question has not named and that are not reported */
	size_t set_len;
	/* A bit for each part that is reported; a bit for each that the question named; the text of
	 * the set. */
	unsigned char *seen, *named;
	char *set;
};

/* A run that ledger_emit makes does not go over a multiple of it. */
enum { LEDGER_BLOCK = 256 };

/* An open number, or a run of open numbers of one partition, see ledger-runs.c. */
struct ledger_entry {
	uint64_t number; /* the first one */
	uint64_t last; /* number, if it is no run */
	uint64_t count; /* of numbers */
	struct ledger_part *part; /* NULL: its assignment has ended */
	struct ledger_split *split; /* some of its parts are reported */
	int64_t at, low, emitted_us, overdue_us; /* overdue_us 0: not found overdue */
	uint64_t
		/* the last question that named the number, with all its parts if it was split */
		asked;
	uint64_t ordinal; /* how many numbers of its partition came before */
	uint64_t bytes;
	uint32_t before, after; /* of all open numbers; of all ended ones; free entries: after */
	uint32_t part_before, part_after;
	uint32_t chain;
	/* number … last all belong to the run, and their offsets follow each other too */
	bool is_exact;
};

struct ledger_range {
	uint64_t from, to;
};

/* A name of a set. */
struct ledger_name {
	char id[LABEL_NAME_MAX + 1];
	struct ledger_range *ranges; /* ascending */
	size_t count;
	struct buf text;
	struct ledger_name *after;
};

struct ledger {
	uint64_t window, window_bytes;
	bool order;
	ledger_settled_fn *settled;
	void *ctx;
	uint64_t last; /* number given */
	uint64_t mark; /* in order: the sink has reported this number, and all below are settled */
	bool mark_is_whole; /* … and not as one of several parts */
	uint64_t known; /* ended numbers below this one are forgotten */
	uint64_t question; /* transactions asked about */
	uint64_t reported; /* highest number in any report of the sink */
	uint64_t waits_to; /* the last question waits for numbers up to this one; 0: for none */
	uint64_t settled_before; /* at the last ledger_stalled */
	bool commits; /* uncommitted records fill the window */
	uint64_t uncommitted;
	uint64_t ahead; /* commit when so much of the window is left */
	uint64_t ahead_at; /* the last number when that was judged */
	struct ledger_counts counts;
	struct ledger_part *parts;
	struct ledger_name *names;
	size_t name_count, name_ranges, sweep_at;

	struct ledger_entry *entries;
	uint32_t entry_count, free;
	uint32_t head, tail; /* open */
	uint32_t open; /* how many entries that are */
	uint32_t keep; /* the newest ones that ledger_thin leaves alone */
	uint32_t thin_at; /* in order: make runs when so many are open */
	bool exact; /* only such runs of which each number's offset is known */
	uint32_t ended_head, ended_tail, ended;
	uint32_t *table; /* chains of entries, by the low bits of the number */
	uint32_t mask;
};

/* The entry that begins with a number; NONE: none does. */
uint32_t ledger_entry_find(const struct ledger *l, uint64_t number);
/* The entry that a number is in, if that is exact and begins in the number's block; else NONE. */
uint32_t ledger_entry_around(const struct ledger *l, uint64_t number);
/* Lets ledger_entry_find find it. */
void ledger_entry_add(struct ledger *l, uint32_t e);
/* Takes an entry out of all lists. */
void ledger_entry_forget(struct ledger *l, uint32_t e);
/* ---- ledger-names.c ---- */

void ledger_names_free(struct ledger *l);

/* ---- ledger-runs.c ---- */

/* Puts open numbers together until they take little room. */
void ledger_thin(struct ledger *l);
/* The entry that begins with a number and ends with @to at the latest: after an exact run was cut
 * into pieces, if the number was in one. NONE: there is none; *@in_run: it may be one of a run that
 * is not exact. */
uint32_t ledger_entry_carve(struct ledger *l, uint64_t number, uint64_t to, bool *in_run);
/* Cuts an exact run: @number becomes the first of a further entry, which is returned. */
uint32_t ledger_entry_cut(struct ledger *l, uint32_t e, uint64_t number);
/* Whether the number is, or may be, in a run that ledger_thin made; cuts nothing. */
bool ledger_run_has(const struct ledger *l, uint64_t number);
/* In order: settles what is below the number. */
void ledger_pass_over(struct ledger *l, uint64_t number);

/* ---- ledger.c ---- */

/* A new entry behind @before in all lists, for part of its run: @before's own values, which the
 * caller changes. */
uint32_t ledger_entry_split(struct ledger *l, uint32_t before);

/* An entry's numbers become final, dropped or dead. If their assignment has ended, the report is
 * only counted. */
void ledger_entry_settle(struct ledger *l, uint32_t e, enum ledger_kind kind, int64_t now_us);
/* Tells ledger_on_settled's function. */
void ledger_entry_tell(const struct ledger *l, const struct ledger_entry *x, enum ledger_kind kind,
	int64_t taken_us);

#endif
