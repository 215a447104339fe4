/* SPDX-License-Identifier: ISC */
#include "kafka/verdict.h"

/* librdkafka from 2.4 on: the record is good, another one of its batch is not. Older headers lack
 * the name. */
enum { DIFFERENT_RECORD = -138 };

bool verdict_is_too_large(rd_kafka_resp_err_t err)
{
	return err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
		err == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE;
}

bool verdict_is_shared(rd_kafka_resp_err_t err)
{
	switch ((int)err) {
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
	case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
	case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
	case DIFFERENT_RECORD:
		return true;
	default:
		return verdict_is_too_large(err);
	}
}

bool verdict_is_of_record(rd_kafka_resp_err_t err)
{
	switch ((int)err) {
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR__INVALID_ARG:
		return true;
	default:
		return verdict_is_shared(err) && !verdict_is_different(err);
	}
}

bool verdict_is_of_setup(rd_kafka_resp_err_t err)
{
	return err == RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE ||
		err == RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION ||
		err == RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT ||
		err == RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS;
}

bool verdict_is_different(rd_kafka_resp_err_t err)
{
	return (int)err == DIFFERENT_RECORD;
}

bool verdict_is_gone(rd_kafka_resp_err_t err)
{
	/* Of a partition that a topic has no more, newer versions of librdkafka say __DESTROY. */
	return err == RD_KAFKA_RESP_ERR__DESTROY || err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
		err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
		err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}
