/* SPDX-License-Identifier: ISC */
/* The topics that a program writes to: does one exist, and how large may a message be?
 *
 * The first use of a topic makes us ask a broker for the topic's configuration. The answer tells at
 * once whether the topic exists (a producer alone learns that after seconds) and its
 * max.message.bytes; a broker's own limit for a request may be lower (limits.h). Where asking is
 * not allowed, or the broker does not understand, the topic is used without knowing: what is too
 * large then, only a refusal tells. */
#ifndef EVPIPE_TOPICS_H
#define EVPIPE_TOPICS_H

#include "base/buf.h"
#include "kafka/kafka.h"
#include "kafka/like.h"
#include "kafka/limits.h"
#include "kafka/listing.h"

#include <stdbool.h>
#include <stdint.h>

enum topic_state {
	TOPIC_NEW,
	TOPIC_ASKED, /* about its configuration */
	TOPIC_SEEKING, /* it does not exist; all topics are asked for */
	TOPIC_COPYING, /* what it should be like is asked about */
	TOPIC_CREATING,
	TOPIC_USABLE,
	TOPIC_UNKNOWN, /* or cannot be created: `why` */
};

struct topic {
	char *name;
	rd_kafka_topic_t *rkt; /* once it was usable */
	void *own; /* the program's, made by topics_prepare; freed with the topic */
	size_t out_bytes; /* the program's: of messages without a report */
	enum topic_state state;
	bool created;
	/* the topic of the other cluster that it should be like; NULL: none; freed with the
	 * topic */
	char *model;
	bool is_like; /* the model was looked at */
	bool is_map; /* it is created when it is missing: compacted, with one partition */
	bool is_compacted; /* if limit_known */
	bool is_missing; /* at the last look */
	bool was_sought; /* while it was missing, among all topics, for what may have been meant */
	unsigned char doubts; /* how often a broker that does not know it was not believed */
	int64_t doubt_ms; /* when another one is asked; 0: it is not waited for */
	int64_t known_ms; /* when it was asked about last, and usable */
	int64_t unknown_ms; /* since when; 0: it was not, when it was asked about last */
	char why[256];
	/* max.message.bytes; a guess unless limit_known, for how much a batch may have */
	size_t limit;
	bool limit_known;
	const char *limit_name; /* of the property, if limit_known */
};

/* Sets t->own, which is NULL or from mem_alloc, and what @conf should say of this topic. Called
 * once a topic, when it is usable for the first time. */
typedef void topics_prepare(void *ctx, struct topic *t, rd_kafka_topic_conf_t *conf);

struct topics {
	struct kafka *kafka;
	bool create;
	/* Of another cluster: topics with a model are created like that, and one that is there with
	 * another number of partitions is trouble. NULL: none. Set by the program. */
	struct like *like;
	topics_prepare *prepare;
	void *ctx;
	struct listing listing;
	struct like here;
	struct limits limits;
	rd_kafka_queue_t *answers;
	struct topic **sorted;
	size_t count;
	struct topic *asked; /* the one whose answer is waited for */
	int tries;
	unsigned sought; /* topics that have been */
	bool few; /* the topic that is created gets fewer replicas than its model has */
	int32_t broker; /* that is asked; -1: none is known */
	int32_t other_than; /* rather not this one */
	int64_t doubt_ms; /* of the topic that is doubted */
};

/* @create: a topic that does not exist is created. @prepare may be NULL. */
void topics_open(
	struct topics *ts, struct kafka *k, bool create, topics_prepare *prepare, void *ctx);
/* The topic of that name; it stays where it is. NULL: cannot be a topic's name. */
struct topic *topics_get(struct topics *ts, struct span name);
/* Takes the brokers' answers. Call when kafka_woken was due, before the next look. */
void topics_serve(struct topics *ts);
/* Returns false while a question is out: see listing_close. */
bool topics_close(struct topics *ts);
/* Returns the state of the topic as known now. Asks the brokers when nothing is known, one topic at
 * a time, without waiting. */
enum topic_state topic_look(struct topics *ts, struct topic *t);
/* A broker has refused a message because the topic does not exist, or has another limit: ask again
 * before the next use. */
void topic_unknown(struct topic *t);
void topic_forget(struct topic *t);
/* Whether what is known of the topic is a moment old at most. */
bool topic_is_fresh(const struct topic *t);
/* What is known of the topic is wrong: it may have been deleted and made anew. Ask again, for its
 * partitions too. */
void topic_renew(struct topic *t);
/* Milliseconds until topic_look is to be called again without an event; -1 none. */
int topics_timeout_ms(const struct topics *ts, int64_t now_ms);
/* A broker has refused records together of which it takes each alone: halves a limit that is not
 * known. */
void topic_takes_less(struct topic *t);

#endif
