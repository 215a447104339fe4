/* SPDX-License-Identifier: ISC */
/* DESIGN: a call stands in a table under its number from the moment that its HTTP request has been
 * looked at until that is answered or its client has gone. First it waits for the reply topic
 * (replies.h), then it is sent, then it waits for the reply. Its id is 16 bytes, a UUID of version
 * 8: eight bytes are this process's, the rest is the number. So a reply whose call is over is told
 * from one that is another bridge's. */
#include "khttp/request.h"

#include "khttp/body.h"
#include "khttp/error.h"
#include "khttp/instance.h"
#include "khttp/produce.h"
#include "khttp/replies.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
	TIMEOUT_MS = 30000,
	TIMEOUT_MAX_MS = 300000,
	LOOK_MS = 10, /* between two looks for calls whose time is over */
	BUCKETS = 4096,
	ID_BYTES = 16,
	OWN_BYTES = 8,
};

/* A call. */
struct pending {
	struct pending *next, **link; /* of its bucket */
	struct requests *all;
	uint64_t number;
	struct http_request *r;
	struct reply_topic *topic;
	int64_t partition; /* for the reply; -1: any */
	int64_t timeout_ms, until_ms;
	enum media media; /* of the answer */
	bool sent;
	struct buf body; /* around a record that came by itself */
	struct records records; /* the one, until it is sent */
};

struct requests {
	struct khttp *k;
	struct replies *replies;
	const char *id, *reply_topic, *reply_partition; /* names of headers */
	size_t max;
	unsigned char own[OWN_BYTES];
	uint64_t last; /* number */
	int64_t look_ms;
	struct pending *buckets[BUCKETS];
	uint64_t count, late, timeouts;
};

/* ---- the command line ---- */

void request_opts(struct request_opts *o)
{
	o->max = arg_str0(NULL, "max-requests", "N",
		"requests that wait for a reply; beyond: 503 (default 10000)");
	o->id = arg_str0(NULL, "id-header", "NAME",
		"of a request: the id's header (default kafka_correlationId)");
	o->topic = arg_str0(NULL, "reply-to-header", "NAME",
		"the header of the reply's topic (default kafka_replyTopic)");
	o->partition = arg_str0(NULL, "partition-header", "NAME",
		"the header of the reply's partition (default kafka_replyPartition)");
}

static const char *name_of(const struct arg_str *a, const char *option, const char *absent)
{
	const char *name = opt_text(a, option);

	return name ? name : absent;
}

/* ---- the table ---- */

static struct pending *find(const struct requests *q, uint64_t number)
{
	struct pending *p = q->buckets[number % BUCKETS];

	while (p && p->number != number)
		p = p->next;
	return p;
}

static void drop(struct pending *p)
{
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	p->topic->users--;
	p->all->count--;
	records_free(&p->records);
	buf_free(&p->body);
	free(p);
}

/* It is over, and its request can be answered. */
static struct http_request *take(struct pending *p)
{
	struct http_request *r = p->r;

	r->user = NULL;
	r->done = NULL;
	drop(p);
	return r;
}

static void on_done(struct http_request *r, bool whole)
{
	(void)whole;
	drop(r->user);
}

static struct pending *add(const struct call *c, struct reply_topic *t, const struct pending *like)
{
	struct requests *q = c->k->requests;
	struct pending *p = mem_alloc(sizeof(*p)), **bucket;

	*p = *like;
	p->number = ++q->last;
	p->all = q;
	p->r = c->r;
	p->topic = t;
	p->until_ms = c->k->now_ms + p->timeout_ms;
	bucket = &q->buckets[p->number % BUCKETS];
	p->next = *bucket;
	p->link = bucket;
	if (p->next)
		p->next->link = &p->next;
	*bucket = p;
	t->users++;
	q->count++;
	if (q->count == 1 || p->until_ms < q->look_ms)
		q->look_ms = p->until_ms;
	c->r->user = p;
	c->r->done = on_done;
	return p;
}

/* Calls @fn, which may drop the call, for each. */
static void each(struct requests *q, void (*fn)(struct pending *p, void *ctx), void *ctx)
{
	for (size_t i = 0; q->count && i < BUCKETS; i++)
		for (struct pending *p = q->buckets[i], *next; p; p = next) {
			next = p->next;
			fn(p, ctx);
		}
}

/* ---- to Kafka ---- */

/* A call that may be over. */
struct call_name {
	struct requests *all;
	uint64_t number;
};

static void on_sent(void *ctx, int status, const char *text)
{
	const struct call_name *name = ctx;
	struct pending *p = find(name->all, name->number);
	struct http_request *r;

	free(ctx);
	if (!p || status == 200)
		return;
	r = take(p);
	if (status == 503)
		error_unavailable(r, "%s", text);
	else
		http_error(r, status, "%s", text);
}

static void put_id(const struct pending *p, unsigned char id[ID_BYTES])
{
	memcpy(id, p->all->own, OWN_BYTES);
	for (int i = 0; i < ID_BYTES - OWN_BYTES; i++)
		id[OWN_BYTES + i] = (unsigned char)(p->number >> (56 - 8 * i));
	id[OWN_BYTES] = 0x80;
}

static void put_headers(const struct pending *p, rd_kafka_headers_t *to)
{
	const struct requests *q = p->all;
	unsigned char id[ID_BYTES];
	uint32_t n = (uint32_t)p->partition;
	unsigned char place[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16),
		(unsigned char)(n >> 8), (unsigned char)n};

	put_id(p, id);
	rd_kafka_header_add(to, q->id, -1, id, ID_BYTES);
	rd_kafka_header_add(to, q->reply_topic, -1, p->topic->name, -1);
	if (p->partition >= 0)
		rd_kafka_header_add(to, q->reply_partition, -1, place, sizeof(place));
}

static void send_call(struct pending *p)
{
	struct call_name *name = mem_alloc(sizeof(*name));
	struct message *m = &p->records.list[0];
	struct records records = p->records;
	struct khttp *k = p->all->k;
	struct http_request *r = p->r;

	if (!m->headers)
		m->headers = rd_kafka_headers_new(3);
	put_headers(p, m->headers);
	p->sent = true;
	p->records = (struct records){0};
	*name = (struct call_name){p->all, p->number};
	produce_record(k, http_param(r, "topic"), &records, on_sent, name);
	records_free(&records);
}

/* ---- the request ---- */

static bool read_number(
	struct http_request *r, const char *name, int64_t least, int64_t most, int64_t *n)
{
	const char *text = http_query(r, name);

	if (!text || (num_i64(text, n) == 0 && *n >= least && *n <= most))
		return true;
	error_query(r, name);
	return false;
}

static enum media choose(const struct call *c)
{
	const enum media own = c->type == MEDIA_PLAIN ? MEDIA_JSON : c->type;
	const enum media offered[] = {
		own, MEDIA_JSON, MEDIA_BINARY, MEDIA_TEXT, MEDIA_LINES, MEDIA_PLAIN, MEDIA_NONE};

	return route_accept(c->r, offered, false);
}

static bool read_query(const struct call *c, struct pending *p)
{
	const char *topic = http_query(c->r, "reply_topic");

	p->timeout_ms = TIMEOUT_MS;
	p->partition = -1;
	p->media = choose(c);
	if (!topic || !*topic) {
		error_query(c->r, "reply_topic");
		return false;
	}
	if (!read_number(c->r, "timeout", 0, INT64_MAX, &p->timeout_ms) ||
		!read_number(c->r, "reply_partition", 0, INT32_MAX, &p->partition))
		return false;
	if (p->timeout_ms > TIMEOUT_MAX_MS)
		p->timeout_ms = TIMEOUT_MAX_MS;
	if (p->media != MEDIA_NONE)
		return true;
	http_error(c->r, 406, "the header Accept names no type that a reply can have");
	return false;
}

/* A record may stand by itself, without {"records":[…]} around it. */
static void wrap(struct call *c, struct pending *p)
{
	struct body_field f[] = {{"records", ~0U, false, {0}}};
	struct buf errors = {0};
	struct json why;

	if (c->type == MEDIA_LINES || c->body.type != JSON_OBJECT)
		return;
	body_object(&c->body, "#", f, 1, &errors);
	buf_free(&errors);
	if (f[0].v.type)
		return;
	buf_puts(&p->body, "{\"records\":[");
	buf_span(&p->body, c->r->body);
	buf_puts(&p->body, "]}");
	json_parse(buf_as_span(&p->body), &c->body, &why);
}

static bool has_own(const struct requests *q, const rd_kafka_headers_t *headers)
{
	const char *const names[] = {q->id, q->reply_topic, q->reply_partition};
	const void *value;
	size_t size;

	for (size_t i = 0; headers && i < sizeof(names) / sizeof(*names); i++)
		if (!rd_kafka_header_get_last(headers, names[i], &value, &size))
			return true;
	return false;
}

/* Returns false when it has answered. */
static bool read_record(const struct call *c, struct pending *p)
{
	struct requests *q = c->k->requests;
	struct call inner = *c;

	wrap(&inner, p);
	if (produce_read(&inner, &p->records))
		return false;
	if (p->records.count != 1)
		http_error(c->r, 422, "A request has one record, not %zu.", p->records.count);
	else if (has_own(q, p->records.list[0].headers))
		http_error(c->r, 422, "The headers %s, %s and %s are the bridge's to set.", q->id,
			q->reply_topic, q->reply_partition);
	else if (q->count >= q->max)
		error_unavailable(c->r, "%zu requests wait for their replies: no more", q->max);
	else
		return produce_fits(c, p->records.bytes);
	return false;
}

void request_post(const struct call *c)
{
	struct requests *q = c->k->requests;
	struct pending p = {0};
	struct reply_topic *t = NULL;
	struct trouble why = {0};
	struct pending *own;

	if (produce_may(c) && read_query(c, &p) && read_record(c, &p)) {
		t = replies_topic(q->replies, http_query(c->r, "reply_topic"), &why);
		if (!t)
			error_unavailable(c->r, "%s", why.text);
	}
	if (!t) {
		records_free(&p.records);
		buf_free(&p.body);
		return;
	}
	own = add(c, t, &p);
	if (t->is_read)
		send_call(own);
}

/* ---- replies ---- */

static void print(struct buf *b, enum media media, const rd_kafka_message_t *m)
{
	if (media == MEDIA_LINES)
		print_line(b, m);
	else
		print_json(b,
			media == MEDIA_BINARY	      ? FORMAT_BINARY
				: media == MEDIA_TEXT ? FORMAT_TEXT
						      : FORMAT_JSON,
			m);
}

static void on_reply(void *ctx, const rd_kafka_message_t *m)
{
	struct requests *q = ctx;
	rd_kafka_headers_t *headers;
	const unsigned char *id;
	struct buf body = {0};
	uint64_t number = 0;
	struct pending *p;
	enum media media;
	size_t size;

	if (rd_kafka_message_headers(m, &headers) ||
		rd_kafka_header_get_last(headers, q->id, (const void **)&id, &size) ||
		size != ID_BYTES || memcmp(id, q->own, OWN_BYTES) != 0 || id[OWN_BYTES] != 0x80)
		return;
	for (int i = OWN_BYTES + 1; i < ID_BYTES; i++)
		number = number << 8 | id[i];
	p = find(q, number);
	if (!p) {
		q->late++;
		return;
	}
	media = p->media;
	print(&body, media, m);
	http_reply(take(p), 200, media_name(media), &body);
}

static void send_waiting(struct pending *p, void *topic)
{
	if (p->topic == topic && !p->sent)
		send_call(p);
}

static void on_ready(void *ctx, struct reply_topic *t)
{
	each(ctx, send_waiting, t);
}

struct failure {
	struct reply_topic *topic;
	int status;
	const char *text;
};

static void answer_failed(struct pending *p, void *failure)
{
	const struct failure *f = failure;

	if (p->topic != f->topic)
		return;
	if (f->status == 503)
		error_unavailable(take(p), "%s", f->text);
	else
		http_error(take(p), f->status, "%s", f->text);
}

static void on_failed(void *ctx, struct reply_topic *t, int status, const char *text)
{
	struct failure f = {t, status, text};

	each(ctx, answer_failed, &f);
}

/* ---- time ---- */

static void answer_due(struct pending *p, void *ctx)
{
	struct requests *q = ctx;
	const char *why = silence_text(&q->k->silence, p->topic->name, (int32_t)p->partition);
	int64_t ms = p->timeout_ms;

	if (p->until_ms > q->k->now_ms) {
		if (p->until_ms < q->look_ms)
			q->look_ms = p->until_ms;
	} else if (!p->sent) {
		error_unavailable(take(p),
			"the reply topic is not read after %" PRId64 " ms: nothing was sent", ms);
	} else {
		q->timeouts++;
		http_error(take(p), 504, "No reply has come within %" PRId64 " ms%s%s.", ms,
			why ? ": " : "", why ? why : "");
	}
}

int requests_fd(const struct requests *q)
{
	return replies_fd(q->replies);
}

int requests_timeout_ms(const struct requests *q)
{
	if (replies_has_more(q->replies))
		return 0;
	if (!q->count)
		return -1;
	return q->look_ms > q->k->now_ms ? (int)(q->look_ms - q->k->now_ms) : 0;
}

void requests_serve(struct requests *q)
{
	int64_t now_ms = q->k->now_ms;

	replies_serve(q->replies);
	if (!q->count || now_ms < q->look_ms)
		return;
	q->look_ms = INT64_MAX;
	each(q, answer_due, q);
	if (q->look_ms < now_ms + LOOK_MS)
		q->look_ms = now_ms + LOOK_MS;
}

/* ---- all of them ---- */

struct requests *requests_open(struct khttp *k, const struct request_opts *o)
{
	struct requests *q = mem_alloc(sizeof(*q));
	const struct replies_user user = {
		.reply = on_reply, .ready = on_ready, .failed = on_failed, .ctx = q};

	*q = (struct requests){.k = k,
		.id = name_of(o->id, "--id-header", "kafka_correlationId"),
		.reply_topic = name_of(o->topic, "--reply-to-header", "kafka_replyTopic"),
		.reply_partition =
			name_of(o->partition, "--partition-header", "kafka_replyPartition"),
		.max = (size_t)opt_int(o->max, "--max-requests", 10000, 1, 1000000)};
	if (getrandom(q->own, sizeof(q->own), 0) != sizeof(q->own))
		die(EXIT_TEMP, "cannot get random bytes");
	q->own[6] = (q->own[6] & 0x0f) | 0x80;
	q->replies = replies_open(k, &user);
	metrics_gauge(
		"calls_in_flight", "Requests that wait for their reply.", METRICS_TOOL, &q->count);
	metrics_counter("call_timeouts_total", "Requests that had no reply in time.", METRICS_TOOL,
		&q->timeouts);
	metrics_counter("late_replies_total",
		"Replies whose request was answered before, or whose client had gone.",
		METRICS_TOOL, &q->late);
	return q;
}

void requests_close(struct requests *q)
{
	replies_close(q->replies);
	free(q);
}
