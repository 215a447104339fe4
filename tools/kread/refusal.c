/* SPDX-License-Identifier: ISC */
#include "kread/refusal.h"

#include "base/msg.h"
#include "base/wake.h"

#include <inttypes.h>
#include <stdio.h>

enum { FAILING_MS = 2000 };

/* librdkafka goes on behind a batch that it cannot read; the position would pass over the batch. */
static void unreadable(struct refusals *r, const rd_kafka_message_t *m, int status)
{
	source_end(r->source, status, "topic '%s', partition %d, offset %lld cannot be read: %s",
		rd_kafka_topic_name(m->rkt), (int)m->partition, (long long)m->offset,
		rd_kafka_message_errstr(m));
}

/* librdkafka asks again twice a second. */
static void warn(struct refusals *r, const rd_kafka_message_t *m, const char *text)
{
	if (m->err != r->warned)
		msg_warn("%s; trying again", text);
	else
		msg_info("%s", text);
	r->warned = m->err;
}

void refusal_take(struct refusals *r, const rd_kafka_message_t *m)
{
	const char *text = rd_kafka_message_errstr(m);
	char named[512];

	if (m->err == RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE && m->rkt)
		unreadable(r, m, EXIT_TEMP);
	/* Of an answer to a fetch librdkafka's text names the broker alone. */
	if (m->err >= RD_KAFKA_RESP_ERR_UNKNOWN && m->rkt) {
		snprintf(named, sizeof(named), "topic '%s': %s", rd_kafka_topic_name(m->rkt),
			kafka_why(m->err));
		text = named;
	}
	if (kafka_judge(r->kafka, m->err, text))
		return;
	switch (m->err) {
	case RD_KAFKA_RESP_ERR__BAD_MSG:
	case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
	case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
		unreadable(r, m, EXIT_PERM);
		return;
	case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
	case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
		source_end(r->source, EXIT_PERM, "%s", text);
		return;
	case RD_KAFKA_RESP_ERR__PARTITION_EOF:
		parts_eof(r->parts, m);
		return;
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		if (r->group->name) {
			group_misses(r->group, rd_kafka_topic_name(m->rkt));
			return;
		}
		source_end(r->source, EXIT_PERM, "topic '%s', partition %d has gone: %s",
			rd_kafka_topic_name(m->rkt), (int)m->partition, kafka_why(m->err));
		return;
	default:
		warn(r, m, text);
	}
}

void refusal_of_offsets(struct kafka *k, const struct listing *l, struct parts_failure *f)
{
	const rd_kafka_topic_partition_t *p = l->offsets->elems, *end = p + l->offsets->cnt;
	const rd_kafka_topic_partition_t *bad = p;

	if (l->err == RD_KAFKA_RESP_ERR__TIMED_OUT)
		return;
	if (!f->since_ms)
		*f = (struct parts_failure){.since_ms = wake_now_ms()};
	if (p == end || f->told || !k->up || brokers_told(&k->brokers) ||
		wake_now_ms() - f->since_ms < FAILING_MS)
		return;
	while (bad < end && !bad->err)
		bad++;
	p = bad < end ? bad : p;
	msg_warn(
		"topic '%s', partition %" PRId32
		": no broker can be asked for its offsets: %s; trying again (has it a leader? kcheck -t %s tells)",
		p->topic, p->partition, kafka_why(l->err), p->topic);
	f->told = true;
}
