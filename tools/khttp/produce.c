/* SPDX-License-Identifier: ISC */
/* DESIGN: a record's slot is the opaque of its message; the delivery report fills it in, and the
 * last one answers. What is accepted is never dropped: when the client goes, its records go on to
 * Kafka.
 *
 * A request with an Idempotency-Key is answered with 504 when its time is over, but its records are
 * not given up: the key has the outcome when there is one. */
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
	room_leave(p);
	end_time(p);
	if (p->r) {
		p->r->user = NULL;
		p->r->done = NULL;
	}
	if (p->feed)
		feed_close(p->feed);
	free(p->feed);
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
	if (is_placed && (p->r || p->fn) && p->partitions < 0) {
		ask_topics(p->k->asks, on_partitions, p);
		return;
	}
	finish(p);
}

static void feed_more(struct produce *p);

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *writer)
{
	struct slot *s = m->_private;
	struct produce *p = s->p;
	struct khttp *k = p->k;

	(void)rk;
	if (writers_takes(m, writer, s->timestamp,
		    k->now_ms - (p->feed ? p->feed->sent_ms : p->begun_ms)))
		return;
	s->err = (int16_t)writers_error(m, writer);
	s->maybe = s->err && rd_kafka_message_status(m) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
	if (!m->err || s->partition < 0)
		s->partition = m->partition;
	s->offset = m->offset;
	if (s->err) {
		k->stats.failed++;
	} else {
		k->stats.records++;
		k->stats.bytes += m->len + m->key_len;
	}
	k->stats.in_flight--;
	if (!p->feed) {
		settle(p);
		return;
	}
	p->feed->out -= m->len + m->key_len;
	/* Others would wait as long, and in vain. */
	if (slot_had_no_answer(s))
		p->feed->err = (rd_kafka_resp_err_t)s->err;
	p->left--;
	feed_more(p);
}

/* ---- sending ---- */

static void on_done(struct http_request *r, bool whole)
{
	struct produce *p = r->user;

	(void)whole;
	if (p)
		p->r = NULL;
}

static struct produce *begin(struct khttp *k, const char *topic, size_t count, size_t bytes)
{
	struct produce *p = mem_alloc(sizeof(*p) + count * sizeof(p->slots[0]));

	*p = (struct produce){.k = k,
		.count = count,
		.left = count + 1,
		.bytes = bytes,
		.begun_ms = k->now_ms,
		.partitions = -1};
	room_enter(p, topic);
	return p;
}

/* Records that are not sent because of an error. */
static void fail(struct produce *p, size_t from, size_t count, rd_kafka_resp_err_t err)
{
	for (size_t i = from; i < from + count; i++)
		p->slots[i] = (struct slot){.p = p, .partition = -1, .err = (int16_t)err};
	p->k->stats.failed += count;
	p->left -= count;
}

/* Returns how many bytes have gone. */
static size_t send_from(struct produce *p, struct records *rs, size_t from)
{
	enum writer_kind kind = p->patient ? WRITER_PATIENT : WRITER_PLAIN;
	struct writers *ws = p->k->produces->writers;
	rd_kafka_resp_err_t err;
	rd_kafka_topic_t *rkt = writers_topic(ws, kind, p->share->topic, &err);
	size_t bytes = 0;

	for (size_t i = 0; i < rs->count; i++) {
		struct message *m = &rs->list[i];
		struct slot *s = &p->slots[from + i];

		*s = (struct slot){.p = p, .partition = m->partition, .timestamp = m->timestamp};
		s->oversize = rkt && !writers_fits(ws, m);
		if (rkt)
			err = s->oversize ? RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
					  : writers_send(ws, kind, rkt, m, s);
		s->err = (int16_t)err;
		if (s->err) {
			p->k->stats.failed++;
			p->left--;
		} else {
			p->k->stats.in_flight++;
			bytes += m->key.len + m->value.len;
		}
	}
	return bytes;
}

/* Goes on with a large body. */
static void feed_more(struct produce *p)
{
	struct feed *f = p->feed;

	while (!f->over && f->out < FEED_BYTES && !f->err) {
		feed_next(f);
		f->sent_ms = p->k->now_ms;
		f->out += send_from(p, &f->rs, f->at);
	}
	if (f->err && !f->over) {
		f->at += f->rs.count;
		fail(p, f->at, p->count - f->at, f->err);
		f->over = true;
	}
	/* One more was counted while it began. */
	if (f->over && p->left == 1)
		settle(p);
}

static void send_all(struct produce *p, struct records *rs)
{
	if (p->feed) {
		feed_more(p);
		return;
	}
	send_from(p, rs, 0);
	settle(p);
}

static void answer_and_send(
	const struct call *c, struct produce *p, struct records *rs, struct idem_entry *key)
{
	const char *errors = http_query(c->r, "errors");

	p->fails = errors && strcmp(errors, "fail") == 0;
	p->patient = key != NULL;
	p->r = c->r;
	p->key = key;
	c->r->user = p;
	c->r->done = on_done;
	if (key)
		begin_time(p);
	send_all(p, rs);
}

static void send_unheard(
	const struct call *c, struct produce *p, struct records *rs, struct idem_entry *key)
{
	p->patient = key != NULL;
	if (key)
		idem_end(c->k->produces->idem, key, 204, NULL, SPAN(""), IDEM_DONE, c->k->now_ms);
	http_reply(c->r, 204, NULL, NULL);
	send_all(p, rs);
}

void produce_record(
	struct khttp *k, const char *topic, struct records *rs, produce_fn *fn, void *ctx)
{
	struct produce *p = begin(k, topic, rs->count, rs->bytes);

	p->fn = fn;
	p->ctx = ctx;
	send_all(p, rs);
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

/* Whether "errors" is what it may be; else it has answered. The reference does not know it. */
static bool take_errors(const struct call *c)
{
	const char *text = http_query(c->r, "errors");

	if (!text || c->k->compat || strcmp(text, "fail") == 0)
		return true;
	error_query(c->r, "errors");
	return false;
}

/* Returns 0, or -1 when it has answered. */
static int read_how(const struct call *c, struct records_how *how)
{
	*how = (struct records_how){
		.type = c->type, .partition = RD_KAFKA_PARTITION_UA, .compat = c->k->compat};
	return http_param(c->r, "partition") ? topics_take_partition(c, &how->partition) : 0;
}

/* The same. */
static int judge(const struct call *c, struct records_reader *in)
{
	if (in->status == 400)
		error_schema(c->r, &in->errors);
	else if (in->status)
		http_error(c->r, in->status, "%s", in->why);
	buf_free(&in->errors);
	return in->status ? -1 : 0;
}

int produce_read(const struct call *c, struct records *rs)
{
	struct records_reader in = {0};

	if (read_how(c, &in.how))
		return -1;
	if (records_begin(&in, &c->body, c->r->body))
		records_next(&in, rs);
	return judge(c, &in);
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

/* What is left when the body has been looked at. Its records are in @rs, or in @feed. */
static void post(const struct call *c, bool async, struct records *rs, struct feed *feed)
{
	size_t count = feed ? feed->count : rs->count, bytes = feed ? feed->bytes : rs->bytes;
	struct idem_entry *key = NULL;
	struct produce *p;

	if (feed && bytes > 2 * FEED_BYTES)
		bytes = 2 * FEED_BYTES;
	if (!produce_fits(c, bytes))
		return;
	if (idem_begin(c->k->produces->idem, c->r, c->k->now_ms, &key))
		return;
	p = begin(c->k, http_param(c->r, "topic"), count, bytes);
	if (feed) {
		feed_take(feed, c->r);
		p->feed = mem_alloc(sizeof(*feed));
		*p->feed = *feed;
		*feed = (struct feed){0};
	}
	if (async)
		send_unheard(c, p, rs, key);
	else
		answer_and_send(c, p, rs, key);
}

static void post_large(const struct call *c, bool async)
{
	struct records_how how;
	struct feed feed;

	if (read_how(c, &how))
		return;
	feed_open(&feed, c, &how);
	if (!judge(c, &feed.in))
		post(c, async, NULL, &feed);
	feed_close(&feed);
}

void produce_post(const struct call *c)
{
	struct records rs = {0};
	int async;

	if (!produce_may(c))
		return;
	async = take_async(c);
	if (async < 0 || !take_errors(c))
		return;
	if (http_body_is_large(http_body(c->r)))
		post_large(c, async);
	else if (!produce_read(c, &rs))
		post(c, async, &rs, NULL);
	records_free(&rs);
}

/* ---- all of them ---- */

struct produces *produces_open(struct khttp *k, size_t max_bytes)
{
	struct produces *all = mem_alloc(sizeof(*all));

	*all = (struct produces){.k = k,
		.max_bytes = max_bytes,
		.writers = writers_open(k, on_delivery),
		.idem = idem_open(&k->stats.repeated),
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
