/* SPDX-License-Identifier: ISC */
#include "khttp/topics.h"

#include "khttp/body.h"
#include "khttp/error.h"
#include "khttp/job.h"

#include "base/mem.h"
#include "base/num.h"

#include <inttypes.h>
#include <stdlib.h>

static void drop(struct job *j)
{
	if (j->waits || j->r)
		return;
	buf_free(&j->configs);
	buf_free(&j->partitions);
	free(j->topic);
	free(j);
}

static void on_done(struct http_request *r, bool whole)
{
	struct job *j = r->user;

	(void)whole;
	j->r = NULL;
	drop(j);
}

struct job *job_begin(const struct call *c)
{
	const char *topic = http_param(c->r, "topic");
	struct job *j = mem_alloc(sizeof(*j));

	*j = (struct job){
		.k = c->k, .r = c->r, .topic = topic ? mem_dup(topic) : NULL, .partition = -1};
	c->r->user = j;
	c->r->done = on_done;
	return j;
}

/* An answer has come. Returns whether there is still somebody to tell. */
bool job_came(struct job *j)
{
	j->waits--;
	if (j->r)
		return true;
	drop(j);
	return false;
}

void job_fail(struct job *j, rd_kafka_resp_err_t err, const char *text)
{
	if (err == RD_KAFKA_RESP_ERR__TIMED_OUT || err == RD_KAFKA_RESP_ERR__TRANSPORT)
		error_unavailable(j->r, "Kafka does not answer: %s", kafka_why(err));
	else
		error_kafka(j->r, j->k->compat, err, text);
}

void job_no_topic(struct job *j)
{
	http_error(j->r, 404, "This server does not host this topic-partition.");
}

void job_put_text(struct buf *b, const char *text)
{
	json_put_text(b, (struct span){text, strlen(text)});
}

/* ---- GET /topics ---- */

/* librdkafka does not tell which ones are internal. */
static bool is_internal(const char *name)
{
	return strcmp(name, "__consumer_offsets") == 0 ||
		strcmp(name, "__transaction_state") == 0 ||
		strcmp(name, "__share_group_state") == 0 || strcmp(name, "__cluster_metadata") == 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_names(const struct rd_kafka_metadata *md, struct buf *body)
{
	const char **names = mem_alloc((size_t)(md->topic_cnt + 1) * sizeof(*names));
	size_t n = 0;

	for (int i = 0; i < md->topic_cnt; i++)
		if (!is_internal(md->topics[i].topic))
			names[n++] = md->topics[i].topic;
	qsort(names, n, sizeof(*names), by_name);
	buf_putc(body, '[');
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_putc(body, ',');
		job_put_text(body, names[i]);
	}
	buf_putc(body, ']');
	free(names);
}

static void on_list(void *ctx, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md,
	const rd_kafka_topic_partition_list_t *offsets)
{
	struct job *j = ctx;
	struct buf body = {0};

	(void)offsets;
	if (!job_came(j))
		return;
	if (err) {
		job_fail(j, err, NULL);
		return;
	}
	put_names(md, &body);
	http_reply(j->r, 200, TYPE_V2, &body);
}

void job_ask(struct job *j, ask_fn *fn)
{
	j->waits++;
	ask_topics(j->k->asks, fn, j);
}

void topics_list(const struct call *c)
{
	if (khttp_kafka_answers(c->k, c->r))
		job_ask(job_begin(c), on_list);
}

/* ---- partitions ---- */

static bool is_among(const int32_t *list, int n, int32_t id)
{
	for (int i = 0; i < n; i++)
		if (list[i] == id)
			return true;
	return false;
}

static void put_partition(struct buf *b, const rd_kafka_metadata_partition_t *p)
{
	buf_printf(b, "{\"partition\":%d,\"leader\":%d,\"replicas\":[", p->id, p->leader);
	for (int i = 0; i < p->replica_cnt; i++)
		buf_printf(b, "%s{\"broker\":%d,\"leader\":%s,\"in_sync\":%s}", i ? "," : "",
			p->replicas[i], p->replicas[i] == p->leader ? "true" : "false",
			is_among(p->isrs, p->isr_cnt, p->replicas[i]) ? "true" : "false");
	buf_puts(b, "]}");
}

static int by_id(const void *a, const void *b)
{
	const rd_kafka_metadata_partition_t *p = *(const rd_kafka_metadata_partition_t *const *)a;
	const rd_kafka_metadata_partition_t *q = *(const rd_kafka_metadata_partition_t *const *)b;

	return (p->id > q->id) - (p->id < q->id);
}

void job_put_partitions(struct buf *b, const rd_kafka_metadata_topic_t *t)
{
	const rd_kafka_metadata_partition_t **all =
		mem_alloc((size_t)(t->partition_cnt + 1) * sizeof(*all));

	for (int i = 0; i < t->partition_cnt; i++)
		all[i] = &t->partitions[i];
	qsort(all, (size_t)t->partition_cnt, sizeof(*all), by_id);
	buf_putc(b, '[');
	for (int i = 0; i < t->partition_cnt; i++) {
		if (i)
			buf_putc(b, ',');
		put_partition(b, all[i]);
	}
	buf_putc(b, ']');
	free(all);
}

const rd_kafka_metadata_topic_t *job_topic(
	struct job *j, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md)
{
	const rd_kafka_metadata_topic_t *t = err ? NULL : ask_find(md, j->topic);

	if (!job_came(j))
		return NULL;
	if (err)
		job_fail(j, err, NULL);
	else if (!t)
		job_no_topic(j);
	else if (t->err && !t->partition_cnt)
		job_fail(j, t->err, NULL);
	else
		return t;
	return NULL;
}

static void on_partitions(void *ctx, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md,
	const rd_kafka_topic_partition_list_t *offsets)
{
	const rd_kafka_metadata_partition_t *p;
	const rd_kafka_metadata_topic_t *t;
	struct job *j = ctx;
	struct buf body = {0};

	(void)offsets;
	t = job_topic(j, err, md);
	if (!t)
		return;
	p = j->partition < 0 ? NULL : ask_find_partition(t, j->partition);
	if (j->partition >= 0 && !p) {
		http_error(j->r, 404, "Specified partition does not exist.");
		return;
	}
	if (p)
		put_partition(&body, p);
	else
		job_put_partitions(&body, t);
	http_reply(j->r, 200, TYPE_V2, &body);
}

void topics_partitions(const struct call *c)
{
	if (khttp_kafka_answers(c->k, c->r))
		job_ask(job_begin(c), on_partitions);
}

bool topics_is_name(struct span s)
{
	if (!s.len || s.len > 249 || span_is(s, ".") || span_is(s, ".."))
		return false;
	for (size_t n = 0; n < s.len; n++)
		if (!(s.p[n] >= 'a' && s.p[n] <= 'z') && !(s.p[n] >= 'A' && s.p[n] <= 'Z') &&
			!(s.p[n] >= '0' && s.p[n] <= '9') && !strchr("._-", s.p[n]))
			return false;
	return true;
}

int topics_take_partition(const struct call *c, int32_t *partition)
{
	const char *text = http_param(c->r, "partition");
	struct buf errors = {0};
	int64_t n;

	if (!text[strspn(text, "0123456789")]) {
		if (num_i64(text, &n) == 0 && n <= INT32_MAX) {
			*partition = (int32_t)n;
			return 0;
		}
		http_error(c->r, 422, "Specified partition is not a valid number");
		return -1;
	}
	if (text[0] == '-' && text[1] && !text[1 + strspn(text + 1, "0123456789")])
		body_wrong(&errors, "partitionid: %s is less than 0", text);
	else
		body_wrong(
			&errors, "partitionid: instance type string is invalid. Expected integer");
	error_schema(c->r, &errors);
	return -1;
}

void topics_partition(const struct call *c)
{
	int32_t partition;
	struct job *j;

	if (topics_take_partition(c, &partition) || !khttp_kafka_answers(c->k, c->r))
		return;
	j = job_begin(c);
	j->partition = partition;
	job_ask(j, on_partitions);
}

/* ---- offsets ---- */

static void on_offsets(void *ctx, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md,
	const rd_kafka_topic_partition_list_t *offsets);

/* -2 stands for the beginning, -1 for the end. */
static void ask_place(struct job *j, int64_t time)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, j->topic, j->partition)->offset = time;
	j->waits++;
	ask_offsets(j->k->asks, list, on_offsets, j);
}

static void on_offsets(void *ctx, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md,
	const rd_kafka_topic_partition_list_t *offsets)
{
	struct job *j = ctx;
	struct buf body = {0};

	(void)md;
	if (!job_came(j))
		return;
	if (err) {
		job_fail(j, err, NULL);
		return;
	}
	if (j->offsets[0] < 0) {
		j->offsets[0] = offsets->elems[0].offset;
		ask_place(j, -1);
		return;
	}
	buf_printf(&body, "{\"beginning_offset\":%" PRId64 ",\"end_offset\":%" PRId64 "}",
		j->offsets[0], offsets->elems[0].offset);
	http_reply(j->r, 200, TYPE_V2, &body);
}

static void on_offsets_topic(void *ctx, rd_kafka_resp_err_t err, const struct rd_kafka_metadata *md,
	const rd_kafka_topic_partition_list_t *offsets)
{
	const rd_kafka_metadata_topic_t *t;
	struct job *j = ctx;

	(void)offsets;
	t = job_topic(j, err, md);
	if (t && !ask_find_partition(t, j->partition)) {
		http_error(j->r, 404, "Topic '%s' does not have partition with id %d", j->topic,
			j->partition);
		return;
	}
	if (!t)
		return;
	j->offsets[0] = -1;
	ask_place(j, -2);
}

void topics_offsets(const struct call *c)
{
	int32_t partition;
	struct job *j;

	if (topics_take_partition(c, &partition) || !khttp_kafka_answers(c->k, c->r))
		return;
	j = job_begin(c);
	j->partition = partition;
	job_ask(j, on_offsets_topic);
}
