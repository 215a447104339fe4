/* SPDX-License-Identifier: ISC */
/* DESIGN: before the group is joined the whole map is read, by a client of its own, in a loop of
 * its own. What is asked later is answered from memory.
 *
 * A record may have been written twice, by a mirror that was killed. The group goes on before the
 * last copy of each record that it has not read: so nothing is lost even when two mirrors wrote at
 * the same time. */
#include "kread/move.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "json/json.h"
#include "kafka/listing.h"
#include "kafka/silence.h"
#include "kread/moved.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 1000, AGAIN_MS = 200 };

/* A client that is asked before the group is joined. */
struct asked {
	struct kafka kafka;
	struct listing listing;
	struct silence silence;
	int64_t again_ms;
};

static int open_asked(struct asked *a, struct kafka_conf *conf, struct trouble *why)
{
	rd_kafka_queue_t *main;

	if (kafka_start(&a->kafka, RD_KAFKA_CONSUMER, conf, why))
		return -1;
	silence_watch(&a->silence, &a->kafka);
	main = rd_kafka_queue_get_main(a->kafka.rk);
	kafka_wake_on(&a->kafka, main);
	rd_kafka_queue_destroy(main);
	listing_open(&a->listing, &a->kafka);
	a->again_ms = 0;
	return 0;
}

static void close_asked(struct asked *a)
{
	if (listing_close(&a->listing))
		kafka_stop(&a->kafka);
}

/* Waits for an event. 0; 1: a signal has come; -1: trouble. */
static int turn(struct asked *a, int signal_fd, struct trouble *why)
{
	struct pollfd p[2] = {
		{.fd = signal_fd, .events = POLLIN}, {.fd = a->kafka.wake_fd, .events = POLLIN}};
	int64_t now_ms = wake_now_ms();
	int wait_ms = a->again_ms > now_ms ? (int)(a->again_ms - now_ms) : TICK_MS;

	if (poll(p, 2, wake_least(wait_ms, TICK_MS)) < 0 && errno != EINTR)
		return trouble_set(why, EXIT_TEMP, "cannot poll: %s", msg_errno(errno));
	if (p[0].revents)
		return 1;
	kafka_woken(&a->kafka);
	rd_kafka_poll(a->kafka.rk, 0);
	kafka_tick(&a->kafka);
	if (a->kafka.trouble.status)
		return trouble_set(why, a->kafka.trouble.status, "%s", a->kafka.trouble.text);
	return 0;
}

/* The answer to the question that is out. 0, 1 and -1 as turn; after a failure nothing is out. */
static int await(struct asked *a, int signal_fd, const char *what, struct trouble *why)
{
	struct listing *l = &a->listing;
	int got;

	while (!listing_take(l)) {
		got = turn(a, signal_fd, why);
		if (got)
			return got;
	}
	if (!l->err)
		return 0;
	msg_info("cannot ask for %s: %s", what, kafka_why(l->err));
	kafka_judge(&a->kafka, l->err, kafka_why(l->err));
	a->again_ms = wake_now_ms() + AGAIN_MS;
	while (wake_now_ms() < a->again_ms) {
		got = turn(a, signal_fd, why);
		if (got)
			return got;
	}
	return 0;
}

/* ---- the map ---- */

/* How many partitions it has, in *@count. */
static int count_partitions(
	struct asked *a, const char *map, int signal_fd, int *count, struct trouble *why)
{
	struct listing *l = &a->listing;

	for (;;) {
		rd_kafka_resp_err_t err;
		int got;

		listing_ask_topic(l, map);
		got = await(a, signal_fd, "the map's topic", why);
		if (got)
			return got;
		err = l->err			      ? l->err
			: l->metadata->topic_cnt != 1 ? RD_KAFKA_RESP_ERR__TIMED_OUT
						      : l->metadata->topics[0].err;
		if (err == RD_KAFKA_RESP_ERR__INVALID_ARG ||
			err == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION)
			return trouble_set(
				why, EXIT_PERM, "'%s' cannot be a topic's name, for a map", map);
		if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
			return trouble_set(why, EXIT_PERM,
				"the map's topic, '%s', does not exist: kwrite --map makes it",
				map);
		if (err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
			return trouble_set(
				why, EXIT_PERM, "the map's topic, '%s': %s", map, kafka_why(err));
		*count = err ? 0 : l->metadata->topics[0].partition_cnt;
		if (*count > 0)
			return 0;
	}
}

/* Takes messages until each partition's end was reached. */
static int read_all(struct move *m, struct asked *a, rd_kafka_queue_t *q, int signal_fd, int count,
	struct trouble *why)
{
	rd_kafka_message_t *msg;
	int got;

	while (count > 0) {
		while (count > 0 && (msg = rd_kafka_consume_queue(q, 0))) {
			if (msg->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
				count--;
			else if (msg->err)
				kafka_judge(&a->kafka, msg->err, rd_kafka_message_errstr(msg));
			else if (msg->payload)
				move_take(m, (struct span){msg->payload, msg->len});
			rd_kafka_message_destroy(msg);
		}
		got = count > 0 ? turn(a, signal_fd, why) : 0;
		if (got)
			return got;
	}
	return 0;
}

static int read_map(struct move *m, int signal_fd, struct kafka_conf *here, struct trouble *why)
{
	static struct asked a; /* librdkafka's threads may outlive this */
	rd_kafka_topic_t *rkt;
	rd_kafka_queue_t *q;
	int count = 0, got;

	rd_kafka_conf_set(here->rd, "enable.partition.eof", "true", NULL, 0);
	if (open_asked(&a, here, why))
		return -1;
	got = count_partitions(&a, m->map, signal_fd, &count, why);
	if (!got) {
		q = rd_kafka_queue_new(a.kafka.rk);
		kafka_wake_on(&a.kafka, q);
		rkt = rd_kafka_topic_new(a.kafka.rk, m->map, NULL);
		for (int i = 0; i < count; i++)
			rd_kafka_consume_start_queue(rkt, i, RD_KAFKA_OFFSET_BEGINNING, q);
		got = read_all(m, &a, q, signal_fd, count, why);
		for (int i = 0; i < count; i++)
			rd_kafka_consume_stop(rkt, i);
		rd_kafka_topic_destroy(rkt);
		rd_kafka_queue_destroy(q);
	}
	close_asked(&a);
	return got;
}

/* ---- the group in the old cluster ---- */

static rd_kafka_topic_partition_list_t *all_parts(const struct move *m)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)m->count);

	for (size_t i = 0; i < m->count; i++)
		if (!rd_kafka_topic_partition_list_find(
			    list, m->parts[i].topic, m->parts[i].partition))
			rd_kafka_topic_partition_list_add(
				list, m->parts[i].topic, m->parts[i].partition);
	return list;
}

static int read_positions(
	struct move *m, int signal_fd, struct kafka_conf *old, struct trouble *why)
{
	static struct asked a;
	int got;

	rd_kafka_conf_set(old->rd, "group.id", m->group, NULL, 0);
	if (open_asked(&a, old, why))
		return -1;
	do {
		listing_ask_committed(&a.listing, all_parts(m));
		got = await(&a, signal_fd, "positions", why);
	} while (!got && a.listing.err);
	for (int i = 0; !got && i < a.listing.offsets->cnt; i++) {
		const rd_kafka_topic_partition_t *p = &a.listing.offsets->elems[i];

		/* A topic that is no longer there has no position. */
		move_at(m, p->topic, p->partition, p->err ? -1 : p->offset);
	}
	close_asked(&a);
	return got;
}

/* ---- the whole ---- */

void move_opts(struct move_opts *o)
{
	o->map = arg_str0(NULL, "offsets-from", "TOPIC",
		"with -g: where the group has no position, by the map that kwrite --map keeps");
	o->old = arg_str0(NULL, "old", "HOST:PORT[,...]",
		"the cluster that the group comes from (default: the map has its positions)");
	o->old_config = arg_file0(NULL, "old-config", "FILE",
		"properties for --old, as -F (default those of this cluster)");
}

void move_options(struct move *m, const struct move_opts *o, const char *group)
{
	m->map = opt_text(o->map, "--offsets-from");
	m->group = group;
	m->is_on = m->map;
	if (m->map && !group)
		opt_bad("--offsets-from needs -g: it is a group that has positions");
	if ((o->old->count || o->old_config->count) && !m->map)
		opt_bad("--old is for --offsets-from");
}

int move_read(struct move *m, const struct move_opts *o, const struct kafka_conf *conf,
	int signal_fd, struct trouble *why)
{
	bool has_old = o->old->count || o->old_config->count;
	struct kafka_conf here, old;
	int got;

	if (!m->is_on)
		return 0;
	if (kafka_conf_other(&here, conf, NULL, NULL, why) ||
		(has_old &&
			kafka_conf_other(&old, conf, opt_text(o->old, "--old"),
				opt_file(o->old_config, "--old-config"), why)))
		return -1;
	got = read_map(m, signal_fd, &here, why);
	if (!has_old)
		move_use_noted(m);
	else if (!got && m->count)
		got = read_positions(m, signal_fd, &old, why);
	if (!got && !m->count)
		msg_warn("the map, topic '%s', is empty", m->map);
	return got < 0 ? -1 : 0;
}

void move_fill(const struct move *m, rd_kafka_topic_partition_list_t *past,
	rd_kafka_topic_partition_list_t *list)
{
	const rd_kafka_topic_partition_t *first = NULL;
	int unknown = 0;

	for (int i = 0; m->is_on && i < list->cnt; i++) {
		rd_kafka_topic_partition_t *o = &list->elems[i];
		int64_t at = -1;

		if (o->offset >= 0 || o->err ||
			rd_kafka_topic_partition_list_find(past, o->topic, o->partition))
			continue;
		at = move_position(m, o->topic, o->partition);
		if (at >= 0)
			o->offset = at;
		else if (!unknown++)
			first = o;
		if (at >= 0)
			msg_info("topic '%s', partition %" PRId32
				 ": group '%s' goes on at %" PRId64,
				o->topic, o->partition, m->group, at);
	}
	if (unknown)
		msg_warn("the map does not say where group '%s' was in %d %s '%s' %" PRId32,
			m->group, unknown,
			PLURAL(unknown, "partition,", "partitions, the first is"), first->topic,
			first->partition);
}
