/* SPDX-License-Identifier: ISC */
/* Topics and groups, as the brokers tell them: for each a verdict, as a listener has. */
#ifndef EVPIPE_KCHECK_VIEWS_H
#define EVPIPE_KCHECK_VIEWS_H

#include "kafka/check.h"
#include "kafka/query.h"

/* Waits until the request on its way in @t is answered, with the loop's poll. Returns false after a
 * failure, a time-out or a stop signal. */
typedef bool views_await(struct talk *t);
/* Waits until all listeners of the check are judged. Returns false after a stop signal. */
typedef bool views_settle(void);

struct views {
	struct check *check;
	views_await *await;
	views_settle *settle;
	int64_t until_us;
	bool asks_time; /* offsets of `time_ms` beside those of the ends */
	int64_t time_ms;
};

/* Changes the verdict of a listener where another broker answers than the one that advertises it,
 * as far as brokers say it. */
void views_identities(struct views *v);

/* A topic. */
struct view_topic {
	struct proto_topic t; /* the answer's memory */
	int min_isr; /* min.insync.replicas; -1: not told */
	struct view_ends {
		int64_t begin, end, at; /* -1: not told; at: -1 also when nothing is that late */
	} * ends; /* of each partition; NULL: nothing was told of the topic */
	struct check_verdict verdict;
};
struct view_topics {
	struct proto_metadata metadata;
	struct view_topic *list;
	size_t count;
};

/* Looks at these; NULL: at all, in the order of their names. */
void views_topics(struct views *v, const char *const *names, struct view_topics *out);
void views_topics_free(struct view_topics *topics);

enum view_names { VIEW_NO_NAMES, VIEW_TOPIC_NAMES, VIEW_GROUP_NAMES };
/* Adds the names of all topics, or of all groups, of any protocol: one question to a broker, or one
 * to each. Returns whether all that were to be asked have told theirs. */
bool views_names(struct views *v, enum view_names which, struct catalog *names);

/* A consumer group. */
struct view_group {
	const char *name;
	int32_t coordinator; /* a broker; -1: none is told */
	char where[300]; /* HOST:PORT */
	struct query_group group;
	struct query_places committed;
	int64_t *ends; /* of the partitions in committed; -1: not told */
	int64_t lag; /* -1: not told */
	struct check_verdict verdict;
};
void views_group(struct views *v, const char *name, struct view_group *out);
void views_group_free(struct view_group *g);

#endif
