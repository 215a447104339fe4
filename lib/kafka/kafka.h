/* SPDX-License-Identifier: ISC */
/* One client of Kafka, whose events wake a poll loop; several may live in a process. Says which
 * brokers are away, and judges which errors are the configuration's fault.
 *
 * All functions belong to the thread that runs the loop. None of them ends the program. Messages of
 * librdkafka come out as sentences of the program, and never a secret in them. */
#ifndef EVPIPE_KAFKA_H
#define EVPIPE_KAFKA_H

#include "base/buf.h"
#include "base/trouble.h"
#include "kafka/brokers.h"
#include "kafka/conf.h"
#include "kafka/diagnosis.h"
#include "kafka/fetchers.h"
#include "kafka/liveness.h"
#include "kafka/token.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

/* A broker has refused a batch of a producer for the time being (@why), and librdkafka sends it
 * again. */
typedef void kafka_refusal_fn(void *ctx, const char *topic, int32_t partition, const char *why);

struct kafka {
	rd_kafka_t *rk;
	int wake_fd; /* POLLIN: something stands in a queue given to kafka_wake_on */
	bool up; /* Kafka answered when kafka_tick was called last */
	struct trouble trouble; /* why the client cannot go on */
	/* internal */
	kafka_refusal_fn *refusal;
	void *refusal_ctx;
	bool own_debug, tells_refusals;
	_Atomic bool session_was_over; /* of a consumer in a group; set by a thread of librdkafka */
	bool was_assigned; /* so has its group, at least once */
	int wake_in;
	pthread_t ender;
	bool ends;
	struct kafka_conf
		reach; /* what a diagnosis dials, with the secrets as they were read last */
	struct token_source token;
	/* the end of the token about which it was said that there is no other; of one that
	 * librdkafka got by itself, when it could not get another */
	int64_t token_warned_ms;
	uint64_t secrets_stamp;
	int64_t secrets_ms; /* when they are looked at next */
	int64_t renewed_ms; /* when they were read anew last; 0: never */
	int hups;
	struct diagnosis *diagnosis; /* NULL: none is under way */
	int64_t diagnosed_ms; /* when it began */
	int64_t diagnose_ms; /* when the next one begins, if Kafka does not answer then */
	bool was_diagnosed;
	/* a diagnosis is due though Kafka answers; nothing is read or written before it is done */
	bool doubts;
	bool looks_first; /* the doubt is the one that each program begins with */
	bool told_resolves; /* what of --resolve is not used, if anything */
	bool looks_second; /* it found somebody silent */
	bool misses; /* kafka_misses was called: any broker may be needed */
	bool looks_again; /* a diagnosis is due though Kafka answers, and nothing waits for it */
	int64_t doubt_ms; /* not before */
	bool has_coordinator; /* of a group, or of transactions */
	bool asks_group; /* diagnoses do, until two have found something */
	bool doubts_group; /* one has */
	int64_t group_ms, group_pause_ms; /* when they do next; how long after the last one */
	bool is_out; /* Kafka has not answered since an error was told */
	struct trouble held; /* for which the diagnosis may know a better sentence */
	int64_t held_ms; /* since when */
	int64_t tick_ms; /* when kafka_tick is due, unless wake_fd is ready before */
	struct brokers brokers;
	struct liveness liveness;
	struct fetchers fetchers;
};

/* Starts the client and takes c->rd over, which is NULL then. @k stays where it is until
 * kafka_stop, for librdkafka's threads use it. Reads c->secrets anew. Fails with 100 and
 * librdkafka's reason, or 111. */
int kafka_start(struct kafka *k, rd_kafka_type_t type, struct kafka_conf *c, struct trouble *why);
/* From now on an event in @q makes wake_fd readable; once until the queue has been served empty. */
void kafka_wake_on(struct kafka *k, rd_kafka_queue_t *q);
/* Reads wake_fd dry. Call before the queues are served. */
void kafka_woken(struct kafka *k);
/* Says once that a broker cannot be reached, or answers nothing, with the cause and the remedy that
 * a diagnosis finds, and once that it is back; when all addresses of -b turn out to be wrong before
 * Kafka has ever answered, that is trouble. Call each turn of the loop, after the queues were
 * served, at least once a second. Returns whether Kafka answers; then look at `trouble`. */
bool kafka_tick(struct kafka *k);
/* How long poll may wait, at most a second, until kafka_tick is due. */
int kafka_timeout_ms(const struct kafka *k, int64_t now_ms);
/* Appends ", waiting for broker x:9092" when one cannot be reached that is waited for. Returns
 * whether it has. */
bool kafka_put_away(struct kafka *k, struct buf *text);
/* Does as if librdkafka had reported @err: notes trouble with the sentence @text when it is a
 * configuration error or fatal, and returns whether it is. Of a login that has failed librdkafka
 * reports more: without that it is none yet. */
bool kafka_judge(struct kafka *k, rd_kafka_resp_err_t err, const char *text);
/* How the right to an @operation on a @kind, "topic" or "group", is given to us: to be copied.
 * Static. */
const char *kafka_acl(struct kafka *k, const char *operation, const char *kind, const char *name);
/* What a broker answers does not go with what another one has told: is it of another cluster? A
 * diagnosis finds out; then that is trouble. Until then nothing is to be read or written
 * (`doubts`). */
void kafka_doubts(struct kafka *k);
/* Addresses that are given by hand, in -b or by --resolve, may be of two clusters; librdkafka would
 * take either, and say nothing. Where several are given they are all asked before anything is read
 * or written. For the first client of a program, after kafka_start; those made later go the same
 * way. */
void kafka_look_first(struct kafka *k);
/* Something is not done, though Kafka answers: a diagnosis looks whether a broker is none. */
void kafka_misses(struct kafka *k);
/* A member of a group waits long for its partitions: has the group a coordinator that can be
 * reached? If it has not, and has none ten seconds later, that is said, unless the answer is not
 * wanted any more (@on false) when it comes. librdkafka says nothing. */
void kafka_ask_group(struct kafka *k, bool on);
/* The error is the configuration's fault (login, certificate, permission, a group's protocol),
 * never a record's: nothing is dead-lettered, exit 100. */
bool kafka_is_config_error(rd_kafka_resp_err_t err);
/* How many times the next fetch may have been of another log: answers with metadata, for which
 * librdkafka asks after each failed fetch, and new connections: it fetches again at once from a
 * broker that is back, and its metadata may come later. Counted before such a fetch leaves. */
static inline unsigned kafka_changes(const struct kafka *k)
{
	return k->liveness.changes;
}
/* "reason" as librdkafka has it, without its "Broker: " and "Local: ". Static. */
const char *kafka_why(rd_kafka_resp_err_t err);

/* Whom to tell of refusals that librdkafka tries again in silence, between kafka_tell_refusals(k,
 * true) and (k, false), in the loop's thread: a producer's batches, a consumer's fetches. A
 * producer is to tell while records do not get on: librdkafka has no other way to say it than its
 * log for debugging, which has several lines a batch. It says nothing when -X debug is the
 * user's. */
void kafka_on_refusal(struct kafka *k, kafka_refusal_fn *fn, void *ctx);
void kafka_tell_refusals(struct kafka *k, bool on);

/* A consumer reports each time that it has taken messages: how many, of how many bytes, and how
 * many are left in the local queue. This keeps fetching going (fetchers.h). */
static inline void kafka_taken(struct kafka *k, size_t messages, size_t bytes, size_t left)
{
	fetchers_taken(&k->fetchers, k->rk, messages, bytes, left);
}

/* A consumer reports that its group has given it partitions, or none. Who takes its
 * group.instance.id from then on is another process; before, it may be a request of a process that
 * has ended, for a broker that comes back takes such a request late. */
static inline void kafka_assigned(struct kafka *k)
{
	k->was_assigned = true;
}

/* What rd_kafka_poll would hand to a callback, where the client's queue is polled for events. */
void kafka_take_event(struct kafka *k, rd_kafka_event_t *event);

/* Ends the client, before the process ends; never waits for brokers that are away, and for
 * librdkafka two seconds at most: then its threads go on. No queue of it may be left. */
void kafka_stop(struct kafka *k);
/* The same without waiting: call kafka_end once, then kafka_has_ended from time to time until it
 * returns true. @k stays until then. librdkafka may take for ever when Kafka does not answer. */
void kafka_end(struct kafka *k);
bool kafka_has_ended(struct kafka *k);

/* "librdkafka 2.0.2", of the library that is loaded. */
const char *kafka_library(void);

#endif
