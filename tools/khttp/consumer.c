/* SPDX-License-Identifier: ISC */
/* DESIGN: an instance is a client of librdkafka whose wake_fd stands in one epoll set. A request
 * that waits is a struct wait in its instance's list, and in a heap by its time; whatever wakes an
 * instance looks at that list (poll_go_on, calls_committed). An instance that is deleted leaves the
 * table at once, commits, leaves its group while the loop goes on, and is freed when librdkafka has
 * ended in a thread of lib/kafka's.
 *
 * Files: consumer.c the table, waits, the end; consumer-create.c, consumer-calls.c, poll.c
 * requests; consumer-body.c their bodies; consumer-group.c partitions; consumer-commit.c positions;
 * consumer-error.c errors; consumer-pattern.c subscriptions by pattern; poll-print.c records. */
#include "khttp/instance.h"
#include "khttp/peers.h"

#include "base/mem.h"
#include "base/msg.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { TICK_MS = 1000, CLOSING_TICK_MS = 10, UNSETTLED_TICK_MS = 20 };

/* ---- the table ---- */

static size_t slot(const char *group, const char *name)
{
	size_t hash = 5381;

	for (; *group; group++)
		hash = hash * 33 + (unsigned char)*group;
	for (; *name; name++)
		hash = hash * 33 + (unsigned char)*name;
	return hash % TABLE;
}

struct instance *consumers_named(const struct consumers *all, const char *group, const char *name)
{
	struct instance *i = all->named[slot(group, name)];

	while (i && (strcmp(i->group, group) || strcmp(i->name, name)))
		i = i->next_named;
	return i;
}

void consumers_add(struct consumers *all, struct instance *i)
{
	size_t at = slot(i->group, i->name);
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = i};

	if (!i->read) {
		i->next_named = all->named[at];
		all->named[at] = i;
	}
	i->link = &all->instances;
	i->next = all->instances;
	if (i->next)
		i->next->link = &i->next;
	all->instances = i;
	all->instance_count++;
	epoll_ctl(all->fd, EPOLL_CTL_ADD, i->kafka.wake_fd, &e);
}

void consumers_again(struct consumers *all)
{
	all->tick_ms = 0;
}

static void unname(struct instance *i)
{
	struct instance **link = &i->all->named[slot(i->group, i->name)];

	while (*link && *link != i)
		link = &(*link)->next_named;
	if (*link)
		*link = i->next_named;
}

/* ---- waits ---- */

static void give_up(struct wait *w)
{
	if (w->kind == WAIT_STREAM) {
		stream_due(w);
		return;
	}
	if (w->kind == WAIT_READ) {
		read_due(w->instance);
		return;
	}
	wait_answered(w);
	switch (w->kind) {
	case WAIT_POLL:
		poll_due(w);
		break;
	case WAIT_COMMIT:
		error_kafka(w->request, w->all->k->compat, RD_KAFKA_RESP_ERR__TRANSPORT,
			w->commit ? "no broker has answered the commit in time"
				  : "the group was not joined in time");
		break;
	default:
		calls_done(w->request);
	}
}

static void serve_due(struct consumers *all)
{
	while (all->heap_count && all->heap[0]->until_ms <= all->now_ms)
		give_up(all->heap[0]);
}

/* ---- requests ---- */

static void dispatch(struct instance *i, const struct consumer_call *c)
{
	switch (c->what) {
	case CONSUMER_DELETE:
		if (wait_open(i, c->call.r, WAIT_CLOSE, i->all->now_ms + CLOSE_MS + 1000))
			instance_close(i, false);
		break;
	case CONSUMER_SUBSCRIBE:
		calls_subscribe(i, &c->call);
		break;
	case CONSUMER_SUBSCRIPTION:
		calls_subscription(i, c->call.r);
		break;
	case CONSUMER_UNSUBSCRIBE:
		calls_unsubscribe(i, c->call.r);
		break;
	case CONSUMER_ASSIGN:
		calls_assign(i, &c->call);
		break;
	case CONSUMER_POLL:
		poll_request(i, &c->call);
		break;
	case CONSUMER_COMMIT:
		calls_commit(i, &c->call);
		break;
	case CONSUMER_SEEK:
		calls_seek(i, &c->call);
		break;
	case CONSUMER_SEEK_BEGINNING:
		calls_seek_to(i, &c->call, RD_KAFKA_OFFSET_BEGINNING);
		break;
	case CONSUMER_SEEK_END:
		calls_seek_to(i, &c->call, RD_KAFKA_OFFSET_END);
		break;
	default:
		http_error(c->call.r, 501, "not implemented");
	}
}

void consumers_request(struct consumers *all, const struct consumer_call *c)
{
	struct instance *i;

	all->now_ms = all->k->now_ms;
	if (c->what == CONSUMER_CREATE) {
		create_instance(all, c);
		return;
	}
	if (c->what == CONSUMER_READ_TOPIC) {
		read_request(all, &c->call, c->topic);
		return;
	}
	i = c->name ? consumers_named(all, c->group, c->name) : NULL;
	if (!i && calls_valid(c) && !create_is_elsewhere(all->k, &c->call, c->name)) {
		if (peers_is_second(c->call.r))
			peers_say_unknown(c->call.r);
		http_error(c->call.r, 404, "The specified consumer instance was not found.");
		return;
	}
	if (!i)
		return;
	i->used_ms = all->now_ms;
	poll_settle(i, true);
	dispatch(i, c);
}

/* ---- the loop ---- */

struct consumers *consumers_open(struct khttp *k)
{
	struct consumers *all = mem_alloc(sizeof(*all));

	*all = (struct consumers){.k = k, .fd = epoll_create1(EPOLL_CLOEXEC)};
	if (all->fd < 0)
		die(EXIT_TEMP, "cannot make an epoll descriptor: %s", msg_errno(errno));
	return all;
}

int consumers_fd(const struct consumers *all)
{
	return all ? all->fd : -1;
}

int consumers_timeout_ms(const struct consumers *all, int64_t now_ms)
{
	int64_t ms;

	if (!all || !all->instances)
		return -1;
	/* Neither the thread that ends a client wakes us, nor a client's kernel. */
	ms = all->closing_count ? CLOSING_TICK_MS : all->tick_ms - now_ms;
	if (all->unsettled && ms > UNSETTLED_TICK_MS)
		ms = UNSETTLED_TICK_MS;
	if (all->heap_count && all->heap[0]->until_ms - now_ms < ms)
		ms = all->heap[0]->until_ms - now_ms;
	return ms < 0 ? 0 : (int)ms;
}

/* Events wait in a queue of their own, so that a rebalance is served while records wait. */
static void serve_events(struct instance *i)
{
	rd_kafka_message_t *m;
	rd_kafka_event_t *event;

	while ((m = rd_kafka_consume_queue(i->events, 0))) {
		error_take(i, m);
		rd_kafka_message_destroy(m);
	}
	while ((event = rd_kafka_queue_poll(i->answers, 0))) {
		if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT)
			calls_committed(i, (uint64_t)(uintptr_t)rd_kafka_event_opaque(event),
				rd_kafka_event_error(event),
				rd_kafka_event_topic_partition_list(event));
		rd_kafka_event_destroy(event);
	}
}

static void serve(struct instance *i)
{
	if (i->destroying)
		return;
	kafka_woken(&i->kafka);
	serve_events(i);
	group_go_on(i);
	if (i->pattern)
		pattern_go_on(i);
	poll_go_on(i);
}

static bool is_idle(const struct instance *i)
{
	int64_t limit_ms = i->all->k->consumer_timeout_ms;

	/* A reader ends with its request. */
	if (i->read)
		return !i->waits;
	return limit_ms && !i->waits && i->all->now_ms - i->used_ms >= limit_ms;
}

static void free_instance(struct instance *i)
{
	while (i->waits)
		wait_unlink(i->waits);
	*i->link = i->next;
	if (i->next)
		i->next->link = i->link;
	i->all->closing_count--;
	free(i->group);
	free(i->name);
	free(i);
}

/* Goes on with the end of an instance. Returns whether it has been freed. */
static bool close_step(struct instance *i)
{
	if (i->destroying) {
		if (!kafka_has_ended(&i->kafka))
			return false;
		free_instance(i);
		return true;
	}
	/* What has been received meanwhile is committed first. */
	if (!i->close_begun && group_may_close(i))
		group_close(i);
	if (!i->close_begun && group_may_close(i)) {
		i->close_begun = true;
		rd_kafka_error_destroy(rd_kafka_consumer_close_queue(i->kafka.rk, i->events));
	}
	if (!(i->close_begun && rd_kafka_consumer_closed(i->kafka.rk)) &&
		i->all->now_ms < i->close_by_ms)
		return false;
	for (struct wait *w = i->waits; w; w = w->next)
		if (w->kind == WAIT_CLOSE && !w->answered) {
			wait_answered(w);
			calls_done(w->request);
		}
	epoll_ctl(i->all->fd, EPOLL_CTL_DEL, i->kafka.wake_fd, NULL);
	if (!group_release(i))
		return false;
	i->destroying = true;
	kafka_end(&i->kafka);
	return false;
}

static void answer_poll(struct wait *w, bool leaving)
{
	if (w->kind == WAIT_POLL && leaving)
		poll_due(w);
	else if (w->kind == WAIT_STREAM)
		http_end(w->request);
	else if (w->kind != WAIT_CLOSE)
		http_error(w->request, 404, "The specified consumer instance was not found.");
}

void instance_close(struct instance *i, bool leaving)
{
	struct wait *next;

	if (i->closing)
		return;
	unname(i);
	i->all->instance_count--;
	i->all->closing_count++;
	i->all->unsettled = true;
	i->closing = true;
	i->close_by_ms = i->all->now_ms + CLOSE_MS;
	for (struct wait *w = i->waits; w; w = next) {
		next = w->next;
		if (w->answered || w->kind == WAIT_CLOSE || (w->kind == WAIT_COMMIT && w->commit))
			continue;
		wait_answered(w);
		answer_poll(w, leaving);
	}
	group_close(i);
}

static void tick(struct consumers *all)
{
	struct instance *next;

	all->tick_ms = all->now_ms + TICK_MS;
	for (struct instance *i = all->instances; i; i = next) {
		next = i->next;
		if (!i->closing && is_idle(i)) {
			msg_info("instance '%s' of group '%s' is idle: deleted", i->name, i->group);
			all->reaped++;
			instance_close(i, false);
		}
		serve(i);
		error_place(i);
		if (!i->closing && i->auto_commit && all->now_ms >= i->commit_ms) {
			i->commit_ms = all->now_ms + COMMIT_MS;
			commit_positions(i);
		}
	}
}

static void serve_woken(struct consumers *all)
{
	struct epoll_event events[64];
	int n = epoll_wait(all->fd, events, 64, 0);

	for (int e = 0; e < n; e++)
		serve(events[e].data.ptr);
}

/* Somebody waits for the receipt of an answer, which wakes nobody: a poll, a rebalance. Or a queue
 * may be forgotten. */
static void serve_unsettled(struct consumers *all)
{
	bool more = false;

	for (struct instance *i = all->instances; i && all->unsettled; i = i->next)
		if ((i->receipt || all->now_ms < i->forward_until_ms) && !i->destroying) {
			serve(i);
			more = more || all->now_ms < i->forward_until_ms ||
				(i->receipt && (i->waits || i->leaving || i->closing));
		}
	all->unsettled = more;
}

static void serve_closing(struct consumers *all)
{
	struct instance *next;

	for (struct instance *i = all->instances; i && all->closing_count; i = next) {
		next = i->next;
		if (i->closing)
			close_step(i);
	}
}

void consumers_serve(struct consumers *all, int64_t now_ms)
{
	if (!all)
		return;
	all->now_ms = now_ms;
	serve_woken(all);
	if (now_ms >= all->tick_ms)
		tick(all);
	serve_due(all);
	serve_unsettled(all);
	serve_closing(all);
}

/* ---- the end ---- */

void consumers_leave(struct consumers *all)
{
	if (!all)
		return;
	all->leaving = true;
	for (struct instance *i = all->instances; i; i = i->next)
		instance_close(i, true);
}

bool consumers_close(struct consumers *all)
{
	if (!all)
		return true;
	consumers_leave(all);
	if (all->instances)
		return false;
	close(all->fd);
	all->closed = true;
	consumers_free(all);
	return true;
}
