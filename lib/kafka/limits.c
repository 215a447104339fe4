/* SPDX-License-Identifier: ISC */
#include "kafka/limits.h"

#include "base/msg.h"
#include "kafka/admin.h"
#include "kafka/topics.h"

#include <stdlib.h>
#include <string.h>

enum {
	ASK_MS = 5000,
	/* Of a request with one batch, without the names in it; and the longest topic's. */
	REQUEST_BYTES = 40 + 249,
};

void limits_open(struct limits *l, struct kafka *k)
{
	*l = (struct limits){.kafka = k, .answers = rd_kafka_queue_new(k->rk)};
	kafka_wake_on(k, l->answers);
}

void limits_close(struct limits *l)
{
	rd_kafka_queue_destroy(l->answers);
}

void limits_ask(struct limits *l, int32_t broker)
{
	admin_ask_configs(l->kafka->rk,
		&(struct admin_question){
			.broker = broker, .timeout_ms = ASK_MS, .answers = l->answers});
}

/* The value of the property, or NULL. */
static const char *value_of(const rd_kafka_ConfigResource_t *config, const char *name)
{
	size_t n;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(config, &n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
			return rd_kafka_ConfigEntry_value(entries[i]);
	return NULL;
}

/* What stands in each request, beside the batch. */
static size_t around_bytes(const struct limits *l)
{
	const rd_kafka_conf_t *conf = rd_kafka_conf(l->kafka->rk);
	size_t client = 0, transactional = 0;

	rd_kafka_conf_get(conf, "client.id", NULL, &client);
	rd_kafka_conf_get(conf, "transactional.id", NULL, &transactional);
	return REQUEST_BYTES + client + transactional;
}

bool limits_take(struct limits *l)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(l->answers, 0);
	const rd_kafka_ConfigResource_t *config;
	const char *value = NULL;
	size_t max, around;
	rd_kafka_resp_err_t err;

	if (!event)
		return false;
	err = admin_configs(event, &config);
	if (!err)
		value = value_of(config, "socket.request.max.bytes");
	if (err)
		msg_info("cannot ask how large a request may be: %s", kafka_why(err));
	max = value ? strtoull(value, NULL, 10) : 0;
	around = around_bytes(l);
	l->batch_max = max > around ? max - around : 0;
	/* Is Kafka as a whole away, it is asked again. */
	l->is_known = l->kafka->up || !err;
	rd_kafka_event_destroy(event);
	return true;
}

void limits_of_topic(
	const struct limits *l, struct topic *t, const rd_kafka_ConfigResource_t *config)
{
	size_t n;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(config, &n);

	for (size_t i = 0; i < n; i++) {
		const char *name = rd_kafka_ConfigEntry_name(entries[i]);
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);

		if (!value)
			continue;
		if (strcmp(name, "cleanup.policy") == 0)
			t->is_compacted = strstr(value, "compact");
		if (strcmp(name, "max.message.bytes") == 0) {
			t->limit = strtoull(value, NULL, 10);
			t->limit_known = true;
		}
	}
	t->limit_name = "max.message.bytes";
	if (t->limit_known && l->batch_max && l->batch_max < t->limit) {
		t->limit = l->batch_max;
		t->limit_name = "the brokers' socket.request.max.bytes";
	}
}
