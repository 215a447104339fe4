/* SPDX-License-Identifier: ISC */
#include "kwrite/delivery.h"

#include "base/msg.h"
#include "kafka/verdict.h"
#include "kwrite/anew.h"
#include "kwrite/blame.h"
#include "kwrite/first.h"
#include "kwrite/resend.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- handing over ---- */

struct delivery *deliveries_take(struct deliveries *ds, const struct message *m)
{
	struct delivery *d = (struct delivery *)sink_take(ds->sink, &m->seq);

	if (!d)
		return NULL;
	d->topic = m->topic;
	d->bytes = m->bytes;
	d->text = NULL;
	d->from = NULL;
	d->from_offset = m->from_offset;
	d->err = RD_KAFKA_RESP_ERR_NO_ERROR;
	d->taken = false;
	d->answered = false;
	d->is_first = false;
	d->tries = 0;
	m->topic->out_bytes += m->bytes;
	return d;
}

rd_kafka_resp_err_t deliveries_hand_over(
	rd_kafka_t *rk, rd_kafka_topic_t *rkt, struct delivery *d, struct message *m)
{
	rd_kafka_vu_t vus[] = {
		{.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = rkt},
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
	rd_kafka_error_t *error;
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;

	d->ts = m->ts;
	error = rd_kafka_produceva(rk, vus, count);
	if (error) {
		err = rd_kafka_error_code(error);
		rd_kafka_error_destroy(error);
	}
	return err;
}

static void answered(struct deliveries *ds, struct delivery *d, rd_kafka_resp_err_t err)
{
	ds->failed += err != 0;
	d->err = err;
	d->answered = true;
	d->topic->out_bytes -= d->bytes;
}

void deliveries_fail(struct deliveries *ds, struct delivery *d, rd_kafka_resp_err_t err)
{
	answered(ds, d, err);
}

bool deliveries_produce(struct deliveries *ds, struct delivery *d, struct message *m)
{
	rd_kafka_resp_err_t err = deliveries_hand_over(ds->kafka->rk, m->topic->rkt, d, m);

	if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return false;
	d->taken = !err;
	if (!err)
		return true;
	firsts_answered(ds->firsts, d, m->partition, false);
	/* librdkafka may believe that it is gone when a broker has it again. */
	if (err != RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || !anew_takes(ds->anew, d, err))
		answered(ds, d, err);
	if (m->headers)
		rd_kafka_headers_destroy(m->headers);
	return true;
}

/* ---- what Kafka answers ---- */

/* librdkafka says delivered, but no broker has said where. librdkafka takes a batch whose answer
 * was lost for written when a later batch is written: a broker refuses a gap. But a broker that has
 * just become leader knows nothing of this producer when the first batch was never copied to it;
 * then that batch is lost (librdkafka's issue 4134 may be the same; rd_kafka_dr_implicit_ack). So
 * we do not believe it, and the source sends these records again. */
bool deliveries_unproven(struct kafka *k, const rd_kafka_message_t *m)
{
	if (m->err || m->offset >= 0)
		return false;
	trouble_set(&k->trouble, EXIT_TEMP,
		"topic %s partition %" PRId32
		": no broker has confirmed records that librdkafka takes for written",
		rd_kafka_topic_name(m->rkt), m->partition);
	return true;
}

/* Of a dead letter the text stays until it is answered, since it may be sent again. */
static void report_letter(struct deliveries *ds, struct delivery *d, rd_kafka_resp_err_t err)
{
	free(d->text);
	d->text = NULL;
	deadletters_report(ds->dead, d, err);
}

void deliveries_report(struct deliveries *ds, const rd_kafka_t *rk, const rd_kafka_message_t *m)
{
	struct delivery *d = m->_private;
	bool again = rk != ds->kafka->rk;

	if (ds->blame) {
		blame_report(ds->blame, m);
		return;
	}
	if (!again && !d->slot.refused)
		firsts_answered(ds->firsts, d, m->partition, !m->err);
	if (resend_takes(ds->resend, d, rk, m))
		return;
	if (!again && anew_takes(ds->anew, d, m->err))
		return;
	if (deliveries_unproven(ds->kafka, m))
		return;
	if (d->slot.refused) {
		report_letter(ds, d, m->err);
		return;
	}
	answered(ds, d, m->err);
	d->partition = m->partition;
	d->offset = m->offset;
	/* Before its turn: a record in front of it may wait for the leader of another partition. */
	if (m->err)
		return;
	sink_done(&d->slot);
	if (ds->txn->id)
		txn_written(ds->txn, d->topic, m->partition, m->offset);
	if (stall_listens(ds->stall))
		stall_written(ds->stall, d->topic->name, m->partition);
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

/* What librdkafka calls it, with what is known of its causes. rd_kafka_message_produce_errstr of
 * 2.15.1 has the broker's own sentence, but was seen to point at memory that librdkafka had
 * freed. */
static const char *reason(const struct delivery *d, char *text, size_t size)
{
	const char *hint = "";

	if (d->err == RD_KAFKA_RESP_ERR_INVALID_RECORD)
		hint = " (a compacted topic takes no record without a key)";
	else if (d->err == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP)
		hint = " (see the topic's message.timestamp.before.max.ms and after.max.ms)";
	else if (d->err == RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE)
		hint = " (give another -z)";
	else if (d->err == RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT)
		hint = " (its format is too old for an idempotent producer: -X enable.idempotence=false, or raise the format)";
	else if (d->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
		hint = " (the topic has fewer: kafka-topics.sh --alter --partitions N gives it more)";
	snprintf(text, size, "%s%s", kafka_why(d->err), hint);
	return text;
}

/* The status of a program that ends with what Kafka says. */
static int status_of(rd_kafka_resp_err_t err, int of_record)
{
	return verdict_is_of_record(err)   ? of_record
		: verdict_is_of_setup(err) ? EXIT_PERM
					   : EXIT_TEMP;
}

/* The transaction ends, and with it the program. */
static _Noreturn void fail(struct deliveries *ds, struct delivery *d, const char *message)
{
	bool shared = verdict_is_shared(d->err);
	bool too_large = class_of(d->err) == CLASS_TOO_LARGE;
	struct delivery *culprit = shared ? blame_find(ds, d) : d;
	char text[256];

	/* A number that the topic has not is the record's fault, and found before it is taken. */
	if (verdict_is_gone(d->err) &&
		(d->taken || d->err != RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)) {
		anew_await(ds->anew, d->topic);
		txn_fail(ds->txn, EXIT_TEMP,
			"line %" PRIu64 ": topic '%s' was deleted, or made anew, meanwhile: %s",
			d->slot.number, d->topic->name, kafka_why(d->err));
	}
	if (!culprit && too_large && !d->topic->limit_known)
		txn_fail(ds->txn, EXIT_PERM,
			"topic '%s' does not take so many records in one batch, and its max.message.bytes cannot be read: allow DESCRIBE_CONFIGS on it, or set a smaller -X batch.size",
			d->topic->name);
	if (!culprit)
		txn_fail(ds->txn, EXIT_TEMP,
			"records from line %" PRIu64 " on were refused, and none of them alone: %s",
			d->slot.number, message);
	txn_fail(ds->txn, status_of(culprit->err, EXIT_REFUSED), "line %" PRIu64 ": topic '%s': %s",
		culprit->slot.number, culprit->topic->name, reason(culprit, text, sizeof(text)));
}

/* Kafka does not take the record: that is its fault, or the end of the program. */
static void refuse(struct deliveries *ds, uint64_t i, struct delivery *d)
{
	enum errclass c = class_of(d->err);
	char message[512], fatal[256], text[256];

	snprintf(message, sizeof(message), "topic '%s': %s", d->topic->name,
		reason(d, text, sizeof(text)));
	if (kafka_judge(ds->kafka, d->err, message))
		return;
	if (rd_kafka_fatal_error(ds->kafka->rk, fatal, sizeof(fatal))) {
		kafka_judge(ds->kafka, RD_KAFKA_RESP_ERR__FATAL, fatal);
		return;
	}
	if (ds->txn->id)
		fail(ds, d, message);
	/* Of the record it says nothing: another one would fare no better. Time runs out only with
	 * -X. */
	if (!verdict_is_of_record(d->err) && c != CLASS_TIMEOUT) {
		trouble_set(&ds->kafka->trouble, status_of(d->err, EXIT_TEMP), "%s", message);
		return;
	}
	if (c == CLASS_UNKNOWN_TOPIC)
		topic_unknown(d->topic);
	else if (c == CLASS_TOO_LARGE)
		topic_forget(d->topic);
	sink_refuse(ds->sink, i, c, !ds->raw, "%s", message);
}

/* Whether the record has been judged, or needs no judgement; else it has no answer yet, or has to
 * wait. */
static bool is_judged(struct deliveries *ds, uint64_t i)
{
	struct delivery *d = (struct delivery *)sink_slot(ds->sink, i);

	/* A line may be refused before it is a message. */
	if (d->slot.refused || (d->answered && !d->err))
		return true;
	if (!d->answered || !deadletters_have_room(ds->dead))
		return false;
	ds->failed--;
	refuse(ds, i, d);
	return true;
}

void deliveries_judge(struct deliveries *ds)
{
	/* Delivered ones may have been released meanwhile. */
	if (ds->judged < ds->sink->head)
		ds->judged = ds->sink->head;
	while (ds->judged < ds->sink->tail && !ds->kafka->trouble.status &&
		is_judged(ds, ds->judged))
		ds->judged++;
	if (!sink_overtakes(ds->sink))
		return;
	for (uint64_t i = ds->judged; i < ds->sink->tail && ds->failed; i++)
		if (!ds->kafka->trouble.status)
			is_judged(ds, i);
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
