/* SPDX-License-Identifier: ISC */
#include "kafka/like.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "kafka/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_MS = 5000, AGAIN_MS = 500 };

void like_open(struct like *l, struct kafka *k)
{
	*l = (struct like){.kafka = k};
	listing_open(&l->listing, k);
	l->answers = rd_kafka_queue_new(k->rk);
	kafka_wake_on(k, l->answers);
}

static void forget(struct like *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->names[i]);
		free(l->values[i]);
	}
	l->count = 0;
}

bool like_close(struct like *l)
{
	if (!listing_close(&l->listing))
		return false;
	forget(l);
	free(l->names);
	free(l->values);
	free(l->topic);
	rd_kafka_queue_destroy(l->answers);
	return true;
}

bool like_is_copied(const char *name)
{
	/* A topic that gives records the time of their arrival would give them another one than
	 * they had. */
	return !strstr(name, "replication.throttled.replicas") &&
		strcmp(name, "message.timestamp.type") != 0 && strncmp(name, "remote.", 7) != 0 &&
		strncmp(name, "local.retention.", 16) != 0;
}

static void failed(struct like *l, rd_kafka_resp_err_t err)
{
	bool denied = err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
	char text[800];

	snprintf(text, sizeof(text), "topic '%s': cannot ask what it is like: %s%s%s", l->topic,
		kafka_why(err), denied ? "; " : "",
		denied ? kafka_acl(l->kafka, "DescribeConfigs", "topic", l->topic) : "");
	msg_info("%s", text);
	kafka_judge(l->kafka, err, text);
	l->step = LIKE_ASK;
	l->again_ms = wake_now_ms() + AGAIN_MS;
}

static void done(struct like *l, enum like_state found)
{
	l->found = found;
	l->step = LIKE_DONE;
}

static void ask_config(struct like *l)
{
	admin_ask_configs(l->kafka->rk,
		&(struct admin_question){.topic = l->topic,
			.broker = -1,
			.timeout_ms = ASK_MS,
			.answers = l->answers});
	l->step = LIKE_ASKED_CONFIG;
}

static void take_topic(struct like *l)
{
	const struct rd_kafka_metadata *md = l->listing.metadata;
	rd_kafka_resp_err_t err = l->listing.err;

	if (!err && md->topic_cnt != 1)
		err = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (!err)
		err = md->topics[0].err;
	if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
		err == RD_KAFKA_RESP_ERR__INVALID_ARG) {
		done(l, LIKE_NONE);
		return;
	}
	if (!err && md->topics[0].partition_cnt == 0)
		err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
	if (err) {
		failed(l, err);
		return;
	}
	l->partitions = md->topics[0].partition_cnt;
	l->replicas = (int16_t)md->topics[0].partitions[0].replica_cnt;
	ask_config(l);
}

/* Of a value that the topic has from elsewhere the other cluster has its own. */
static void take_config(struct like *l, const rd_kafka_ConfigResource_t *r)
{
	size_t n;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(r, &n);

	l->names = mem_realloc(l->names, (n + 1) * sizeof(*l->names));
	l->values = mem_realloc(l->values, (n + 1) * sizeof(*l->values));
	for (size_t i = 0; i < n; i++) {
		const char *name = rd_kafka_ConfigEntry_name(entries[i]);
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);

		if (!value ||
			rd_kafka_ConfigEntry_source(entries[i]) !=
				RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG ||
			!like_is_copied(name))
			continue;
		l->names[l->count] = mem_dup(name);
		l->values[l->count++] = mem_dup(value);
	}
	done(l, LIKE_KNOWN);
}

static void take_answer(struct like *l, rd_kafka_event_t *event)
{
	const rd_kafka_ConfigResource_t *resource;
	rd_kafka_resp_err_t err = admin_configs(event, &resource);

	if (l->step != LIKE_ASKED_CONFIG)
		return;
	/* It may be the answer to an earlier question. */
	if (resource && strcmp(rd_kafka_ConfigResource_name(resource), l->topic) != 0)
		return;
	if (!err)
		take_config(l, resource);
	else if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		done(l, LIKE_NONE);
	else
		failed(l, err);
}

enum like_state like_look(struct like *l, const char *topic)
{
	rd_kafka_event_t *event;

	if (!l->topic || strcmp(l->topic, topic) != 0) {
		/* The answer to an earlier question is on its way. */
		if (listing_is_out(&l->listing) && !listing_take(&l->listing))
			return LIKE_WAIT;
		forget(l);
		free(l->topic);
		l->topic = mem_dup(topic);
		l->step = LIKE_ASK;
		l->again_ms = 0;
	}
	if (l->step == LIKE_ASK && wake_now_ms() >= l->again_ms) {
		listing_ask_topic(&l->listing, topic);
		l->step = LIKE_ASKED;
	}
	if (l->step == LIKE_ASKED && listing_take(&l->listing))
		take_topic(l);
	while ((event = rd_kafka_queue_poll(l->answers, 0))) {
		take_answer(l, event);
		rd_kafka_event_destroy(event);
	}
	return l->step == LIKE_DONE ? l->found : LIKE_WAIT;
}
