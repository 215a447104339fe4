/* SPDX-License-Identifier: ISC */
/* rapply's state, and what its files do for each other. See rapply.c for the design. */
#ifndef EVPIPE_RAPPLY_H
#define EVPIPE_RAPPLY_H

#include "flow/sink.h"
#include "rapply/commands.h"
#include "rapply/spots.h"
#include "record/record.h"
#include "redis/client.h"

#include <stdbool.h>
#include <stdint.h>

/* A partition, and its position: the last offset that has been applied. */
struct place {
	char *topic;
	int32_t partition;
	char *key; /* of the position in Redis */
	char *cluster; /* id of the Kafka cluster; NULL: not known */
	bool known; /* the position has been read from Redis once */
	bool absent; /* there was no key when it was read last */
	bool making; /* "-" is being written, if there is no key */
	unsigned there; /* how often in a row there was one then, which holds no text */
	int64_t applied; /* as far as we know: -1 no position */
	/* the times of the records at these offsets, in ms since the epoch; -1: not known */
	int64_t applied_ts, passed_ts, next_ts, flight_ts;
	/* the record there comes once more: its time says whether the topic is still the one that
	 * was applied; -1: none */
	int64_t proof, proof_ts;
	/* the highest offset that has been taken into the ring, since the last going back */
	int64_t taken;
	uint64_t number,
		from; /* the last record's number; lower ones than `from` are not wanted any more */
	/* up to here nothing is left to be done, but the position may be behind; -1 */
	int64_t passed;
	/* what the source says */
	bool assigned, asked; /* asked: it waits for where to begin */
	unsigned backs; /* how many answers `from` are to come */
	int64_t low, high, committed;
	/* in batches: the offset that the position will have; -1: not in it */
	int64_t next, flight;
	uint64_t watch; /* the generation of the watch that it is in */
	uint64_t used; /* the last batch it was in */
	/* in a cluster, where `applied` is applied in all slots */
	struct spot **spots; /* for each slot; NULL: none, or none at all */
	struct buf list; /* of the slots in use, a bit for each, as it was read last */
	int home; /* the slot of the list */
	bool has_list, list_due, list_new; /* it was there; it is to be read; it has come */
	bool all_due; /* all positions are being read */
	bool is_new; /* there was none */
	bool adopts; /* the group's position is to be written */
	int64_t lost; /* redis has lost what was applied behind this offset */
};
#define PLACE_LOST_NONE INT64_MAX

/* A record on its way. */
struct rapply_slot {
	struct sink_slot slot;
	struct place *place; /* NULL: without a position */
	int64_t offset, ts; /* -1: none */
	uint32_t commands; /* in the batch */
	bool stale; /* of an ended assignment: not reported */
	/* in a cluster */
	struct spot *spot; /* NULL: the commands are not in a batch */
	size_t at, len; /* its commands in next */
	bool hangs_together; /* as commands_put says */
	uint64_t more; /* the next record of the spot in the batch; its own number: none */
};

/* A record that Redis refuses. */
struct refusal {
	uint64_t slot;
	char text[200];
};

struct refusals {
	struct refusal *p;
	size_t count, cap;
};

struct places {
	struct place **p;
	size_t count, cap;
	struct place *last; /* found */
};

struct rapply {
	struct redis redis;
	struct sink sink;
	struct commands commands;
	const char *position; /* --position; NULL: none */
	bool adopt, gap_go;
	uint64_t batch_max;
	int wait; /* --wait: replicas */
	struct places places;
	/* sink.head <= flight <= sent <= encoded <= sink.tail: in flight; in `next`; not encoded
	 * yet */
	uint64_t flight, sent, encoded;
	struct buf next; /* commands of the batch that is being built */
	uint64_t next_records;
	size_t next_places; /* positions in it */
	bool in_flight;
	uint64_t batch; /* number of the last batch that was sent */
	struct refusals refusals; /* of the batch in flight */
	/* why the server takes no batch: the first error reply that is no record's fault */
	enum redis_fault fault;
	char why[200], what[48]; /* what it refuses, if that is a record's command */
	/* positions are read */
	struct place **look; /* the question that is out */
	size_t look_count, look_cap, look_watched; /* the first ones are watched */
	bool looking, look_due; /* look_due: all positions are to be read */
	bool narrow; /* watch only what the batch needs */
	uint64_t watch; /* the generation of the present watch */
	int64_t look_ms;
	int64_t idle_ms; /* since then nothing was written, and it was not tried */
	/* Redis refuses for the time being */
	bool waits, waits_to_look; /* to_look: even reading was refused */
	int64_t wait_until_ms, backoff_ms, waits_since_ms;
	bool is_short, told_no_place; /* is_short: of replicas */
	uint64_t gaps, lost, backs, shortfalls; /* counters */
	int64_t now_ms;
	struct buf scratch;
	struct spots *spots; /* NULL: not a cluster */
};

enum {
	LOOK_MS = 1000, /* between two looks at positions that no batch fences */
	REPLICAS_MS = 1000, /* how long a server is to wait for its replicas at once */
};

static inline struct rapply_slot *slot_at(struct rapply *s, uint64_t i)
{
	return (struct rapply_slot *)sink_slot(&s->sink, i);
}

/* ---- places.c ---- */
/* The record's partition; NULL: it names none, or there are no positions. */
struct place *places_of(struct rapply *s, const struct record *r, int64_t *offset);
/* Asks the source, through the acknowledgement socket, to be told of its partitions. */
void places_open(struct rapply *s);
/* The position of the place was read: @text, or p NULL. Returns whether records in the ring have to
 * be looked at again. */
bool places_found(struct rapply *s, struct place *p, struct span text);
/* Reads a position's text, and the record's time in it (-1: none); dies when it is none, or of
 * another cluster. "-" is -1. */
void places_read(struct rapply *s, struct place *p, struct span text, int64_t *offset, int64_t *ts);
/* Answers to "-" for positions that are not there come in the table's order: @is_new, or there was
 * a key. */
void places_made(struct rapply *s, bool is_new);
/* Tells the source where to begin. */
void places_answer(struct rapply *s, struct place *p);
/* Redis has lost what was applied behind @has. */
void places_back(struct rapply *s, struct place *p, int64_t has);
/* A record of the place comes that is not stale: dies when the topic is not the one that was
 * applied. */
void places_prove(struct rapply *s, struct place *p, int64_t offset, int64_t ts);
/* The text of a position, @ts -1: without the record's time. */
void places_text(const struct place *p, int64_t offset, int64_t ts, struct buf *out);
/* "topic 'x', partition 3". Valid until the next call. */
const char *places_name(const struct place *p);
void places_free(struct rapply *s);

/* ---- batch.c ---- */
/* Takes lines into the next batch, as many as it holds. */
void batch_fill(struct rapply *s);
bool batch_has_room(const struct rapply *s);
/* Sends what can be sent: a batch, or a question for positions. Call while Redis is up. */
void batch_send(struct rapply *s);
/* The next batch is made anew from the ring. */
void batch_rebuild(struct rapply *s);
/* The batch in flight has not been applied: its records stand before the next ones again. */
void batch_failed(struct rapply *s);
/* It has been applied, and may be reported. */
void batch_done(struct rapply *s);
/* Up to this record of the place nothing is left to be done; the next batch leads there, or to the
 * position. */
void batch_pass(struct place *p, int64_t offset, int64_t ts);
void batch_put_place(struct rapply *s, struct place *p, int64_t offset, int64_t ts);
void batch_clear_next(struct rapply *s);
/* Asks how many replicas have the batch in flight. */
void batch_ask_replicas(struct rapply *s);
/* A record that was taken is refused. */
void batch_refuse(struct rapply *s, uint64_t i, enum errclass class, const char *why);
/* Milliseconds until batch_send has something to do; -1: nothing. */
int batch_timeout_ms(const struct rapply *s, int64_t now_ms);

/* ---- replies.c ---- */
/* Tags of commands that are no record's; lower ones are a slot's number. */
enum { TAGS = 16 };
#define TAG_MULTI (NODE_TAGS - TAGS)
#define TAG_SET (TAG_MULTI + 1)
#define TAG_EXEC (TAG_MULTI + 2)
#define TAG_REPLICAS (TAG_MULTI + 3)
#define TAG_WATCH (TAG_MULTI + 4)
#define TAG_MGET (TAG_MULTI + 5)
#define TAG_MAKE (TAG_MULTI + 6)

#define TAG_LOOK (UINT64_C(1) << 62) /* in a cluster: the first of many */
#define TAG_SCRIPT (UINT64_C(1) << 61)
/* The server takes nothing for the time being: a batch, or @to_look, a question. */
void replies_begin_wait(struct rapply *s, const char *why, bool to_look);
void replies_end_wait(struct rapply *s);
enum redis_fault replies_fault(struct span error);
_Noreturn void replies_refused(struct rapply *s, const char *what, const char *why);
void replies_keep_refusal(struct rapply *s, uint64_t i, struct span error);
void replies_refuse_all(struct rapply *s);
/* Takes all replies that have come. */
void replies_take(struct rapply *s);
/* The link is lost, and all replies have been taken. */
void replies_lost(struct rapply *s);

#endif
