/* SPDX-License-Identifier: ISC */
#include "kwrite/resend.h"

#include "base/mem.h"
#include "base/msg.h"
#include "kafka/verdict.h"
#include "kwrite/delivery.h"

#include <stdlib.h>
#include <string.h>

/* ---- stopping partitions ---- */

static struct resend_stop **find(struct resend *r, const rd_kafka_topic_t *rkt, int32_t partition)
{
	struct resend_stop **s = &r->stops;

	while (*s && ((*s)->rkt != rkt || (*s)->partition != partition))
		s = &(*s)->next;
	return s;
}

static void stop_or_go(rd_kafka_t *rk, const rd_kafka_topic_t *rkt, int32_t partition, bool stop)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, rd_kafka_topic_name(rkt), partition);
	if (stop)
		rd_kafka_pause_partitions(rk, list);
	else
		rd_kafka_resume_partitions(rk, list);
	rd_kafka_topic_partition_list_destroy(list);
}

/* Runs in the thread that sends to the partition. That thread sends nothing before this returns. */
static rd_kafka_resp_err_t on_answer(rd_kafka_t *rk, rd_kafka_message_t *m, void *opaque)
{
	struct resend *r = opaque;
	struct resend_stop **s;

	if (!m->err || !verdict_is_shared(m->err) || m->partition < 0)
		return RD_KAFKA_RESP_ERR_NO_ERROR;
	pthread_mutex_lock(&r->mutex);
	s = find(r, m->rkt, m->partition);
	if (!*s) {
		*s = mem_alloc(sizeof(**s));
		**s = (struct resend_stop){.rkt = m->rkt, .partition = m->partition};
		stop_or_go(rk, m->rkt, m->partition, true);
	}
	(*s)->left++;
	(*s)->too_large = (*s)->too_large || verdict_is_too_large(m->err);
	pthread_mutex_unlock(&r->mutex);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(
	rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *why, size_t why_size)
{
	(void)conf, (void)why, (void)why_size;
	return rd_kafka_interceptor_add_on_acknowledgement(rk, "kwrite", on_answer, opaque);
}

void resend_prepare(struct resend *r, struct kafka *first, struct kafka_conf *c,
	const struct sink *sink, const struct shape *shape, bool off)
{
	*r = (struct resend){
		.off = off, .first = first, .sink = sink, .shape = *shape, .resolves = c->resolves};
	r->shape.name = r->shape.scratch = r->shape.keys = (struct buf){0};
	if (off)
		return;
	pthread_mutex_init(&r->mutex, NULL);
	r->conf = rd_kafka_conf_dup(c->rd);
	rd_kafka_conf_set(r->conf, "batch.num.messages", "1", NULL, 0);
	rd_kafka_conf_set(r->conf, "linger.ms", "0", NULL, 0);
	rd_kafka_conf_interceptor_add_on_new(c->rd, "kwrite", on_new, r);
}

/* ---- sending again ---- */

bool resend_takes(struct resend *r, struct delivery *d, const rd_kafka_message_t *m)
{
	if (r->off || !m->err || !verdict_is_shared(m->err) || m->partition < 0)
		return false;
	if (r->from + r->count == r->capacity && r->from) {
		memmove(r->waiting, r->waiting + r->from, r->count * sizeof(*r->waiting));
		r->from = 0;
	}
	if (r->from + r->count == r->capacity) {
		r->capacity = r->capacity ? r->capacity * 2 : 1024;
		r->waiting = mem_realloc(r->waiting, r->capacity * sizeof(*r->waiting));
	}
	d->partition = m->partition;
	r->waiting[r->from + r->count++] = d;
	d->topic->is_picky = true;
	/* The limit is another one than was known. */
	if (verdict_is_too_large(m->err))
		topic_forget(d->topic);
	return true;
}

static bool start(struct resend *r)
{
	struct kafka_conf c = {.rd = r->conf,
		.resolves = r->resolves,
		.secrets = r->first->reach.secrets,
		.token_cmd = r->first->reach.token_cmd};
	rd_kafka_queue_t *queue;

	if (r->second.rk)
		return true;
	if (!r->conf || kafka_start(&r->second, RD_KAFKA_PRODUCER, &c, &r->first->trouble))
		return false;
	r->conf = NULL;
	queue = rd_kafka_queue_get_main(r->second.rk);
	kafka_wake_on(r->first, queue);
	rd_kafka_queue_destroy(queue);
	return true;
}

bool resend_make(
	struct shape *shape, const struct sink *sink, struct delivery *d, struct message *m)
{
	bool done = true;

	*m = (struct message){.topic = d->topic};
	if (d->slot.refused)
		m->payload = (struct span){d->text, strlen(d->text)};
	else
		done = message_again(shape, sink_text(sink, &d->slot), m);
	m->partition = d->partition;
	m->ts = d->ts;
	return done;
}

/* false: there is no room for it. */
static bool send_one(struct resend *r, struct delivery *d)
{
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__FAIL;
	rd_kafka_topic_t *rkt;
	struct message m;

	if (resend_make(&r->shape, r->sink, d, &m)) {
		rkt = rd_kafka_topic_new(r->second.rk, d->topic->name, NULL);
		err = deliveries_hand_over(r->second.rk, rkt, d, &m);
		rd_kafka_topic_destroy(rkt);
	}
	if (err && m.headers)
		rd_kafka_headers_destroy(m.headers);
	if (err && err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
		trouble_set(&r->first->trouble, EXIT_TEMP,
			"line %llu: topic '%s': cannot send the record again: %s",
			(unsigned long long)d->slot.number, d->topic->name, kafka_why(err));
	return !err;
}

void resend_answered(struct resend *r, const struct delivery *d, rd_kafka_resp_err_t err)
{
	struct resend_stop **s, *stop;

	r->out--;
	pthread_mutex_lock(&r->mutex);
	s = find(r, d->topic->rkt, d->partition);
	stop = *s;
	if (stop)
		stop->found = stop->found || verdict_is_too_large(err);
	/* The mutex is kept: a refusal that comes now must stop the partition after this. */
	if (stop && --stop->left == 0) {
		stop_or_go(r->first->rk, stop->rkt, stop->partition, false);
		r->resumed = true;
		if (stop->too_large && !stop->found)
			topic_takes_less(d->topic);
		*s = stop->next;
		free(stop);
	}
	pthread_mutex_unlock(&r->mutex);
}

void resend_serve(struct resend *r)
{
	const struct trouble *why = &r->second.trouble;

	while (r->count && start(r) && send_one(r, r->waiting[r->from])) {
		r->from++;
		r->count--;
		r->out++;
	}
	if (!r->second.rk)
		return;
	rd_kafka_poll(r->second.rk, 0);
	/* Wakes the threads of the first client; without this they look a second later. */
	if (r->resumed)
		rd_kafka_flush(r->first->rk, 0);
	r->resumed = false;
	/* Brokers that are away for both clients are the first one's to name. */
	if (r->out && r->first->up)
		kafka_tick(&r->second);
	if (why->status)
		trouble_set(&r->first->trouble, why->status, "%s", why->text);
}

void resend_close(struct resend *r)
{
	if (r->second.rk)
		kafka_stop(&r->second);
}
