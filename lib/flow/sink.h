/* SPDX-License-Identifier: ISC */
/* Records on their way through a program that delivers them, from the line that was read to the
 * report that the record is final (evpipe-ack(7)); with --pass, until the record is handed on.
 *
 * The sink owns standard input, the acknowledgement socket, standard output where records are
 * handed on, signals, and a ring with a slot for each record that is not finished. The program
 * takes lines, delivers records in any order, and marks their slots; the sink releases slots in the
 * order of input, up to the first that is not marked. When that one keeps others waiting, since its
 * partition has no leader, records behind it that are delivered, or refused for good, are reported
 * early, but for --pass and settle, which keep the order. Behind a record that was refused under
 * --on-error stop it releases slots without a word, so that the source's position stays before that
 * record.
 *
 * A turn of the program's loop:
 *
 * 	struct pollfd p[SINK_FDS + 1];
 * 	sink_poll(s, p, ready);			the program's own descriptors stand behind
 * 	poll(p, SINK_FDS + 1, wake_least(sink_timeout_ms(s, now), …));
 * 	sink_serve(s, p);
 * 	sink_server(s, up, now);		where there is a server that can be away
 * 	while (sink_next(s, &line))		until sink_take or sink_refuse_line it stays the
 *  next line
 * 		…
 * 	sink_flush(s, now);
 *
 * while sink_runs(s); then sink_close. */
#ifndef EVPIPE_SINK_H
#define EVPIPE_SINK_H

#include "ack/client.h"
#include "base/out.h"
#include "flow/input.h"
#include "record/record.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

enum { SINK_FDS = 4 };

/* A record on its way. A program's own slot begins with one. */
struct sink_slot {
	uint64_t place, number; /* of its line */
	size_t len;
	uint64_t label; /* its number, or the place of its text */
	uint32_t label_len; /* of that text; 0: label is a number */
	bool done; /* delivered, or refused for good */
	bool early; /* internal: … and reported before a record in front of it was */
	bool refused;
	bool is_long; /* a line over the limit, of which only the beginning is there */
};

/* The option --retry-for TIME, of sinks that deliver to a server. */
struct sink_opts {
	struct arg_str *retry_for;
};
void sink_opts(struct sink_opts *o);
#define SINK_ENTRIES(o) (o).retry_for

struct sink_setup {
	const struct input_opts *input;
	const struct ack_opts *ack;
	const struct sink_opts *opts; /* NULL: there is no server */
	bool raw; /* lines are payloads, which name no place that they come from */
	char end; /* of a line: '\n' or '\0' */
	bool framed; /* a line is a frame (base/line.h), and is handed on as one */
	enum ack_role role; /* ACK_FILTER: records are handed on (--pass) */
	size_t slot_bytes; /* of the program's slots */
	uint64_t slots; /* a power of 2 */
	/* of lines between the oldest and the newest; the last may go beyond */
	size_t window_bytes;
	void *self; /* for the functions below */
	/* ACK_FILTER: appends the line of a delivered record as it is handed on, without its end. A
	 * record that was refused goes on as it came. */
	void (*hand_on)(
		void *self, const struct sink_slot *slot, struct span line, struct buf *out);
	/* Takes what is to be reported of a released record, and reports it itself, says ack_idle
	 * and counts what was forwarded. NULL: the sink reports to the source. */
	void (*settle)(void *self, enum ack_kind kind, const struct ack_label *label);
	/* Takes, in the order of input, what became of a record that is released; called before it
	 * is reported or handed on. NULL: nobody wants to know. */
	void (*released)(void *self, const struct sink_slot *slot, struct span line);
	/* Whether nothing may be released for the present: `released` has no room. */
	bool (*is_full)(void *self);
	/* Makes a dead letter durable in a topic, and says sink_done once it is. NULL: the program
	 * writes none there. The letter is valid until the return. */
	void (*keep)(void *self, struct sink_slot *slot, struct span letter);
};

struct sink {
	struct input in;
	struct ack ack;
	struct out out;
	uint64_t head,
		tail; /* head <= i < tail: slots in use; head is the next out, tail the next in */
	uint64_t settled; /* with settle: records before this one are final; the program sets it */
	/* What is not done beside records, or not known of them: said when a signal ends the
	 * program, which sets it. NULL: nothing. */
	const char *owes;
	/* The program ends before its input does: takes back what would be left open. May wait a
	 * moment. NULL, or set by the program. */
	void (*take_back)(void *self);
	void *take_back_self;
	/* internal */
	struct sink_setup setup;
	char *slots;
	struct span line; /* the next line, while has_line */
	bool has_line;
	bool reports_stopped;
	bool reader_gone; /* of standard output */
	uint64_t refusing; /* the slot of the dead letter that is being made */
	bool has_more; /* lines can be taken without waiting for anything */
	bool is_ready; /* the program takes lines */
	uint64_t moved; /* head, when it last moved … */
	int64_t moved_ms; /* … and when that was; or when there last was no record */
	int wake_fd;
	short ack_events; /* of the last poll */
	int64_t retry_ms; /* --retry-for; 0: for ever */
	int64_t up_ms; /* when the server was last there; INT64_MAX: there is none */
	int64_t alive_ms; /* when it last delivered something, or had nothing to deliver */
	uint64_t alive_head; /* the head at that time */
	uint64_t early_head; /* the head when flush looked last … */
	int64_t early_ms; /* … and since when it is the same, or looked for early ones last */
	bool overtakes;
};

/* Opens all that the sink owns; dies when that fails. Call before any thread is started. */
void sink_open(struct sink *s, const struct sink_setup *setup);

/* ---- slots ---- */

static inline struct sink_slot *sink_slot(const struct sink *s, uint64_t i)
{
	void *slot = s->slots + (i & (s->setup.slots - 1)) * s->setup.slot_bytes;

	return slot;
}
static inline struct span sink_text(const struct sink *s, const struct sink_slot *slot)
{
	return (struct span){line_at(&s->in.line, slot->place), slot->len};
}
/* Records that are not released, and with them the line that waits for its slot. */
static inline uint64_t sink_count(const struct sink *s)
{
	return s->tail - s->head + s->has_line;
}
/* Bytes of lines since the oldest record that is not released. */
static inline uint64_t sink_bytes(const struct sink *s)
{
	return s->head == s->tail ? 0
				  : s->in.line.base + s->in.line.at - sink_slot(s, s->head)->place;
}
static inline bool sink_has_room(const struct sink *s)
{
	return s->tail - s->head < s->setup.slots && sink_bytes(s) < s->setup.window_bytes;
}

/* Whether the oldest record has waited for so long that those behind it are reported early, refused
 * ones too. */
static inline bool sink_overtakes(const struct sink *s)
{
	return s->overtakes && s->in.dead.policy != DEAD_STOP;
}

/* ---- lines ---- */

/* The next line, for which there is a slot. A line that is not taken comes again. false: none
 * before the next events. */
bool sink_next(struct sink *s, struct span *line);
/* Gives the line of sink_next the slot tail - 1, whose own members are the program's to fill in.
 * @seq: as record_parse has found it. NULL: the record is another source's; the program ends. */
struct sink_slot *sink_take(struct sink *s, const struct json_value *seq);
/* The line of sink_next is no record: it is left out. */
static inline void sink_skip(struct sink *s)
{
	s->has_line = false;
}
/* Refuses the line of sink_next, which takes a slot too; the program's members of it are zero, as
 * they are for a line over the limit. @seq: may be found in the line nevertheless. */
void sink_refuse_line(
	struct sink *s, const struct json_value *seq, bool is_record, const struct record_error *e);
/* The record is delivered, or its dead letter is durable in a topic. */
static inline void sink_done(struct sink_slot *slot)
{
	slot->done = true;
}
/* Refuses a record that was taken; its slot is done once the dead letter is written. Under `stop`
 * the input ends, and of records that are refused later nothing is said. */
void sink_refuse(struct sink *s, uint64_t i, enum errclass c, bool is_record, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* ---- the loop ---- */

/* Whether there is still something to do. */
bool sink_runs(const struct sink *s);
/* Fills in SINK_FDS entries. @ready: whether the program takes lines now; if not, none are read. */
void sink_poll(struct sink *s, struct pollfd *p, bool ready);
/* Milliseconds that poll may wait, -1 for ever. Call after sink_poll. */
int sink_timeout_ms(const struct sink *s, int64_t now_ms);
/* Takes signals, input, and a reader of standard output that has gone. Ends the program with 111
 * when input_must_end, where a server that is away takes nothing. */
void sink_serve(struct sink *s, const struct pollfd *p);
/* Whether the server is there. Call each turn, once deliveries were taken; a program that never
 * calls it has no server. Ends the program with 99 when nothing was delivered for --retry-for. */
void sink_server(struct sink *s, bool up, int64_t now_ms);
/* Releases slots, hands records on while standard output takes them, syncs the dead letters, and
 * lets reports leave. Tells the source whether it is busy: it has records, or lets them wait since
 * it is not ready; with --pass, if that takes long. Call before the wait. */
void sink_flush(struct sink *s, int64_t now_ms);
/* Releases slots alone, which makes room for lines. */
void sink_release(struct sink *s);

/* ---- the end ---- */

/* Reports leave before standard output is closed: a source that drains sees them before the end.
 * Returns the exit status, for which the sentence has been said. */
int sink_close(struct sink *s);
/* Ends the program for a reason that no record is at fault for, and says how many records were not
 * delivered and which is the first of them. Reports of what was released leave; when the trouble is
 * permanent the source is asked to stop. */
_Noreturn void sink_die(struct sink *s, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
