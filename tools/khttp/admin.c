/* SPDX-License-Identifier: ISC */
/* What librdkafka's admin client is asked: a topic's configuration, a topic to be made. */
#include "khttp/job.h"

#include "kafka/admin.h"
#include "khttp/body.h"
#include "khttp/error.h"

#include <stdlib.h>
#include <string.h>

enum { ADMIN_MS = 10000, TOPIC_MAX = 249 };

/* ---- GET /topics/{topic} ---- */

static void on_shown(void *ctx, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md,
	const rd_kafka_topic_partition_list_t *offsets)
{
	const rd_kafka_metadata_topic_t *t;
	struct job *j = ctx;
	struct buf body = {0};

	(void)offsets;
	t = job_topic(j, err, md);
	if (!t)
		return;
	buf_puts(&body, "{\"name\":");
	job_put_text(&body, j->topic);
	if (j->configs.len) {
		buf_puts(&body, ",\"configs\":");
		buf_span(&body, buf_as_span(&j->configs));
	}
	buf_puts(&body, ",\"partitions\":");
	job_put_partitions(&body, t);
	buf_putc(&body, '}');
	http_reply(j->r, 200, TYPE_V2, &body);
}

static void take_configs(struct job *j, rd_kafka_event_t *event)
{
	const rd_kafka_ConfigResource_t *resource;
	rd_kafka_resp_err_t err = admin_configs(event, &resource);
	const rd_kafka_ConfigEntry_t **entries;
	size_t count = 0;

	if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
		job_no_topic(j);
		return;
	}
	/* Who may not read the configuration may still see the partitions. */
	if (err && err != RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
		job_fail(j, err, NULL);
		return;
	}
	entries = err ? NULL : rd_kafka_ConfigResource_configs(resource, &count);
	for (size_t i = 0; i < count; i++) {
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);

		buf_putc(&j->configs, i ? ',' : '{');
		job_put_text(&j->configs, rd_kafka_ConfigEntry_name(entries[i]));
		buf_putc(&j->configs, ':');
		if (value)
			job_put_text(&j->configs, value);
		else
			buf_puts(&j->configs, "null");
	}
	if (count)
		buf_putc(&j->configs, '}');
	job_ask(j, on_shown);
}

void topics_show(const struct call *c)
{
	struct job *j;

	if (!khttp_kafka_answers(c->k, c->r))
		return;
	j = job_begin(c);
	j->waits++;
	admin_ask_configs(c->k->kafka.rk,
		&(struct admin_question){.topic = j->topic,
			.broker = -1,
			.timeout_ms = ADMIN_MS,
			.opaque = j,
			.answers = c->k->answers});
}

/* ---- POST /admin/topics ---- */

static void take_created(struct job *j, rd_kafka_event_t *event)
{
	const char *text;
	rd_kafka_resp_err_t err = admin_created(event, &text);
	struct buf body = {0};

	if (err) {
		job_fail(j, err, text);
		return;
	}
	buf_puts(&body, "{}");
	http_reply(j->r, 201, TYPE_V2, &body);
}

/* Returns 0, or -1 when it has answered. @absent stands for null, too. */
static int take_count(
	const struct call *c, const struct body_field *f, int64_t max, int64_t absent, int *n)
{
	struct buf errors = {0};
	int64_t value = absent;

	if (f->v.type == JSON_NUMBER && (body_int(&f->v, &value) || value > max || value < -max)) {
		body_wrong(&errors, "#/%s: the number has too many bits", f->name);
		error_schema(c->r, &errors);
		return -1;
	}
	*n = (int)value;
	return 0;
}

static void create(const struct call *c, const char *name, int partitions, int replicas)
{
	char why[300];
	rd_kafka_NewTopic_t *t =
		rd_kafka_NewTopic_new(name, partitions, replicas, why, sizeof(why));
	rd_kafka_AdminOptions_t *o;
	struct job *j;

	if (!t) {
		error_kafka(c->r, c->k->compat, RD_KAFKA_RESP_ERR__INVALID_ARG, why);
		return;
	}
	if (khttp_kafka_answers(c->k, c->r)) {
		j = job_begin(c);
		j->waits++;
		o = rd_kafka_AdminOptions_new(c->k->kafka.rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
		rd_kafka_AdminOptions_set_request_timeout(o, ADMIN_MS, NULL, 0);
		rd_kafka_AdminOptions_set_opaque(o, j);
		rd_kafka_AdminOptions_set_operation_timeout(o, ADMIN_MS / 2, NULL, 0);
		rd_kafka_CreateTopics(c->k->kafka.rk, &t, 1, o, c->k->answers);
		rd_kafka_AdminOptions_destroy(o);
	}
	rd_kafka_NewTopic_destroy(t);
}

void topics_create(const struct call *c)
{
	struct body_field f[] = {
		{"topic_name", BODY_STRING, true, {0}},
		{"partitions_count", BODY_INTEGER | BODY_NULL, false, {0}},
		{"replication_factor", BODY_INTEGER | BODY_NULL, false, {0}},
	};
	struct buf errors = {0};
	int partitions, replicas;
	char *name;

	if (!body_object(&c->body, "#", f, 3, &errors)) {
		error_schema(c->r, &errors);
		return;
	}
	name = body_text(&f[0].v);
	if (!name) {
		error_kafka(c->r, c->k->compat, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
			"Topic name is invalid: it is no text, or has a NUL in it");
	} else if (!*name) {
		error_kafka(c->r, c->k->compat, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
			"Topic name is invalid: the empty string is not allowed");
	} else if (strlen(name) > TOPIC_MAX) {
		/* A broker has no answer to one that is too long for its own sentence, or for the
		 * protocol, and all requests share the connection that it ends. */
		error_kafka(c->r, c->k->compat, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
			"Topic name is invalid: it is longer than 249 characters");
	} else if (take_count(c, &f[1], INT32_MAX, -1, &partitions) == 0 &&
		take_count(c, &f[2], INT16_MAX, -1, &replicas) == 0) {
		create(c, name, partitions, replicas);
	}
	free(name);
}

/* ---- Kafka's answers ---- */

void topics_start(struct khttp *k)
{
	k->answers = rd_kafka_queue_new(k->kafka.rk);
	kafka_wake_on(&k->kafka, k->answers);
}

void topics_serve(struct khttp *k)
{
	rd_kafka_event_t *event;

	while ((event = rd_kafka_queue_poll(k->answers, 0))) {
		struct job *j = rd_kafka_event_opaque(event);

		if (!j || !job_came(j))
			;
		else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT)
			take_created(j, event);
		else
			take_configs(j, event);
		rd_kafka_event_destroy(event);
	}
}

void topics_end(struct khttp *k)
{
	rd_kafka_queue_destroy(k->answers);
}
