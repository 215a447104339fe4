/* SPDX-License-Identifier: ISC */
/* Errors of Kafka's that an instance's polls and streams are answered with.
 *
 * librdkafka tells of an error once, also when it stays. So it stands here: a poll that finds no
 * records until its time is over is answered with it again, until something comes. Where a fetch
 * was refused librdkafka is made to fetch anew, so that it tells what holds now. */
#include "khttp/instance.h"

#include "base/msg.h"

#include <inttypes.h>
#include <stdio.h>

static void set(struct instance *i, rd_kafka_resp_err_t err, const char *text)
{
	msg_info("instance '%s': %s", i->name, text);
	i->error_status = error_status(err, i->all->k->compat);
	i->error_told = i->error_stays = false;
	snprintf(i->error, sizeof(i->error), "%s", text);
}

static bool is_authorization(rd_kafka_resp_err_t err)
{
	return err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
		err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
}

/* Those whose positions librdkafka was asking for. */
static void stop_unplaced(struct instance *i)
{
	for (struct consumer_part *p = i->parts; p < i->parts + i->part_count; p++)
		if (!p->started && p->next < 0 && p->taken < 0)
			p->stopped = i->unplaced = true;
}

void error_place(struct instance *i)
{
	if (!i->unplaced || i->leaving || i->closing)
		return;
	i->unplaced = false;
	for (struct consumer_part *p = i->parts; p < i->parts + i->part_count; p++)
		if (p->stopped && !p->refused)
			group_seek(i, p, p->seek);
}

void error_take(struct instance *i, const rd_kafka_message_t *m)
{
	const char *text = rd_kafka_message_errstr(m);
	struct consumer_part *p = part_of(i, m);
	char place[400];

	switch (m->err) {
	case RD_KAFKA_RESP_ERR_NO_ERROR:
	case RD_KAFKA_RESP_ERR__PARTITION_EOF:
		return;
	/* It may come to be. */
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	/* Brokers that are away come back. */
	case RD_KAFKA_RESP_ERR__TRANSPORT:
	case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
	case RD_KAFKA_RESP_ERR__RESOLVE:
	case RD_KAFKA_RESP_ERR__TIMED_OUT:
	case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
		msg_info("instance '%s': %s", i->name, text);
		return;
	/* So do coordinators, but librdkafka has forgotten then whose positions it was asking
	 * for. */
	case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
	case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
	case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
	case RD_KAFKA_RESP_ERR__WAIT_COORD:
		stop_unplaced(i);
		msg_info("instance '%s': %s", i->name, text);
		return;
	case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
		/* A reader has no use for the group that librdkafka wants it to have. */
		if (i->read)
			return;
		break;
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
		if (!p)
			break;
		p->stopped = p->refused = true;
		if (p->seeks) {
			group_seek(i, p, p->seek);
			return;
		}
		snprintf(place, sizeof(place),
			"Undefined offset with no reset policy for partitions: [%s-%" PRId32 "]",
			p->topic, p->partition);
		set(i, m->err, place);
		i->error_stays = true;
		return;
	default:
		break;
	}
	set(i, m->err, text);
	if (p) {
		p->refused = p->asks = m->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
		p->started = true;
		p->seek = p->seeks ? p->seek : m->offset;
	} else {
		/* What was assigned by a request is read without the group. */
		i->refused = is_authorization(m->err) && i->mode != MODE_ASSIGNED;
	}
	i->error_stays = p ? p->refused : i->refused;
}

static bool stands(const struct instance *i)
{
	bool some = i->refused;

	for (size_t n = 0; n < i->part_count && !some; n++)
		some = i->parts[n].refused;
	return some;
}

bool error_is_new(const struct instance *i)
{
	return *i->error && !i->error_told;
}

bool error_is_again(const struct instance *i)
{
	return *i->error && i->error_told && stands(i);
}

void error_told(struct instance *i)
{
	i->error_told = true;
	if (!stands(i))
		*i->error = '\0';
}

void error_over(struct instance *i, struct consumer_part *p)
{
	if (p)
		p->refused = p->asks = false;
	else
		i->refused = false;
	/* Of other topics of a subscription nobody may have been told. */
	if (i->error_stays && (p || i->error_told) && !stands(i))
		*i->error = '\0';
}

bool error_ask(struct instance *i)
{
	bool asked = false;

	for (struct consumer_part *p = i->parts; p < i->parts + i->part_count; p++)
		if (p->asks && error_is_again(i)) {
			p->asks = false;
			asked = true;
			group_seek_again(i, p);
		}
	return asked;
}
