/* SPDX-License-Identifier: ISC */
/* Positions in a cluster: one for each slot that a partition's records have used, in a key of that
 * slot. */
#ifndef EVPIPE_RAPPLY_SPOTS_H
#define EVPIPE_RAPPLY_SPOTS_H

#include "rapply/keys.h"
#include "redis/slot.h"

#include <stdbool.h>
#include <stdint.h>

struct place;
struct rapply;

struct spot {
	struct place *place; /* NULL: of records without a position */
	int slot;
	/* the position is in Redis, and was `applied` when it was last read or written */
	bool known;
	bool used; /* the list of the slots in use has it */
	bool due; /* to be read */
	bool touched; /* in the next batch */
	int64_t applied; /* -1: nothing */
	int64_t next, flight; /* offsets in batches, as a place's; -1: not in it */
	int64_t applied_ts, next_ts, flight_ts; /* as a place's */
	uint64_t first, last; /* its records in the next batch, while touched */
	uint32_t records;
	size_t words, keys; /* of these records */
	uint64_t written; /* the batch that wrote it last */
};

enum round {
	ROUND_NONE,
	ROUND_LOOK, /* positions are read */
	ROUND_INIT, /* positions of slots that are new get their first value … */
	ROUND_USE, /* … and are put into the list */
	ROUND_BATCH,
	ROUND_REPLICAS,
};

struct look { /* a question that is out */
	struct place *place;
	int slot; /* -1: the list of slots in use */
};

struct sent { /* a script that is out */
	struct spot *spot;
	uint64_t first; /* its records */
	uint32_t records;
	bool leads; /* the first one of its server */
	bool ok; /* it was applied */
};

enum { SPOT_TAG = 8 }; /* bytes of a tag */

struct spots {
	char (*tags)[SPOT_TAG]; /* for each slot a text that is of it */
	struct keys keys;
	struct spot *bare[SLOT_COUNT]; /* of records without a position */
	struct spot **touched; /* of the next batch */
	size_t touched_count, touched_cap;
	struct sent *sent;
	size_t sent_count, sent_cap;
	struct look *looks;
	size_t looks_count, looks_cap;
	enum round round;
	size_t out; /* results of the round that are still to come */
	bool failed; /* one of them has to be sent again */
	bool differs; /* a position was not what it was thought to be */
	bool is_short; /* of replicas */
	uint64_t owners[SLOT_COUNT]; /* redis_owner's, when the positions were last compared */
	unsigned turn; /* the slot whose positions are brought forward next */
	unsigned
		checked; /* the slot whose positions were read last for no other reason than time */
	struct buf key;
};

/* ---- spots.c ---- */
/* Makes the tables; dies when --position is of no use here. */
void spots_open(struct rapply *s);
void spots_free(struct rapply *s);
/* The place's (NULL: of records without one), made when it is new. */
struct spot *spots_at(struct rapply *s, struct place *p, int slot);
/* The key of its position; of the list of the slots in use. Valid until the next call. */
struct span spots_key(struct rapply *s, const struct place *p, int slot);
struct span spots_list_key(struct rapply *s, const struct place *p);
/* Puts it into the next batch. */
void spots_touch(struct rapply *s, struct spot *spot);
/* Puts those of the lists' slots into it that must be written before others are. */
void spots_touch_homes(struct rapply *s);
/* Its position in Redis has been seen: @text, or p NULL. */
void spots_found(struct rapply *s, struct spot *spot, struct span text);
/* The highest position of the place. */
int64_t spots_top(const struct place *p);
/* The slot of commands without keys. */
int spots_home(struct rapply *s, const struct place *p);

/* ---- looks.c ---- */
/* Finds out which positions are to be read, and asks for them. Returns whether there were any. */
bool looks_send(struct rapply *s);
/* All positions of the server that has the slot are to be read, before anything goes back. */
void looks_suspect(struct rapply *s, int slot);
/* @text: p NULL: not there. */
void looks_take(struct rapply *s, size_t i, struct span text);
/* All have come. */
void looks_end(struct rapply *s);
/* Puts positions that lag into the next batch: at most @count. Returns whether there were any. */
bool looks_advance(struct rapply *s, size_t count);

/* ---- shards.c ---- */
/* Puts the record, whose commands stand in s->next from @at on, into the next batch, refuses it, or
 * finds it done: then the commands are taken back. */
void shards_put(struct rapply *s, uint64_t i, size_t at);
/* As batch_send and batch_timeout_ms. */
void shards_send(struct rapply *s);
int shards_timeout_ms(const struct rapply *s, int64_t now_ms);
/* Asks how many replicas have the batch in flight, at each server that has a part of it. */
void shards_ask_replicas(struct rapply *s);
/* The next batch is empty. */
void shards_clear(struct rapply *s);
/* The input has ended: whether there is still something to be written. */
bool shards_finish(struct rapply *s);

/* ---- answers.c ---- */
void answers_take(struct rapply *s);
void answers_lost(struct rapply *s);
/* Goes back to the lowest positions that were lost, when all that are suspected have been read. */
void answers_go_back(struct rapply *s);
/* Goes on behind a round whose results have all come. */
void answers_end_round(struct rapply *s);

#endif
