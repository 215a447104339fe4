/* SPDX-License-Identifier: ISC */
/* GET /topics/{topic}/records: records by partition, offset or time, without an instance of the
 * client's.
 *
 * A client of librdkafka is made for the request, and ends with it. It has partitions and no
 * group's position. The ends of the partitions are asked for first: reading is over when they are
 * reached. */
#include "khttp/instance.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/wake.h"

#include <stdlib.h>

enum {
	TIMEOUT_MS = 10000,
	TIMEOUT_LEAST_MS = 1000, /* each request connects anew; reading waits for nothing else */
	TIMEOUT_MAX_MS = 300000,
	ASK_AGAIN_MS = 200,
};

enum read_step { READ_TOPIC, READ_ENDS, READ_TIMES, READ_RECORDS, READ_OVER };

/* Where to begin. */
enum read_from { FROM_BEGINNING, FROM_END, FROM_OFFSET, FROM_LAST, FROM_TIME };

struct read {
	enum read_step step;
	char *topic;
	int64_t partition; /* -1: all */
	enum read_from from;
	int64_t n; /* the offset, how many before the end, or the time */
	int64_t limit, max_bytes, timeout_ms;
	enum media media;
	int64_t ask_ms;
	struct wait *wait;
	struct places places;
};

/* ---- the request ---- */

static bool is_wrong(struct http_request *r, const char *name)
{
	error_query(r, name);
	return true;
}

/* Returns false when it has answered. */
static bool read_int(struct http_request *r, const char *name, int64_t least, int64_t *n)
{
	const char *text = http_query(r, name);

	if (!text)
		return true;
	return (num_i64(text, n) == 0 && *n >= least) || !is_wrong(r, name);
}

static bool read_from(struct http_request *r, struct read *d)
{
	const char *offset = http_query(r, "offset"), *time = http_query(r, "timestamp");
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (offset && time)
		return !is_wrong(r, "timestamp");
	if (time) {
		d->from = FROM_TIME;
		return (num_time_ms(time, now.tv_sec * 1000, &d->n) == 0 && d->n >= 0) ||
			!is_wrong(r, "timestamp");
	}
	if (!offset || strcmp(offset, "beginning") == 0 || strcmp(offset, "earliest") == 0) {
		d->from = FROM_BEGINNING;
		return true;
	}
	if (strcmp(offset, "end") == 0 || strcmp(offset, "latest") == 0) {
		d->from = FROM_END;
		return true;
	}
	d->from = *offset == '-' ? FROM_LAST : FROM_OFFSET;
	if (num_i64(offset, &d->n))
		return !is_wrong(r, "offset");
	d->n = d->n < 0 ? -d->n : d->n;
	return true;
}

static bool read_query(const struct call *c, struct read *d)
{
	static const enum media offered[] = {MEDIA_JSON, MEDIA_BINARY, MEDIA_TEXT, MEDIA_LINES,
		MEDIA_EVENTS, MEDIA_PLAIN, MEDIA_NONE};

	*d = (struct read){.partition = -1, .timeout_ms = TIMEOUT_MS, .max_bytes = INT64_MAX};
	d->media = route_accept(c->r, offered, false);
	d->limit = d->media == MEDIA_LINES || d->media == MEDIA_EVENTS ? INT64_MAX : POLL_RECORDS;
	if (!read_int(c->r, "partition", 0, &d->partition) ||
		!read_int(c->r, "limit", 1, &d->limit) ||
		!read_int(c->r, "max_bytes", 1, &d->max_bytes) ||
		!read_int(c->r, "timeout", 0, &d->timeout_ms) || !read_from(c->r, d))
		return false;
	if (d->media == MEDIA_NONE) {
		http_error(c->r, 406, "the header Accept names no type that records can have");
		return false;
	}
	if (d->timeout_ms < TIMEOUT_LEAST_MS)
		d->timeout_ms = TIMEOUT_LEAST_MS;
	if (d->timeout_ms > TIMEOUT_MAX_MS)
		d->timeout_ms = TIMEOUT_MAX_MS;
	return true;
}

void read_request(struct consumers *all, const struct call *c, const char *topic)
{
	struct read d, *own;
	struct instance *i;

	if (!read_query(c, &d) || !create_may(all, c) || !khttp_kafka_answers(c->k, c->r))
		return;
	own = mem_alloc(sizeof(*own));
	*own = d;
	i = create_reader(all, c->r, own);
	if (!i) {
		free(own);
		return;
	}
	i->format = d.media == MEDIA_BINARY ? FORMAT_BINARY
		: d.media == MEDIA_TEXT	    ? FORMAT_TEXT
					    : FORMAT_JSON;
	own->topic = mem_dup(topic);
	own->wait = wait_open(i, c->r, WAIT_READ, all->now_ms + d.timeout_ms);
	if (!own->wait) {
		instance_close(i, false);
		return;
	}
	own->wait->media = d.media;
	own->wait->max_bytes = (size_t)own->max_bytes;
	own->wait->max_records = (size_t)(own->limit > POLL_RECORDS ? POLL_RECORDS : own->limit);
	read_go_on(i);
}

void read_free(struct read *d)
{
	if (!d)
		return;
	places_free(&d->places);
	free(d->topic);
	free(d);
}

/* ---- what is asked of the brokers ---- */

static void refuse(struct read *d, int status, const char *text)
{
	d->step = READ_OVER;
	wait_answered(d->wait);
	if (status == 503)
		error_unavailable(d->wait->request, "%s", text);
	else
		http_error(d->wait->request, status, "%s", text);
}

static void take_topic(struct instance *i, const struct rd_kafka_metadata *md)
{
	const rd_kafka_metadata_topic_t *t = md->topic_cnt == 1 ? &md->topics[0] : NULL;
	struct read *d = i->read;
	rd_kafka_resp_err_t err = t ? t->err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;

	if (err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
		return;
	if (err || !t->partition_cnt) {
		refuse(d, error_status(err, i->all->k->compat), kafka_why(err));
		return;
	}
	if (d->partition >= t->partition_cnt) {
		refuse(d, 404, "Specified partition does not exist.");
		return;
	}
	d->places.list = mem_alloc((size_t)t->partition_cnt * sizeof(*d->places.list));
	for (int n = 0; n < t->partition_cnt; n++)
		if (d->partition < 0 || d->partition == t->partitions[n].id)
			d->places.list[d->places.count++] =
				(struct place){.topic = mem_dup(d->topic),
					.partition = t->partitions[n].id,
					.offset = -1,
					.end = -1};
	d->step = READ_ENDS;
}

static void take_offsets(struct read *d, const rd_kafka_topic_partition_list_t *list)
{
	for (size_t n = 0; n < d->places.count; n++) {
		struct place *p = &d->places.list[n];
		int64_t offset = rd_kafka_topic_partition_list_find(
			(rd_kafka_topic_partition_list_t *)list, p->topic, p->partition)
					 ->offset;

		if (d->step == READ_ENDS)
			p->end = offset;
		else
			p->offset = offset;
	}
	d->step = d->step == READ_ENDS && d->from == FROM_TIME ? READ_TIMES : READ_RECORDS;
}

static void ask_offsets(struct instance *i, const struct read *d)
{
	rd_kafka_topic_partition_list_t *list =
		rd_kafka_topic_partition_list_new((int)d->places.count);

	for (size_t n = 0; n < d->places.count; n++)
		rd_kafka_topic_partition_list_add(
			list, d->places.list[n].topic, d->places.list[n].partition)
			->offset = d->step == READ_ENDS ? RD_KAFKA_OFFSET_END : d->n;
	listing_ask_offsets(&i->listing, list);
}

static void ask(struct instance *i)
{
	struct listing *l = &i->listing;
	struct read *d = i->read;

	if (!i->has_listing)
		listing_open(l, &i->kafka);
	i->has_listing = true;
	if (listing_take(l)) {
		if (l->err == RD_KAFKA_RESP_ERR__INVALID_ARG)
			refuse(d, 404, "There can be no topic of this name.");
		else if (!l->err && d->step == READ_TOPIC)
			take_topic(i, l->metadata);
		else if (!l->err)
			take_offsets(d, l->offsets);
		d->ask_ms = l->err ? i->all->now_ms + ASK_AGAIN_MS : 0;
	}
	if (listing_is_out(l) || d->step >= READ_RECORDS || i->all->now_ms < d->ask_ms)
		return;
	if (d->step == READ_TOPIC)
		listing_ask_topic(l, d->topic);
	else
		ask_offsets(i, d);
}

/* ---- records ---- */

/* Begins to read, where there is something. */
static void begin(struct instance *i)
{
	struct read *d = i->read;
	struct places some = {.list = mem_alloc(d->places.count * sizeof(struct place))};
	const char *id =
		d->media == MEDIA_EVENTS ? http_header(d->wait->request, "Last-Event-ID") : NULL;

	for (size_t n = 0; n < d->places.count; n++) {
		struct place *p = &d->places.list[n];

		if (d->from == FROM_BEGINNING)
			p->offset = RD_KAFKA_OFFSET_BEGINNING;
		else if (d->from == FROM_END || (d->from == FROM_TIME && p->offset < 0))
			p->offset = p->end;
		else if (d->from == FROM_OFFSET)
			p->offset = d->n;
		else if (d->from == FROM_LAST)
			p->offset = p->end > d->n ? p->end - d->n : 0;
		if (id && stream_shown(id, p->topic, p->partition) != SHOWN_NONE)
			p->offset = stream_shown(id, p->topic, p->partition) + 1;
		if (d->media == MEDIA_EVENTS || p->offset < p->end)
			some.list[some.count++] = *p;
	}
	if (some.count)
		group_read(i, &some);
	free(some.list);
}

static bool is_read(const struct consumer_part *p)
{
	return p->taken >= p->end || p->next >= p->end;
}

static bool is_whole(const struct instance *i)
{
	for (const struct consumer_part *p = i->parts; p < i->parts + i->part_count; p++)
		if (!is_read(p))
			return false;
	return true;
}

/* Why it is not; NULL: it takes long. */
static const char *why_not(const struct instance *i)
{
	const char *why = NULL;

	for (size_t n = 0; n < i->part_count && !why; n++)
		if (!is_read(&i->parts[n]))
			why = silence_text(
				&i->all->k->silence, i->parts[n].topic, i->parts[n].partition);
	return why;
}

static bool streams(const struct read *d)
{
	return d->media == MEDIA_LINES || d->media == MEDIA_EVENTS;
}

static void begin_stream(struct read *d)
{
	d->step = READ_OVER;
	stream_begin(d->wait, d->media == MEDIA_LINES, d->limit);
}

/* Each partition has answered: an error comes before the first byte of a stream. */
static bool is_started(const struct instance *i)
{
	for (const struct consumer_part *p = i->parts; p < i->parts + i->part_count; p++)
		if (!p->started)
			return false;
	return true;
}

static void go_on_reading(struct instance *i)
{
	struct read *d = i->read;

	poll_take(i);
	if (*i->error && !i->held_count) {
		refuse(d, i->error_status, i->error);
	} else if (streams(d)) {
		if (i->held_count || is_started(i))
			begin_stream(d);
	} else if (poll_is_full(i, d->wait) || is_whole(i)) {
		d->step = READ_OVER;
		poll_answer(i, d->wait);
	}
}

void read_go_on(struct instance *i)
{
	struct read *d = i->read;

	if (d->step < READ_RECORDS) {
		ask(i);
		if (d->step == READ_RECORDS)
			begin(i);
	}
	if (d->step == READ_RECORDS)
		go_on_reading(i);
	if (d->step != READ_OVER || d->wait->kind != WAIT_STREAM)
		return;
	poll_take(i);
	if (i->held_count)
		stream_wake(d->wait);
	else if (*i->error)
		stream_fail(d->wait, i->error_status, i->error);
	stream_end(d->wait, d->media == MEDIA_LINES && !i->held_count && is_whole(i));
}

void read_due(struct instance *i)
{
	struct read *d = i->read;
	const char *why = why_not(i);

	if (d->step < READ_RECORDS)
		refuse(d, 503, "Kafka has not answered in time");
	else if (why)
		refuse(d, 503, why);
	else if (streams(d))
		begin_stream(d);
	else
		poll_answer(i, d->wait);
	d->step = READ_OVER;
}
