/* SPDX-License-Identifier: ISC */
/* Acknowledgements (evpipe-ack(7)) in a pipeline of a source, one or two filters and a sink, which
 * is killed anywhere and started again from the committed position.
 *
 * MODELLED. One partition of N records. The source's numbers, its ledger, the commit. Labels: a set
 * of numbers, and one part of two where evbatch made two records of a batch. Each member's
 * connection, on which reports wait as long as they like. Filters of ours and foreign ones. A sink
 * with two records in flight, whose replies come in any order. Strict accounting and, with ORDER,
 * that by order, where with EARLY the sink reports a record early that another one holds up. The stop: `end`, end of input, `bye`, the drain.
 * SIGKILL of any member at any step, KILLS times: the others go on for a while, then the unit
 * starts again. With STALE reports outlive that start. With TAKEOVER a new sink takes the place of
 * a killed one at the same pipe.
 *
 * THE TRUTH, which the protocol does not see: each record has two halves, a and b. `done` holds the
 * halves that stand at the destination or in a dead letter, or were dropped by one whose right it
 * is; it outlives every kill. A record in a pipe has a label (what it says it is) and a content
 * (what it is).
 *
 * CHECKED
 *	lost	what is below the committed position is done, in both halves
 *	unclean	(LIVE) the last run, in which nobody is killed, ends with status 0 of source, sink
 *	stuck	(LIVE) at the end all is committed
 * The last two are asserted where no step is possible any more, and tests/model/run has spin prove
 * of such a row that its state graph has no cycle. So every run comes to such a place: from each
 * state the commit not only can, but does reach the end, under no assumption of fairness.
 *
 * NOT MODELLED: time (--drain never runs out; stalls and `idle`); the window; how the ledger keeps
 * many numbers in runs (prop-ledger does that); greetings, garbage,
 * the RUN in records; coalescing of reports (they are facts, and may wait here as long); several
 * partitions and rebalances (rebalance.pml); transactions (txn.pml); more than two parts or two
 * records a batch; a failing destination or disk (the pipeline stops, as with a kill); sinks that
 * refuse (a dead letter is durable, as a delivery is); a stop before all is read (a smaller N);
 * streams (XACK of just the final ids asks for less). A buffering filter is a longer pipe.
 *
 * F1 and F2 name the filters. The rows, with their bounds and mutants, are in tests/model/run. */

#ifndef N
#define N 2
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef PIPE
#define PIPE 2
#endif
#define SOURCE 0
#ifdef F2
#define SINK 3
#else
#define SINK 2
#endif

#define below(k) ((1 << (2 * (k))) - 1)	/* all halves of the first k records */
#define HALVES_A 85
#define HALVES_B 170

/* A record on its way: {numbers, part, parts, content}. All are masks: number 1 is the lowest bit;
 * part and parts are 1 and 1 for a whole, 1 and 3, 2 and 3 for the first and the second of two. */
chan pipe[SINK] = [PIPE] of { byte, byte, byte, byte };

/* Reports of each member to the source: {run, what, numbers, part, parts}. */
mtype = { final, early, drop, dead, named };
#ifndef REPORTS
#ifdef NAMES
#define REPORTS (3 * N)
#else
#define REPORTS (2 * N)
#endif
#endif
chan tell[SINK + 1] = [REPORTS] of { byte, mtype, byte, byte, byte };

/* What outlives the unit. */
byte done;
byte done_pass;		/* … at the destination of a sink with --pass */
byte committed;
byte kills, runs;

/* The unit. */
bool alive[SINK + 1], bye[SINK + 1];
bool killed;		/* a member of this run was */
byte source_status, sink_status;

typedef record { byte set, part, parts, content };
record held[SINK + 2];	/* what a member has read and not handed on; the sink has two places */
byte holds[SINK + 1];

/* The source. */
mtype = { reading, ending, closed, over };
mtype source;
byte base;		/* the committed position at the start: number n is record base + n - 1 */
byte emitted;
byte settled;		/* numbers, as a set */
byte got[N];		/* parts reported, by number */
bool end_said, end_seen;
bool another, refused;	/* a second sink came; it was told `stop` */

/* Scratch: only within one step. */
hidden byte set, part, parts, content, n;
hidden byte of_run;
hidden mtype what;
hidden byte twice;
hidden byte lost, stuck, unclean;

#define some(p) (len(pipe[p]) > 0)
#define room(p) (len(pipe[p]) < PIPE)
#define is_closed(p) (!alive[p] || (p == SOURCE && source == closed))
#define eof(me) (!some(me - 1) && is_closed(me - 1))
#define some_report(m) (len(tell[m]) > 0)
#define gone(m) (!alive[m] && !some_report(m))

#define has(s, n) (((s) >> (n)) & 1)

/* For the trace: the label at hand, its numbers as a row of digits, the first one left. */
inline print_label()
{
	printf("{%d%d%d} %d/%d\n", has(set, 0), has(set, 1), has(set, 2), part, (parts + 1) / 2)
}

inline read(M) { pipe[M - 1]?set, part, parts, content }
inline write(M) { pipe[M]!set, part, parts, content; printf("%d writes ", M); print_label() }
inline report(M, what)
{
	assert(len(tell[M]) < REPORTS);
	tell[M]!runs, what, set, part, parts;
	printf("%d reports %e ", M, what); print_label()
}

inline clear(P)
{
	held[P].set = 0; held[P].part = 0; held[P].parts = 0; held[P].content = 0
}
inline keep(M, P)
{
	held[P].set = set; held[P].part = part; held[P].parts = parts;
	held[P].content = content; holds[M]++
}
inline take(M, P)
{
	set = held[P].set; part = held[P].part; parts = held[P].parts;
	content = held[P].content; clear(P); holds[M]--
}

/* With NAMES a set of several numbers has a name, which the source must know when it is reported. Its giver says
 * so before it hands on what has the name. */
#define is_set(s) ((s) & ((s) - 1))
#ifdef NAMES
byte known;		/* a bit for each set */
inline name(M)
{
	if
	:: is_set(set) -> tell[M]!runs, named, set, 1, 1
	:: else
	fi
}
#ifdef NAME_LATE
#define name_first(M) skip
#else
#define name_first(M) name(M)
#endif
#else
#define name_first(M) skip
#endif

/* ---- filters: each proctype is one kind; a step is all or nothing, kills come in between ---- */

/* End of input: what is held has gone on before. */
#define END_OF_INPUT d_step { eof(me) && holds[me] == 0 -> bye[me] = true; alive[me] = false }

proctype Pass(byte me) provided (alive[me])
{
end:	do
	:: d_step { some(me - 1) && room(me) -> read(me); write(me) }
	:: END_OF_INPUT
	od
}

/* Keeps a record back and lets others overtake it. */
proctype Reorder(byte me) provided (alive[me])
{
end:	do
	:: d_step { some(me - 1) && room(me) -> read(me); write(me) }
	:: d_step { some(me - 1) && holds[me] == 0 -> read(me); keep(me, me) }
	:: d_step { holds[me] > 0 && room(me) -> take(me, me); write(me) }
	:: END_OF_INPUT
	od
}

/* evsel, evstamp: what it drops, it declares. A part is declared as that part. */
proctype Select(byte me) provided (alive[me])
{
end:	do
	:: d_step { some(me - 1) && room(me) -> read(me); write(me) }
	:: d_step {
		some(me - 1) -> read(me); done = done | content;
#ifdef DROP_WHOLE
		part = 1; parts = 1;
#endif
		report(me, drop)
	}
	:: END_OF_INPUT
	od
}

/* grep: drops and says nothing. With ORDER the user vouches for it. */
proctype Grep(byte me) provided (alive[me])
{
end:	do
	:: d_step { some(me - 1) && room(me) -> read(me); write(me) }
	:: d_step {
		some(me - 1) -> read(me); printf("%d swallows ", me); print_label();
#ifdef ORDER
		done = done | content
#endif
	}
	:: END_OF_INPUT
	od
}

/* A filter with a dead letter: durable first, then reported. */
proctype Refuse(byte me) provided (alive[me])
{
end:	do
	:: d_step { some(me - 1) && room(me) -> read(me); write(me) }
	:: d_step {
		some(me - 1) && holds[me] == 0 -> read(me);
#ifdef REPORT_EARLY
		report(me, dead);
#else
		done = done | content; printf("%d has a durable dead letter ", me); print_label();
#endif
		keep(me, me)
	}
	:: d_step {
		holds[me] > 0 -> take(me, me);
#ifdef REPORT_EARLY
		done = done | content
#else
		report(me, dead)
#endif
	}
	:: END_OF_INPUT
	od
}

/* A foreign filter that writes some records twice. */
proctype Repeat(byte me) provided (alive[me])
{
end:	do
	:: d_step { some(me - 1) && room(me) && holds[me] == 0 -> read(me); write(me) }
	:: d_step {
		some(me - 1) && room(me) && holds[me] == 0 -> read(me); write(me); keep(me, me)
	}
	:: d_step { holds[me] > 0 && room(me) -> take(me, me); write(me) }
	:: END_OF_INPUT
	od
}

/* A sink with --pass: a record goes on after it is durable here, at the destination or, refused, in
 * the dead letter; nothing is reported, since it was handed on. */
proctype PassSink(byte me) provided (alive[me])
{
end:	do
#ifdef PASS_EARLY
	:: d_step {
		some(me - 1) && room(me) && holds[me] == 0 -> read(me); write(me); keep(me, me)
	}
	:: d_step { holds[me] > 0 -> take(me, me); done_pass = done_pass | content }
#else
	:: d_step {
		some(me - 1) && holds[me] == 0 -> read(me); done_pass = done_pass | content;
#ifdef PASS_DECLARES
		report(me, dead);
#endif
		keep(me, me)
	}
	:: d_step { holds[me] > 0 && room(me) -> take(me, me); write(me) }
#endif
	:: END_OF_INPUT
	od
}

/* evbatch: one or two records in; none, one or two out. Each output has exactly the numbers that
 * were read, in parts. Without them (NO_PARTS) it is a foreign program that splits. */
#define WRITING 3
proctype Batch(byte me) provided (alive[me])
{
#ifdef NAME_LATE
	byte late;
#endif
end:	do
	:: d_step {
		holds[me] < 2 && some(me - 1) -> read(me);
		assert(parts == 1); /* nesting is refused */
		printf("%d reads ", me); print_label();
		held[me].set = held[me].set | set; held[me].content = held[me].content | content;
#ifdef MIN_MAX
		held[me].set = (held[me].set == 5 -> 7 : held[me].set); /* {1,3} becomes 1-3 */
#endif
		holds[me]++
	}
	:: d_step {
		holds[me] > 0 && holds[me] < WRITING ->
		set = held[me].set; content = held[me].content; clear(me); holds[me] = 0;
		part = 1; parts = 1; done = done | content;
#ifdef NAMES
		/* In its own report a set is told by its numbers. */
		name(me);
#endif
		report(me, drop)
	}
	:: d_step {
		holds[me] > 0 && holds[me] < WRITING && room(me) ->
		set = held[me].set; content = held[me].content; clear(me); holds[me] = 0;
		part = 1; parts = 1; name_first(me); write(me);
#ifdef NAME_LATE
		late = set
#endif
	}
	:: d_step {
		holds[me] > 0 && holds[me] < WRITING && room(me) ->
		set = held[me].set; content = held[me].content & HALVES_A; holds[me] = WRITING;
		part = 1; parts = 3;
#ifdef NO_PARTS
		parts = 1;
#endif
		name_first(me); write(me);
#ifdef NAME_LATE
		late = set
#endif
	}
	:: d_step {
		holds[me] == WRITING && room(me) ->
		set = held[me].set; content = held[me].content & HALVES_B; clear(me); holds[me] = 0;
		part = 2; parts = 3;
#ifdef NO_PARTS
		part = 1; parts = 1;
#endif
		write(me)
	}
#ifdef NAME_LATE
	:: d_step { late -> set = late; late = 0; name(me) }
#endif
	:: END_OF_INPUT
	od
}

/* ---- the sink: two records in flight, the older in place `first`; part + DURABLE: durable ---- */

#define DURABLE 4
#define first (SINK)
#define second (SINK + 1)
#define in_flight(place) (held[place].set != 0 && held[place].part < DURABLE)
#define is_durable(place) (held[place].set != 0 && held[place].part > DURABLE)

inline make_durable(P)
{
	done = done | held[P].content; held[P].part = held[P].part + DURABLE;
	printf("delivered {%d%d%d}\n", has(held[P].set, 0), has(held[P].set, 1),
		has(held[P].set, 2))
}
inline answered(P)
{
	take(SINK, P); part = part - DURABLE;
#ifndef REPORT_EARLY
	report(SINK, final)
#endif
}

proctype Sink() provided (alive[SINK])
{
end:	do
	:: d_step {
		holds[SINK] < 2 && some(SINK - 1) -> read(SINK);
#ifdef REPORT_EARLY
		report(SINK, final);
#endif
		if
		:: holds[SINK] == 0 -> keep(SINK, first)
		:: else -> keep(SINK, second)
		fi
	}
	:: d_step { in_flight(first) -> make_durable(first) }
	:: d_step { in_flight(second) -> make_durable(second) }
	:: d_step {
		is_durable(first) -> answered(first);
		if
		:: holds[SINK] > 0 -> take(SINK, second); keep(SINK, first)
		:: else
		fi
	}
#ifdef EARLY
	/* Another one has held it up for long. */
	:: d_step { is_durable(second) -> take(SINK, second); part = part - DURABLE; report(SINK, early) }
#elif !defined(ORDER) || defined(HIGHEST)
	:: d_step { is_durable(second) -> answered(second) }
#endif
	:: d_step { end_said && !end_seen -> end_seen = true }
	/* It reads its socket dry before it judges an end of input. */
	:: d_step {
		eof(SINK) && holds[SINK] == 0 ->
#ifdef EOF_BEFORE_SOCKET
		sink_status = (end_seen -> 0 : 111);
#else
		sink_status = (end_said -> 0 : 111);
#endif
		printf("the sink exits %d\n", sink_status);
		bye[SINK] = true; alive[SINK] = false
	}
	od
}

/* ---- the source ---- */

#define all_emitted ((1 << emitted) - 1)
#define open (all_emitted & ~settled)
#ifdef LAST_DROP_UNREAD
#define all_gone gone(SINK)
#elif defined(F2)
#define all_gone (gone(1) && gone(2) && gone(SINK))
#else
#define all_gone (gone(1) && gone(SINK))
#endif

#ifdef WELL_UNCHECKED
#define all_well true
#elif defined(F2)
#define all_well (bye[1] && bye[2])
#else
#define all_well (bye[1])
#endif

inline exits(STATUS)
{
	source = over; alive[SOURCE] = false; source_status = STATUS;
	printf("the source exits %d, open {%d%d%d}\n", STATUS, has(open, 0), has(open, 1),
		has(open, 2))
}

/* Up to the first number that is open. */
inline commit()
{
	n = base;
	do
	:: settled & (1 << (n - base)) -> n++
	:: else -> break
	od;
	if
	:: n > committed -> committed = n; printf("the source commits %d\n", committed)
	:: else
	fi;
	lost = (done & below(committed)) != below(committed);
#ifdef PASS_SINK
	lost = lost || (done_pass & below(committed)) != below(committed);
#endif
	assert(!lost)
}

/* The mutants of the ledger, in three words. */
#if defined(SEAL_TIMER) || defined(SEAL_EOF)
#define is_whole(n) false /* some guess settles it later */
#define is_second(n) false
#elif defined(PARTS_IGNORED)
#define is_whole(n) true
#define is_second(n) (got[n] & part)
#else
#define is_whole(n) (got[n] == parts)
#define is_second(n) (got[n] & part)
#endif
#ifdef DROP_RAISES
#define raises_mark(who) true
#elif defined(EARLY_RAISES)
#define raises_mark(who) (who == SINK)
#else
#define raises_mark(who) (who == SINK && what != early)
#endif
#ifdef RUN_UNCHECKED
#define is_stale false
#else
#define is_stale (of_run != runs)
#endif

/* One number of a report: its parts are counted apart. A label is reported once. What the order
 * has passed over already, a filter may say late, the sink not. */
inline settle(WHO)
{
	if
	:: is_second(n) || (WHO == SINK && what != early && has(settled, n)) -> twice = true
	:: else ->
		got[n] = got[n] | part;
		if
		:: is_whole(n) -> settled = settled | (1 << n)
		:: else
		fi
	fi
}

/* Before it takes a message with a name it looks through what others have sent. */
#define is_named(M) (tell[M]??[eval(runs), named, eval(set), 1, 1])
inline look()
{
	if
#ifndef NO_LOOK
	:: is_named(1) || is_named(SINK - 1) -> known = known | (1 << set)
#endif
	:: else
	fi
}

inline take_report(WHO)
{
	tell[WHO]?of_run, what, set, part, parts;
	twice = false;
#ifdef NAMES
	look();
#endif
	if
#ifdef NAMES
	:: what == named && !is_stale -> known = known | (1 << set)
	:: what != named && !is_stale && is_set(set) && !(known & (1 << set)) -> exits(111)
#endif
	:: is_stale || (what != named && ((set & ~all_emitted) || (WHO == SINK && refused))) -> skip
	:: else ->
		n = 0;
		do
		:: n < emitted && has(set, n) -> settle(WHO); n++
		:: n < emitted && !has(set, n) -> n++
		:: n >= emitted -> break
		od;
#ifdef ORDER
		/* All below the lowest number of the report. */
		settled = settled | (raises_mark(WHO) -> (set & -set) - 1 : 0);
#endif
		if
		:: twice -> exits(1)
		:: else -> commit()
		fi
	fi
}

/* A guess: what has been reported at all is taken as whole. */
inline seal()
{
	n = 0;
	do
	:: n < emitted && got[n] -> settled = settled | (1 << n); n++
	:: n < emitted && !got[n] -> n++
	:: n >= emitted -> break
	od;
	commit()
}

proctype Source() provided (alive[SOURCE])
{
end:	do
	:: d_step {
		source == reading && base + emitted < N && room(0) ->
		set = 1 << emitted; part = 1; parts = 1; content = 3 << (2 * (base + emitted));
		emitted++; write(SOURCE)
	}
	/* `end` before standard output is closed. */
#ifdef END_AFTER_CLOSE
	:: d_step { source == reading && base + emitted == N -> source = closed }
	:: d_step { source == closed && !end_said -> end_said = true }
#else
	:: d_step { source == reading && base + emitted == N -> source = ending; end_said = true }
	:: d_step { source == ending -> source = closed; printf("the source closes its output\n") }
#endif
	:: d_step { some_report(1) -> take_report(1) }
	:: d_step { some_report(2) -> take_report(2) }
#ifdef F2
	:: d_step { some_report(3) -> take_report(3) }
#endif
#ifdef SEAL_TIMER
	:: d_step { all_emitted & ~settled -> seal() }
#endif
	/* The sink is gone without `bye`: stop. */
#ifndef TAKEOVER_ACCEPTED
	:: d_step { !bye[SINK] && (gone(SINK) || refused) -> exits(111) }
#endif
	/* The drain: nothing is open, or nobody is left who could report. */
	:: d_step { source == closed && end_said && open == 0 -> exits(0) }
	:: d_step {
		source == closed && end_said && open != 0 && all_gone && bye[SINK] ->
#ifdef SEAL_EOF
		seal();
#endif
#ifdef END_IS_FINAL
		settled = all_emitted; commit();
#endif
#ifdef WELL
		/* All between have ended by themselves: what the sink has not reported was dropped. */
		if
		:: all_well -> settled = all_emitted; commit()
		:: else
		fi;
#endif
#ifdef ORDER
		exits(0) /* below the last delivered all is settled; a tail is read again */
#else
		exits((open -> 111 : 0))
#endif
	}
	od
}

/* ---- the world ---- */

inline forget(M)
{
	alive[M] = false; holds[M] = 0; clear(M);
	if
	:: M == SINK -> clear(SINK + 1)
	:: else
	fi
}
inline kill(M) { forget(M); killed = true; kills++; printf("KILL %d\n", M) }

/* evpipe starts the whole unit again: new pipes, new connections, numbers from 1. */
inline start(M)
{
	forget(M); alive[M] = true; bye[M] = false;
#ifndef STALE
	do
	:: len(tell[M]) > 0 -> tell[M]?of_run, what, set, part, parts
	:: else -> break
	od;
#endif
	do
	:: M < SINK && some(M) -> pipe[M]?set, part, parts, content
	:: else -> break
	od
}
inline restart()
{
	start(0); start(1); start(2);
#ifdef F2
	start(3);
#endif
	source = reading; base = committed; emitted = 0; settled = 0;
#ifdef NAMES
	known = 0;
#endif
	n = 0;
	do
	:: n < N -> got[n] = 0; n++
	:: else -> break
	od;
	end_said = false; end_seen = false; another = false; refused = false; killed = false;
	source_status = 0; sink_status = 0; runs++;
	printf("START from position %d\n", base)
}

inline judge()
{
#ifdef LIVE
	unclean = source_status != 0 || sink_status != 0; assert(!unclean);
	stuck = committed < N; assert(!stuck)
#else
	skip
#endif
}

active proctype World()
{
	d_step { skip; restart() };
	run Source(); run F1(1);
#ifdef F2
	run F2(2);
#endif
	run Sink();
end:	do
	:: d_step { kills < KILLS && alive[0] -> kill(0) }
	:: d_step { kills < KILLS && alive[1] -> kill(1) }
	:: d_step { kills < KILLS && alive[2] -> kill(2) }
#ifdef F2
	:: d_step { kills < KILLS && alive[3] -> kill(3) }
#endif
	:: d_step { killed -> restart() }
#ifdef TAKEOVER
	/* Somebody starts the sink alone: it is told `stop`, yet may have read and delivered. */
	:: d_step {
		killed && !alive[SINK] && !another ->
		another = true; alive[SINK] = true; printf("a new sink\n");
#ifndef TAKEOVER_ACCEPTED
		refused = true
#endif
	}
#endif
	:: timeout -> d_step { skip; judge() }; break
	od
}
