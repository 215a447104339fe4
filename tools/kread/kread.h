/* SPDX-License-Identifier: ISC */
/* kread's state, and what its files do for each other. See kread.c for the design. */
#ifndef EVPIPE_KREAD_H
#define EVPIPE_KREAD_H

#include "base/buf.h"
#include "kafka/kafka.h"
#include "kafka/listing.h"
#include "ack/ledger.h"
#include "base/out.h"
#include "flow/source.h"

#include <stdbool.h>
#include <stdint.h>

/* A partition that is read. Offsets are -1 while not known. */
struct part {
	char *topic;
	int32_t partition;
	rd_kafka_topic_t *rkt; /* without a group: what rd_kafka_consume_start was given */
	int64_t begin; /* records before it are left out */
	int64_t end; /* done when it is reached */
	int64_t next; /* after the last record that was emitted */
	int64_t settled; /* what `next` was before the output of now */
	int64_t committed;
	uint64_t epoch; /* of the output in which `next` changed last */
	bool fresh; /* its offsets have to be asked for */
	bool done; /* has reached its end */
	bool leaving; /* is taken away: nothing more of it is emitted */
	bool paused; /* by a rebalance, and nothing has come since */
	struct ledger_part *account; /* with a socket */
	uint64_t covered; /* how many of its records the last commit asked for covers */
	struct buf head; /* {"topic":"x","partition":3,"offset": */
};

/* Where a range begins or ends. */
struct place {
	enum { AT_BEGINNING, AT_END, AT_OFFSET, AT_FIRST, AT_LAST, AT_TIME } kind;
	int64_t n;
};

/* What the brokers are asked for, and have answered, of the parts that are being resolved. */
struct questions {
	struct listing listing;
	int topics_known; /* of the command line */
	rd_kafka_topic_partition_list_t *low, *high, *from, *until;
};

struct kread {
	struct kafka kafka;
	rd_kafka_queue_t *messages;
	rd_kafka_queue_t *queue; /* everything else librdkafka has to say */
	struct out out;
	int signal_fd;

	/* what the command line asked for */
	const char **topics;
	int topic_count;
	const char *group;
	const char *partitions; /* "0,3-5" or NULL */
	struct place from, until;
	bool to_end, has_until, as_json, raw, follow_new;
	bool commit; /* positions: of what has left the process, or … */
	bool acked; /* … of what is final */
	char terminator;
	int64_t count, rate, idle_exit_ms; /* -1: not asked for */
	int64_t window;

	struct questions questions;
	struct part *parts; /* by topic and partition */
	size_t part_count;
	bool assigned; /* the group has given partitions, or the ranges are known */
	bool need_ends; /* for -e, of parts just assigned */

	/* the part of the message before; valid within a batch */
	struct part *last;
	const rd_kafka_topic_t *last_rkt;

	struct source source;
	int64_t now_us; /* of the batch of messages that is printed */
	size_t message_bytes; /* how long those of the last batch were */
	bool broken; /* no more output: what the sink gets is not all, and must not think so */

	/* ---- kread-group.c ---- */
	rd_kafka_queue_t *answers; /* to commits */
	bool committing; /* one is not answered yet */
	rd_kafka_topic_partition_list_t *leaving; /* partitions on their way out */
	bool leaving_cooperative, leaving_committed;
	int64_t leaving_retry_ms; /* when a commit that failed is tried again */
	int64_t leave_by_ms, poll_interval_ms;
	bool closing; /* the group is being left */
	/* How many assignments are to come before what is kept has a generation to commit under again, and
	 * until when to wait for them. */
	int rejoining;
	int64_t rejoin_by_ms;

	uint64_t epoch; /* rises when all output has left the process */
	uint64_t emitted;
	bool commit_failed, commit_again; /* commit_again: with the same members it may succeed */
	bool ending;
	int status; /* to exit with when ending */
	int64_t full_since_ms; /* standard output; 0: it takes what we have */
	int64_t record_ms, second_ms, refresh_ms;
	int64_t paid_until_us; /* --rate */
	bool early; /* the rate allowed no record when it was asked last */
};

/* ---- kread.c ---- */
/* Ends reading: what was emitted is written, positions are committed. The first call decides. */
void kread_end(struct kread *r, int status);
/* Ends at once and badly: what is not yet written is not written. */
void kread_fail(struct kread *r, int status);
/* Serves all of librdkafka but messages. */
void kread_events(struct kread *r);
/* What has to be done from time to time. */
void kread_tick(struct kread *r, int64_t now);

/* ---- kread-print.c ---- */
/* Appends the record and its line end to r->out. */
void print_record(struct kread *r, const struct part *p, const rd_kafka_message_t *m);

/* ---- kread-parts.c: the partitions and their ranges ---- */
/* "beginning end N -N +N @TIME". Dies with 100. */
struct place place_parse(const char *option, const char *text);
/* Checks the form of -p. Dies with 100. */
void partitions_check(const char *text);
/* NULL: not read (any more). */
struct part *part_find(struct kread *r, const char *topic, int32_t partition);
/* Pointers to other parts move, here and in part_remove. */
struct part *part_add(struct kread *r, const char *topic, int32_t partition);
void part_remove(struct kread *r, struct part *p);
/* Its end is reached: nothing more of it is fetched. */
void part_done(struct kread *r, struct part *p);
/* Nothing of it is fetched until it is resumed: librdkafka remembers that beyond the assignment. */
void part_pause(struct kread *r, const struct part *p, bool pause);
/* What librdkafka says at the end of a partition. */
void part_eof(struct kread *r, const rd_kafka_message_t *m);
bool parts_all_done(const struct kread *r);
/* Looks the topics up, resolves the ranges of partitions not known before, and starts them. Returns false
 * until it is done: call it again when librdkafka has woken the loop, and a little later when no question
 * is out. Dies with 100. */
bool parts_resolve(struct kread *r);
/* Asks for the ends of parts that have none, for -e. As above. */
bool parts_find_ends(struct kread *r);
/* Tells the metrics how far behind each part is. */
void parts_lag(struct kread *r);

/* ---- kread-group.c: the consumer group ---- */
void group_configure(rd_kafka_conf_t *conf);
/* The queues. */
void group_open(struct kread *r);
/* Dies with 100. */
void group_subscribe(struct kread *r);
/* Commits without waiting, unless an answer is still out. */
void group_commit(struct kread *r);
/* Takes answers to commits, and lets partitions go that are taken away. Call each turn. */
void group_serve(struct kread *r);
/* Whether the message was taken before, while a rebalance was pausing its partition: then it comes twice. Call
 * with each one of that partition, before it is emitted. */
bool group_again(struct part *p, const rd_kafka_message_t *m);
/* Commits and leaves; waits ten seconds at most, and not beyond a second signal. Returns false when it
 * has not come to an end: librdkafka is not to be stopped then, which would wait for the same. */
bool group_leave(struct kread *r);

/* ---- kread-ack.c: what becomes of the records ---- */
struct acks_opts {
	struct source_opts source;
	struct arg_str *commit, *window;
};
void acks_opts(struct acks_opts *o);
#define ACKS_ENTRIES(o) (o).commit, SOURCE_ENTRIES((o).source), (o).window
/* Reads the options. Dies with 100. */
void acks_take_options(struct kread *r, const struct acks_opts *o);
/* Listens. */
void acks_open(struct kread *r);
/* Serves the socket and judges. Call each turn; @readable: its descriptor is. */
void acks_serve(struct kread *r, bool readable);
/* Commits when it is time to, lest the window fill with what is only not committed. Call each turn,
 * after the answers to commits were taken. */
void acks_commit(struct kread *r);
/* After the last output: tells the end, closes standard output, waits for what is open, and says what
 * has remained so. Without a socket: nothing. */
void acks_finish(struct kread *r);

#endif
