/* SPDX-License-Identifier: ISC */
#include "khttp/again.h"

#include "khttp/khttp.h"
#include "khttp/produce.h"

#include "base/msg.h"

/* librdkafka from 2.4 on: the record is good, another one of its batch is not. Older headers lack the name. */
enum { DIFFERENT_RECORD = -138 };

static bool is_shared(rd_kafka_resp_err_t err)
{
	switch ((int)err) {
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
	case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
	case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
	case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
	case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
	case DIFFERENT_RECORD:
		return true;
	default:
		return false;
	}
}

static bool start(struct again *a)
{
	struct kafka_conf conf = khttp_conf(a->k);
	struct trouble why = {0};
	rd_kafka_queue_t *queue;

	rd_kafka_conf_set(conf.rd, "batch.num.messages", "1", NULL, 0);
	rd_kafka_conf_set(conf.rd, "max.in.flight.requests.per.connection", "1", NULL, 0);
	produces_prepare(&conf);
	if (kafka_start(&a->client, RD_KAFKA_PRODUCER, &conf, &why)) {
		msg_warn("records of a refused batch cannot be sent by themselves: %s", why.text);
		a->failed = true;
		return false;
	}
	/* The loop polls the first client's descriptor. */
	queue = rd_kafka_queue_get_main(a->client.rk);
	kafka_wake_on(&a->k->kafka, queue);
	rd_kafka_queue_destroy(queue);
	return a->started = true;
}

bool again_takes(struct again *a, const rd_kafka_t *rk, const rd_kafka_message_t *m)
{
	rd_kafka_headers_t *list = NULL, *headers = NULL;
	rd_kafka_timestamp_type_t type;
	int64_t ts = rd_kafka_message_timestamp(m, &type);
	rd_kafka_resp_err_t err;

	if (a->started && rk == a->client.rk) {
		a->out--;
		return false;
	}
	if (!is_shared(m->err) || a->failed || (!a->started && !start(a)))
		return false;
	if (rd_kafka_message_headers(m, &list) == RD_KAFKA_RESP_ERR_NO_ERROR)
		headers = rd_kafka_headers_copy(list);
	err = rd_kafka_producev(a->client.rk, RD_KAFKA_V_TOPIC(rd_kafka_topic_name(m->rkt)),
		RD_KAFKA_V_PARTITION(m->partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		RD_KAFKA_V_VALUE(m->payload, m->len), RD_KAFKA_V_KEY(m->key, m->key_len),
		RD_KAFKA_V_TIMESTAMP(ts > 0 ? ts : 0), RD_KAFKA_V_OPAQUE(m->_private),
		RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
	if (err && headers)
		rd_kafka_headers_destroy(headers);
	a->out += !err;
	return !err;
}

void again_serve(struct again *a)
{
	if (!a->started)
		return;
	kafka_woken(&a->client);
	rd_kafka_poll(a->client.rk, 0);
	kafka_tick(&a->client);
}

void again_close(struct again *a)
{
	if (a->started && !a->out)
		kafka_stop(&a->client);
}
