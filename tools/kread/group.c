/* SPDX-License-Identifier: ISC */
/* The consumer group: partitions come and go, positions are committed.
 *
 * A position is committed only when all records before it are final or, with --commit written, when
 * their bytes have left the process (part_safe): the loop takes messages only when nothing is pending,
 * so that is either `next`, or, while the output of the present epoch is stuck, what it was before that.
 *
 * One commit is out at a time, so that none can overtake another and a position never goes back.
 *
 * Partitions that are taken away are let go in steps, while the loop goes on (group_serve): nothing
 * more of them is emitted; what is open of them may become final; their positions are committed; they
 * are given up. The group waits for us so long, at most for half of max.poll.interval.ms, and librdkafka
 * fetches nothing, of partitions that are kept either. */
#include "kread/kread.h"

#include "base/msg.h"
#include "base/metrics.h"
#include "base/wake.h"

#include <poll.h>
#include <string.h>

enum { REVOKE_MS = 5000, CLOSE_MS = 8000, LEAVE_MS = 10000, REJOIN_MS = 10000, RETRY_MS = 200 };

static int64_t part_safe(const struct kread *r, const struct part *p)
{
	if (r->acked)
		return ledger_position(r->source.ledger, p->account);
	return p->epoch == r->epoch && out_pending(&r->out) ? p->settled : p->next;
}

/* A transaction commits positions itself. */
static bool may_commit(const struct kread *r)
{
	return r->commit && !r->source.server.is_txn && !r->source.server.void_account;
}

/* What is to be committed; marks it as committed. @only: of the parts that are taken away. */
static rd_kafka_topic_partition_list_t *positions(
	struct kread *r, rd_kafka_topic_partition_list_t *only)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

	for (struct part *p = r->parts; may_commit(r) && p < r->parts + r->part_count; p++) {
		int64_t safe = part_safe(r, p);

		if (safe < 0 || safe == p->committed)
			continue;
		if (only && !rd_kafka_topic_partition_list_find(only, p->topic, p->partition))
			continue;
		rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset = safe;
		p->committed = safe;
		if (r->acked)
			p->covered = ledger_covered(r->source.ledger, p->account);
	}
	return list;
}

static void on_commit(struct kread *r, rd_kafka_event_t *event)
{
	const rd_kafka_topic_partition_list_t *offsets = rd_kafka_event_topic_partition_list(event);
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);

	for (int i = 0; offsets && i < offsets->cnt; i++) {
		const rd_kafka_topic_partition_t *o = &offsets->elems[i];
		struct part *p = part_find(r, o->topic, o->partition);

		/* Once more with the next. */
		if (p && (err || o->err))
			p->committed = -1;
		else if (p && r->acked)
			ledger_committed(r->source.ledger, p->account, p->covered);
		if (!err)
			err = o->err;
	}
	r->committing = false;
	if (err == RD_KAFKA_RESP_ERR__NO_OFFSET)
		return;
	/* A rebalance is under way: nothing is amiss. */
	if (err == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
		err == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS)
		msg_info("cannot commit positions: %s; trying again", kafka_why(err));
	else if (err && !kafka_judge(&r->kafka, err, kafka_why(err)) && !r->commit_failed)
		msg_warn("cannot commit positions: %s; trying again", kafka_why(err));
	r->commit_failed = err;
	r->commit_again = err && err != RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION &&
		err != RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS &&
		err != RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
}

static void commit(struct kread *r, rd_kafka_topic_partition_list_t *only)
{
	rd_kafka_topic_partition_list_t *list = positions(r, only);

	if (list->cnt && !rd_kafka_commit_queue(r->kafka.rk, list, r->answers, NULL, NULL))
		r->committing = true;
	rd_kafka_topic_partition_list_destroy(list);
}

void group_commit(struct kread *r)
{
	/* librdkafka takes the answer to a commit under a past generation for the loss of all. */
	if (r->rejoining && wake_now_ms() < r->rejoin_by_ms)
		return;
	if (!r->committing)
		commit(r, NULL);
}

static void give_part(struct kread *r, const char *topic, int32_t partition)
{
	rd_kafka_queue_t *q = rd_kafka_queue_get_partition(r->kafka.rk, topic, partition);

	if (!part_find(r, topic, partition))
		part_add(r, topic, partition);
	rd_kafka_queue_forward(q, r->messages);
	rd_kafka_queue_destroy(q);
}

static void give(struct kread *r, rd_kafka_topic_partition_list_t *list, bool cooperative)
{
	for (int i = 0; i < list->cnt; i++)
		give_part(r, list->elems[i].topic, list->elems[i].partition);
	if (cooperative)
		rd_kafka_error_destroy(rd_kafka_incremental_assign(r->kafka.rk, list));
	else
		rd_kafka_assign(r->kafka.rk, list);
	msg_info("%d partitions were assigned", list->cnt);
	if (r->rejoining)
		r->rejoining--;
	r->assigned = true;
	r->need_ends = r->to_end;
	metrics_set_ready(true);
}

/* What is open of the partitions on their way out. */
static uint64_t leaving_open(struct kread *r)
{
	uint64_t n = 0;

	for (struct part *p = r->parts; p < r->parts + r->part_count; p++)
		if (p->leaving && p->account)
			n += ledger_part_open(p->account);
	return n;
}

/* The last step. */
static void let_go(struct kread *r, bool lost)
{
	uint64_t open = r->acked ? leaving_open(r) : 0;
	rd_kafka_topic_partition_list_t *list = r->leaving;

	if (open && !r->closing)
		msg_warn(
			"%llu records of partitions that were taken away are not acknowledged; they will be read again",
			(unsigned long long)open);
	if (!lost && (r->committing || r->commit_failed)) {
		msg_warn(
			"cannot commit positions of partitions that were taken away; some records will be read again");
		if (r->closing && r->status == EXIT_DONE)
			r->status = EXIT_TEMP;
	}
	for (size_t i = r->part_count; i-- > 0;)
		if (r->parts[i].leaving) {
			/* It may come back, with more than it had. */
			if (r->parts[i].done)
				part_pause(r, &r->parts[i], false);
			part_remove(r, &r->parts[i]);
		}
	/* Until more are given, nobody knows whether -e is done. */
	r->assigned = r->part_count > 0;
	r->leaving = NULL;
	/* Cooperatively the assignment that came with this is told first, and only then it rejoins. */
	r->rejoining = r->leaving_cooperative && !lost ? 2 : 1;
	r->rejoin_by_ms = wake_now_ms() + REJOIN_MS;
	if (r->leaving_cooperative)
		rd_kafka_error_destroy(rd_kafka_incremental_unassign(r->kafka.rk, list));
	else
		rd_kafka_assign(r->kafka.rk, NULL);
	msg_info("%d partitions were taken away", list->cnt);
	rd_kafka_topic_partition_list_destroy(list);
}

static void leave_step(struct kread *r)
{
	bool lost = rd_kafka_assignment_lost(r->kafka.rk);
	int64_t now = wake_now_ms();

	/* Who has lost them must not commit them. */
	if (!lost && now < r->leave_by_ms && r->source.server.has_sink && leaving_open(r))
		return;
	if (!lost && now < r->leave_by_ms + (r->closing ? CLOSE_MS : REVOKE_MS)) {
		if (r->committing)
			return;
		/* A coordinator that has just come back answers a little later. */
		if (!r->leaving_committed || (r->commit_again && now >= r->leaving_retry_ms)) {
			r->leaving_committed = true;
			r->leaving_retry_ms = now + RETRY_MS;
			r->commit_failed = r->commit_again = false;
			commit(r, r->leaving);
		}
		if (r->committing || r->commit_again)
			return;
	}
	let_go(r, lost);
}

static void take(struct kread *r, rd_kafka_topic_partition_list_t *list, bool cooperative)
{
	int64_t wait_ms = r->acked && !r->closing ? r->source.drain_ms : 0;

	if (r->leaving)
		let_go(r, true);
	for (int i = 0; i < list->cnt; i++) {
		struct part *p = part_find(r, list->elems[i].topic, list->elems[i].partition);

		if (p)
			p->leaving = true;
	}
	if (wait_ms > r->poll_interval_ms / 2)
		wait_ms = r->poll_interval_ms / 2;
	msg_info("%d partitions are to be given up", list->cnt);
	r->leaving = rd_kafka_topic_partition_list_copy(list);
	r->leaving_cooperative = cooperative;
	r->leaving_committed = false;
	r->leave_by_ms = wake_now_ms() + wait_ms;
}

void group_serve(struct kread *r)
{
	rd_kafka_event_t *event;

	while ((event = rd_kafka_queue_poll(r->answers, 0))) {
		if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT)
			on_commit(r, event);
		rd_kafka_event_destroy(event);
	}
	if (r->leaving)
		leave_step(r);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
	rd_kafka_topic_partition_list_t *list, void *opaque)
{
	bool cooperative = strcmp(rd_kafka_rebalance_protocol(rk), "COOPERATIVE") == 0;
	struct kread *r = opaque;

	for (size_t i = 0; i < r->part_count; i++)
		r->parts[i].paused = true;
	if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
		give(r, list, cooperative);
	else
		take(r, list, cooperative);
}

bool group_again(struct part *p, const rd_kafka_message_t *m)
{
	bool paused = p->paused;

	p->paused = false;
	return paused && m->offset == p->next - 1;
}

void group_configure(rd_kafka_conf_t *conf)
{
	rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
}

void group_open(struct kread *r)
{
	rd_kafka_poll_set_consumer(r->kafka.rk);
	r->queue = rd_kafka_queue_get_consumer(r->kafka.rk);
	r->answers = rd_kafka_queue_new(r->kafka.rk);
	kafka_wake_on(&r->kafka, r->answers);
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

bool group_leave(struct kread *r)
{
	int64_t until = wake_now_ms() + LEAVE_MS;
	/* The first signal asks for an end that may have begun for another reason. */
	int stops = wake_stops();

	if (!stops)
		stops = 1;
	r->closing = true;
	r->leave_by_ms = wake_now_ms();
	/* Takes all partitions away, with a commit. */
	rd_kafka_error_destroy(rd_kafka_consumer_close_queue(r->kafka.rk, r->queue));
	while (!rd_kafka_consumer_closed(r->kafka.rk)) {
		struct pollfd fds[] = {{.fd = r->signal_fd, .events = POLLIN},
			{.fd = r->kafka.wake_fd, .events = POLLIN}};

		poll(fds, 2, 100);
		kafka_woken(&r->kafka);
		kread_events(r);
		if (wake_stops() > stops || wake_now_ms() > until) {
			msg_warn("left the group without its answer");
			return false;
		}
	}
	return true;
}
