/* SPDX-License-Identifier: ISC */
/* Exactly once, Kafka to Kafka (evpipe-ack(7)): kwrite --txn and its source, beside another such
 * pair in the same consumer group.
 *
 * MODELLED. One input partition of N records, of PARTS parts; two units, A and B, each a source,
 * filters that reorder freely and drop (declared), and a kwrite. kwrite takes records into its
 * transaction, asks its source for their positions, sends what is answered to the broker, commits,
 * reports. It may ask again when it has taken more (what was missing below them); each question has
 * one reply, in order, that to an overtaken one is `again`. The broker: visible output, the group's
 * generation, which fences what is sent under another one, and positions that are sent but not yet
 * committed: who fetches them waits (read_committed). REBALANCES times the partition moves to the
 * other unit; each source learns of it when it pleases. SIGKILL of a unit at any step, KILLS times;
 * it starts again and aborts its transaction. After `abort`, or fenced, kwrite exits and its unit
 * starts again as well.
 *
 * With PLACE the source has positions that are none of Kafka's. There is no group then: both units
 * write under one transactional id, and kwrite keeps the place in its transactions, as a record of a
 * topic. When it starts it fences the other unit's kwrite, which takes back what that has open; it
 * reads the last place that is committed; it tells the source, which reads from there. A unit that
 * was fenced or killed starts again when the other one is down or fenced, and REBALANCES times
 * although it runs.
 *
 * CHECKED
 *	repeated	no record is visible twice in the output
 *	lost		below the committed position all is visible, or was dropped
 *	went_back	the committed position never falls
 *	stuck		(LIVE) at the end, to which every run comes (ack.pml), all is committed
 *
 * NOT MODELLED: several partitions in one transaction, transaction time-outs, kwrite and source
 * killed apart (the unit ends as one), and an empty transaction that moves nothing (it changes
 * nothing). */

#ifndef N
#define N 2
#endif
#ifndef REBALANCES
#define REBALANCES 2
#endif
#ifndef KILLS
#define KILLS 1
#endif

#ifndef PARTS
#define PARTS 1
#endif

/* Sets of parts, four at most: a record is one part or, behind evbatch, two. */
#define below(k) ((1 << (PARTS * (k))) - 1)
#define has(s, n) (((s) >> (n)) & 1)
#if PARTS == 2
#define record(n) (3 << (2 * (n)))
#define in_full(s) ((s) | (((s) & 21) << 1) | (((s) & 42) >> 1))
#else
#define record(n) (1 << (n))
#define in_full(s) (s)
#endif

/* The broker. */
byte generation = 1;
byte owner;		/* of the partition: unit 0 or 1 */
byte committed;
byte visible, dropped;
byte rebalances, kills;
byte written;		/* PLACE: 1 + the last place in the topic, committed or not */

/* A unit. Sets that may be of an ended assignment stand twice: [0] for the first assignment since
 * the unit started, [1] for the second. */
mtype = { open, sent, down, fencing, placing };
typedef unit {
	/* the source */
	byte known;		/* generation; PLACE: the epoch that kwrite has */
	byte assigned;		/* how often, since it started */
	bool has_it, fetched;
	byte start, next;	/* its numbers: start to next - 1 are emitted */
	byte settled;
	bool asked;		/* a question waits */
	byte question[2];
	/* between */
	byte flying[2];
	byte drops[2];		/* declared, not yet read by the source */
	/* kwrite */
	mtype phase;
	byte txn[2];
	byte named[2];		/* in its last question */
	byte awaits;		/* replies */
	byte position, under;	/* the reply it uses: under which generation, 0: none yet */
	byte pending;		/* 1 + what stands at the broker, not committed; 0: nothing */
};
unit u[2];

mtype = { final, ask, offsets, abort, again };
chan to_source[2] = [3] of { mtype, byte, byte };	/* two sets */
chan to_kwrite[2] = [3] of { mtype, byte, byte };	/* position, generation */

hidden byte n, x, y;
hidden mtype what;
hidden byte repeated, lost, went_back, stuck;

/* ---- the source ---- */

#define now(m) ((u[m].assigned + 1) & 1)
#define lowest(set) ((set) & -(set))
#ifdef PART_IS_WHOLE
#define names(m) in_full(u[m].question[now(m)])
#else
#define names(m) u[m].question[now(m)]
#endif
/* Emitted, and neither settled nor in `set`. */
#define left_by(m, set) (below(u[m].next) & ~below(u[m].start) & ~(u[m].settled | (set)))
/* The question names a number of an ended assignment. */
#define of_ended(m) (u[m].question[1 - now(m)] || (!u[m].has_it && names(m)))
/* A number up to the highest that is named is neither settled nor named, or a part of it. */
#define gap(m) (left_by(m, names(m)) && in_full(names(m)) > lowest(left_by(m, names(m))))
/* A question that names none is answered when there is something to commit. */
#define moves(m) \
	(left_by(m, 0) -> lowest(left_by(m, 0)) > below(committed + 1) : u[m].next > committed)

#if defined(GAP_HIGHEST) || defined(GAP_HEAD)
#define waits(m) (!names(m) && !moves(m))
#else
#define waits(m) (gap(m) || (!names(m) && !moves(m)))
#endif
#ifdef ENDED_ANSWERED
#define aborts(m) false
#define answers(m) (of_ended(m) || (u[m].has_it && u[m].fetched && !waits(m)))
#else
#define aborts(m) of_ended(m)
#define answers(m) (!of_ended(m) && u[m].has_it && u[m].fetched && !waits(m))
#endif

inline asked_nothing(M) { u[M].asked = false; u[M].question[0] = 0; u[M].question[1] = 0 }

/* The position after the last number below which all are settled or named; the metadata of now. */
inline answer(M)
{
	n = u[M].start;
	do
	:: n < u[M].next && !(record(n) & ~(u[M].settled | names(M))) -> n++
	:: else -> break
	od;
#if defined(ENDED_ANSWERED) || defined(GAP_HIGHEST)
	x = u[M].question[0] | u[M].question[1]; /* mutants: after the highest */
	do
	:: (x & ~below(n)) != 0 -> n++
	:: else -> break
	od;
#endif
	printf("%c: the source answers: position %d, generation %d\n", 65 + M, n, u[M].known);
	to_kwrite[M]!offsets, n, u[M].known;
	asked_nothing(M)
}

/* It learns of a rebalance: what it had has ended, what it has now is a new assignment. */
inline learn(M)
{
	u[M].known = generation; u[M].has_it = owner == M; u[M].fetched = false;
	u[M].start = 0; u[M].next = 0; u[M].settled = 0;
	if
	:: owner == M -> u[M].assigned++; assert(u[M].assigned <= 2)
	:: else
	fi;
	printf("%c: the source learns of generation %d\n", 65 + M, generation)
}

inline fetch(M)
{
	u[M].fetched = true; u[M].start = committed; u[M].next = committed;
	printf("%c: the source reads from position %d\n", 65 + M, committed)
}

inline emit(M)
{
	u[M].flying[now(M)] = u[M].flying[now(M)] | record(u[M].next);
	printf("%c: the source emits record %d\n", 65 + M, u[M].next);
	u[M].next++
}

inline hear(M)
{
	to_source[M]?what, x, y;
	if
	:: what == ask ->
#ifndef NO_AGAIN
		if
		:: u[M].asked -> to_kwrite[M]!again, 0, 0
		:: else
		fi;
#endif
		u[M].asked = true; u[M].question[0] = x; u[M].question[1] = y
	:: what == final && u[M].has_it ->
		u[M].settled = u[M].settled | (now(M) -> y : x)
	:: else
	fi
}

inline hear_drops(M, A)
{
	if
	:: u[M].has_it && A == now(M) -> u[M].settled = u[M].settled | u[M].drops[A]
	:: else
	fi;
	u[M].drops[A] = 0
}

/* Those that wait for a commit elsewhere make a reader wait (read_committed). */
#ifdef UNSTABLE
#define stable true
#else
#define stable (!u[0].pending && !u[1].pending)
#endif

proctype Source(byte me) provided (u[me].phase != down)
{
end:	do
#ifndef PLACE
	:: d_step { u[me].known != generation -> learn(me) }
	:: d_step { u[me].has_it && !u[me].fetched && stable -> fetch(me) }
#endif
	:: d_step { u[me].fetched && u[me].next < N -> emit(me) }
	:: d_step { u[me].drops[0] -> hear_drops(me, 0) }
	:: d_step { u[me].drops[1] -> hear_drops(me, 1) }
	:: d_step { len(to_source[me]) > 0 -> hear(me) }
	:: d_step { u[me].asked && aborts(me) -> asked_nothing(me); to_kwrite[me]!abort, 0, 0 }
	:: d_step { u[me].asked && answers(me) -> answer(me) }
	od
}

/* ---- kwrite, and the filters before it ---- */

#define FLIES(A, O) has(u[me].flying[A], O)
/* Takes part O, of either assignment, into the open transaction: any that is on its way. */
#define TAKE(A, O) d_step { \
	u[me].phase == open && !u[me].under && FLIES(A, O) -> \
	u[me].flying[A] = u[me].flying[A] & ~(1 << O); u[me].txn[A] = u[me].txn[A] | (1 << O); \
	printf("%c: part %d is in the transaction\n", 65 + me, O) }
#define DROP(A, O) d_step { \
	FLIES(A, O) -> \
	u[me].flying[A] = u[me].flying[A] & ~(1 << O); u[me].drops[A] = u[me].drops[A] | (1 << O); \
	dropped = dropped | (1 << O); printf("%c: part %d is dropped\n", 65 + me, O) }

#define is_grown(m) (u[m].txn[0] != u[m].named[0] || u[m].txn[1] != u[m].named[1])
#ifdef ONLY_WITH_RECORDS
#define may_ask(m) (u[m].txn[0] || u[m].txn[1])
#else
#define may_ask(m) true
#endif
/* Without `again` the next reply passes for that to the last question. */
#ifdef NO_AGAIN
#define one_more(m) u[m].awaits = 1
#define one_less(m) u[m].awaits = 0
#else
#define one_more(m) u[m].awaits++
#define one_less(m) u[m].awaits--
#endif

inline print_set()
{
	printf("{%d%d%d%d}\n", has(x, 0), has(x, 1), has(x, 2), has(x, 3))
}

inline put_question(M)
{
	u[M].named[0] = u[M].txn[0]; u[M].named[1] = u[M].txn[1]; one_more(M);
	to_source[M]!ask, u[M].txn[0], u[M].txn[1];
	x = u[M].txn[0] | u[M].txn[1]; printf("%c: kwrite asks for ", 65 + M); print_set()
}

inline no_transaction(M)
{
	u[M].phase = open; u[M].position = 0; u[M].under = 0;
	u[M].txn[0] = 0; u[M].txn[1] = 0; u[M].named[0] = 0; u[M].named[1] = 0
}

/* The whole unit ends: all that it holds is gone. What it has sent to the broker stays. */
inline end_unit(M)
{
	u[M].known = 0; u[M].assigned = 0; u[M].has_it = false; u[M].fetched = false;
	u[M].start = 0; u[M].next = 0; u[M].settled = 0; asked_nothing(M);
	u[M].flying[0] = 0; u[M].flying[1] = 0; u[M].drops[0] = 0; u[M].drops[1] = 0;
	no_transaction(M); u[M].awaits = 0; u[M].phase = down;
	do
	:: len(to_source[M]) > 0 -> to_source[M]?what, x, y
	:: else -> break
	od;
	do
	:: len(to_kwrite[M]) > 0 -> to_kwrite[M]?what, x, y
	:: else -> break
	od;
	x = 0
}

/* The reply to the last question, when it still names all. */
inline read_reply(M)
{
	to_kwrite[M]?what, x, y; one_less(M);
	if
	:: what == abort -> printf("%c: kwrite aborts\n", 65 + M); end_unit(M)
	:: what == offsets && u[M].awaits == 0 && !is_grown(M) -> u[M].position = x; u[M].under = y
	:: else
	fi
}

#if defined(NEWEST_METADATA) || defined(PLACE)
#define metadata(m) u[m].known
#else
#define metadata(m) u[m].under
#endif

inline send_offsets(M)
{
	if
	:: metadata(M) == generation ->
		u[M].pending = 1 + u[M].position; u[M].phase = sent; written = u[M].pending;
		printf("%c: kwrite sends position %d, generation %d\n", 65 + M, u[M].position,
			generation)
	:: else -> printf("%c: kwrite is fenced\n", 65 + M); end_unit(M)
	fi
}

inline commit(M)
{
	x = u[M].txn[0] | u[M].txn[1]; n = u[M].pending - 1;
	printf("%c: kwrite commits position %d and ", 65 + M, n); print_set();
	repeated = (visible & x) || (u[M].txn[0] & u[M].txn[1]); assert(!repeated);
	went_back = n < committed; assert(!went_back);
	visible = visible | x; committed = n;
	lost = (below(committed) & ~(visible | dropped)) != 0; assert(!lost);
	to_source[M]!final, u[M].txn[0], u[M].txn[1];
	u[M].pending = 0; no_transaction(M)
}

/* PLACE: whoever had the id is fenced, and what it has open is taken back. */
inline fence(M)
{
	generation++; u[M].known = generation; u[0].pending = 0; u[1].pending = 0;
	printf("%c: kwrite has epoch %d\n", 65 + M, generation)
}

/* The last place that is committed. */
inline read_place(M)
{
#ifdef PLACE_UNCOMMITTED
	u[M].next = written - (written > 0);
#else
	u[M].next = committed;
#endif
	u[M].start = u[M].next;
	printf("%c: kwrite reads place %d\n", 65 + M, u[M].start)
}

inline tell_place(M)
{
#ifdef PLACE_UNTOLD
	u[M].start = 0; u[M].next = 0;
#endif
	u[M].assigned = 1; u[M].has_it = true; u[M].fetched = true; u[M].phase = open;
	printf("%c: the source reads from place %d\n", 65 + M, u[M].start)
}

proctype Kwrite(byte me) provided (u[me].phase != down)
{
end:	do
#ifdef PLACE_FIRST
	:: d_step { u[me].phase == fencing -> read_place(me); u[me].phase = placing }
	:: d_step { u[me].phase == placing -> fence(me); tell_place(me) }
#else
	:: d_step { u[me].phase == fencing -> fence(me); u[me].phase = placing }
	:: d_step { u[me].phase == placing -> read_place(me); tell_place(me) }
#endif
	:: TAKE(0, 0)
	:: TAKE(0, 1)
	:: TAKE(1, 0)
	:: TAKE(1, 1)
	:: TAKE(0, 2)
	:: TAKE(1, 2)
	:: TAKE(0, 3)
	:: TAKE(1, 3)
#ifdef DROPS
	:: DROP(0, 0)
	:: DROP(0, 1)
	:: DROP(1, 0)
	:: DROP(1, 1)
	:: DROP(0, 2)
	:: DROP(1, 2)
	:: DROP(0, 3)
	:: DROP(1, 3)
#endif
	:: d_step {
		u[me].phase == open && !u[me].under && may_ask(me) && len(to_source[me]) < 2 &&
		(u[me].awaits == 0 || (u[me].awaits == 1 && is_grown(me))) -> put_question(me)
	}
	:: d_step { len(to_kwrite[me]) > 0 -> read_reply(me) }
	:: d_step { u[me].phase == open && u[me].under -> send_offsets(me) }
#ifdef PLACE
	:: d_step { u[me].phase == sent && u[me].known != generation -> end_unit(me) }
	:: d_step { u[me].phase == sent && u[me].known == generation -> commit(me) }
#else
	:: d_step { u[me].phase == sent -> commit(me) }
#endif
	od
}

/* ---- the world ---- */

/* The broker aborts what was open when kwrite comes back. */
inline start_unit(M)
{
	u[M].phase = open; u[M].pending = 0;
	if
	:: owner == M -> generation++
	:: else
	fi;
	printf("%c: START\n", 65 + M)
}
/* Down, or fenced. */
#define is_over(m) (u[m].phase == down || (u[m].known && u[m].known != generation))
/* A second one may be started though the other one runs. */
inline start_placed(M)
{
	rebalances = rebalances + !is_over(1 - M); u[M].phase = fencing;
	printf("%c: START\n", 65 + M)
}
#define may_start(m) (u[m].phase == down && (is_over(1 - (m)) || rebalances < REBALANCES))
inline kill(M) { kills++; printf("%c: KILL\n", 65 + M); end_unit(M) }
inline judge()
{
#ifdef LIVE
	stuck = committed < N; assert(!stuck)
#else
	skip
#endif
}

active proctype World()
{
#ifdef PLACE
	d_step { u[0].phase = fencing; u[1].phase = down };
#else
	d_step { u[0].phase = open; u[1].phase = open };
#endif
	run Source(0); run Kwrite(0); run Source(1); run Kwrite(1);
end:	do
#ifdef PLACE
	:: d_step { may_start(0) -> start_placed(0) }
	:: d_step { may_start(1) -> start_placed(1) }
#else
	:: d_step {
		rebalances < REBALANCES -> rebalances++; owner = 1 - owner; generation++;
		printf("REBALANCE: generation %d, owner %c\n", generation, 65 + owner)
	}
	:: d_step { u[0].phase == down -> start_unit(0) }
	:: d_step { u[1].phase == down -> start_unit(1) }
#endif
	:: d_step { kills < KILLS && u[0].phase != down -> kill(0) }
	:: d_step { kills < KILLS && u[1].phase != down -> kill(1) }
	:: timeout -> d_step { skip; judge() } break
	od
}
