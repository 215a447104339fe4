/* SPDX-License-Identifier: ISC */
/* DESIGN: a record's slot is the opaque of its message; the delivery report fills it in, and the last one answers. What is
 * accepted is never dropped: when the client goes, its records go on to Kafka.
 *
 * A request with an Idempotency-Key is answered with 504 when its time is over, but its records are not given up: the key
 * has the outcome when there is one. */
#include "khttp/produce.h"

#include "khttp/ask.h"
#include "khttp/body.h"
#include "khttp/error.h"
#include "khttp/slots.h"
#include "khttp/records.h"
#include "khttp/topics.h"
#include "khttp/writers.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
	SHARES = 256,
	STALL_MS = 5000, /* a topic that waits so long for Kafka's answer is bounded by itself */
	STALLED_PART = 8, /* of all the room */
};

struct produces {
	struct khttp *k;
	size_t count, bytes, max_bytes; /* of records on their way */
	struct writers *writers;
	struct idem *idem;
	int64_t timeout_ms; /* for an answer to a request with a key; 0: none */
	struct produce *first, *last; /* of those, while they have time */
	struct share *shares[SHARES];
};

/* ---- the room ---- */

static struct share **find_share(struct produces *all, const char *topic)
{
	struct share **s;
	size_t hash = 5381;

	for (const char *c = topic; *c; c++)
		hash = hash * 33 + (unsigned char)*c;
	s = &all->shares[hash % SHARES];
	while (*s && strcmp((*s)->topic, topic))
		s = &(*s)->next;
	return s;
}

static void enter(struct produce *p, const char *topic)
{
	struct share **place = find_share(p->k->produces, topic), *s = *place;

	if (!s) {
		s = *place = mem_alloc(sizeof(*s));
		*s = (struct share){.topic = mem_dup(topic)};
	}
	p->share = s;
	p->older = s->newest;
	*(s->newest ? &s->newest->newer : &s->oldest) = p;
	s->newest = p;
	s->bytes += p->bytes;
	p->k->produces->count++;
	p->k->produces->bytes += p->bytes;
}

static void leave(struct produce *p)
{
	struct share *s = p->share, **place;

	*(p->older ? &p->older->newer : &s->oldest) = p->newer;
	*(p->newer ? &p->newer->older : &s->newest) = p->older;
	s->bytes -= p->bytes;
	p->k->produces->count--;
	p->k->produces->bytes -= p->bytes;
	if (s->oldest)
		return;
	place = find_share(p->k->produces, s->topic);
	*place = s->next;
	free(s->topic);
	free(s);
}

bool produce_fits(const struct call *c, const struct records *rs)
{
	struct produces *all = c->k->produces;
	const struct share *s = *find_share(all, http_param(c->r, "topic"));

	if (!khttp_kafka_answers(c->k, c->r))
		return false;
	if (all->bytes && all->bytes + rs->bytes > all->max_bytes)
		error_unavailable(c->r, "Bridge is overloaded, please retry later");
	else if (s && s->bytes + rs->bytes > all->max_bytes / STALLED_PART &&
		c->k->now_ms - s->oldest->begun_ms >= STALL_MS)
		error_unavailable(c->r,
			"Kafka has not answered for records of %s for %" PRId64 " ms", s->topic,
			c->k->now_ms - s->oldest->begun_ms);
	else
		return true;
	return false;
}

/* ---- time ---- */

static void begin_time(struct produce *p)
{
	struct produces *all = p->k->produces;

	p->timed = true;
	p->before = all->last;
	*(all->last ? &all->last->after : &all->first) = p;
	all->last = p;
}

static void end_time(struct produce *p)
{
	struct produces *all = p->k->produces;

	if (!p->timed)
		return;
	p->timed = false;
	*(p->before ? &p->before->after : &all->first) = p->after;
	*(p->after ? &p->after->before : &all->last) = p->before;
}

static void answer_late(struct produces *all)
{
	struct produce *p;

	while ((p = all->first) && all->timeout_ms &&
		all->k->now_ms - p->begun_ms >= all->timeout_ms) {
		end_time(p);
		if (!p->r)
			continue;
		p->r->done = NULL;
		http_error(p->r, 504, IDEM_UNKNOWN, all->timeout_ms);
		p->r = NULL;
	}
	idem_tick(all->idem, all->k->now_ms, all->timeout_ms);
}

/* ---- Kafka's answers ---- */

static void drop(struct produce *p)
{
	leave(p);
	end_time(p);
	if (p->r) {
		p->r->user = NULL;
		p->r->done = NULL;
	}
	free(p);
}

static void finish(struct produce *p)
{
	char text[512] = "";

	if (p->r || p->key)
		produce_answer(p, p->k->produces->idem);
	if (p->fn && p->slots[0].err)
		slot_text(p, &p->slots[0], text, sizeof(text));
	if (p->fn)
		p->fn(p->ctx, p->slots[0].err ? slot_status(p, &p->slots[0]) : 200, text);
	drop(p);
}

static void on_partitions(void *ctx, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md,
	const rd_kafka_topic_partition_list_t *offsets)
{
	struct produce *p = ctx;
	const rd_kafka_metadata_topic_t *t = err ? NULL : ask_find(md, p->share->topic);

	(void)offsets;
	p->partitions = t ? t->partition_cnt : -1;
	finish(p);
}

/* Kafka has answered for one more. */
static void settle(struct produce *p)
{
	bool is_placed = false, missing = false;

	if (--p->left)
		return;
	for (size_t i = 0; i < p->count; i++)
		if (slot_is_missing(&p->slots[i])) {
			missing = true;
			is_placed = is_placed || p->slots[i].partition >= 0;
		}
	if (missing)
		writers_forget(p->k->produces->writers, p->share->topic);
	if (is_placed && p->r && p->partitions < 0) {
		ask_topics(p->k->asks, on_partitions, p);
		return;
	}
	finish(p);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *writer)
{
	struct slot *s = m->_private;
	struct khttp *k = s->p->k;

	(void)rk;
	if (writers_takes(m, writer, k->now_ms - s->p->begun_ms))
		return;
	s->err = (int16_t)writers_error(m, writer);
	s->maybe = m->err && rd_kafka_message_status(m) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
	if (!m->err || s->partition < 0)
		s->partition = m->partition;
	s->offset = m->offset;
	if (m->err) {
		k->stats.failed++;
	} else {
		k->stats.records++;
		k->stats.bytes += m->len + m->key_len;
	}
	k->stats.in_flight--;
	settle(s->p);
}

/* ---- sending ---- */

static void on_done(struct http_request *r, bool whole)
{
	struct produce *p = r->user;

	(void)whole;
	if (p)
		p->r = NULL;
}

static struct produce *begin(struct khttp *k, const char *topic, const struct records *rs)
{
	struct produce *p = mem_alloc(sizeof(*p) + rs->count * sizeof(p->slots[0]));

	*p = (struct produce){.k = k,
		.count = rs->count,
		.left = rs->count + 1,
		.bytes = rs->bytes,
		.begun_ms = k->now_ms,
		.partitions = -1};
	enter(p, topic);
	return p;
}

static void send_all(struct produce *p, enum writer_kind kind, struct records *rs)
{
	struct writers *ws = p->k->produces->writers;
	rd_kafka_resp_err_t err;
	rd_kafka_topic_t *rkt = writers_topic(ws, kind, p->share->topic, &err);

	for (size_t i = 0; i < rs->count; i++) {
		struct slot *s = &p->slots[i];

		*s = (struct slot){.p = p, .partition = rs->list[i].partition};
		s->err = (int16_t)(rkt ? writers_send(ws, kind, rkt, &rs->list[i], s) : err);
		if (s->err) {
			p->k->stats.failed++;
			p->left--;
		} else {
			p->k->stats.in_flight++;
		}
	}
	settle(p);
}

static void answer_and_send(
	const struct call *c, struct records *rs, bool async, struct idem_entry *key)
{
	struct produce *p = begin(c->k, http_param(c->r, "topic"), rs);
	const char *errors = http_query(c->r, "errors");

	p->fails = errors && strcmp(errors, "fail") == 0;
	if (!async) {
		p->r = c->r;
		p->key = key;
		c->r->user = p;
		c->r->done = on_done;
		if (key)
			begin_time(p);
	} else {
		if (key)
			c->k->stats.repeated += idem_end(
				c->k->produces->idem, key, 204, NULL, SPAN(""), true, c->k->now_ms);
		http_reply(c->r, 204, NULL, NULL);
	}
	send_all(p, key ? WRITER_PATIENT : WRITER_PLAIN, rs);
}

void produce_record(
	struct khttp *k, const char *topic, struct records *rs, produce_fn *fn, void *ctx)
{
	struct produce *p = begin(k, topic, rs);

	p->fn = fn;
	p->ctx = ctx;
	send_all(p, WRITER_PLAIN, rs);
}

/* ---- requests ---- */

/* Returns 1 or 0; -1 when it has answered. */
static int take_async(const struct call *c)
{
	const char *text = http_query(c->r, "async");
	struct buf errors = {0};

	if (!text)
		return 0;
	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		return *text == 't';
	body_wrong(&errors, "async: instance type string is invalid. Expected boolean");
	error_schema(c->r, &errors);
	return -1;
}

int produce_read(const struct call *c, struct records *rs)
{
	struct records_how how = {
		.type = c->type, .partition = RD_KAFKA_PARTITION_UA, .compat = c->k->compat};
	struct buf errors = {0};
	char why[400] = "";
	int status;

	if (http_param(c->r, "partition") && topics_take_partition(c, &how.partition))
		return -1;
	status = c->type == MEDIA_LINES
		? records_read_lines(rs, &how, c->r->body, &errors, why, sizeof(why))
		: records_read(rs, &how, &c->body, &errors, why, sizeof(why));
	if (status == 400)
		error_schema(c->r, &errors);
	else if (status)
		http_error(c->r, status, "%s", why);
	buf_free(&errors);
	return status ? -1 : 0;
}

bool produce_may(const struct call *c)
{
	if (!c->k->no_producer)
		return true;
	http_error(c->r, 503,
		"Producer is disabled in config. To enable producer update "
		"http.producer.enabled to true");
	return false;
}

void produce_post(const struct call *c)
{
	struct idem_entry *key = NULL;
	struct records rs = {0};
	int async;

	if (!produce_may(c))
		return;
	async = take_async(c);
	if (async < 0 || produce_read(c, &rs) || !produce_fits(c, &rs))
		;
	else if (idem_begin(c->k->produces->idem, c->r, c->k->now_ms, &key))
		c->k->stats.repeated += 1;
	else
		answer_and_send(c, &rs, async, key);
	records_free(&rs);
}

/* ---- all of them ---- */

struct produces *produces_open(struct khttp *k, size_t max_bytes)
{
	struct produces *all = mem_alloc(sizeof(*all));

	*all = (struct produces){.k = k,
		.max_bytes = max_bytes,
		.writers = writers_open(k, on_delivery),
		.idem = idem_open(),
		.timeout_ms = kafka_conf_int(&k->base, "message.timeout.ms")};
	return all;
}

const struct trouble *produces_serve(struct produces *all)
{
	const struct trouble *t = writers_serve(all->writers);

	answer_late(all);
	return t;
}

size_t produces_left(const struct produces *all)
{
	return all->count;
}

void produces_close(struct produces *all)
{
	writers_close(all->writers);
	idem_close(all->idem);
	free(all);
}
