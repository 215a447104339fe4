/* SPDX-License-Identifier: ISC */
#include "kafka/topics.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "kafka/admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LIMIT_DEFAULT = 1048588, /* the brokers' own default */
	LIMIT_LEAST = 256, /* of a guess */
	NAME_MAX_BYTES = 249,
	ASK_MS = 5000,
	TRIES = 2, /* more, of a broker that answers other questions and not this one */
	UNKNOWN_MS = 3000, /* for how long a topic stays unknown */
	FRESH_MS = 250, /* for how long a limit is not asked for again */
	SOUGHT_MAX = 8, /* missing topics for which others are searched */
	DOUBT_MS = 1000, /* until a second broker is asked about a topic that one has not */
	DOUBTS_GONE = 8, /* of one that was there: kafka-topics.sh makes it anew within seconds */
};

void topics_open(
	struct topics *ts, struct kafka *k, bool create, topics_prepare *prepare, void *ctx)
{
	*ts = (struct topics){.kafka = k,
		.create = create,
		.prepare = prepare,
		.ctx = ctx,
		.broker = -1,
		.other_than = -1};
	listing_open(&ts->listing, k);
	like_open(&ts->here, k);
	limits_open(&ts->limits, k);
	ts->answers = rd_kafka_queue_new(k->rk);
	kafka_wake_on(k, ts->answers);
}

bool topics_close(struct topics *ts)
{
	if (!listing_close(&ts->listing) || !like_close(&ts->here))
		return false;
	for (size_t i = 0; i < ts->count; i++) {
		if (ts->sorted[i]->rkt)
			rd_kafka_topic_destroy(ts->sorted[i]->rkt);
		free(ts->sorted[i]->own);
		free(ts->sorted[i]->model);
		free(ts->sorted[i]->name);
		free(ts->sorted[i]);
	}
	free(ts->sorted);
	rd_kafka_queue_destroy(ts->answers);
	limits_close(&ts->limits);
	return true;
}

static bool is_name(struct span s)
{
	if (s.len == 0 || s.len > NAME_MAX_BYTES || span_is(s, ".") || span_is(s, ".."))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-",
			    s.p[i]) ||
			!s.p[i])
			return false;
	return true;
}

static int compare(struct span name, const struct topic *t)
{
	size_t n = strlen(t->name);
	int c = memcmp(name.p, t->name, name.len < n ? name.len : n);

	return c ? c : (name.len > n) - (name.len < n);
}

struct topic *topics_get(struct topics *ts, struct span name)
{
	size_t low = 0, high = ts->count;
	struct topic *t;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = compare(name, ts->sorted[mid]);

		if (c == 0)
			return ts->sorted[mid];
		if (c > 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (!is_name(name))
		return NULL;
	t = mem_alloc(sizeof(*t));
	*t = (struct topic){.limit = LIMIT_DEFAULT, .name = span_text(name)};
	ts->sorted = mem_realloc(ts->sorted, (ts->count + 1) * sizeof(*ts->sorted));
	memmove(ts->sorted + low + 1, ts->sorted + low, (ts->count++ - low) * sizeof(*ts->sorted));
	ts->sorted[low] = t;
	return t;
}

/* Any broker can answer. librdkafka would ask the controller, which a mock cluster lacks. First
 * that broker is asked about itself, once. */
static void ask_config(struct topics *ts, struct topic *t)
{
	if (ts->broker >= 0 && !ts->limits.is_known) {
		limits_ask(&ts->limits, ts->broker);
		return;
	}
	admin_ask_configs(ts->kafka->rk,
		&(struct admin_question){.topic = t->name,
			.broker = ts->broker,
			.timeout_ms = ASK_MS,
			.answers = ts->answers});
}

/* Asks about the topic, after a question for a broker when none is known. A producer that has
 * learned that a topic does not exist believes it for minutes: the question for that topic's
 * metadata refreshes it. */
static void ask(struct topics *ts, struct topic *t)
{
	bool stale = t->rkt && t->unknown_ms;

	t->state = TOPIC_ASKED;
	t->unknown_ms = 0;
	t->doubt_ms = ts->doubt_ms = 0;
	ts->asked = t;
	/* The brokers may have been started again with another one. */
	if (t->limit_known && t->limit == ts->limits.batch_max)
		ts->limits.is_known = false;
	if (stale)
		listing_ask_topic(&ts->listing, t->name);
	else if (ts->broker < 0)
		listing_ask_brokers(&ts->listing);
	else
		ask_config(ts, t);
}

/* The values that were set on the model by name. A copy with fewer replicas could not have as many
 * in sync. */
static void set_like(rd_kafka_NewTopic_t *new, const struct like *like, bool few)
{
	for (size_t i = 0; i < like->count; i++)
		if (!few || strcmp(like->names[i], "min.insync.replicas") != 0)
			rd_kafka_NewTopic_set_config(new, like->names[i], like->values[i]);
}

static bool has_model(const struct topics *ts, const struct topic *t)
{
	return ts->like && t->model;
}

static void create(struct topics *ts, struct topic *t)
{
	rd_kafka_t *rk = ts->kafka->rk;
	const struct like *like = has_model(ts, t) ? ts->like : NULL;
	char why[128];
	/* -1: the brokers' defaults for new topics. */
	rd_kafka_NewTopic_t *new = rd_kafka_NewTopic_new(t->name,
		like		    ? like->partitions
			: t->is_map ? 1
				    : -1,
		like && !ts->few ? like->replicas : -1, why, sizeof(why));
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);

	if (like)
		set_like(new, like, ts->few);
	if (t->is_map)
		rd_kafka_NewTopic_set_config(new, "cleanup.policy", "compact");
	rd_kafka_AdminOptions_set_request_timeout(options, ASK_MS, why, sizeof(why));
	rd_kafka_AdminOptions_set_operation_timeout(options, ASK_MS, why, sizeof(why));
	rd_kafka_CreateTopics(rk, &new, 1, options, ts->answers);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_NewTopic_destroy(new);
	t->state = TOPIC_CREATING;
	ts->asked = t;
}

/* Begins to create the topic. */
static void make(struct topics *ts, struct topic *t)
{
	ts->few = false;
	if (!has_model(ts, t)) {
		create(ts, t);
		return;
	}
	ts->asked = t;
	t->state = TOPIC_COPYING;
	t->is_missing = true;
}

static void usable(struct topics *ts, struct topic *t)
{
	rd_kafka_topic_conf_t *conf = NULL;

	if (!t->rkt && ts->prepare) {
		conf = rd_kafka_default_topic_conf_dup(ts->kafka->rk);
		ts->prepare(ts->ctx, t, conf);
	}
	if (!t->rkt)
		t->rkt = rd_kafka_topic_new(ts->kafka->rk, t->name, conf);
	t->state = t->rkt ? TOPIC_USABLE : TOPIC_UNKNOWN;
	t->doubts = 0;
	t->is_missing = false;
	t->known_ms = wake_now_ms();
}

static void unknown(struct topic *t, const char *why)
{
	t->state = TOPIC_UNKNOWN;
	t->doubts = 0;
	t->is_missing = true;
	t->unknown_ms = wake_now_ms();
	snprintf(t->why, sizeof(t->why), "%s", why);
}

void topic_unknown(struct topic *t)
{
	unknown(t, "does not exist");
}

void topic_forget(struct topic *t)
{
	if (t->state == TOPIC_USABLE)
		t->state = TOPIC_NEW;
}

void topic_takes_less(struct topic *t)
{
	if (!t->limit_known && t->limit > LIMIT_LEAST)
		t->limit = (t->limit < LIMIT_DEFAULT ? t->limit : LIMIT_DEFAULT) / 2;
}

bool topic_is_fresh(const struct topic *t)
{
	return wake_now_ms() - t->known_ms < FRESH_MS;
}

void topic_renew(struct topic *t)
{
	if (t->state != TOPIC_USABLE)
		return;
	t->state = TOPIC_NEW;
	t->unknown_ms = wake_now_ms();
}

/* Asks for all topics when this one does not exist: its name may be a slip. Once a topic, and not
 * for many of them: the answer of a large cluster is long. */
static bool seek(struct topics *ts, struct topic *t)
{
	if (t->was_sought || ts->sought == SOUGHT_MAX)
		return false;
	t->was_sought = true;
	ts->sought++;
	t->state = TOPIC_SEEKING;
	ts->asked = t;
	listing_ask_topics(&ts->listing);
	return true;
}

static void take_topics(struct topics *ts, struct topic *t)
{
	const char *near = listing_near(&ts->listing, t->name);
	char why[sizeof(t->why)];

	ts->asked = NULL;
	snprintf(why, sizeof(why), "does not exist%s%s%s", near ? ": did you mean " : "",
		near ? near : "", near ? "?" : "");
	unknown(t, why);
}

/* A broker may lag behind: that has not heard of a new topic, or not that a topic was made anew. So
 * another one is asked, a while later, where there are several. Of a topic that was missing all
 * along one answer is enough; one that was there is waited for. */
static bool doubt(struct topics *ts, struct topic *t)
{
	if (t->doubts == (t->rkt ? DOUBTS_GONE : 1) || t->is_missing)
		return false;
	t->doubts++;
	if (t->doubts == 2)
		msg_warn("topic '%s' is gone; waiting some seconds whether it is made anew",
			t->name);
	/* What librdkafka knows of it is to be refreshed again. */
	if (t->rkt)
		t->unknown_ms = wake_now_ms();
	t->doubt_ms = ts->doubt_ms = wake_now_ms() + DOUBT_MS;
	ts->other_than = ts->broker;
	ts->broker = -1;
	return true;
}

int topics_timeout_ms(const struct topics *ts, int64_t now_ms)
{
	if (!ts->doubt_ms)
		return -1;
	return ts->doubt_ms > now_ms ? (int)(ts->doubt_ms - now_ms) : 0;
}

enum topic_state topic_look(struct topics *ts, struct topic *t)
{
	if (t->doubt_ms && wake_now_ms() >= t->doubt_ms)
		t->state = TOPIC_NEW;
	if (t->state == TOPIC_UNKNOWN && wake_now_ms() - t->unknown_ms > UNKNOWN_MS)
		t->state = TOPIC_NEW;
	if (t->state == TOPIC_NEW && !ts->asked) {
		ts->tries = 0;
		ask(ts, t);
	}
	return t->state;
}

/* The topic is here, and what it should be like, if anything, is known. */
static void check_partitions(struct topics *ts, struct topic *t)
{
	if (ts->here.partitions != ts->like->partitions)
		trouble_set(&ts->kafka->trouble, EXIT_PERM,
			"topic '%s' has %" PRId32 " %s here, and '%s' has %" PRId32
			" in the old cluster: records of a key would be in other partitions; make them equal, or leave --create like away",
			t->name, ts->here.partitions,
			PLURAL(ts->here.partitions, "partition", "partitions"), t->model,
			ts->like->partitions);
}

/* Goes on with a topic that is created like another one, or held against it. */
static void copy_step(struct topics *ts)
{
	struct topic *t = ts->asked;
	enum like_state model, here;

	if (!t || t->state != TOPIC_COPYING)
		return;
	model = like_look(ts->like, t->model);
	here = t->is_missing ? LIKE_NONE : like_look(&ts->here, t->name);
	if (model == LIKE_WAIT || here == LIKE_WAIT)
		return;
	ts->asked = NULL;
	t->is_like = true;
	if (here == LIKE_KNOWN && model == LIKE_KNOWN)
		check_partitions(ts, t);
	if (here == LIKE_KNOWN)
		usable(ts, t);
	else if (model == LIKE_KNOWN)
		create(ts, t);
	else
		unknown(t, "does not exist, in the old cluster neither");
}

static void take_config(struct topics *ts, struct topic *t, const rd_kafka_ConfigResource_t *r)
{
	limits_of_topic(&ts->limits, t, r);
	if (!has_model(ts, t) || t->is_like) {
		usable(ts, t);
		return;
	}
	t->is_missing = false;
	t->state = TOPIC_COPYING;
	ts->asked = t;
}

/* No answer came. Asks again while Kafka as a whole is away; else the topic is used without
 * knowing. */
static void take_failure(struct topics *ts, struct topic *t, rd_kafka_resp_err_t err)
{
	bool creating = t->state == TOPIC_CREATING;
	char text[512];

	msg_info("topic '%s': cannot ask about it: %s", t->name, kafka_why(err));
	ts->broker = -1;
	if (err == RD_KAFKA_RESP_ERR__TIMED_OUT || err == RD_KAFKA_RESP_ERR__TRANSPORT ||
		err == RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT) {
		if (!ts->kafka->up || ts->tries++ < TRIES) {
			(creating ? create : ask)(ts, t);
			return;
		}
	}
	snprintf(text, sizeof(text), "topic '%s': cannot create it: %s", t->name, kafka_why(err));
	t->limit_known = false;
	if (creating && err == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR && !ts->few &&
		has_model(ts, t)) {
		msg_warn(
			"topic '%s': there are fewer brokers here than the %d replicas that it has in the old cluster: it gets this cluster's default",
			t->name, ts->like->replicas);
		ts->few = true;
		create(ts, t);
	} else if (!creating) {
		usable(ts, t);
	} else if (!kafka_judge(ts->kafka, err, text)) {
		unknown(t, text + sizeof("topic '': ") - 1 + strlen(t->name));
	}
}

static void take_answer(struct topics *ts, struct topic *t, rd_kafka_event_t *event)
{
	const rd_kafka_ConfigResource_t *resource = NULL;
	const char *text;
	rd_kafka_resp_err_t err = t->state == TOPIC_ASKED ? admin_configs(event, &resource)
							  : admin_created(event, &text);

	if (!err && t->state == TOPIC_ASKED) {
		take_config(ts, t, resource);
	} else if (t->state == TOPIC_CREATING &&
		(!err || err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)) {
		if (!err)
			msg_info("topic '%s' was created", t->name);
		t->created = true;
		ask(ts, t);
	} else if (t->state == TOPIC_ASKED && err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
		/* Brokers learn of a new topic one after the other. */
		if (t->created)
			usable(ts, t);
		else if (ts->create || t->is_map)
			make(ts, t);
		else if (!doubt(ts, t) && !seek(ts, t))
			unknown(t, t->why[0] ? t->why : "does not exist");
	} else {
		take_failure(ts, t, err);
	}
}

static void take_brokers(struct topics *ts)
{
	const struct rd_kafka_metadata *md = ts->listing.err ? NULL : ts->listing.metadata;

	for (int i = 0; md && i < md->broker_cnt; i++)
		if (i == 0 || ts->broker == ts->other_than)
			ts->broker = md->brokers[i].id;
	ask_config(ts, ts->asked);
}

void topics_serve(struct topics *ts)
{
	rd_kafka_event_t *event;

	if (listing_take(&ts->listing)) {
		if (ts->asked->state == TOPIC_SEEKING)
			take_topics(ts, ts->asked);
		else
			take_brokers(ts);
	}
	if (limits_take(&ts->limits) && ts->asked)
		ask_config(ts, ts->asked);
	while ((event = rd_kafka_queue_poll(ts->answers, 0))) {
		struct topic *t = ts->asked;

		ts->asked = NULL;
		if (t)
			take_answer(ts, t, event);
		rd_kafka_event_destroy(event);
	}
	copy_step(ts);
}
