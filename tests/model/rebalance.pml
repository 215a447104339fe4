/* SPDX-License-Identifier: ISC */
/* Acknowledgements (evpipe-ack(7)) while a consumer group is rebalanced: whose numbers count, and
 * what is committed for which partition.
 *
 * MODELLED. Two partitions of two records; our source, its ledger and whatever stands behind it:
 * what was emitted is delivered, and reported, in any order and as late as one likes, also after
 * its assignment has ended. The group: REBALANCES times the coordinator moves a partition to the
 * other members or back, lets somebody else join, or throws us out without our noticing; EAGER: all
 * partitions are revoked and assigned anew, else (cooperative) only what moves. The other members
 * are right: they start at the committed position, deliver, commit. A drain may come to its end or
 * not. SIGKILL of our unit, KILLS times: what it holds is gone.
 *
 * A number is known by its record and its tag: the assignment of that partition, by a counter of
 * its own, in which it was emitted. Only reports with the present tag count. A commit is on its way
 * as long as it likes; the broker refuses it under another generation.
 *
 * CHECKED
 *	lost		below the committed position all is delivered
 *	went_back	the source never commits less than is committed
 *	stuck		(LIVE) at the end, to which every run comes (ack.pml), all is committed
 *
 * NOT MODELLED: the pipeline between (ack.pml), metadata of transactions (txn.pml), static
 * membership. */

#define N 2
#ifndef REBALANCES
#define REBALANCES 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#define TAGS (REBALANCES + KILLS + 2)
#define NONE 2	/* no partition */
#define US 0
#define THEM 1

#define below(k) ((1 << (k)) - 1)
#define has(s, n) (((s) >> (n)) & 1)
#define at(t, p) (2 * (t) + (p))

/* The broker. */
byte generation;	/* of the group */
bit owner[2];		/* of each partition */
byte committed[2];
byte done[2];		/* delivered, as a set: outlives everything */
byte theirs[2];		/* how far the other members are */
byte rebalances, kills;

/* Our source. */
byte known;		/* the generation it knows; the broker refuses commits under another one */
bool assigned[2];
byte tag[2];
byte next[2];		/* to be emitted */
byte start[2];		/* where the tag's numbers begin */
byte emitted[2 * TAGS], settled[2 * TAGS];	/* sets of records, by tag and partition */
byte due[2];		/* positions to be committed; 0: none */
byte sent[2], older[2];	/* commits on their way to the broker */

hidden byte n, q;
hidden byte lost, went_back, stuck;

/* The offset after the last number below which all are settled. */
inline account(T, P)
{
	n = start[P];
	do
	:: has(settled[at(T, P)], n) -> n++
	:: else -> break
	od;
	due[P] = (n > start[P] -> n : due[P])
}

inline lands(P, C)
{
	n = C; C = 0;
	printf("the source's commit of %d of partition %d\n", n, P);
	went_back = n < committed[P]; assert(!went_back);
	committed[P] = n;
	lost = (done[P] & below(n)) != below(n); assert(!lost)
}

/* Under another generation the broker refuses what is on its way; it is due again. */
inline new_generation()
{
	generation++;
	due[0] = (due[0] -> due[0] : sent[0]); sent[0] = 0; older[0] = 0;
	due[1] = (due[1] -> due[1] : sent[1]); sent[1] = 0; older[1] = 0
}

/* A report. That of an ended assignment is counted and no more. */
inline settle(T, P, O)
{
	done[P] = done[P] | (1 << O); settled[at(T, P)] = settled[at(T, P)] | (1 << O);
	printf("delivered: record %d of partition %d, tag %d\n", O, P, T);
	if
#ifdef ENDED_COUNTS
	:: account(T, P)
#else
	:: T == tag[P] && assigned[P] -> account(T, P)
	:: else
#endif
	fi
}

inline new_tag(P)
{
#ifdef GROUP_GENERATION
	tag[P] = generation;
#else
	tag[P]++;
#endif
	assert(tag[P] < TAGS)
}
inline assign(P) { assigned[P] = true; next[P] = committed[P]; start[P] = next[P]; new_tag(P) }
inline revoke(P)
{
	assigned[P] = false; next[P] = 0; start[P] = 0; due[P] = 0; sent[P] = 0; older[P] = 0
}

/* What our source is told, in its callback: @MOVED, or NONE, has changed its owner. */
inline rebalanced(MOVED)
{
	known = generation; q = 0;
	do
	:: q < 2 ->
		if
#ifdef EAGER
		:: true -> revoke(q)
#else
		:: q == MOVED || owner[q] == THEM -> revoke(q)
		:: else
#endif
		fi;
		if
		:: owner[q] == US && !assigned[q] -> assign(q)
#ifdef GROUP_GENERATION
		/* The mutant: a partition that stays gets the new generation as well. */
		:: owner[q] == US && assigned[q] ->
			new_tag(q);
#ifndef OLDER_BLOCK
			start[q] = next[q]
#endif
#endif
		:: else
		fi;
		q++
	:: q >= 2 -> break
	od;
	q = 0
}

inline rebalance(P)
{
	rebalances++; new_generation();
	if
	:: P != NONE -> owner[P] = 1 - owner[P]; theirs[P] = committed[P]
	:: else
	fi;
	printf("REBALANCE, generation %d: owners %d %d\n", generation, owner[0], owner[1]);
	rebalanced(P)
}

/* The coordinator takes everything from us; we do not know it yet, or are dead. */
inline thrown_out()
{
	new_generation(); q = 0;
	do
	:: q < 2 ->
		if
		:: owner[q] == US -> owner[q] = THEM; theirs[q] = committed[q]
		:: else
		fi;
		q++
	:: q >= 2 -> break
	od;
	q = 0
}

inline killed()
{
	kills++; printf("KILL\n"); thrown_out(); revoke(0); revoke(1); known = generation;
	q = 0;
	do
	:: q < 2 * TAGS -> emitted[q] = settled[q]; q++
	:: q >= 2 * TAGS -> break
	od;
	q = 0
}

inline judge()
{
#ifdef LIVE
	stuck = committed[0] < N || committed[1] < N; assert(!stuck)
#else
	skip
#endif
}

#define EMIT(P) d_step { \
	assigned[P] && next[P] < N -> \
	emitted[at(tag[P], P)] = emitted[at(tag[P], P)] | (1 << next[P]); \
	printf("emitted: record %d of partition %d, tag %d\n", next[P], P, tag[P]); \
	next[P]++ }
/* One commit at a time is on its way: librdkafka tries again what failed, after a later one too. */
#ifdef COMMITS_OVERLAP
#define free_to_send(P) !older[P]
#else
#define free_to_send(P) !sent[P]
#endif
#define SEND(P) d_step { \
	due[P] && known == generation && free_to_send(P) -> \
	older[P] = sent[P]; sent[P] = due[P]; due[P] = 0 }
#define THEY(P) d_step { \
	owner[P] == THEM && theirs[P] < N -> \
	done[P] = done[P] | (1 << theirs[P]); theirs[P]++; committed[P] = theirs[P]; \
	printf("the others commit %d of partition %d\n", committed[P], P) }
#define FLYING(T, P, O) has(emitted[at(T, P)] & ~settled[at(T, P)], O)

#define ARRIVE(P, O) d_step { FLYING(t, P, O) -> settle(t, P, O) }

/* What is on its way with one tag: 0 (unused) and up. */
active [TAGS] proctype Flight()
{
	byte t = _pid;
end:	do
	:: ARRIVE(0, 0)
	:: ARRIVE(0, 1)
	:: ARRIVE(1, 0)
	:: ARRIVE(1, 1)
	od
}

active proctype World()
{
	d_step { generation = 1; known = 1; assign(0); assign(1) };
end:	do
	:: EMIT(0)
	:: EMIT(1)
	:: THEY(0)
	:: THEY(1)
	:: SEND(0)
	:: SEND(1)
	:: d_step { sent[0] -> lands(0, sent[0]) }
	:: d_step { sent[1] -> lands(1, sent[1]) }
	:: d_step { older[0] -> lands(0, older[0]) }
	:: d_step { older[1] -> lands(1, older[1]) }
	:: d_step { rebalances < REBALANCES -> rebalance(0) }
	:: d_step { rebalances < REBALANCES -> rebalance(1) }
	:: d_step { rebalances < REBALANCES -> rebalance(NONE) }
	:: d_step {
		rebalances < REBALANCES -> rebalances++; printf("THROWN OUT\n"); thrown_out()
	}
	:: d_step { known != generation -> known = generation; revoke(0); revoke(1) }
	:: d_step { kills < KILLS -> killed() }
	:: timeout -> d_step { skip; judge() } break
	od
}
