/* SPDX-License-Identifier: ISC */
/* The consumer group: partitions come and go, positions are committed.
 *
 * A position is committed only when the bytes of all records before it have left the process
 * (part_safe): the loop takes messages only when nothing is pending, so that is either `next`, or,
 * while the output of the present epoch is stuck, what it was before that. */
#include "kread.h"

#include "die.h"
#include "metrics.h"
#include "wake.h"

#include <poll.h>
#include <string.h>

enum { REVOKE_MS = 5000, LEAVE_MS = 10000 };

static int64_t part_safe(const struct kread *r, const struct part *p)
{
	return p->epoch == r->epoch && out_pending(&r->out) ? p->settled : p->next;
}

/* What is to be committed; marks it as committed. @only: the parts that are taken away, of which
 * everything is committed once more, since the answer to the last commit may still be out. */
static rd_kafka_topic_partition_list_t *positions(
	struct kread *r, rd_kafka_topic_partition_list_t *only)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

	for (struct part *p = r->parts; r->commit && p < r->parts + r->part_count; p++) {
		int64_t safe = part_safe(r, p);
		bool wanted = only
			? rd_kafka_topic_partition_list_find(only, p->topic, p->partition) != NULL
			: safe != p->committed;

		if (safe < 0 || !wanted)
			continue;
		rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset = safe;
		p->committed = safe;
	}
	return list;
}

/* The result of a commit that was not waited for. */
static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t err,
	rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
	struct kread *r = (struct kread *)opaque;

	(void)rk;
	for (int i = 0; offsets && i < offsets->cnt; i++) {
		const rd_kafka_topic_partition_t *o = &offsets->elems[i];
		struct part *p = part_find(r, o->topic, o->partition);

		/* Once more with the next. */
		if (p && (err || o->err))
			p->committed = -1;
		if (!err)
			err = o->err;
	}
	if (err == RD_KAFKA_RESP_ERR__NO_OFFSET)
		return;
	/* A rebalance is under way: nothing is amiss. */
	if (err == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
		err == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS)
		die_info("cannot commit positions: %s; trying again", kafka_why(err));
	else if (err && !kafka_judge(&r->kafka, err, kafka_why(err)) && !r->commit_failed)
		die_warn("cannot commit positions: %s; trying again", kafka_why(err));
	r->commit_failed = err;
}

void group_commit(struct kread *r)
{
	rd_kafka_topic_partition_list_t *list = positions(r, NULL);

	if (list->cnt)
		rd_kafka_commit(r->kafka.rk, list, 1);
	rd_kafka_topic_partition_list_destroy(list);
}

/* Waits for the answer, since the partitions are another's afterwards. */
static void commit_revoked(struct kread *r, rd_kafka_topic_partition_list_t *revoked)
{
	rd_kafka_topic_partition_list_t *list = positions(r, revoked);
	rd_kafka_queue_t *answer = rd_kafka_queue_new(r->kafka.rk);
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
	rd_kafka_event_t *event;

	if (list->cnt && !rd_kafka_commit_queue(r->kafka.rk, list, answer, NULL, NULL)) {
		event = rd_kafka_queue_poll(answer, REVOKE_MS);
		if (event) {
			err = rd_kafka_event_error(event);
			rd_kafka_event_destroy(event);
		}
		if (err && err != RD_KAFKA_RESP_ERR__NO_OFFSET &&
			!kafka_judge(&r->kafka, err, kafka_why(err)))
			die_warn(
				"cannot commit positions of partitions that were taken away: %s; some records will be read again",
				kafka_why(err));
	}
	rd_kafka_queue_destroy(answer);
	rd_kafka_topic_partition_list_destroy(list);
}

static void give(struct kread *r, rd_kafka_topic_partition_list_t *list, bool cooperative)
{
	for (int i = 0; i < list->cnt; i++)
		if (!part_find(r, list->elems[i].topic, list->elems[i].partition))
			part_add(r, list->elems[i].topic, list->elems[i].partition);
	if (cooperative)
		rd_kafka_error_destroy(rd_kafka_incremental_assign(r->kafka.rk, list));
	else
		rd_kafka_assign(r->kafka.rk, list);
	if (r->paused)
		rd_kafka_pause_partitions(r->kafka.rk, list);
	die_info("%d partitions were assigned", list->cnt);
	r->assigned = true;
	r->need_ends = r->to_end;
	metrics_set_ready(true);
}

static void take(struct kread *r, rd_kafka_topic_partition_list_t *list, bool cooperative)
{
	/* What goes without waiting goes before the positions are taken. */
	if (out_flush(&r->out) == 0 && !rd_kafka_assignment_lost(r->kafka.rk))
		commit_revoked(r, list);
	for (int i = 0; i < list->cnt; i++) {
		struct part *p = part_find(r, list->elems[i].topic, list->elems[i].partition);

		if (p)
			part_remove(r, p);
	}
	if (cooperative)
		rd_kafka_error_destroy(rd_kafka_incremental_unassign(r->kafka.rk, list));
	else
		rd_kafka_assign(r->kafka.rk, NULL);
	die_info("%d partitions were taken away", list->cnt);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
	rd_kafka_topic_partition_list_t *list, void *opaque)
{
	bool cooperative = strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE") == 0;

	if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
		give(opaque, list, cooperative);
	else
		take(opaque, list, cooperative);
}

void group_configure(rd_kafka_conf_t *conf)
{
	rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
	rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
}

void group_subscribe(struct kread *r)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(r->topic_count);
	rd_kafka_resp_err_t err;

	for (int i = 0; i < r->topic_count; i++)
		rd_kafka_topic_partition_list_add(list, r->topics[i], RD_KAFKA_PARTITION_UA);
	err = rd_kafka_subscribe(r->kafka.rk, list);
	if (err)
		die(EXIT_PERM, "cannot subscribe: %s", kafka_why(err));
	rd_kafka_topic_partition_list_destroy(list);
}

void group_pause(struct kread *r, bool pause)
{
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new((int)r->part_count + 1);

	for (struct part *p = r->parts; p < r->parts + r->part_count; p++)
		if (!p->done)
			rd_kafka_topic_partition_list_add(list, p->topic, p->partition);
	if (pause)
		rd_kafka_pause_partitions(r->kafka.rk, list);
	else
		rd_kafka_resume_partitions(r->kafka.rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	r->paused = pause;
}

void group_leave(struct kread *r)
{
	int64_t until = wake_now_ms() + LEAVE_MS;
	int stops = wake_stops();
	rd_kafka_message_t *messages[64];
	ssize_t n;

	/* Takes all partitions away, with a commit. */
	rd_kafka_error_destroy(rd_kafka_consumer_close_queue(r->kafka.rk, r->queue));
	while (!rd_kafka_consumer_closed(r->kafka.rk)) {
		struct pollfd fds[] = {{.fd = r->signal_fd, .events = POLLIN},
			{.fd = r->kafka.wake_fd, .events = POLLIN}};

		poll(fds, 2, 100);
		kafka_woken(&r->kafka);
		while ((n = rd_kafka_consume_batch_queue(r->queue, 0, messages, 64)) > 0)
			while (n)
				rd_kafka_message_destroy(messages[--n]);
		if (wake_stops() > stops || wake_now_ms() > until) {
			die_warn("left the group without its answer");
			return;
		}
	}
}
