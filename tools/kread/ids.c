/* SPDX-License-Identifier: ISC */
#include "kread/ids.h"

#include <string.h>

/* The header may be older than the library, and the other way round. */
struct rd_kafka_TopicCollection_s;
struct rd_kafka_TopicDescription_s;
struct rd_kafka_Uuid_s;
#define WEAK __attribute__((weak))
struct rd_kafka_TopicCollection_s *rd_kafka_TopicCollection_of_topic_names(
	const char **topics, size_t topics_cnt) WEAK;
void rd_kafka_TopicCollection_destroy(struct rd_kafka_TopicCollection_s *topics) WEAK;
void rd_kafka_DescribeTopics(rd_kafka_t *rk, const struct rd_kafka_TopicCollection_s *topics,
	const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *rkqu) WEAK;
const rd_kafka_event_t *rd_kafka_event_DescribeTopics_result(rd_kafka_event_t *rkev) WEAK;
const struct rd_kafka_TopicDescription_s **rd_kafka_DescribeTopics_result_topics(
	const rd_kafka_event_t *result, size_t *cntp) WEAK;
const char *rd_kafka_TopicDescription_name(
	const struct rd_kafka_TopicDescription_s *topicdesc) WEAK;
const rd_kafka_error_t *rd_kafka_TopicDescription_error(
	const struct rd_kafka_TopicDescription_s *topicdesc) WEAK;
const struct rd_kafka_Uuid_s *rd_kafka_TopicDescription_topic_id(
	const struct rd_kafka_TopicDescription_s *topicdesc) WEAK;
const char *rd_kafka_Uuid_base64str(const struct rd_kafka_Uuid_s *uuid) WEAK;

bool ids_may_ask(const struct ids *i)
{
	return !i->is_out && rd_kafka_DescribeTopics && rd_kafka_TopicCollection_of_topic_names &&
		rd_kafka_TopicCollection_destroy && rd_kafka_event_DescribeTopics_result &&
		rd_kafka_DescribeTopics_result_topics && rd_kafka_TopicDescription_name &&
		rd_kafka_TopicDescription_error && rd_kafka_TopicDescription_topic_id &&
		rd_kafka_Uuid_base64str;
}

static void forget(struct ids *i)
{
	if (i->answer)
		rd_kafka_event_destroy(i->answer);
	i->answer = NULL;
}

void ids_ask(struct ids *i, struct kafka *k, const char **topics, size_t count)
{
	struct rd_kafka_TopicCollection_s *names =
		rd_kafka_TopicCollection_of_topic_names(topics, count);
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(k->rk, RD_KAFKA_ADMIN_OP_ANY);
	char why[128];

	if (!i->answers) {
		i->answers = rd_kafka_queue_new(k->rk);
		kafka_wake_on(k, i->answers);
	}
	forget(i);
	rd_kafka_AdminOptions_set_request_timeout(options, IDS_MS, why, sizeof(why));
	rd_kafka_DescribeTopics(k->rk, names, options, i->answers);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_TopicCollection_destroy(names);
	i->is_out = true;
	i->asked++;
}

bool ids_take(struct ids *i)
{
	rd_kafka_event_t *event = i->is_out ? rd_kafka_queue_poll(i->answers, 0) : NULL;

	if (!event)
		return false;
	i->answer = event;
	i->answered = !rd_kafka_event_error(event);
	i->is_out = false;
	return true;
}

const char *ids_of(const struct ids *i, const char *topic)
{
	static const char none[] = "AAAAAAAAAAAAAAAAAAAAAA";
	const rd_kafka_event_t *result =
		i->answer ? rd_kafka_event_DescribeTopics_result(i->answer) : NULL;
	const struct rd_kafka_TopicDescription_s **topics = NULL;
	size_t count = 0;

	if (result && !rd_kafka_event_error(i->answer))
		topics = rd_kafka_DescribeTopics_result_topics(result, &count);
	for (size_t n = 0; n < count; n++) {
		const char *id;

		if (strcmp(rd_kafka_TopicDescription_name(topics[n]), topic) ||
			rd_kafka_error_code(rd_kafka_TopicDescription_error(topics[n])))
			continue;
		id = rd_kafka_Uuid_base64str(rd_kafka_TopicDescription_topic_id(topics[n]));
		return id && strcmp(id, none) ? id : "";
	}
	return "";
}

void ids_close(struct ids *i)
{
	forget(i);
	if (i->answers)
		rd_kafka_queue_destroy(i->answers);
}
