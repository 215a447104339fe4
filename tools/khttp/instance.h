/* SPDX-License-Identifier: ISC */
/* What the parts of consumer.h share. */
#ifndef KHTTP_INSTANCE_H
#define KHTTP_INSTANCE_H

#include "kafka/listing.h"
#include "khttp/body.h"
#include "khttp/consumer.h"
#include "khttp/error.h"

enum {
	POLL_RECORDS = 500, /* in an answer */
	POLL_BYTES = 4 << 20, /* an answer ends behind the record that exceeds it */
	COMMIT_MS = 5000, /* between two automatic commits */
	REVOKE_MS =
		/* for which a rebalance may wait for an answer that is being written, and for a
		 * commit */
	5000,
	CLOSE_MS = 8000, /* for the leaving of a group */
	COMMIT_WAIT_MS = 10000, /* for the answer to a commit */
	FORWARD_MS = 10000,
	REJOIN_MS = 10000, /* in which librdkafka mostly tells what it was assigned anew */
	ASSIGNMENT_MS = 30000, /* for ?wait=assignment */
	PATTERN_MS = 5000, /* between two looks for topics that match */
	SHOWN_NONE = -2,
	SHOWN_BEGINNING = -1, /* what stands before offset 0 */
};

enum consumer_format { FORMAT_JSON, FORMAT_BINARY, FORMAT_TEXT };

/* A partition that an instance has. Offsets are -1 while not known. */
struct consumer_part {
	char *topic;
	int32_t partition;
	/* behind the last record that was written to a client in full; or where a seek leads */
	int64_t next;
	int64_t taken; /* behind the last record that was taken from librdkafka */
	int64_t end; /* where reading is over, of a reader without an instance */
	int64_t shown; /* the last one that a stream has had, or what stands before its first */
	int64_t committed;
	bool started; /* librdkafka has given something of it since it was assigned or sought */
	bool paused; /* by a rebalance, and nothing has come since */
	bool seeks; /* to `seek`, once it has started */
	bool refused; /* the last that librdkafka has told of it is an error that stays */
	bool asks; /* such a one that it tells again when it is asked */
	bool stopped; /* librdkafka does not fetch it any more */
	int64_t seek; /* where the last seek leads; RD_KAFKA_OFFSET_INVALID: there was none */
};

struct instance;

/* A request that waits, or whose answer is being written. */
enum wait_kind { WAIT_POLL, WAIT_COMMIT, WAIT_CLOSE, WAIT_ASSIGNMENT, WAIT_STREAM, WAIT_READ };
struct wait {
	enum wait_kind kind;
	struct consumers *all;
	struct instance *instance; /* NULL: it has gone */
	struct http_request *request;
	struct wait *next, **link; /* the instance's, the oldest first */
	int64_t until_ms;
	size_t heap; /* 1 + where it stands; 0: it has no time */
	size_t max_bytes, max_records;
	uint64_t commit; /* which one is waited for; 0: it is sent once the group is joined */
	rd_kafka_topic_partition_list_t *places; /* what that one commits; NULL */
	enum media media; /* of a poll's answer */
	bool answered;
	struct stream *stream;
};

/* What it reads. */
enum instance_mode { MODE_NOTHING, MODE_TOPICS, MODE_PATTERN, MODE_ASSIGNED };

struct instance {
	struct kafka kafka; /* first: librdkafka's callbacks get it */
	struct consumers *all;
	struct instance *next, **link, *next_named;
	char *group, *name;
	enum consumer_format format;
	enum instance_mode mode;
	bool auto_commit, no_reset;
	rd_kafka_queue_t *events, *messages, *answers;
	struct consumer_part *parts; /* by topic and partition */
	size_t part_count;
	/* until then the queues of partitions may be forgotten that have not started */
	int64_t forward_until_ms;
	struct consumer_part *last; /* of the message before */
	const rd_kafka_topic_t *last_rkt;
	/* Records that were taken from librdkafka: the first `out` stand in the answer that is
	 * being written to `out_to`. */
	rd_kafka_message_t *held[POLL_RECORDS];
	size_t held_count, held_bytes, out;
	struct wait *out_to;
	struct http_receipt *receipt; /* of that answer, which was written; NULL */
	unsigned resets; /* answers in a row that had arrived when the connection was reset */
	struct wait *waits;
	struct read *read; /* it is no instance, but reads for one request; NULL */
	char *resume; /* Last-Event-ID of a stream; NULL */
	char error[512]; /* what polls are answered with; "" */
	int error_status;
	bool error_told; /* the next poll need not hurry with it */
	bool error_stays; /* until something else comes */
	bool refused; /* the error is of no partition that it has, and stays */
	/* there are partitions for whose positions librdkafka does not ask any more */
	bool unplaced;
	/* commits */
	uint64_t commits; /* the number of the last one */
	uint64_t own_commit; /* which is out, of positions; 0: none */
	int64_t commit_ms; /* when the next one is due */
	/* its group */
	bool joined; /* it has had an assignment since it subscribed */
	int64_t rejoin_by_ms; /* until then it may be joining anew */
	/* a rebalance that takes partitions away */
	rd_kafka_topic_partition_list_t *leaving;
	bool leaving_cooperative, leaving_committed;
	int64_t leave_by_ms;
	/* a subscription by pattern */
	struct listing listing;
	struct expr *pattern;
	char *matched; /* names, each with LF behind it */
	int64_t match_ms;
	bool has_listing;
	/* its end */
	int64_t used_ms;
	bool closing, close_begun, destroying;
	int64_t close_by_ms;
};

enum { TABLE = 1024 };

struct consumers {
	struct khttp *k;
	int fd; /* epoll: the instances' clients */
	struct instance *instances; /* those that close, too */
	struct instance *named[TABLE]; /* those that do not */
	struct wait **heap; /* by time */
	size_t heap_count, heap_room;
	int64_t now_ms, tick_ms;
	size_t held_bytes; /* by all instances */
	uint64_t instance_count, closing_count, wait_count, records, bytes, given_back, reaped;
	bool leaving, closed;
	bool told_resets; /* that answers which were reset count as read */
	bool unsettled; /* somebody waits for a receipt, or for librdkafka to forget a queue */
};

/* ---- consumer.c ---- */

struct instance *consumers_named(const struct consumers *all, const char *group, const char *name);
/* The next turn begins at once, and looks at all instances. */
void consumers_again(struct consumers *all);
/* The instance is in the table from now on. */
void consumers_add(struct consumers *all, struct instance *i);
/* It is no longer found. Polls that wait are answered with 404, or without records when
 * @leaving. */
void instance_close(struct instance *i, bool leaving);
/* Frees @all when it is closed and no request of it is left: the HTTP server may end after the
 * instances. */
void consumers_free(struct consumers *all);

/* ---- consumer-wait.c ---- */

/* Has a request wait until @until_ms, -1: for ever. The request's `done` and `user` are taken.
 * NULL: too many wait, and it was answered with 503. */
struct wait *wait_open(
	struct instance *i, struct http_request *r, enum wait_kind kind, int64_t until_ms);
/* It has been answered: it has no time any more. */
void wait_answered(struct wait *w);
/* It has no instance any more. */
void wait_unlink(struct wait *w);
/* Its time is another from now on; -1: none. */
void wait_until(struct wait *w, int64_t until_ms);

/* ---- consumer-create.c, consumer-calls.c: requests ---- */

void create_instance(struct consumers *all, const struct consumer_call *c);
/* Whether the request is for an instance of another bridge: it is handed on, or was answered with
 * 421 and where that is. */
bool create_is_elsewhere(struct khttp *k, const struct call *c, const char *name);
/* Whether another client may be made; else it has answered with 503. */
bool create_may(struct consumers *all, const struct call *c);
/* A client that reads for one request, and is closed with it. It takes @d over. NULL: it has
 * answered. */
struct instance *create_reader(struct consumers *all, struct http_request *r, struct read *d);
void calls_subscribe(struct instance *i, const struct call *c);
void calls_subscription(struct instance *i, struct http_request *r);
void calls_unsubscribe(struct instance *i, struct http_request *r);
void calls_assign(struct instance *i, const struct call *c);
void calls_commit(struct instance *i, const struct call *c);
void calls_seek(struct instance *i, const struct call *c);
/* @offset: RD_KAFKA_OFFSET_BEGINNING or RD_KAFKA_OFFSET_END. */
void calls_seek_to(struct instance *i, const struct call *c, int64_t offset);
/* The commit of that number has ended; the requests that wait for it are answered. */
void calls_committed(struct instance *i, uint64_t number, rd_kafka_resp_err_t err,
	const rd_kafka_topic_partition_list_t *offsets);
/* The group is joined: what has waited for that goes on. */
void calls_joined(struct instance *i);
/* Whether the request is as the schema has it; else it has answered with 400. */
bool calls_valid(const struct consumer_call *c);
/* 204. */
void calls_done(struct http_request *r);

/* ---- consumer-places.c ---- */

/* Places that a request names. */
struct places {
	struct place {
		char *topic;
		int32_t partition;
		int64_t offset;
		int64_t end; /* consumer-read.c's */
	} * list;
	size_t count;
};
/* Reads the list that is the body's one member @name: objects with topic, partition and, if
 * @offsets, offset. Returns 0, or -1 when it has answered with 400 or 422. Free with places_free,
 * in both cases. */
int places_read(const struct call *c, const char *name, bool offsets, struct places *places);
void places_free(struct places *places);

/* ---- consumer-group.c ---- */

/* Starts the client with this configuration. Returns 0 or -1. */
int group_open(struct instance *i, struct kafka_conf *conf, struct trouble *why);
struct consumer_part *part_find(const struct instance *i, const char *topic, int32_t partition);
/* NULL: a message of a partition that it does not have any more. */
struct consumer_part *part_of(struct instance *i, const rd_kafka_message_t *m);
/* Goes on with a rebalance. */
void group_go_on(struct instance *i);
/* From now on it has these partitions, and no group. The list may be empty. */
rd_kafka_resp_err_t group_assign(struct instance *i, const struct places *list);
/* The same from the offsets of the list on. */
void group_read(struct instance *i, const struct places *list);
/* Names, each with LF behind it. */
rd_kafka_resp_err_t group_subscribe(struct instance *i, const char *topics);
void group_unsubscribe(struct instance *i);
/* @offset may be RD_KAFKA_OFFSET_BEGINNING or RD_KAFKA_OFFSET_END. */
void group_seek(struct instance *i, struct consumer_part *p, int64_t offset);
/* librdkafka fetches once more from `seek` on; what was taken stays. */
void group_seek_again(struct instance *i, struct consumer_part *p);
/* librdkafka has given something of the partition. Returns whether it is of the place where the
 * instance reads. */
bool group_started(struct instance *i, struct consumer_part *p);
/* The end of an instance begins: positions are committed. */
void group_close(struct instance *i);
/* Whether nothing has to be waited for before the group is left. */
bool group_may_close(const struct instance *i);
/* Frees all but the client. Returns false while a question is out: call it again. */
bool group_release(struct instance *i);

/* ---- consumer-commit.c ---- */

/* Begins to commit @list; NULL: all positions. Returns the commit's number; 0: there is nothing to
 * commit, or *@err, which is ILLEGAL_GENERATION while the instance is not in its group. */
uint64_t commit_send(
	struct instance *i, const rd_kafka_topic_partition_list_t *list, rd_kafka_resp_err_t *err);
/* Commits positions that have moved, unless the last such commit is still out. */
void commit_moved(struct instance *i);
/* The same, but for what a rebalance is taking away. */
void commit_positions(struct instance *i);

/* ---- consumer-error.c ---- */

/* An error that librdkafka gives in place of a message, or an event that its callbacks have
 * served. */
void error_take(struct instance *i, const rd_kafka_message_t *m);
/* Whether there is an error that nobody was told of. */
bool error_is_new(const struct instance *i);
/* Whether somebody was, and it stands. */
bool error_is_again(const struct instance *i);
void error_told(struct instance *i);
/* Something has come of the partition; NULL: partitions were assigned. */
void error_over(struct instance *i, struct consumer_part *p);
/* Has what was refused fetched anew. Returns whether there was such. */
bool error_ask(struct instance *i);
/* Has librdkafka ask for positions that it has forgotten. Call once a second: a coordinator that
 * has moved must be found first. */
void error_place(struct instance *i);

/* ---- consumer-pattern.c ---- */

/* Returns 0, or -1 with the reason why it is no regular expression. Takes the place of another
 * one. */
int pattern_set(struct instance *i, const char *regex, char *why, size_t why_size);
void pattern_go_on(struct instance *i);
void pattern_free(struct instance *i);

/* ---- consumer-read.c ---- */

void read_request(struct consumers *all, const struct call *c, const char *topic);
void read_go_on(struct instance *i);
/* Its time is over. */
void read_due(struct instance *i);
void read_free(struct read *d);

/* ---- poll.c ---- */

struct poll_limits {
	int64_t timeout_ms, max_bytes, max_records;
};
/* Reads the query. false: it has answered with 400. */
bool poll_read(struct http_request *r, struct poll_limits *l);
void poll_request(struct instance *i, const struct call *c);
/* Takes what librdkafka has, and there is room for. */
void poll_take(struct instance *i);
/* What was taken makes the longest answer that there can be now. */
bool poll_is_full(const struct instance *i, const struct wait *w);
/* A message that was held is not any more. */
void poll_drop(struct instance *i, rd_kafka_message_t *m);
/* The same, and answers polls. */
void poll_go_on(struct instance *i);
/* Answers with what is held, which may be nothing. */
void poll_answer(struct instance *i, struct wait *w);
/* A poll that was marked as answered gets no records. */
void poll_due(struct wait *w);
/* The answer to it is over; @whole: all of it was given to the kernel. */
void poll_written(struct wait *w, bool whole);
/* Looks whether the client has the answer that was written last: then positions move; or it is
 * lost: then its records come again. @asked: a request to the instance has come since, so what the
 * client's kernel has the client has. */
void poll_settle(struct instance *i, bool asked);

/* ---- poll-stream.c ---- */

/* Answers with a stream: @lines: of our records; else of events. */
void stream_open(struct instance *i, struct http_request *r, bool lines);
/* The same of a request that waits already, for @limit records. */
void stream_begin(struct wait *w, bool lines, int64_t limit);
/* Ends it when all that was printed is written; @whole: there will be no more records. */
void stream_end(struct wait *w, bool whole);
/* Ends it with an error, as an event or the last line. Returns false while something that was
 * printed is not written: call it again. */
bool stream_fail(struct wait *w, int status, const char *text);
/* There are records. */
void stream_wake(struct wait *w);
/* Its time is over: a sign of life; its next time is set. */
void stream_due(struct wait *w);
void stream_free(struct stream *s);
/* Which offset of a partition stands in an event's id; SHOWN_NONE: none. */
int64_t stream_shown(const char *id, const char *topic, int32_t partition);
/* The partition begins where the last stream ended, as its client has told. */
void stream_resume(struct instance *i, struct consumer_part *p);

/* ---- poll-print.c ---- */

/* By enum consumer_format. */
extern const enum media print_media[];
/* Appends a record. A key or value that is not of the format is null; then "raw" or "raw_key" has
 * it in base64, and "error" says why. */
void print_json(struct buf *b, enum consumer_format format, const rd_kafka_message_t *m);
/* Appends a line of evpipe-record(5). */
void print_line(struct buf *b, const rd_kafka_message_t *m);
/* Why the record is not of the format: a sentence that names its place; NULL: it is. Static. */
const char *print_flaw(enum consumer_format format, const rd_kafka_message_t *m);

#endif
