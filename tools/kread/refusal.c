/* SPDX-License-Identifier: ISC */
#include "kread/refusal.h"

#include "base/msg.h"
#include "base/wake.h"

#include <stdio.h>
#include <string.h>

/* A leader that moves is no trouble. Fetches that are further apart do not belong together. */
enum { SILENT_MS = 2000, APART_MS = 10000 };

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

/* A fetch that librdkafka tries again each half second without an error: a broker's disk fails,
 * say. A disk that has failed is that of many partitions: one sentence. What has gone is told
 * elsewhere. */
static void on_silent(void *ctx, const char *topic, int32_t partition, const char *why)
{
	struct refusals *r = ctx;
	struct kread_part *p = parts_find(r->parts, topic, partition);
	int64_t now_ms = wake_now_ms();

	if (!p || strncmp(why, "Unknown topic", 13) == 0)
		return;
	if (now_ms - p->refused_last_ms > APART_MS)
		p->refused_ms = now_ms;
	p->refused_last_ms = now_ms;
	if (now_ms - p->refused_ms < SILENT_MS)
		return;
	if (!r->silent_ms || now_ms - r->silent_ms > APART_MS)
		msg_warn("topic '%s', partition %d cannot be read: %s; trying again", topic,
			(int)partition, why);
	r->silent_ms = now_ms;
}

void refusal_open(struct refusals *r)
{
	kafka_on_refusal(r->kafka, on_silent, r);
	kafka_tell_refusals(r->kafka, true);
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
