/* SPDX-License-Identifier: ISC */
/* The records between the line that was read and the report that it is done. */
#include "kwrite/kwrite.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/metrics.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- refusing ---- */

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

/* Kafka does not take the record: the record's fault, or the end of the program. */
static void refuse_slot(struct kwrite *s, struct slot *slot)
{
	struct span text = {line_at(&s->in.line, slot->place), slot->len};
	enum errclass c = class_of(slot->err);
	char message[512], fatal[256];

	snprintf(message, sizeof(message), "topic '%s': %s", slot->topic->name,
		kafka_why(slot->err));
	slot->refused = true;
	if (kafka_judge(&s->kafka, slot->err, message))
		return;
	if (rd_kafka_fatal_error(s->kafka.rk, fatal, sizeof(fatal))) {
		kafka_judge(&s->kafka, RD_KAFKA_RESP_ERR__FATAL, fatal);
		return;
	}
	if (s->txn.id)
		txn_fail(s, is_refusal(slot->err) ? EXIT_REFUSED : EXIT_TEMP,
			"line %" PRIu64 ": %s", slot->number, message);
	if (c == CLASS_UNKNOWN_TOPIC)
		topic_unknown(slot->topic);
	else if (c == CLASS_TOO_LARGE)
		topic_forget(slot->topic);
	slot->err = RD_KAFKA_RESP_ERR_NO_ERROR;
	s->refusing = s->tail;
	input_refuse(&s->in, c, text, !s->shape.raw, slot->number, "%s", message);
}

/* ---- handing over ---- */

/* The next slot, for the line in s->text. */
static struct slot *take_slot(struct kwrite *s, const struct ack_label *label)
{
	struct slot *slot = &s->slots[s->head++ % RING];

	*slot = (struct slot){.place = line_place(&s->in.line, s->text),
		.len = s->text.len,
		.number = s->in.line.number,
		.label = label->number};
	if (label->text.p) {
		slot->label = line_place(&s->in.line, label->text);
		slot->label_len = (uint32_t)label->text.len;
	}
	return slot;
}

void ring_take(struct kwrite *s, const struct message *m, const struct ack_label *label)
{
	struct slot *slot = take_slot(s, label);

	slot->topic = m->topic;
	slot->bytes = m->bytes;
	m->topic->out_bytes += m->bytes;
}

bool ring_produce(struct kwrite *s, uint64_t i, struct message *m)
{
	struct slot *slot = &s->slots[i % RING];
	rd_kafka_vu_t vus[] = {
		{.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = m->topic->rkt},
		{.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = m->partition},
		{.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
		{.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = m->ts},
		{.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)m->key.p, m->key.len}},
		{.vtype = RD_KAFKA_VTYPE_VALUE,
			.u.mem = {(void *)(uintptr_t)m->payload.p, m->payload.len}},
		{.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)i},
		{.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = m->headers},
	};
	size_t count = sizeof(vus) / sizeof(*vus) - (m->headers ? 0 : 1);
	rd_kafka_error_t *error = rd_kafka_produceva(s->kafka.rk, vus, count);
	rd_kafka_resp_err_t err = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;

	if (error)
		rd_kafka_error_destroy(error);
	if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return false;
	if (err) {
		/* In its turn, like those that a broker refuses. */
		slot->err = err;
		slot->done = true;
		slot->topic->out_bytes -= slot->bytes;
		if (m->headers)
			rd_kafka_headers_destroy(m->headers);
	}
	return true;
}

void ring_refuse(struct kwrite *s, const struct ack_label *label, bool is_record,
	const struct record_error *e)
{
	struct slot *slot = take_slot(s, label);

	slot->done = slot->refused = true;
	s->refusing = s->head - 1;
	input_refuse(&s->in, e->class, s->text, is_record, slot->number, "%s", e->message);
}

void ring_refuse_big(struct kwrite *s)
{
	struct slot *slot = take_slot(s, &(struct ack_label){0});
	struct ack_label label;

	slot->done = slot->refused = slot->big = true;
	s->refusing = s->head - 1;
	input_refuse_long(&s->in, s->text, &label);
	slot->label = label.number;
	if (label.text.p) {
		slot->label = line_place(&s->in.line, label.text);
		slot->label_len = (uint32_t)label.text.len;
	}
}

/* ---- letting go ---- */

/* Delivered, librdkafka says, but no broker has said where. It takes a batch whose answer was lost for written
 * when a later one is: a broker refuses a gap. But not one that has just become leader and knows nothing of this
 * producer, since the first batch was never copied to it; then that is lost (librdkafka's issue 4134 may be
 * the same; rd_kafka_dr_implicit_ack). So it is not believed, and the source sends these records again. */
static void unproven(struct kwrite *s, const rd_kafka_message_t *m)
{
	trouble_set(&s->kafka.trouble, EXIT_TEMP,
		"topic %s partition %" PRId32
		": no broker has confirmed records that librdkafka takes for written",
		rd_kafka_topic_name(m->rkt), m->partition);
}

void ring_on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	struct kwrite *s = opaque;
	struct slot *slot = &s->slots[(uintptr_t)m->_private % RING];

	(void)rk;
	if (!m->err && m->offset < 0) {
		unproven(s, m);
		return;
	}
	if (slot->refused) {
		letters_delivered(s, slot, m->err);
		return;
	}
	slot->err = m->err;
	slot->done = true;
	slot->partition = m->partition;
	slot->offset = m->offset;
	slot->topic->out_bytes -= slot->bytes;
}

/* The line with where it was written; one that was refused, or a payload, as it came. */
static void hand_on(struct kwrite *s, const struct slot *slot)
{
	struct span text = {line_at(&s->in.line, slot->place), slot->len};
	struct buf *out = &s->out.b;
	struct record_error e;
	struct record r;

	if (slot->refused || s->shape.raw || record_parse(&r, text, &e)) {
		buf_span(out, text);
	} else {
		char topic[300], partition[16], offset[24];

		/* A topic's name needs no escapes. */
		int n = snprintf(topic, sizeof(topic), "\"%s\"", slot->topic->name);
		int m = snprintf(partition, sizeof(partition), "%" PRId32, slot->partition);
		int k = snprintf(offset, sizeof(offset), "%" PRId64, slot->offset);
		const struct record_member members[] = {{"topic", {topic, (size_t)n}},
			{"partition", {partition, (size_t)m}}, {"offset", {offset, (size_t)k}}};

		record_set_members(&r, members, 3, out);
	}
	buf_putc(out, s->in.line.end);
}

static void report(struct kwrite *s, const struct slot *slot)
{
	enum ack_kind kind = dead_keeps(&s->in.dead) ? ACK_DEAD : ACK_DROP;
	struct ack_label label = {.number = slot->label};

	if (!slot->refused)
		kind = ACK_FINAL;
	if (slot->label_len)
		label = (struct ack_label){
			.text = {line_at(&s->in.line, slot->label), slot->label_len}};
	s->mute = s->mute || (slot->refused && s->in.dead.stopped);
	if (s->mute)
		return;
	if (s->txn.id)
		txn_take(s, kind, &label);
	else if (s->pass && !slot->big)
		hand_on(s, slot);
	else
		ack_report(&s->ack, kind, &label);
}

bool ring_has_done(const struct kwrite *s)
{
	return s->tail < s->head && s->slots[s->tail % RING].done &&
		out_pending(&s->out) < OUT_BLOCK && !s->kafka.trouble.status;
}

void ring_release(struct kwrite *s)
{
	while (ring_has_done(s)) {
		struct slot *slot = &s->slots[s->tail % RING];

		if (slot->err) {
			if (!letters_have_room(s))
				break;
			refuse_slot(s, slot);
			if (s->kafka.trouble.status || !slot->done)
				break;
		} else if (!slot->refused && !s->txn.id) {
			metrics.forwarded++;
			metrics.records_out++;
		}
		report(s, slot);
		s->tail++;
	}
	if (s->tail < s->head) {
		line_keep(&s->in.line, s->slots[s->tail % RING].place);
	} else if (s->held) {
		line_keep(&s->in.line, line_place(&s->in.line, s->text));
	} else {
		line_keep(&s->in.line, UINT64_MAX);
		if (!s->txn.id || txn_is_empty(s))
			ack_idle(&s->ack);
	}
}

bool ring_has_room(const struct kwrite *s)
{
	return s->head == s->tail ||
		(s->head - s->tail < RING &&
			s->in.line.base + s->in.line.at - s->slots[s->tail % RING].place <
				WINDOW_BYTES);
}
