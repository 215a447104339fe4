/* SPDX-License-Identifier: ISC */
#include "khttp/error.h"

#include "khttp/body.h"
#include "khttp/khttp.h"
#include "khttp/route.h"

#include "base/msg.h"
#include "json/json.h"

#include <stdarg.h>
#include <stdio.h>

void error_put(struct buf *b, int status, const char *message)
{
	struct span text = {message, strlen(message)};
	char clean[1024];

	if (!json_utf8(text)) {
		snprintf(clean, sizeof(clean), "%s", message);
		msg_clean(clean);
		text = (struct span){clean, strlen(clean)};
	}
	buf_printf(b, "{\"error_code\":%d,\"message\":", status);
	json_put_text(b, text);
	buf_putc(b, '}');
}

void error_answer(void *khttp, struct http_request *r, int status, const char *message)
{
	struct buf body = {0};

	if (route_cors(khttp, r, status))
		return;
	if (status == 405) {
		http_reply(r, status, NULL, NULL);
		return;
	}
	error_put(&body, status, http_pattern(r) || status != 404 ? message : "Not Found");
	http_reply(r, status, TYPE_V2, &body);
}

void error_schema(struct http_request *r, struct buf *errors)
{
	struct buf body = {0};

	buf_puts(&body,
		"{\"error_code\":400,\"message\":\"Validation error on: Schema validation error\","
		"\"validation_errors\":[");
	buf_span(&body, buf_as_span(errors));
	buf_puts(&body, "]}");
	buf_free(errors);
	http_reply(r, 400, TYPE_V2, &body);
}

void error_query(struct http_request *r, const char *name)
{
	struct buf errors = {0};

	body_wrong(&errors, "query parameter %s: the value is invalid", name);
	error_schema(r, &errors);
}

/* For a browser's EventSource an error is the end for good; a stream that ends it opens again. */
static bool is_event_source(const struct http_request *r)
{
	static const enum media offered[] = {MEDIA_JSON, MEDIA_BINARY, MEDIA_TEXT, MEDIA_LINES,
		MEDIA_EVENTS, MEDIA_PLAIN, MEDIA_NONE};
	const char *pattern = http_pattern(r);
	size_t n = pattern ? strlen(pattern) : 0;

	return n > 8 && strcmp(pattern + n - 8, "/records") == 0 &&
		route_accept(r, offered, false) == MEDIA_EVENTS;
}

void error_for_now(struct http_request *r, int status, const char *message)
{
	struct buf body = {0};

	if (is_event_source(r)) {
		buf_puts(&body, "retry: 3000\n\n");
		http_set_header(r, "Connection", "close");
		http_reply(r, 200, media_name(MEDIA_EVENTS), &body);
		return;
	}
	if (status == 503)
		http_set_header(r, "Retry-After", "1");
	http_error(r, status, "%s", message);
}

void error_unavailable(struct http_request *r, const char *fmt, ...)
{
	char message[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	error_for_now(r, 503, message);
}

/* ---- Kafka's errors ---- */

static int exact_status(rd_kafka_resp_err_t err)
{
	switch (err) {
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND:
		return 404;
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
		return 413;
	case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
		return 409;
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
	case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
	case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
	case RD_KAFKA_RESP_ERR_INVALID_REPLICA_ASSIGNMENT:
	case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
	case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
	case RD_KAFKA_RESP_ERR__INVALID_ARG:
		return 400;
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
	case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
	case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
		return 422;
	case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
	/* The producer was given up. */
	case RD_KAFKA_RESP_ERR__FATAL:
	case RD_KAFKA_RESP_ERR__FENCED:
	case RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE:
	case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
	case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
	case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
	case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING:
	case RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID:
	case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
		return 504;
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
	case RD_KAFKA_RESP_ERR__QUEUE_FULL:
	case RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE:
	case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
	case RD_KAFKA_RESP_ERR__DESTROY:
	case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
	case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
	case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
	case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
	case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
	case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
	case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
	case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
		return 503;
	case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
	case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
		return 403;
	default:
		return 500;
	}
}

int error_status(rd_kafka_resp_err_t err, bool compat)
{
	int status = exact_status(err);

	return compat && status != 404 ? 500 : status;
}

void error_kafka(struct http_request *r, bool compat, rd_kafka_resp_err_t err, const char *text)
{
	int status = error_status(err, compat);

	if (status == 503)
		http_set_header(r, "Retry-After", "1");
	http_error(r, status, "%s", text ? text : kafka_why(err));
}
