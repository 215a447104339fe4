/* SPDX-License-Identifier: ISC */
#include "kwrite/place.h"

#include "base/msg.h"

#include <stdio.h>
#include <string.h>

enum { SLICE_MS = 100, TAIL = 1000, TAIL_FAR = 100000 };

int place_open(struct place *p, const struct kafka_conf *base, struct trouble *why)
{
	static const struct {
		const char *name, *value;
	} props[] = {
		{"isolation.level", "read_committed"},
		{"enable.partition.eof", "true"},
		{"auto.offset.reset", "earliest"},
		{"allow.auto.create.topics", "false"},
	};
	char text[256];

	if (!p->name)
		return 0;
	p->end = -1;
	if (kafka_conf_other(&p->conf, base, NULL, NULL, why))
		return -1;
	for (size_t i = 0; i < sizeof(props) / sizeof(*props); i++)
		rd_kafka_conf_set(p->conf.rd, props[i].name, props[i].value, text, sizeof(text));
	return 0;
}

/* ---- the topic ---- */

/* Whether it can be written to; asks about it, and has it made when it is missing. */
static bool is_usable(struct place *p)
{
	struct trouble *why = &p->kafka->trouble;

	if (!p->topic) {
		p->topic = topics_get(p->topics, (struct span){p->name, strlen(p->name)});
		if (!p->topic) {
			trouble_set(why, EXIT_PERM, "'%s' cannot be a topic's name, for positions",
				p->name);
			return false;
		}
		p->topic->is_map = true;
	}
	if (!p->topic->rkt && topic_look(p->topics, p->topic) == TOPIC_UNKNOWN)
		trouble_set(
			why, EXIT_PERM, "the topic of positions, '%s', %s", p->name, p->topic->why);
	if (p->topic->state == TOPIC_USABLE && p->topic->limit_known && !p->topic->is_compacted)
		trouble_set(why, EXIT_PERM,
			"topic '%s' is not compacted, and would lose the positions: set cleanup.policy=compact on it, or name another",
			p->name);
	return p->topic->rkt && !why->status;
}

bool place_waits(const struct place *p)
{
	return !p->topic || !p->topic->rkt;
}

/* ---- reading ---- */

static void fail(struct place *p, rd_kafka_resp_err_t err, const char *what)
{
	char why[400];

	snprintf(why, sizeof(why), "cannot %s the positions, topic '%s': %s", what, p->name,
		kafka_why(err));
	if (!kafka_judge(p->kafka, err, why))
		trouble_set(&p->kafka->trouble, EXIT_TEMP, "%s", why);
}

static int64_t offset_of(int look)
{
	return look == 1    ? RD_KAFKA_OFFSET_TAIL(TAIL)
		: look == 2 ? RD_KAFKA_OFFSET_TAIL(TAIL_FAR)
			    : RD_KAFKA_OFFSET_BEGINNING;
}

/* Begins to read, further back than the last time. */
static bool begin(struct place *p)
{
	if (!p->reader.rk) {
		if (kafka_start(&p->reader, RD_KAFKA_CONSUMER, &p->conf, &p->kafka->trouble))
			return false;
		silence_watch(&p->silence, &p->reader);
	}
	if (!p->rkt)
		p->rkt = rd_kafka_topic_new(p->reader.rk, p->name, NULL);
	else
		rd_kafka_consume_stop(p->rkt, 0);
	if (rd_kafka_consume_start(p->rkt, 0, offset_of(++p->look))) {
		fail(p, rd_kafka_last_error(), "read");
		return false;
	}
	return true;
}

static void tell(struct place *p)
{
	rd_kafka_consume_stop(p->rkt, 0);
	rd_kafka_topic_destroy(p->rkt);
	kafka_end(&p->reader);
	ack_place(&p->sink->ack, p->has_found ? buf_as_span(&p->text) : SPAN_NONE);
	p->is_told = true;
}

/* All up to @next was read. */
static void on_end(struct place *p, int64_t next)
{
	int64_t low, high;

	if (p->end < 0 && !rd_kafka_get_watermark_offsets(p->reader.rk, p->name, 0, &low, &high))
		p->end = high;
	if (p->end < 0 || next < p->end)
		return;
	if (p->has_found || p->look > 2)
		tell(p);
	else
		begin(p);
}

static void on_message(struct place *p, const rd_kafka_message_t *m)
{
	if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		on_end(p, m->offset);
	} else if (m->err) {
		kafka_judge(p->kafka, m->err, rd_kafka_message_errstr(m));
	} else if (m->key_len == strlen(p->id) && memcmp(m->key, p->id, m->key_len) == 0) {
		p->has_found = m->payload;
		buf_clear(&p->text);
		buf_put(&p->text, m->payload, m->payload ? m->len : 0);
	}
}

bool place_read(struct place *p)
{
	rd_kafka_message_t *m;

	if (p->is_told)
		return true;
	if (!is_usable(p) || (!p->look && !begin(p)))
		return false;
	rd_kafka_poll(p->reader.rk, 0);
	m = rd_kafka_consume(p->rkt, 0, SLICE_MS);
	for (int i = 0; m; i++) {
		on_message(p, m);
		rd_kafka_message_destroy(m);
		m = p->is_told || i == TAIL ? NULL : rd_kafka_consume(p->rkt, 0, 0);
	}
	if (!p->is_told) {
		kafka_tick(&p->reader);
		trouble_take(&p->kafka->trouble, &p->reader.trouble);
	}
	return p->is_told;
}

/* ---- writing ---- */

void place_write(struct place *p, struct span base64)
{
	rd_kafka_resp_err_t err;

	buf_clear(&p->value);
	if (buf_unbase64(&p->value, base64)) {
		trouble_set(&p->kafka->trouble, EXIT_TEMP, "the source's place is no base64");
		return;
	}
	err = rd_kafka_producev(p->kafka->rk, RD_KAFKA_V_RKT(p->topic->rkt),
		RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		RD_KAFKA_V_KEY(p->id, strlen(p->id)), RD_KAFKA_V_VALUE(p->value.p, p->value.len),
		RD_KAFKA_V_OPAQUE(p), RD_KAFKA_V_END);
	if (err)
		fail(p, err, "write");
	else
		p->out++;
}

bool place_takes(struct place *p, const rd_kafka_message_t *report)
{
	if (report->_private != p)
		return false;
	p->out--;
	if (report->err)
		fail(p, report->err, "write");
	return true;
}
