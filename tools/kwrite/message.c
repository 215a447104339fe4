/* SPDX-License-Identifier: ISC */
#include "kwrite/message.h"

#include "base/line.h"
#include "base/msg.h"

#include <stdio.h>
#include <string.h>

static size_t varint_size(int64_t n)
{
	uint64_t zigzag = ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);
	size_t size = 1;

	while (zigzag >>= 7)
		size++;
	return size;
}

static size_t bytes_size(struct span s)
{
	return s.p ? varint_size((int64_t)s.len) + s.len : varint_size(-1);
}

static void add_header(struct message *m, struct span name, struct span value)
{
	if (!m->headers)
		m->headers = rd_kafka_headers_new(8);
	rd_kafka_header_add(m->headers, name.p, (ssize_t)name.len, value.p, (ssize_t)value.len);
	m->bytes += bytes_size(name) + bytes_size(value);
}

static int take_headers(
	struct shape *shape, const struct record *r, struct message *m, struct record_error *e)
{
	struct span name, value;
	struct json j = {0};
	int got;

	if (r->headers.type != JSON_ARRAY)
		return 0;
	while ((got = record_header(r, &j, &shape->scratch, &name, &value, e)) == 1)
		add_header(m, name, value);
	return got;
}

static void take_own_headers(const struct shape *shape, struct message *m)
{
	for (int i = 0; i < shape->header_count; i++) {
		const char *text = shape->headers[i], *end = strchr(text, '=');
		struct span value = SPAN_NONE;

		if (end)
			value = (struct span){end + 1, strlen(end + 1)};
		add_header(
			m, (struct span){text, end ? (size_t)(end - text) : strlen(text)}, value);
	}
}

static int take_partition(const struct shape *shape, const struct record *r, struct message *m,
	struct record_error *e)
{
	int64_t n = record_int(&r->partition, -1);
	bool has_none = shape->partition == PARTITION_HAVE && r->partition.type == JSON_ABSENT;

	m->partition = has_none ? RD_KAFKA_PARTITION_UA : shape->partition;
	if (has_none || (shape->partition != PARTITION_KEEP && shape->partition != PARTITION_HAVE))
		return 0;
	if (r->partition.type == JSON_ABSENT)
		return record_refuse(
			e, CLASS_MISSING_FIELD, "there is no partition in the record for -p keep");
	if (n < 0 || n > INT32_MAX)
		return record_refuse(
			e, CLASS_INVALID_RECORD, "the record's partition is out of range");
	m->partition = (int32_t)n;
	return 0;
}

/* Where it stood, for a map of offsets. */
static int take_place(const struct record *r, struct message *m, struct record_error *e)
{
	int64_t partition = record_int(&r->partition, -1);

	m->from_topic = r->topic.text;
	m->from_partition = (int32_t)partition;
	m->from_offset = record_int(&r->offset, -1);
	if (r->topic.type != JSON_STRING || partition < 0 || partition > INT32_MAX ||
		m->from_offset < 0)
		return record_refuse(e, CLASS_MISSING_FIELD,
			"there is no topic, partition and offset in the record for --map");
	return 0;
}

/* Makes room for @n bytes without moving the bytes of other messages. false: there is none. */
static bool make_room(struct buf *scratch, size_t n)
{
	enum { SCRATCH = 128 << 10 };

	if (!scratch->len)
		buf_room(scratch, n > SCRATCH ? n : SCRATCH);
	return scratch->cap - scratch->len >= n;
}

/* The digits of a number become its bytes. A key that stands in the record as key_b64 is written as
 * it is. */
static int take_number(struct shape *shape, struct span *key, struct record_error *e)
{
	const struct keytype *t = &shape->key_type;
	struct span bytes = {shape->scratch.p + shape->scratch.len, t->bytes};

	if (!t->bytes || !key->p)
		return 0;
	if (!keytype_bytes(t, *key, (unsigned char *)buf_room(&shape->scratch, KEYTYPE_BYTES_MAX)))
		return record_refuse(e, CLASS_INVALID_RECORD, "the key '%.*s' is no %s",
			(int)(key->len < 60 ? key->len : 60), key->p, t->name);
	shape->scratch.len += t->bytes;
	*key = bytes;
	return 0;
}

/* Fills @m but for the topic. */
static enum outcome take_fields(
	struct shape *shape, const struct record *r, struct message *m, struct record_error *e)
{
	buf_clear(&shape->keys);
	if (shape->key && template_expand(shape->key, r, &shape->name, &shape->keys, e))
		return REFUSED;
	/* The decoded fields are no longer than the line, so the scratch does not move under its
	 * spans. */
	if (!make_room(&shape->scratch, r->line.len + 64 + shape->keys.len))
		return WAIT;
	if (record_payload(r, &shape->scratch, &m->payload, e) == RECORD_BAD)
		return REFUSED;
	if (shape->key) {
		m->key = (struct span){shape->scratch.p + shape->scratch.len, shape->keys.len};
		buf_span(&shape->scratch, buf_as_span(&shape->keys));
	} else if (record_key(r, &shape->scratch, &m->key, e) == RECORD_BAD) {
		return REFUSED;
	}
	if (r->key_b64.type != JSON_STRING || shape->key) {
		if (take_number(shape, &m->key, e))
			return REFUSED;
	}
	m->ts = shape->now ? 0 : record_int(&r->ts, 0);
	if (m->ts == 0 && !shape->now && !shape->zero_reported && record_int(&r->ts, -1) == 0) {
		msg_warn(
			"a record has ts 0, which librdkafka cannot write: it gets the time of writing, as will others; this is said once");
		shape->zero_reported = true;
	}
	if (shape->maps && take_place(r, m, e))
		return REFUSED;
	if (take_partition(shape, r, m, e) || take_headers(shape, r, m, e))
		return REFUSED;
	take_own_headers(shape, m);
	return READY;
}

static void take_line(const struct shape *shape, struct span line, struct message *m)
{
	m->payload = shape->framed ? line_frame(line) : line;
	m->key = shape->raw_key;
	m->partition = shape->partition;
	take_own_headers(shape, m);
}

static struct topic *find_topic(
	struct shape *shape, struct topics *ts, const struct record *r, struct record_error *e)
{
	struct span name;
	struct topic *t;

	if (shape->constant)
		return shape->constant;
	buf_clear(&shape->name);
	if (template_expand(shape->topic, r, &shape->keys, &shape->name, e))
		return NULL;
	name = buf_as_span(&shape->name);
	t = topics_get(ts, name);
	if (!t) {
		e->class = CLASS_UNKNOWN_TOPIC;
		snprintf(e->message, sizeof(e->message), "'%.*s' cannot be a topic's name",
			(int)(name.len > 80 ? 80 : name.len), name.p);
	} else if (template_constant(shape->topic)) {
		shape->constant = t;
	}
	/* The first record's topic is the model of the one that it is written to. */
	if (t && !t->model && r->topic.type == JSON_STRING)
		t->model = span_text(r->topic.text);
	return t;
}

/* Whether the message may go now, by its size: m->bytes is first the size that the broker counts
 * for the message alone in a batch. */
static enum outcome check_size(const struct shape *shape, struct message *m, struct record_error *e)
{
	size_t headers = m->headers ? rd_kafka_header_cnt(m->headers) : 0;
	struct topic *t = m->topic;

	/* Attributes, time, place; then the length before it all, and the batch's head. */
	m->bytes += 3 + bytes_size(m->key) + bytes_size(m->payload) + varint_size((int64_t)headers);
	m->bytes += varint_size((int64_t)m->bytes) + 61;
	if (m->bytes > t->limit && t->limit_known && !shape->compressed) {
		/* The topic may have another limit by now, or be another topic. */
		if (!topic_is_fresh(t)) {
			topic_forget(t);
			return WAIT;
		}
		e->class = CLASS_TOO_LARGE;
		snprintf(e->message, sizeof(e->message),
			"topic '%.100s' takes messages of up to %zu bytes (%s), this one has %zu",
			t->name, t->limit, t->limit_name, m->bytes);
		return REFUSED;
	}
	/* Further back in a batch the deltas of time and offset may take more bytes. */
	m->bytes += 20;
	if (t->limit < BATCH_BYTES && t->out_bytes && t->out_bytes + m->bytes > t->limit)
		return WAIT;
	return READY;
}

static enum outcome check_topic(struct topics *ts, struct topic *t, struct record_error *e)
{
	switch (topic_look(ts, t)) {
	case TOPIC_USABLE:
		return READY;
	case TOPIC_UNKNOWN:
		e->class = CLASS_UNKNOWN_TOPIC;
		snprintf(e->message, sizeof(e->message), "topic '%.100s' %.140s", t->name, t->why);
		return REFUSED;
	case TOPIC_NEW:
	case TOPIC_ASKED:
	case TOPIC_SEEKING:
	case TOPIC_COPYING:
	case TOPIC_CREATING:
		break;
	}
	return WAIT;
}

bool message_again(struct shape *shape, struct span line, struct message *m)
{
	struct record r = {.line = line};
	struct record_error e;

	buf_clear(&shape->scratch);
	shape->zero_reported = true; /* when the message was made first */
	if (shape->raw)
		take_line(shape, line, m);
	return shape->raw ||
		(record_parse(&r, line, &e) == 0 && take_fields(shape, &r, m, &e) == READY);
}

enum outcome message_make(struct shape *shape, struct topics *ts, struct span line,
	struct message *m, struct record_error *e)
{
	struct record r = {.line = line};
	size_t used = shape->scratch.len;
	enum outcome outcome;

	if (shape->skip_empty && line.len == (shape->framed ? LINE_FRAME : 0) &&
		(!shape->framed || line_frame(line).p))
		return SKIPPED;
	if (!shape->raw && record_parse(&r, line, e)) {
		record_hint_raw(e);
		m->seq = r.seq;
		return REFUSED;
	}
	m->is_record = !shape->raw;
	m->seq = r.seq;
	m->topic = find_topic(shape, ts, &r, e);
	if (!m->topic)
		return REFUSED;
	outcome = check_topic(ts, m->topic, e);
	if (outcome != READY)
		return outcome;
	if (shape->raw)
		take_line(shape, line, m);
	else
		outcome = take_fields(shape, &r, m, e);
	if (outcome == READY)
		outcome = check_size(shape, m, e);
	if (outcome != READY)
		shape->scratch.len = used;
	return outcome;
}
