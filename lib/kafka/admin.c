/* SPDX-License-Identifier: ISC */
#include "kafka/admin.h"

#include <inttypes.h>
#include <stdio.h>

void admin_ask_configs(rd_kafka_t *rk, const struct admin_question *q)
{
	rd_kafka_ConfigResource_t *resource;
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	char why[128], number[16];

	snprintf(number, sizeof(number), "%" PRId32, q->broker);
	resource = q->topic ? rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, q->topic)
			    : rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_BROKER, number);
	rd_kafka_AdminOptions_set_request_timeout(options, q->timeout_ms, why, sizeof(why));
	/* librdkafka asks a broker about itself anyway. */
	if (q->topic && q->broker >= 0)
		rd_kafka_AdminOptions_set_broker(options, q->broker, why, sizeof(why));
	rd_kafka_AdminOptions_set_opaque(options, q->opaque);
	rd_kafka_DescribeConfigs(rk, &resource, 1, options, q->answers);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_ConfigResource_destroy(resource);
}

rd_kafka_resp_err_t admin_configs(
	rd_kafka_event_t *event, const rd_kafka_ConfigResource_t **resource)
{
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	const rd_kafka_ConfigResource_t **resources;
	size_t n;

	*resource = NULL;
	if (err)
		return err;
	resources = rd_kafka_DescribeConfigs_result_resources(
		rd_kafka_event_DescribeConfigs_result(event), &n);
	if (!n)
		return RD_KAFKA_RESP_ERR__BAD_MSG;
	*resource = resources[0];
	return rd_kafka_ConfigResource_error(resources[0]);
}

rd_kafka_resp_err_t admin_created(rd_kafka_event_t *event, const char **text)
{
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	const rd_kafka_topic_result_t **results;
	size_t n;

	*text = NULL;
	if (err)
		return err;
	results =
		rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
	if (!n)
		return RD_KAFKA_RESP_ERR__BAD_MSG;
	*text = rd_kafka_topic_result_error_string(results[0]);
	return rd_kafka_topic_result_error(results[0]);
}
