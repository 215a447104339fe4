/* SPDX-License-Identifier: ISC */
/* DESIGN: a record's slot is the opaque of its message; the delivery report fills it in, and the last one answers. What is
 * accepted is never dropped: when the client goes, its records go on to Kafka. Handles of topics are kept for the next
 * request; one that Kafka does not know is not. */
#include "khttp/produce.h"

#include "khttp/again.h"
#include "khttp/ask.h"
#include "khttp/body.h"
#include "khttp/error.h"
#include "khttp/handles.h"
#include "khttp/idem.h"
#include "khttp/records.h"
#include "khttp/topics.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct produces {
	struct khttp *k;
	size_t count, bytes, max_bytes; /* of records on their way */
	struct again again;
	struct idem *idem;
	struct handles handles;
};

struct slot {
	struct produce *p;
	int64_t offset;
	int32_t partition;
	int16_t err; /* rd_kafka_resp_err_t */
	bool maybe; /* after an error: it may have been written all the same */
};

struct produce {
	struct produces *all;
	struct http_request *r; /* NULL: nobody waits for an answer */
	struct idem_entry *key; /* its Idempotency-Key; NULL: none */
	char *topic;
	size_t count, left; /* left: without an answer of Kafka; one more while it begins */
	size_t bytes;
	int64_t begun_ms;
	int partitions; /* that the topic has; -1: not known */
	bool asks; /* for that number */
	bool fails; /* ?errors=fail */
	produce_fn *fn; /* of produce_record; NULL */
	void *ctx;
	struct slot slots[];
};

static const char no_room[] = "Bridge is overloaded, please retry later";

/* ---- answers ---- */

static bool is_missing(rd_kafka_resp_err_t err)
{
	return err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
		err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
		err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || err == RD_KAFKA_RESP_ERR__DESTROY;
}

static int slot_status(const struct produce *p, const struct slot *s)
{
	rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)s->err;
	int status = error_status(err, p->all->k->compat);

	if (is_missing(err))
		return 404;
	/* Sent again it would be written twice, or it would not. */
	return status == 504 && !s->maybe ? 503 : status;
}

static void slot_text(const struct produce *p, const struct slot *s, char *text, size_t size)
{
	rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)s->err;
	int64_t ms = p->all->k->now_ms - p->begun_ms;

	if (is_missing(err) && s->partition >= 0 && p->partitions > 0)
		snprintf(text, size,
			"Partition %d of topic %s with partition count %d is not present in metadata "
			"after %" PRId64 " ms.",
			s->partition, p->topic, p->partitions, ms);
	else if (is_missing(err))
		snprintf(text, size, "Topic %s not present in metadata after %" PRId64 " ms.",
			p->topic, ms);
	else if (err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT)
		snprintf(text, size, "Kafka has not answered within %" PRId64 " ms: %s", ms,
			s->maybe ? "the record may have been written"
				 : "the record was not written");
	else
		snprintf(text, size, "%s", kafka_why(err));
}

/* Of all slots when they have the same, of the first that failed; 0: none did. */
static int common_status(const struct produce *p, size_t *failed)
{
	int status = 0, one;

	*failed = 0;
	for (size_t i = 0; i < p->count; i++) {
		if (!p->slots[i].err)
			continue;
		one = slot_status(p, &p->slots[i]);
		/* 503 says that nothing was written, and may be sent again; 504 that something may have been. */
		if (!status || (status == 503 && one == 504))
			status = one;
		++*failed;
	}
	return status;
}

/* With errors in slots it is 200 all the same, as clients of the reference expect; but not when Kafka was away for all. */
static int answer_status(const struct produce *p)
{
	size_t failed;
	int status = common_status(p, &failed);

	if (!failed || p->all->k->compat)
		return 200;
	if (p->fails)
		return status;
	return failed == p->count && (status == 503 || status == 504) ? status : 200;
}

/* Makes the answer's body. */
static void put_answer(const struct produce *p, int status, struct buf *out)
{
	struct buf body = {0};
	char text[512];

	if (status != 200) {
		for (size_t i = 0; i < p->count; i++)
			if (p->slots[i].err) {
				slot_text(p, &p->slots[i], text, sizeof(text));
				break;
			}
		error_put(&body, status, text);
		body.len--;
		buf_putc(&body, ',');
	}
	buf_puts(&body, status == 200 ? "{\"offsets\":[" : "\"offsets\":[");
	for (size_t i = 0; i < p->count; i++) {
		const struct slot *s = &p->slots[i];

		if (i)
			buf_putc(&body, ',');
		if (s->err) {
			slot_text(p, s, text, sizeof(text));
			error_put(&body, slot_status(p, s), text);
			continue;
		}
		buf_puts(&body, "{\"partition\":");
		buf_int(&body, s->partition);
		buf_puts(&body, ",\"offset\":");
		buf_int(&body, s->offset);
		buf_putc(&body, '}');
	}
	buf_puts(&body, "]}");
	*out = body;
}

static void answer(struct produce *p)
{
	int status = answer_status(p);
	struct buf body = {0};

	put_answer(p, status, &body);
	/* What was surely not written may be sent again. */
	if (p->key)
		p->all->k->stats.repeated += idem_end(p->all->idem, p->key, status, TYPE_V2,
			buf_as_span(&body), status == 200 || status == 504, p->all->k->now_ms);
	p->key = NULL;
	if (status == 503 && p->r)
		http_set_header(p->r, "Retry-After", "1");
	if (p->r)
		http_reply(p->r, status, TYPE_V2, &body);
	buf_free(&body);
}

static void drop(struct produce *p)
{
	struct produces *all = p->all;

	all->count--;
	all->bytes -= p->bytes;
	if (p->r) {
		p->r->user = NULL;
		p->r->done = NULL;
	}
	free(p->topic);
	free(p);
}

static void finish(struct produce *p)
{
	char text[512] = "";

	if (p->r || p->key)
		answer(p);
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
	const rd_kafka_metadata_topic_t *t = err ? NULL : ask_find(md, p->topic);

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
		if (p->slots[i].err && is_missing((rd_kafka_resp_err_t)p->slots[i].err)) {
			missing = true;
			is_placed = is_placed || p->slots[i].partition >= 0;
		}
	if (missing)
		handles_forget(&p->all->handles, p->topic);
	if (is_placed && p->r && p->partitions < 0) {
		ask_topics(p->all->k->asks, on_partitions, p);
		return;
	}
	finish(p);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	struct slot *s = m->_private;
	struct stats *stats = &s->p->all->k->stats;

	(void)opaque;
	if (again_takes(&s->p->all->again, rk, m))
		return;
	s->err = (int16_t)m->err;
	s->maybe = m->err && rd_kafka_message_status(m) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
	if (!m->err || s->partition < 0)
		s->partition = m->partition;
	s->offset = m->offset;
	if (m->err) {
		stats->failed++;
	} else {
		stats->records++;
		stats->bytes += m->len + m->key_len;
	}
	stats->in_flight--;
	settle(s->p);
}

/* ---- sending ---- */

static rd_kafka_resp_err_t send_message(
	rd_kafka_t *rk, rd_kafka_topic_t *rkt, struct message *m, struct slot *s)
{
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
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = s};
	if (m->timestamp)
		vus[n++] =
			(rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = m->timestamp};
	if (m->headers)
		vus[n++] =
			(rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = m->headers};
	error = rd_kafka_produceva(rk, vus, n);
	if (!error) {
		m->headers = NULL;
		return RD_KAFKA_RESP_ERR_NO_ERROR;
	}
	err = rd_kafka_error_code(error);
	rd_kafka_error_destroy(error);
	return err;
}

static void on_done(struct http_request *r, bool whole)
{
	struct produce *p = r->user;

	(void)whole;
	if (p)
		p->r = NULL;
}

static struct produce *begin(struct khttp *k, const char *topic, const struct records *rs)
{
	struct produces *all = k->produces;
	struct produce *p = mem_alloc(sizeof(*p) + rs->count * sizeof(p->slots[0]));

	*p = (struct produce){.all = all,
		.topic = mem_dup(topic),
		.count = rs->count,
		.left = rs->count + 1,
		.bytes = rs->bytes,
		.begun_ms = k->now_ms,
		.partitions = -1};
	all->count++;
	all->bytes += rs->bytes;
	return p;
}

static void send_all(struct produce *p, struct records *rs)
{
	struct khttp *k = p->all->k;
	rd_kafka_topic_t *rkt = handles_get(&p->all->handles, p->topic);

	for (size_t i = 0; i < rs->count; i++) {
		struct slot *s = &p->slots[i];

		*s = (struct slot){.p = p, .partition = rs->list[i].partition};
		s->err = (int16_t)(rkt ? send_message(k->kafka.rk, rkt, &rs->list[i], s)
				       : RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION);
		if (s->err) {
			k->stats.failed++;
			p->left--;
		} else {
			k->stats.in_flight++;
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
	} else {
		if (key)
			c->k->stats.repeated += idem_end(
				p->all->idem, key, 204, NULL, SPAN(""), true, c->k->now_ms);
		http_reply(c->r, 204, NULL, NULL);
	}
	send_all(p, rs);
}

void produce_record(
	struct khttp *k, const char *topic, struct records *rs, produce_fn *fn, void *ctx)
{
	struct produce *p = begin(k, topic, rs);

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

bool produce_fits(const struct call *c, const struct records *rs)
{
	const struct produces *all = c->k->produces;

	if (!all->bytes || all->bytes + rs->bytes <= all->max_bytes)
		return khttp_kafka_answers(c->k, c->r);
	error_unavailable(c->r, "%s", no_room);
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

void produces_prepare(struct kafka_conf *c)
{
	rd_kafka_conf_set_dr_msg_cb(c->rd, on_delivery);
}

struct produces *produces_open(struct khttp *k, size_t max_bytes)
{
	struct produces *all = mem_alloc(sizeof(*all));

	*all = (struct produces){.k = k, .max_bytes = max_bytes, .again = {.k = k}};
	all->idem = idem_open();
	handles_open(&all->handles, &k->kafka);
	return all;
}

void produces_serve(struct produces *all)
{
	rd_kafka_poll(all->k->kafka.rk, 0);
	again_serve(&all->again);
}

size_t produces_left(const struct produces *all)
{
	return all->count;
}

void produces_close(struct produces *all)
{
	handles_close(&all->handles);
	again_close(&all->again);
	idem_close(all->idem);
	free(all);
}
