/* SPDX-License-Identifier: ISC */
#include "khttp/writers.h"

#include "khttp/handles.h"
#include "khttp/idem.h"
#include "khttp/khttp.h"
#include "khttp/topics.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"
#include "kafka/limits.h"
#include "kafka/verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	YOUNG_MS = 5000, /* a record that was not sent by then is its client's to send again */
	RESTART_MS = 1000, /* in which a producer is given up once */
	PURGE_MS = 1000,
	SOCKET_MS = 10000,
	LIMIT_MS = 60000, /* a broker's limit is believed so long: it may come back with another */
	RECORD_BYTES = 61 + 25, /* the head of a batch and of a record, at the most … */
	HEADER_BYTES = 10, /* … and of a header */
};

struct writer {
	struct kafka kafka; /* first: librdkafka's callbacks get it */
	struct writers *all;
	enum writer_kind kind;
	struct handles handles;
	size_t out; /* records without a report */
	bool lost; /* one of them */
	bool ends;
	int64_t purged_ms;
	struct writer *next; /* of those that take no more records */
};

struct writers {
	struct khttp *k;
	writers_fn *fn;
	bool idempotent;
	int64_t timeout_ms; /* of a record */
	struct writer *now[WRITER_KINDS];
	int64_t retired_ms[WRITER_KINDS]; /* when the last one was given up */
	struct writer *old;
	struct trouble trouble;
	uint64_t given_up;
	struct {
		struct limits all; /* asked for by the first client */
		bool is_out, was_known;
		int64_t next_ms; /* when they are asked for next */
		bool compresses;
	} limits;
};

/* ---- their life ---- */

static void set(struct kafka_conf *c, const char *name, int value)
{
	char text[24];

	snprintf(text, sizeof(text), "%d", value);
	rd_kafka_conf_set(c->rd, name, text, NULL, 0);
}

static void set_at_most(struct kafka_conf *c, const char *name, int value)
{
	if (kafka_conf_int(c, name) > value)
		set(c, name, value);
}

static void set_at_least(struct kafka_conf *c, const char *name, int value)
{
	if (kafka_conf_int(c, name) < value)
		set(c, name, value);
}

static void configure(struct kafka_conf *c, enum writer_kind kind)
{
	/* A broker that does not answer is left after that time, and may be the one that was asked
	 * for a topic. */
	set_at_most(c, "socket.timeout.ms", SOCKET_MS);
	if (kind == WRITER_PLAIN)
		return;
	/* Of several on their way to a broker that goes, one may come to the next broker before
	 * another: librdkafka gives the producer up then. */
	set_at_most(c, "max.in.flight.requests.per.connection", 1);
	if (kind == WRITER_SINGLE)
		set_at_most(c, "batch.num.messages", 1);
	else
		set_at_least(c, "message.timeout.ms", IDEM_TTL_MS);
}

static struct writer *start(struct writers *ws, enum writer_kind kind, struct trouble *why)
{
	struct kafka_conf conf = khttp_conf(ws->k);
	struct writer *w = mem_alloc(sizeof(*w));
	rd_kafka_queue_t *queue;

	*w = (struct writer){.all = ws, .kind = kind};
	configure(&conf, kind);
	rd_kafka_conf_set_dr_msg_cb(conf.rd, ws->fn);
	if (kafka_start(&w->kafka, RD_KAFKA_PRODUCER, &conf, why)) {
		free(w);
		return NULL;
	}
	handles_open(&w->handles, &w->kafka);
	/* The loop polls the first client's descriptor. */
	queue = rd_kafka_queue_get_main(w->kafka.rk);
	kafka_wake_on(&ws->k->kafka, queue);
	rd_kafka_queue_destroy(queue);
	return w;
}

/* Those of its records that are not on their way come back at once. */
static void purge(struct writer *w)
{
	rd_kafka_purge(w->kafka.rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
	w->purged_ms = wake_now_ms();
}

/* It takes no more records. */
static void retire(struct writer *w)
{
	struct writers *ws = w->all;

	msg_warn("%s; another producer takes its place",
		w->kafka.trouble.status ? w->kafka.trouble.text
					: "Kafka has not answered for a record");
	ws->now[w->kind] = NULL;
	w->next = ws->old;
	ws->old = w;
	ws->given_up++;
	purge(w);
	ws->retired_ms[w->kind] = w->purged_ms;
}

/* After a fatal error librdkafka sends nothing more, but still puts what was on its way, and has to
 * be sent again, into its queues: there it would stay until it times out. */
static void purge_again(struct writer *w)
{
	if (w->out && wake_now_ms() - w->purged_ms >= PURGE_MS &&
		rd_kafka_fatal_error(w->kafka.rk, NULL, 0))
		purge(w);
}

static bool is_spent(const struct writer *w)
{
	return w->lost || w->kafka.trouble.status || rd_kafka_fatal_error(w->kafka.rk, NULL, 0);
}

/* Those that follow one another may all fail at once. */
static bool may_retire(const struct writer *w)
{
	int64_t last_ms = w->all->retired_ms[w->kind];

	return is_spent(w) && (!last_ms || wake_now_ms() - last_ms >= RESTART_MS);
}

/* One that takes records; NULL: there is none, for *@err. */
static struct writer *get(struct writers *ws, enum writer_kind kind, rd_kafka_resp_err_t *err)
{
	struct writer *w = ws->now[kind];
	struct trouble why = {0};

	*err = RD_KAFKA_RESP_ERR_NO_ERROR;
	if (w && may_retire(w)) {
		retire(w);
		w = NULL;
	}
	if (w) {
		*err = rd_kafka_fatal_error(w->kafka.rk, NULL, 0);
		return *err ? NULL : w;
	}
	w = ws->now[kind] = start(ws, kind, &why);
	if (w)
		return w;
	msg_warn("cannot start another producer: %s", why.text);
	*err = RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
	return NULL;
}

/* ---- records ---- */

rd_kafka_topic_t *writers_topic(
	struct writers *ws, enum writer_kind kind, const char *name, rd_kafka_resp_err_t *err)
{
	struct writer *w = get(ws, kind, err);
	/* Of one that cannot be librdkafka remembers that it is not there, and not why. */
	bool can_be = topics_is_name((struct span){name, strlen(name)});
	rd_kafka_topic_t *rkt = w && can_be ? handles_get(&w->handles, name) : NULL;

	if (w && !rkt)
		*err = RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
	return rkt;
}

rd_kafka_resp_err_t writers_send(struct writers *ws, enum writer_kind kind, rd_kafka_topic_t *rkt,
	struct message *m, void *opaque)
{
	struct writer *w = ws->now[kind];
	rd_kafka_vu_t vus[8];
	rd_kafka_resp_err_t err;
	rd_kafka_error_t *error;
	size_t n = 0;

	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = rkt};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = m->partition};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_VALUE,
		.u.mem = {.ptr = (void *)(uintptr_t)m->value.p, .size = m->value.len}};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY,
		.u.mem = {.ptr = (void *)(uintptr_t)m->key.p, .size = m->key.len}};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = opaque};
	if (m->timestamp)
		vus[n++] =
			(rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = m->timestamp};
	if (m->headers)
		vus[n++] =
			(rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = m->headers};
	error = rd_kafka_produceva(w->kafka.rk, vus, n);
	if (!error) {
		m->headers = NULL;
		w->out++;
		return RD_KAFKA_RESP_ERR_NO_ERROR;
	}
	err = rd_kafka_error_code(error);
	rd_kafka_error_destroy(error);
	if (err != RD_KAFKA_RESP_ERR__FATAL)
		return err;
	err = rd_kafka_fatal_error(w->kafka.rk, NULL, 0);
	return err ? err : RD_KAFKA_RESP_ERR__FATAL;
}

/* Sends the record of a report by another producer. */
static bool send_anew(
	struct writers *ws, enum writer_kind kind, const rd_kafka_message_t *m, int64_t timestamp)
{
	rd_kafka_headers_t *list = NULL;
	struct message copy = {.partition = m->partition,
		.value = {m->payload, m->len},
		.key = {m->key, m->key_len},
		.timestamp = timestamp};
	rd_kafka_resp_err_t err;
	rd_kafka_topic_t *rkt = writers_topic(ws, kind, rd_kafka_topic_name(m->rkt), &err);

	if (!rkt)
		return false;
	if (rd_kafka_message_headers(m, &list) == RD_KAFKA_RESP_ERR_NO_ERROR)
		copy.headers = rd_kafka_headers_copy(list);
	if (!writers_send(ws, kind, rkt, &copy, m->_private))
		return true;
	if (copy.headers)
		rd_kafka_headers_destroy(copy.headers);
	return false;
}

/* The record was taken back unsent. */
static bool is_purged(const rd_kafka_message_t *m)
{
	return (m->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || m->err == RD_KAFKA_RESP_ERR__FATAL) &&
		rd_kafka_message_status(m) == RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
}

/* How old a record may be that goes again. Where Kafka is silent another producer would wait as
 * the last one has; one that librdkafka has given up says nothing of the others' records. */
static int64_t patience_ms(const struct writer *w)
{
	if (w->kind == WRITER_PATIENT)
		return IDEM_TTL_MS;
	return w->lost ? YOUNG_MS : w->all->timeout_ms;
}

bool writers_takes(const rd_kafka_message_t *m, void *writer, int64_t timestamp, int64_t age_ms)
{
	struct writer *w = writer;
	struct writers *ws = w->all;

	w->out--;
	if (!m->err)
		return false;
	/* Its sequence of records has a hole now, which librdkafka mends when all that is out has
	 * an answer. */
	if (m->err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT && ws->idempotent)
		w->lost = true;
	/* A batch has records of several requests: each goes again by itself, and that answer
	 * counts. They go in the order of their refusal; what was sent behind them meanwhile may
	 * stand before them. */
	if (verdict_is_shared(m->err))
		return w->kind != WRITER_SINGLE && send_anew(ws, WRITER_SINGLE, m, timestamp);
	return is_purged(m) && age_ms < patience_ms(w) && send_anew(ws, w->kind, m, timestamp);
}

rd_kafka_resp_err_t writers_error(const rd_kafka_message_t *m, const void *writer)
{
	const struct writer *w = writer;
	rd_kafka_resp_err_t err;

	/* librdkafka takes a batch whose answer was lost for written when a later one is. A broker
	 * that has just become leader may never have got it. */
	if (!m->err && m->offset < 0 && w->all->idempotent)
		return RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT;
	if (m->err != RD_KAFKA_RESP_ERR__PURGE_QUEUE && m->err != RD_KAFKA_RESP_ERR__FATAL)
		return m->err;
	err = rd_kafka_fatal_error(w->kafka.rk, NULL, 0);
	return err ? err : m->err;
}

/* ---- how large one may be ---- */

size_t writers_batch_max(const struct writers *ws)
{
	return ws->limits.all.batch_max;
}

bool writers_fits(struct writers *ws, const struct message *m)
{
	size_t max = writers_batch_max(ws), bytes = RECORD_BYTES + m->key.len + m->value.len, len;
	const void *value;
	const char *name;

	/* Nobody knows how small it will be. */
	if (!max || ws->limits.compresses)
		return true;
	for (size_t i = 0;
		m->headers && !rd_kafka_header_get_all(m->headers, i, &name, &value, &len); i++)
		bytes += HEADER_BYTES + strlen(name) + len;
	if (bytes > max)
		ws->limits.next_ms = 0;
	return bytes <= max;
}

/* Where they may not be read, they are asked for once. */
static void serve_limits(struct writers *ws)
{
	const struct khttp *k = ws->k;
	int32_t broker = rd_kafka_controllerid(k->kafka.rk, 0);

	if (limits_take(&ws->limits.all)) {
		ws->limits.is_out = false;
		ws->limits.was_known |= writers_batch_max(ws) > 0;
		ws->limits.next_ms = ws->limits.was_known || !ws->limits.all.is_known
			? k->now_ms + LIMIT_MS
			: INT64_MAX;
	}
	if (ws->limits.is_out || !k->is_up || broker < 0 || k->now_ms < ws->limits.next_ms)
		return;
	limits_ask(&ws->limits.all, broker);
	ws->limits.is_out = true;
}

void writers_forget(struct writers *ws, const char *name)
{
	for (int kind = 0; kind < WRITER_KINDS; kind++)
		if (ws->now[kind])
			handles_forget(&ws->now[kind]->handles, name);
}

/* ---- all of them ---- */

struct writers *writers_open(struct khttp *k, writers_fn *fn)
{
	struct writers *ws = mem_alloc(sizeof(*ws));
	struct trouble why = {0};
	char text[8];
	size_t size = sizeof(text);

	*ws = (struct writers){.k = k, .fn = fn};
	ws->idempotent = !rd_kafka_conf_get(k->base.rd, "enable.idempotence", text, &size) &&
		strcmp(text, "true") == 0;
	ws->timeout_ms = kafka_conf_int(&k->base, "message.timeout.ms");
	if (!ws->timeout_ms)
		ws->timeout_ms = INT64_MAX;
	ws->limits.compresses = strcmp(kafka_conf_text(&k->base, "compression.codec"), "none") != 0;
	limits_open(&ws->limits.all, &k->kafka);
	ws->now[WRITER_PLAIN] = start(ws, WRITER_PLAIN, &why);
	if (!ws->now[WRITER_PLAIN])
		exit(trouble_tell(&why));
	metrics_counter("producers_given_up_total",
		"Producers that others have taken the place of.", METRICS_TOOL, &ws->given_up);
	return ws;
}

/* Returns whether it has been freed. */
static bool end(struct writer *w)
{
	if (!w->ends && w->out)
		return false;
	if (!w->ends) {
		handles_close(&w->handles);
		kafka_end(&w->kafka);
		w->ends = true;
	}
	if (!kafka_has_ended(&w->kafka))
		return false;
	free(w);
	return true;
}

static void serve(struct writer *w)
{
	struct trouble *t = &w->kafka.trouble;

	kafka_woken(&w->kafka);
	rd_kafka_poll(w->kafka.rk, 0);
	/* What is away the first client tells, which sends no records. */
	brokers_tell_cuts(&w->kafka.brokers, wake_now_ms());
	if (t->status && t->status != EXIT_TEMP && !w->all->trouble.status)
		w->all->trouble = *t;
}

static void serve_now(struct writers *ws, enum writer_kind kind)
{
	struct writer *w = ws->now[kind];
	rd_kafka_resp_err_t err;

	if (!w)
		return;
	serve(w);
	if (may_retire(w))
		get(ws, kind, &err);
}

const struct trouble *writers_serve(struct writers *ws)
{
	struct writer **link = &ws->old, *next;

	serve_limits(ws);
	for (int kind = 0; kind < WRITER_KINDS; kind++)
		serve_now(ws, (enum writer_kind)kind);
	/* What one gives back may spend another one, which comes to stand before it. */
	for (struct writer *w = ws->old; w; w = w->next)
		if (!w->ends) {
			serve(w);
			purge_again(w);
		}
	while (*link) {
		next = (*link)->next;
		if (end(*link))
			*link = next;
		else
			link = &(*link)->next;
	}
	return &ws->trouble;
}

void writers_close(struct writers *ws)
{
	for (int kind = 0; kind < WRITER_KINDS; kind++) {
		struct writer *w = ws->now[kind];

		if (!w)
			continue;
		handles_close(&w->handles);
		kafka_stop(&w->kafka);
		free(w);
	}
	limits_close(&ws->limits.all);
	free(ws);
}
