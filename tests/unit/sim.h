/* SPDX-License-Identifier: ISC */
/*
 * A simulated pipeline and its random histories, around the real ledger: a source with its
 * partitions, up to three filters, a sink, everybody's reports on their way, kills, restarts,
 * rebalances. No I/O, no threads: one step of one of them at a time.
 *
 * DESIGN: a history is a configuration and a list of steps. Whatever a step needs beyond that
 * follows from them, so a history can be played again with steps left out; one that is not possible
 * then does nothing. After the steps a fair scheduler, without kills, brings everything to its end.
 * What is true is kept beside the ledger: a record is an item, split and folded into further items,
 * and is handled when it, or all that was made of it, is durable at the sink, in a durable dead
 * letter, or was dropped by a filter that says so. After each step:
 * 	I1 all below a position is handled
 * 	I2 positions never fall
 * 	I3 a label that is reported a second time, or in order backwards, is refused, and no other
 * 	I4 emitted = final + dropped + dead + vouched + ended + open; a clean stop leaves none open
 * 	I6 a number that was never given, another run and a second sink change nothing
 * 	I9 a transaction shows a record once, and never above the position it moves to
 * 	I10 fair and unhurt, the commit comes to the end, and in strict accounting stops exactly at
 *  what a
 * 	    foreign filter has swallowed, which is named
 * 	I11 what a crash would repeat, emitted and not committed, is counted and stays in the window
 *  With a place (evpipe-ack(7)) there is no group: the sink fences who had its transactional id,
 *  reads the last committed place and tells the source, which waits for it; another unit may do the
 *  same at any time.
 *
 * A history that violates one is cut down to the shortest and printed.
 *
 * MUTANT(x) is false. prop-mutants compiles the simulation with -DMUTANT_IS=x, one actor broken
 * each, and wants to see each fail. It breaks the ledger by replacing text in a copy
 * (tests/mutate.py). */
#ifndef EVPIPE_SIM_H
#define EVPIPE_SIM_H

#include "test.h"

#include "ack/ledger.h"

#include <string.h>

enum mutant {
	REPORT_BEFORE_FSYNC = 1, /* a dead letter is reported before it is durable */
	PASS_BEFORE_FSYNC, /* … and what is behind it is handed on before it is durable */
	REPORT_ON_ENQUEUE, /* the sink reports what it has taken */
	HIGHEST_NOT_HEAD, /* … or what is done, though something before it is not */
	PASS_DECLARES, /* --pass reports a refused record, and hands it on */
	DROP_TAKES_SIBLINGS, /* the drop of a part is reported for the whole */
	BATCH_IS_RANGE, /* a batch is labelled with all between its lowest and its highest */
	BATCH_WITHOUT_PARTS, /* all its outputs get the same label */
	SEAL_ON_TIMER, /* the source takes the parts it knows for all, after a while */
	SEAL_ON_EOF, /* … when all have gone */
	END_MAKES_TAIL_FINAL, /* … all it has emitted for final then */
	PASS_ALL_OF_KILLED, /* in order: … though a program between was killed */
	END_AFTER_CLOSE, /* it says `end` after it has closed its output */
	LAST_DROP_UNREAD, /* it ends when the sink has gone, and does not wait for the filters */
	WINDOW_OF_OPEN, /* its window counts what is open, and not what is only uncommitted */
	COMMIT_ON_REVOKE, /* it commits what it has emitted of a partition it loses */
	RUN_UNCHECKED,
	SECOND_SINK_ACCEPTED,
	NEWEST_METADATA, /* a transaction goes under the group's newest generation */
	TXN_NAMES_ALL, /* it asks for all up to its highest number */
	PLACE_FIRST, /* the place is read before others of the sink's id are fenced */
	PLACE_UNCOMMITTED, /* … one that is not committed counts */
	PLACE_UNTOLD, /* … the source does not wait for it */
};
#ifndef MUTANT_IS
#define MUTANT_IS 0
#endif
#define MUTANT(x) (MUTANT_IS == (x))

enum {
	PARTS = 3,
	RECORDS = 5, /* offsets a partition, at most */
	FILTERS = 3,
	SINK = FILTERS, /* as a member and as a connection */
	SECOND,
	STALE,
	CONNS,
	SOURCE = SECOND, /* as a member to kill */
	PIPE = 3,
	ITEMS = 4096,
	EMISSIONS = 64,
	MESSAGES = 256,
	HELD = 128,
	STEPS = 160, /* chosen ones; the fair scheduler adds its own */
	LOG = 2048,
	LABEL = 48,
};

enum kind { PASS, BUFFER, REORDER, DROP, DEAD, SPLIT, FOLD, FAN, SWALLOW, COPY, KINDS };
extern const char *const sim_kind_names[];

struct config {
	int parts, records, filters, window, kills, churn;
	bool order, txn, second, garbage, control;
	bool place; /* txn: the positions are a text that the sink keeps */
	bool early; /* a SIGTERM at any time */
	enum kind filter[FILTERS];
	int id[FILTERS]; /* what its choices depend on */
	uint64_t salt; /* which records are dropped, refused … */
};

struct step {
	uint8_t verb, who, arg;
};

struct history {
	struct step steps[LOG];
	int n;
	bool fair; /* behind these steps the fair scheduler goes on */
};

/* A record, or what became of it. */
struct item {
	int p, off; /* of the first of its roots */
	bool done, swallowed, shown;
	int part;
	int roots[4], root_count; /* what was emitted */
	/* What it was made into: all of one of the groups. */
	int kids[2][3], kid_count[2], groups;
};

struct line {
	int item;
	uint64_t number; /* 0: a set */
	char label[LABEL];
	bool done; /* the sink's: durable */
	enum ledger_kind kind; /* … and how */
	bool written; /* a dead letter that is not durable yet */
};

struct pipe {
	struct line q[PIPE];
	int n;
	bool closed;
};

struct member {
	bool dead, gone;
	struct line held[HELD], out[8];
	int n, outs;
};

enum { ASK = 100, PLACE };
struct message {
	int kind; /* a ledger_kind, ASK or PLACE */
	int count, serial; /* of the question's labels */
	char label[LABEL];
};

struct conn {
	struct message q[MESSAGES];
	int n;
	bool closed;
};

struct reply {
	int serial, generation;
	bool abort;
	int64_t position[PARTS];
};

struct sim {
	struct config c;
	bool print, fair;
	char violated[160];
	struct step log[LOG]; /* all steps that were possible */
	int logged;

	/* the world, which outlives a unit */
	int committed[PARTS];
	bool handled[PARTS][RECORDS];
	/* 0: nobody; -1: another member of the group; else item + 1 */
	int shown_by[PARTS][RECORDS];
	int generation; /* of the group; with a place, the epoch of the transactional id */
	int other; /* … that of another unit */
	int written[PARTS]; /* the last place in its topic, committed or not */
	struct item items[ITEMS];
	int item_count;
	int emitted[PARTS][RECORDS][EMISSIONS], emissions[PARTS][RECORDS];
	int kills, churns, runs;

	/* the unit */
	struct ledger *l;
	struct ledger_part *part[PARTS]; /* NULL: not assigned */
	int next[PARTS], checked[PARTS];
	int64_t position[PARTS];
	bool source_dead, hurt, trouble, swallowed, over, end_sent, stopped;
	int status;
	struct pipe pipe[FILTERS + 1];
	struct member member[FILTERS + 1], second;
	struct conn conn[CONNS];
	int asked, asked_count; /* the sink's last question */
	int question, question_serial; /* labels of the one that waits at the source; -1: none */
	struct reply reply[16], sent; /* sent: stands in the open transaction */
	int replies;
	int epoch, steps; /* the sink's; steps: towards telling the place */
	int place[PARTS], base[PARTS]; /* what it tells; where each account begins */
	bool is_told, is_sent;
	uint64_t seen[512]; /* what was taken of a number: bit 0 whole, others its parts */
	int item_of[512];
	uint64_t first_max; /* the highest first number in a sink's report */
	bool whole; /* … and not of a part */
	unsigned long long ended_to; /* the highest number when an assignment last ended */
	char partial[64][LABEL]; /* for mutants: labels of parts seen */
	int partials;
};

/* A step of one actor. @who: which one of its kind; @arg chooses among what is possible. @dry: only
 * tells whether it is possible. */
typedef bool sim_act(struct sim *s, int who, int arg, bool dry);
sim_act sim_emit, sim_assign, sim_read_message, sim_commit, sim_take, sim_give, sim_sync_filter,
	sim_sink_take, sim_sink_done, sim_ask, sim_read_reply, sim_second_sink, sim_filter_eof,
	sim_sink_eof, sim_drained, sim_close_output, sim_say_end, sim_restart, sim_revoke,
	sim_other, sim_kill_member, sim_garbage, sim_tick, sim_place, sim_commit_sent;
struct sim_verb {
	sim_act *act;
	int who, weight; /* how many of the kind; how often */
};
enum { VERBS = 25, FAIR_VERBS = VERBS - 5 }; /* the last are not for the fair scheduler */
extern const struct sim_verb sim_verbs[];

/* A history, step by step; replay: a whole one. Returns whether it violates anything; s->violated
 * says what. @print: to standard error. */
void sim_start(struct sim *s, const struct config *c, bool print);
bool sim_play(struct sim *s, struct step step); /* false: it is not possible */
void sim_fair_end(struct sim *s);
void sim_unit_end(struct sim *s);
bool sim_replay(struct sim *s, const struct config *c, const struct history *h, bool print);

/* For the actors. */
void sim_say(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_violate(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool sim_has_kind(const struct config *c, enum kind kind);
/* In order accounting the user vouches that no filter reorders. */
bool sim_is_unsound(const struct config *c);
uint64_t sim_hash(uint64_t salt, int a, int b, int c);
/* Whether @who does what it is there for to this item: the same at each run. */
bool sim_pick(struct sim *s, int who, int item);
bool sim_is_control(struct sim *s, int p, int off);
bool sim_was_swallowed(const struct sim *s, int item);
bool sim_is_handled(struct sim *s, int p, int off);
int sim_item_new(struct sim *s, const struct item *like);
int sim_item_emit(struct sim *s, int p, int off);
int sim_item_kid(struct sim *s, int item, int part);
bool sim_can_send(const struct conn *c);
void sim_send_report(struct sim *s, int who, enum ledger_kind kind, const char *label);
struct message sim_conn_take(struct conn *c);
struct line sim_line_take(struct line *q, int *n, int at);
bool sim_alive(const struct sim *s); /* the source */
/* All is quiet, nobody was killed: what is open was swallowed, and is named. */
void sim_check_stall(struct sim *s);
/* The broker. */
void sim_commit_to(struct sim *s, int p, int64_t position);
void sim_show(struct sim *s, int p, int off, int by);

#endif
