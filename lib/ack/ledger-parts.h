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
	uint64_t question; /* the last question that named a part */
	uint32_t unnamed; /* parts that this question has not named and that are not reported */
	size_t set_len;
	/* A bit for each part that is reported; a bit for each that the question named; the text of the set. */
	unsigned char *seen, *named;
	char *set;
};

struct ledger_entry {
	uint64_t number;
	struct ledger_part *part; /* NULL: its assignment has ended */
	struct ledger_split *split; /* some of its parts are reported */
	int64_t at, low, emitted_us, overdue_us; /* overdue_us 0: not found overdue */
	uint64_t
		asked; /* the last question that named the number, with all its parts if it was split */
	uint64_t ordinal; /* how many numbers of its partition came before */
	uint32_t bytes;
	uint32_t before, after; /* of all open numbers; of all ended ones; free entries: after */
	uint32_t part_before, part_after;
	uint32_t chain;
};

struct ledger {
	uint64_t window, window_bytes;
	bool order;
	ledger_settled_fn *settled;
	void *ctx;
	uint64_t last; /* number given */
	uint64_t mark; /* in order: the sink has reported this number, and all below are settled */
	uint64_t known; /* ended numbers below this one are forgotten */
	uint64_t question; /* transactions asked about */
	uint64_t reported; /* highest number in any report of the sink */
	uint64_t waits_to; /* the last question waits for numbers up to this one; 0: for none */
	bool commits; /* uncommitted records fill the window */
	uint64_t uncommitted;
	struct ledger_counts counts;
	struct ledger_part *parts;

	struct ledger_entry *entries;
	uint32_t entry_count, free;
	uint32_t head, tail; /* open */
	uint32_t ended_head, ended_tail, ended;
	uint32_t *table; /* chains of entries, by the low bits of the number */
	uint32_t mask;
};

/* The entry of a number, NONE when it is neither open nor remembered. */
uint32_t ledger_entry_find(const struct ledger *l, uint64_t number);
/* Takes an entry out of all lists. */
void ledger_entry_forget(struct ledger *l, uint32_t e);
/* An open number becomes final, dropped or dead. If its assignment has ended, the report is only counted. */
void ledger_entry_settle(struct ledger *l, uint32_t e, enum ledger_kind kind, int64_t now_us);

#endif
