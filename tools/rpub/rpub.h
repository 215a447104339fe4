/* SPDX-License-Identifier: ISC */
/* rpub's state, and what its files do for each other. See rpub.c for the design. */
#ifndef EVPIPE_RPUB_H
#define EVPIPE_RPUB_H

#include "flow/sink.h"
#include "record/record.h"
#include "record/template.h"
#include "redis/client.h"
#include "redis/id.h"

#include <stdbool.h>
#include <stdint.h>

/* A record on its way: the sink's slot, and Redis's reply. */
struct rpub_slot {
	struct sink_slot slot;
	int64_t receivers;
	struct id id; /* of a stream's entry */
	uint64_t batch_end; /* the slot behind its transaction's last; in a cluster the first one */
	/* In a cluster: */
	uint64_t after; /* the next one of its transaction */
	uint16_t round; /* of the transaction */
	bool executing; /* the transaction's first one: its EXEC is not answered */
	bool executed; /* EXEC has added it */
	bool sent; /* by a command whose tag is the slot's number; false: to be sent again */
};

/* --id offset: the streams that were looked at. */
struct known {
	struct known_stream *table; /* a hash table */
	size_t count, cap; /* a power of 2 */
	/* The stream that is looked at: */
	struct buf name;
	unsigned answers; /* that have not come */
	bool is_bad; /* the connection was lost: ask again */
	struct id last; /* ever, of its entries */
	struct buf found; /* the payload of the entry that has the record's id */
	bool has_found;
};

/* Rounds of transactions in a cluster: spread.c. */
struct rpub_spread {
	struct spread_entry *entries; /* of the round that is being made */
	size_t count;
	struct buf text; /* their names and commands */
	unsigned out; /* EXECs that are not answered */
	uint16_t round;
	bool again; /* a connection was lost: all that are not done are sent again */
	bool aborted; /* an EXEC of the round was */
};

/* --stream: entries instead of messages. */
struct rpub_stream {
	const char *field, *key_field; /* key_field NULL: the key is not kept */
	bool by_offset; /* the id is OFFSET-1 */
	const char *trim; /* MAXLEN or MINID; NULL: not trimmed */
	bool trim_about;
	int64_t max_length, max_age_ms; /* -1: not by this */
	struct id min_id;
	/* internal */
	uint64_t next; /* the next slot to be sent */
	uint64_t from; /* the first slot of the last transaction */
	size_t batch; /* commands of the transaction that is being made */
	struct buf key; /* the stream of the transaction */
	bool executing; /* its EXEC is not answered */
	bool has_refused; /* a record of it */
	bool is_stalled; /* the server is there and refuses to write: not before try_ms again */
	int64_t stalled_ms;
	struct id id; /* of the entry that was encoded last, by_offset */
	char away[200]; /* why the server has refused to write in it; "": it has not */
	struct buf body;
	struct known known;
	struct start *starts; /* partitions that were assigned; a table */
	size_t start_count;
	bool spreads; /* in a cluster, where Redis makes the ids */
	struct rpub_spread spread;
};

struct rpub {
	struct redis redis;
	struct sink sink;
	struct template *template;
	bool raw;
	bool to_stream;
	bool to_shard; /* the channel is one of a slot, not of all the cluster */
	struct rpub_stream stream;
	struct buf prefix; /* of a PUBLISH to a constant channel, up to the payload's length */
	struct buf channel, scratch; /* channel: or the stream's name */
	unsigned digits; /* of the last payload's length */
	uint64_t unsent; /* records to be sent again */
	uint64_t receivers_zero;
	/* --min-receivers: a message that fewer get is held, and what was sent behind it comes
	 * again */
	int64_t min_receivers;
	bool refuses_few;
	bool holds;
	uint64_t held; /* the slot */
	uint64_t out; /* commands whose result has not come */
	int64_t try_ms, backoff_ms; /* when what is held, or was refused, is sent again */
	int64_t now_ms;
};

static inline struct rpub_slot *rpub_slot(struct rpub *s, uint64_t i)
{
	return (struct rpub_slot *)sink_slot(&s->sink, i);
}

/* The number of its line. */
static inline unsigned long long rpub_line(const struct rpub *s, uint64_t i)
{
	return sink_slot(&s->sink, i)->number;
}

/* ---- command.c: records to commands ---- */
/* Appends a PUBLISH, or SPUBLISH, to a constant channel, up to the payload's length. */
void command_prefix(struct buf *b, bool to_shard, struct span channel);
/* Parses the line, and makes the channel's or stream's name of it, in s->channel if it is not
 * constant. Returns 0 or -1; @is_record tells even then. */
int command_read(struct rpub *s, struct span line, struct record *r, bool *is_record,
	struct record_error *e);
/* The payload's bytes, appended to @out or a span of the line. */
enum record_bytes command_payload(const struct rpub *s, const struct record *r, struct span line,
	struct buf *out, struct span *bytes, struct record_error *e);
/* Begins the line's PUBLISH, and fills in @r: redis_commit or redis_cancel is the caller's. Returns
 * 0, or -1 with nothing begun; @is_record tells even then. Call while REDIS_UP. */
int command_put(struct rpub *s, struct span line, struct record *r, bool *is_record,
	struct record_error *e);
/* Redis has answered the record's command with an error: the record is refused, or the program ends
 * with 100, "redis at … refuses @what". Returns false, and does nothing, when Redis only cannot do
 * it now. */
bool command_refused(struct rpub *s, uint64_t i, struct span error, const char *what);
/* Appends to @out the line of a record that was delivered, with where. */
void command_pass(struct rpub *s, struct span line, const struct rpub_slot *slot, struct buf *out);

/* ---- publish.c: messages ---- */
/* Whether lines are taken now. */
bool publish_takes(const struct rpub *s);
void publish_lines(struct rpub *s);
void publish_result(struct rpub *s, enum redis_got got, const struct link_reply *reply);
/* Sends again what is to be sent again. Call while REDIS_UP. */
void publish_again(struct rpub *s);

/* ---- stream.c: entries, the same ---- */
bool stream_takes(const struct rpub *s);
void stream_lines(struct rpub *s);
void stream_result(struct rpub *s, enum redis_got got, const struct link_reply *reply);
/* Appends the line's XADD to @out; s->channel has the stream's name. Returns 0 or -1. */
int entry_put(struct rpub *s, const struct record *r, struct span line, struct buf *out,
	struct record_error *e);

/* Tags of no slot; those of an EXEC say which transaction it is of. */
#define STREAM_MULTI (UINT64_C(1) << 60)
#define STREAM_EXEC (UINT64_C(1) << 61)
/* For spread.c. The stream's name of the record that was read last. */
struct span stream_key(const struct rpub *s);
/* An EXEC was answered: the server writes. */
void stream_serves(struct rpub *s);
/* What EXEC's next element says of the slot's entry. Returns false when the answer is none, and the
 * connection is given up. */
bool stream_entry(struct rpub *s, uint64_t i, struct resp *elements);
/* An EXEC was aborted: keeps why in s->stream.away, unless it has refused a record. May end the
 * program with 100. */
void stream_note_abort(struct rpub *s, struct span text, bool has_refused);
/* The server refuses to write, s->stream.away says why: nothing is sent for a while, or the
 * connection is given up. */
void stream_wait(struct rpub *s);

/* ---- spread.c: entries in a cluster ---- */
void spread_lines(struct rpub *s);
/* The result of an EXEC; @tag without STREAM_EXEC. */
void spread_exec(struct rpub *s, enum redis_got got, uint64_t tag, const struct link_reply *reply);

/* ---- known.c: --id offset: whether a stream can take such ids ---- */
/* Whether the stream in s->channel can take the record. If it is not known yet, Redis is asked:
 * false, and the line comes again. Dies with 100 where it cannot. Call while REDIS_UP, outside of a
 * transaction. */
bool known_good(struct rpub *s, const struct record *r, struct span line);
/* Whether known_good would have to ask. */
bool known_asks(const struct rpub *s, const struct record *r);
#define KNOWN_TAG (UINT64_C(1) << 62)
/* The result of a command with a tag from KNOWN_TAG on. */
void known_result(struct rpub *s, enum redis_got got, const struct link_reply *reply);
/* Ends the program with 100, since the stream cannot take records by their offsets. */
_Noreturn void known_refuse(struct rpub *s, struct span stream, const char *why);
/* The answer to XINFO STREAM: the last id ever, and that of the last entry; as they were where
 * there is none. */
void known_ids(const struct link_reply *reply, struct id *last, struct id *top);
/* The same with an error. Returns whether there is no stream, rather than no answer: then the
 * connection is given up, or the program ends with 100. */
bool known_error(struct rpub *s, struct span error);

/* ---- start.c: --id offset: where the source begins ---- */
/* Call behind sink_open. */
void start_open(struct rpub *s);
/* Asks Redis of streams whose partitions the source asks for. Call each turn, last: what the source
 * has said comes with the sink's flush. */
void start_ask(struct rpub *s, int64_t now_ms);
/* Whether the source was told where to begin for the sake of this stream. */
bool start_named(const struct rpub *s, struct span stream);
#define START_TAG (KNOWN_TAG + 2)
/* The result of a command with a tag from START_TAG on. */
void start_result(struct rpub *s, enum redis_got got, const struct link_reply *reply);

#endif
