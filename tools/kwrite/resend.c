/* SPDX-License-Identifier: ISC */
#include "kwrite/resend.h"

#include "base/mem.h"
#include "base/msg.h"
#include "kafka/verdict.h"
#include "kwrite/delivery.h"

#include <stdlib.h>
#include <string.h>

/* ---- stopping partitions ---- */

static struct resend_stop **find(struct resend_stage *g, const char *topic, int32_t partition)
{
	struct resend_stop **s = &g->stops;

	while (*s && ((*s)->partition != partition || strcmp((*s)->topic, topic) != 0))
		s = &(*s)->next;
	return s;
}

static void stop_or_go(rd_kafka_t *rk, const char *topic, int32_t partition, bool stop)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, topic, partition);
	if (stop)
		rd_kafka_pause_partitions(rk, list);
	else
		rd_kafka_resume_partitions(rk, list);
	rd_kafka_topic_partition_list_destroy(list);
}

/* Runs in the thread that sends to the partition. That thread sends nothing before this returns. */
static rd_kafka_resp_err_t on_answer(rd_kafka_t *rk, rd_kafka_message_t *m, void *opaque)
{
	struct resend_stage *g = opaque;
	const char *topic;
	struct resend_stop **s;

	if (!m->err || !verdict_is_shared(m->err) || m->partition < 0)
		return RD_KAFKA_RESP_ERR_NO_ERROR;
	topic = rd_kafka_topic_name(m->rkt);
	pthread_mutex_lock(&g->mutex);
	s = find(g, topic, m->partition);
	if (!*s) {
		*s = mem_alloc(sizeof(**s));
		**s = (struct resend_stop){.topic = mem_dup(topic), .partition = m->partition};
		stop_or_go(rk, topic, m->partition, true);
	}
	(*s)->count++;
	(*s)->left++;
	(*s)->too_large = (*s)->too_large || verdict_is_too_large(m->err);
	pthread_mutex_unlock(&g->mutex);
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
	/* Of a thousand records with a bad one, about sixty requests are made. */
	static const char *const sizes[RESEND_STAGES] = {"32", "1"};
	rd_kafka_conf_t *conf = c->rd;
	struct kafka *refused = first;

	*r = (struct resend){
		.off = off, .first = first, .sink = sink, .shape = *shape, .resolves = c->resolves};
	r->shape.name = r->shape.scratch = r->shape.keys = (struct buf){0};
	for (int i = 0; !off && i < RESEND_STAGES; i++) {
		struct resend_stage *g = &r->stages[i];

		pthread_mutex_init(&g->mutex, NULL);
		g->refused = refused;
		g->conf = rd_kafka_conf_dup(conf);
		rd_kafka_conf_set(g->conf, "batch.num.messages", sizes[i], NULL, 0);
		rd_kafka_conf_set(g->conf, "linger.ms", "0", NULL, 0);
		rd_kafka_conf_interceptor_add_on_new(conf, "kwrite", on_new, g);
		refused = &g->client;
		conf = g->conf;
	}
}

/* ---- sending again ---- */

/* The record will be sent again by this stage. */
static void take(struct resend_stage *g, struct delivery *d)
{
	if (g->count == g->capacity) {
		g->capacity = g->capacity ? g->capacity * 2 : 1024;
		g->waiting = mem_realloc(g->waiting, g->capacity * sizeof(*g->waiting));
	}
	g->waiting[g->count++] = d;
	g->has_news = true;
}

/* What becomes of the first record that the stage sends to this partition. It goes alone, and those
 * behind it wait for its answer: the broker may have nothing of this client, and would take a
 * second batch behind a first one that it refuses (first.h). */
static enum resend_first first_of(struct resend_stage *g, const struct delivery *d,
	enum resend_first from, enum resend_first to)
{
	struct resend_stop *stop;
	enum resend_first is = RESEND_WRITTEN;

	pthread_mutex_lock(&g->mutex);
	stop = *find(g, d->topic->name, d->partition);
	if (stop && stop->first == from)
		stop->first = to;
	if (stop)
		is = stop->first;
	pthread_mutex_unlock(&g->mutex);
	return is;
}

/* A record that was refused in a batch has its own answer. true: it was the last one for which the
 * partition stood still. @last: what became of them. */
static bool settle(struct resend_stage *g, const struct delivery *d, rd_kafka_resp_err_t err,
	struct resend_stop *last)
{
	struct resend_stop **s, *stop;
	bool is_last;

	pthread_mutex_lock(&g->mutex);
	s = find(g, d->topic->name, d->partition);
	stop = *s;
	if (stop)
		stop->found = stop->found || verdict_is_too_large(err);
	is_last = stop && --stop->left == 0;
	/* The mutex is kept: a refusal that comes now must stop the partition after this. */
	if (is_last) {
		stop_or_go(g->refused->rk, stop->topic, stop->partition, false);
		g->resumed = true;
		*last = *stop;
		*s = stop->next;
		free(stop->topic);
		free(stop);
	}
	pthread_mutex_unlock(&g->mutex);
	return is_last;
}

/* All records of a batch are counted before the first of them is reported. */
static bool was_alone(struct resend_stage *g, const rd_kafka_message_t *m)
{
	struct resend_stop *stop;
	bool alone;

	pthread_mutex_lock(&g->mutex);
	stop = *find(g, rd_kafka_topic_name(m->rkt), m->partition);
	alone = stop && stop->count == 1;
	pthread_mutex_unlock(&g->mutex);
	return alone;
}

bool resend_takes(
	struct resend *r, struct delivery *d, const rd_kafka_t *rk, const rd_kafka_message_t *m)
{
	struct resend_stop last;
	int stage = 0;

	while (!r->off && stage < RESEND_STAGES && rk != r->stages[stage].refused->rk)
		stage++;
	if (stage) {
		r->stages[stage - 1].out--;
		r->stages[stage - 1].has_news = true;
		first_of(&r->stages[stage - 1], d, RESEND_OUT,
			m->err ? RESEND_NONE : RESEND_WRITTEN);
	}
	if (!r->off && stage < RESEND_STAGES && m->err && verdict_is_shared(m->err) &&
		m->partition >= 0) {
		d->partition = m->partition;
		/* The limit is another one than was known. */
		if (verdict_is_too_large(m->err))
			topic_forget(d->topic);
		if (!was_alone(&r->stages[stage], m)) {
			take(&r->stages[stage], d);
			return true;
		}
		stage++;
	}
	/* The last client's partitions first: a partition goes on when those behind it do. */
	while (stage-- > 0)
		if (settle(&r->stages[stage], d, m->err, &last) && stage == 0 && last.too_large &&
			!last.found)
			topic_takes_less(d->topic);
	return false;
}

static bool start(struct resend *r, struct resend_stage *g)
{
	struct kafka_conf c = {.rd = g->conf,
		.resolves = r->resolves,
		.secrets = r->first->reach.secrets,
		.has_mechanism = r->first->reach.has_mechanism,
		.token_cmd = r->first->reach.token_cmd};
	rd_kafka_queue_t *queue;

	if (g->client.rk)
		return true;
	if (!g->conf || kafka_start(&g->client, RD_KAFKA_PRODUCER, &c, &r->first->trouble))
		return false;
	g->conf = NULL;
	queue = rd_kafka_queue_get_main(g->client.rk);
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
static bool send_one(struct resend *r, struct resend_stage *g, struct delivery *d)
{
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__FAIL;
	rd_kafka_topic_t *rkt;
	struct message m;

	if (resend_make(&r->shape, r->sink, d, &m)) {
		rkt = rd_kafka_topic_new(g->client.rk, d->topic->name, NULL);
		err = deliveries_hand_over(g->client.rk, rkt, d, &m);
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

/* Sends what need not wait; others may pass what does. */
static void send_waiting(struct resend *r, struct resend_stage *g)
{
	size_t kept = 0, i = 0;

	g->has_news = false;
	for (; i < g->count; i++) {
		struct delivery *d = g->waiting[i];

		if (first_of(g, d, RESEND_OUT, RESEND_OUT) == RESEND_OUT) {
			g->waiting[kept++] = d;
			continue;
		}
		if (!send_one(r, g, d))
			break;
		first_of(g, d, RESEND_NONE, RESEND_OUT);
		g->out++;
	}
	memmove(g->waiting + kept, g->waiting + i, (g->count - i) * sizeof(*g->waiting));
	g->count -= i - kept;
}

static void serve(struct resend *r, struct resend_stage *g)
{
	const struct trouble *why = &g->client.trouble;

	if (g->count && g->has_news && start(r, g))
		send_waiting(r, g);
	if (!g->client.rk)
		return;
	rd_kafka_poll(g->client.rk, 0);
	/* Wakes the threads of the client that was refused: else they look a second later. */
	if (g->resumed)
		rd_kafka_flush(g->refused->rk, 0);
	g->resumed = false;
	/* Brokers that are away for all clients are the first one's to name. */
	if (g->out && r->first->up)
		kafka_tick(&g->client);
	if (why->status)
		trouble_set(&r->first->trouble, why->status, "%s", why->text);
}

void resend_serve(struct resend *r)
{
	for (int i = 0; i < RESEND_STAGES; i++)
		serve(r, &r->stages[i]);
}

void resend_close(struct resend *r)
{
	for (int i = 0; i < RESEND_STAGES; i++)
		if (r->stages[i].client.rk)
			kafka_stop(&r->stages[i].client);
}
