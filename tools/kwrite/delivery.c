/* SPDX-License-Identifier: ISC */
#include "kwrite/delivery.h"

#include "base/msg.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- handing over ---- */

struct delivery *deliveries_take(struct deliveries *ds, const struct message *m)
{
	struct delivery *d = (struct delivery *)sink_take(ds->sink, &m->seq);

	if (!d)
		return NULL;
	d->topic = m->topic;
	d->bytes = m->bytes;
	d->err = RD_KAFKA_RESP_ERR_NO_ERROR;
	d->answered = false;
	m->topic->out_bytes += m->bytes;
	return d;
}

static void answered(struct delivery *d, rd_kafka_resp_err_t err)
{
	d->err = err;
	d->answered = true;
	d->topic->out_bytes -= d->bytes;
}

bool deliveries_produce(struct deliveries *ds, struct delivery *d, struct message *m)
{
	rd_kafka_vu_t vus[] = {
		{.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = m->topic->rkt},
		{.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = m->partition},
		{.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
		{.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = m->ts},
		{.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)m->key.p, m->key.len}},
		{.vtype = RD_KAFKA_VTYPE_VALUE,
			.u.mem = {(void *)(uintptr_t)m->payload.p, m->payload.len}},
		{.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = d},
		{.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = m->headers},
	};
	size_t count = sizeof(vus) / sizeof(*vus) - (m->headers ? 0 : 1);
	rd_kafka_error_t *error = rd_kafka_produceva(ds->kafka->rk, vus, count);
	rd_kafka_resp_err_t err = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;

	if (error)
		rd_kafka_error_destroy(error);
	if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return false;
	if (err) {
		answered(d, err);
		if (m->headers)
			rd_kafka_headers_destroy(m->headers);
	}
	return true;
}

/* ---- what Kafka answers ---- */

/* librdkafka says delivered, but no broker has said where. librdkafka takes a batch whose answer was lost for
 * written when a later batch is written: a broker refuses a gap. But a broker that has just become leader knows
 * nothing of this producer when the first batch was never copied to it; then that batch is lost (librdkafka's
 * issue 4134 may be the same; rd_kafka_dr_implicit_ack). So we do not believe it, and the source sends these
 * records again. */
static void unproven(struct kafka *k, const rd_kafka_message_t *m)
{
	trouble_set(&k->trouble, EXIT_TEMP,
		"topic %s partition %" PRId32
		": no broker has confirmed records that librdkafka takes for written",
		rd_kafka_topic_name(m->rkt), m->partition);
}

void deliveries_report(struct deliveries *ds, const rd_kafka_message_t *m)
{
	struct delivery *d = m->_private;

	if (!m->err && m->offset < 0) {
		unproven(ds->kafka, m);
		return;
	}
	if (d->slot.refused) {
		deadletters_report(ds->dead, d, m->err);
		return;
	}
	answered(d, m->err);
	d->partition = m->partition;
	d->offset = m->offset;
}

static enum errclass class_of(rd_kafka_resp_err_t err)
{
	switch (err) {
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
	case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
		return CLASS_TOO_LARGE;
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		return CLASS_UNKNOWN_TOPIC;
	case RD_KAFKA_RESP_ERR_INVALID_RECORD:
	case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
		return CLASS_INVALID_RECORD;
	case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
		return CLASS_TIMEOUT;
	default:
		return CLASS_KAFKA;
	}
}

/* In a transaction, whose failure all its records share. */
static bool is_refusal(rd_kafka_resp_err_t err)
{
	enum errclass c = class_of(err);

	return (c != CLASS_KAFKA && c != CLASS_TIMEOUT) ||
		err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
		err == RD_KAFKA_RESP_ERR_POLICY_VIOLATION;
}

/* Kafka does not take the record: that is the record's fault, or the end of the program. */
static void refuse(struct deliveries *ds, uint64_t i, struct delivery *d)
{
	enum errclass c = class_of(d->err);
	char message[512], fatal[256];

	snprintf(message, sizeof(message), "topic '%s': %s", d->topic->name, kafka_why(d->err));
	if (kafka_judge(ds->kafka, d->err, message))
		return;
	if (rd_kafka_fatal_error(ds->kafka->rk, fatal, sizeof(fatal))) {
		kafka_judge(ds->kafka, RD_KAFKA_RESP_ERR__FATAL, fatal);
		return;
	}
	if (ds->txn->id)
		txn_fail(ds->txn, is_refusal(d->err) ? EXIT_REFUSED : EXIT_TEMP,
			"line %" PRIu64 ": %s", d->slot.number, message);
	if (c == CLASS_UNKNOWN_TOPIC)
		topic_unknown(d->topic);
	else if (c == CLASS_TOO_LARGE)
		topic_forget(d->topic);
	sink_refuse(ds->sink, i, c, !ds->raw, "%s", message);
}

void deliveries_judge(struct deliveries *ds)
{
	for (; ds->judged < ds->sink->tail && !ds->kafka->trouble.status; ds->judged++) {
		struct delivery *d = (struct delivery *)sink_slot(ds->sink, ds->judged);

		/* A line may be refused before it is a message. */
		if (d->slot.refused)
			continue;
		if (!d->answered)
			return;
		if (!d->err)
			sink_done(&d->slot);
		else if (deadletters_have_room(ds->dead))
			refuse(ds, ds->judged, d);
		else
			return;
	}
}

/* ---- handing on ---- */

void deliveries_hand_on(
	const struct deliveries *ds, const struct delivery *d, struct span line, struct buf *out)
{
	char topic[300], partition[16], offset[24];
	struct record_error e;
	struct record r;
	int n, m, k;

	if (ds->raw || record_parse(&r, line, &e)) {
		buf_span(out, line);
		return;
	}
	/* A topic's name needs no escapes. */
	n = snprintf(topic, sizeof(topic), "\"%s\"", d->topic->name);
	m = snprintf(partition, sizeof(partition), "%" PRId32, d->partition);
	k = snprintf(offset, sizeof(offset), "%" PRId64, d->offset);
	record_set_members(&r,
		(const struct record_member[]){{"topic", {topic, (size_t)n}},
			{"partition", {partition, (size_t)m}}, {"offset", {offset, (size_t)k}}},
		3, out);
}
