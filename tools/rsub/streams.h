/* SPDX-License-Identifier: ISC */
/* Streams: one connection to Redis that reads streams, alone or as a consumer of a group, prints
 * each entry as a record of a source, and acknowledges what has become final. Never blocks. See
 * streams.c for the design. */
#ifndef EVPIPE_RSUB_STREAMS_H
#define EVPIPE_RSUB_STREAMS_H

#include "base/opt.h"
#include "flow/dead.h"
#include "flow/source.h"
#include "redis/client.h"
#include "rsub/entry.h"
#include "redis/id.h"
#include "rsub/info.h"
#include "rsub/names.h"
#include "rsub/whole.h"
#include "rsub/xack.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct streams_opts {
	struct arg_str *streams, *group, *consumer, *from, *commit, *window, *claim_idle,
		*max_deliveries, *field, *key_field;
	struct arg_lit *to_end;
	struct arg_file *dead_letter;
};
void streams_opts(struct streams_opts *o);
#define STREAMS_ENTRIES(o)                                                                         \
	(o).streams, (o).group, (o).consumer, (o).from, (o).commit, (o).window, (o).claim_idle,    \
		(o).max_deliveries, (o).field, (o).key_field, (o).to_end, (o).dead_letter

/* One stream. */
struct stream {
	const char *name;
	struct ledger_part *account; /* NULL: records have no numbers */
	struct buf head; /* {"stream":"…","id":" */
	bool is_known; /* its information has come once */
	bool had_group; /* … and the group was there */
	bool has_group; /* now */
	bool made_group; /* by us, since there was none */
	bool is_done; /* -e: its end is reached */
	bool is_asked; /* for new entries */
	struct id end; /* for -e */
	struct id read; /* the last new entry that was read */
	bool has_read;
	/* After the group was made anew, entries up to `rewound` may be such that were read before;
	 * those that are still on their way are in `known`. So are they while pending entries are
	 * read. */
	struct id rewound;
	struct id_set known;
	struct id_set back; /* read, and to be left to others */
	/* Renewed (renew.c): on their way when claimed; of these not pending; and of those
	 * deleted. `mine` is for a moment: all without a confirmed XACK. */
	struct id_set held, forgotten, deleted, mine;
	size_t at; /* so many of them are answered */
	uint64_t put_back;
	struct xack acks;
	uint64_t acked; /* confirmed, of the present account */
	/* Under exactly once: the id before acks' head, and acks' tail when the present account
	 * began. */
	struct id begun;
	uint64_t base;
	struct info info;
	struct info_losses losses;
};

enum streams_step {
	STREAMS_SETUP, /* what is there, and groups are made */
	STREAMS_OWN, /* pending entries of this consumer's */
	STREAMS_CLAIM, /* those of consumers that are dead */
	STREAMS_NEW,
};

/* How often a pending entry was delivered. */
struct delivery {
	struct id id;
	int64_t count;
};
enum { STREAMS_PENDING = 100 }; /* pending entries in one reply */

struct streams {
	/* to be set before streams_open */
	struct whole *whole;
	struct source *source; /* the whole's */
	struct names names; /* of the streams, at least one; in a cluster of one slot */
	int first_part; /* of the ledger's partitions: the first stream's */
	bool raw;
	char end; /* of a line */
	size_t max_line;

	int status; /* after streams_close: EXIT_DONE or EXIT_TEMP */
	/* options */
	const char *group, *consumer; /* NULL: none */
	struct id from;
	bool from_end; /* $ */
	bool follows; /* XACK follows acknowledgements; else what was written */
	bool to_end;
	int64_t window, claim_idle_ms, max_deliveries;
	struct entry_form form;
	/* internal */
	struct redis redis;
	struct stream *streams;
	int count;
	enum streams_step step;
	bool has_asked; /* SETUP: the information was asked for */
	int at; /* OWN, CLAIM: the stream whose turn it is */
	struct id cursor; /* … and where in it */
	unsigned asked; /* commands of the step that are not answered */
	unsigned quiet; /* others, whose answer only has to come */
	bool own_again; /* OWN has to come again after CLAIM */
	bool is_exact; /* see exact.h */
	struct delivery deliveries[STREAMS_PENDING + 1];
	size_t delivery_count;
	size_t batch; /* new entries to ask for */
	int first; /* of the streams that are asked for new entries next */
	int streams_asked; /* … and how many of them were asked last, */
	size_t room_asked; /* for so many entries each */
	struct buf record; /* one that is refused */
	bool in_multi; /* a transaction is being asked for */
	bool is_behind; /* results may have come that are not taken */
	bool rests; /* the connection is left alone in this turn */
	bool is_ready;
	bool is_over; /* -e: all streams are at their end */
	bool is_stalled; /* the server is there and refuses, for the time being */
	size_t room_out; /* records that were asked for */
	bool may_not_ack;
	bool info_is_refused; /* by the error of a command before its EXEC */
	bool has_no_info, has_no_claim; /* it does not know the command, or does not allow it */
	char denied[200]; /* why no group can be made; "": not tried */
	int64_t stalled_ms, retry_ms, backoff_ms;
	int64_t claim_ms, renew_ms, info_ms; /* when it is due */
	int64_t now_ms;
};

/* An option that is given and makes sense with a stream only; NULL: none. */
const char *streams_options(const struct streams_opts *o);
/* Reads the options, after those of the source. Dies with 100. */
void streams_take(struct streams *s, const struct streams_opts *o);
/* Connects nothing yet; the source is open. Dies with 100. */
void streams_open(struct streams *s, const struct redis_url *url);
/* As of pubsub.h. In LEAVING the last XACKs are sent. */
int streams_poll(struct streams *s, struct pollfd *p);
int streams_timeout_ms(const struct streams *s, int64_t now_ms);
void streams_serve(struct streams *s, const struct pollfd *p, int64_t now_ms);
/* In LEAVING: whether all that was asked is answered, and what was final is acknowledged. */
bool streams_left(const struct streams *s);
/* A record of this partition is final. */
void streams_settled(struct streams *s, int32_t partition, struct id id);
void streams_close(struct streams *s);

/* ---- between the parts ---- */

enum ask { /* in the tag of a command: what it is */
	ASK_QUEUE, /* part of a MULTI */
	ASK_INFO,
	ASK_GROUP,
	ASK_OWN,
	ASK_DELIVERIES,
	ASK_CLAIM,
	ASK_NEW,
	ASK_ACK,
	ASK_QUIET,
	ASK_RENEW,
	ASK_BACK,
};
/* No step waits for its answer; @count is that of streams_commit. */
static inline bool ask_is_quiet(enum ask what, uint64_t count)
{
	return what == ASK_QUEUE || what >= ASK_QUIET || (what == ASK_INFO && count);
}
/* Begins a command about a stream: RESP words are appended to what it returns, then
 * streams_commit. */
struct buf *streams_begin(
	struct streams *s, const struct stream *st, size_t words, const char *name);
void streams_commit(struct streams *s, enum ask what, const struct stream *st, uint64_t count);
/* The ledger's partition of a stream. */
static inline int32_t streams_part(const struct streams *s, const struct stream *st)
{
	return -1 - s->first_part - (int32_t)(st - s->streams);
}
/* Entries were lost: says and counts it. @count 0: how many is not known. */
void streams_gap(struct streams *s, const struct stream *st, uint64_t count, const char *how);
/* A command of the stream is refused for good: ends the program with 100. */
void streams_refused(struct streams *s, enum ask what, const struct stream *st, struct span text);
/* The server is there and refuses for a reason that passes: says so once; what was asked for is
 * asked again after a pause. And it has done something. */
void streams_stall(struct streams *s, struct span why);
void streams_serve_again(struct streams *s);
/* A key of another type: where a stream was before it may be one again. */
void streams_wrong_type(struct streams *s, const struct stream *st, struct span error);

/* ask.c: the next command of the step, when there is room behind @pending records that have come
 * and are not printed. Call while REDIS_UP. */
void streams_ask(struct streams *s, size_t pending);
/* Sends XACKs. */
void streams_ack(struct streams *s);
/* Begins a step. */
void streams_step(struct streams *s, enum streams_step step);
/* Appends the names of stream and group. */
void streams_put_names(struct buf *b, const struct stream *st, const char *group);

/* renew.c: tells Redis that the entries on their way are not those of a dead consumer, and has
 * those put back that it has forgotten. */
void streams_renew(struct streams *s);
/* The answer to that; @reply NULL: there is none. */
void streams_claimed(struct streams *s, enum ask what, struct stream *st, uint64_t count,
	const struct link_reply *reply);
/* Redis has said how many entries are pending for this consumer. */
void streams_missed(struct streams *s, struct stream *st, uint64_t pending);
/* Leaves st->back to others. */
void streams_hand_back(struct streams *s, struct stream *st);
/* The ids that are on their way, and those whose XACK is not confirmed: into st->known. */
void streams_know(struct streams *s, struct stream *st);

/* entries.c: takes a new entry. */
void streams_take_new(struct streams *s, struct stream *st, const struct entry *e);
/* Takes a list of @n entries that were pending. Returns how many there were, -1 when it is none.
 * *@last is the last one's id. */
int64_t streams_take_pending(
	struct streams *s, struct stream *st, struct resp *c, int64_t n, struct id *last);

/* answer.c: the results of commands, as many as there is room for their records. */
void streams_results(struct streams *s);

#endif
