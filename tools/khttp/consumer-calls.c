/* SPDX-License-Identifier: ISC */
/* What is asked of an instance, but for its records. */
#include "khttp/instance.h"
#include "khttp/topics.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

static const char exclusive[] =
	"Subscriptions to topics, partitions, and patterns are mutually exclusive.";

void calls_done(struct http_request *r)
{
	http_reply(r, 204, NULL, NULL);
}

/* ---- subscriptions ---- */

/* Reads the body of a subscription. Returns false when it has answered with 400. */
static bool read_subscription(const struct call *c, struct body_field fields[2])
{
	struct buf errors = {0};
	struct json_value v;
	struct json j;

	fields[0] = (struct body_field){.name = "topics", .types = BODY_ARRAY};
	fields[1] = (struct body_field){.name = "topic_pattern", .types = BODY_STRING};
	if (body_object(&c->body, "#", fields, 2, &errors) && fields[0].v.type) {
		json_init(&j, fields[0].v.text);
		json_enter(&j, '[');
		for (size_t at = 0; json_element(&j, &v) == 1; at++)
			if (v.type != JSON_STRING)
				body_wrong(&errors,
					"#/topics/%zu: instance type %s is invalid. Expected string",
					at, body_type_name(&v));
	}
	if (!errors.len)
		return true;
	error_schema(c->r, &errors);
	return false;
}

/* Appends the names of a list, each with LF behind it. Returns 0, or -1 when it has answered with
 * 422. */
static int read_topics(const struct call *c, const struct json_value *list, struct buf *names)
{
	struct json_value v;
	struct json j;

	json_init(&j, list->text);
	json_enter(&j, '[');
	while (json_element(&j, &v) == 1) {
		if (v.escaped || !topics_is_name(v.text)) {
			http_error(c->r, 422, "Topic name is invalid: '%.*s'",
				(int)(v.text.len < 300 ? v.text.len : 300), v.text.p);
			return -1;
		}
		buf_span(names, v.text);
		buf_putc(names, '\n');
	}
	return 0;
}

/* The reference does not know it, and passes over any value. */
static bool waits(const struct http_request *r)
{
	const char *wait = http_query(r, "wait");

	return wait && strcmp(wait, "assignment") == 0;
}

static void answer_assignment(struct instance *i, struct http_request *r)
{
	if (!waits(r) || i->mode == MODE_NOTHING)
		calls_done(r);
	else
		wait_open(i, r, WAIT_ASSIGNMENT, i->all->now_ms + ASSIGNMENT_MS);
}

static void subscribe_topics(
	struct instance *i, const struct call *c, const struct json_value *list)
{
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
	struct buf names = {0};

	if (read_topics(c, list, &names)) {
		buf_free(&names);
		return;
	}
	if (!names.len) {
		group_unsubscribe(i);
	} else if (i->mode == MODE_PATTERN) {
		http_error(c->r, 409, "%s", exclusive);
		buf_free(&names);
		return;
	} else {
		buf_putc(&names, '\0');
		err = group_subscribe(i, names.p);
		if (!err)
			i->mode = MODE_TOPICS;
	}
	buf_free(&names);
	if (err)
		error_kafka(c->r, c->k->compat, err, NULL);
	else
		answer_assignment(i, c->r);
}

static void subscribe_pattern(struct instance *i, const struct call *c, const struct json_value *v)
{
	char why[300], *regex;

	if (i->mode == MODE_TOPICS) {
		http_error(c->r, 409, "%s", exclusive);
		return;
	}
	regex = body_text(v);
	if (!regex || pattern_set(i, regex, why, sizeof(why))) {
		http_error(c->r, c->k->compat ? 500 : 422, "%s",
			regex ? why : "the pattern is no text");
	} else {
		i->mode = MODE_PATTERN;
		pattern_go_on(i);
		answer_assignment(i, c->r);
	}
	free(regex);
}

void calls_subscribe(struct instance *i, const struct call *c)
{
	struct body_field fields[2];

	if (!read_subscription(c, fields))
		return;
	if (http_query(c->r, "wait") && !waits(c->r) && !c->k->compat)
		error_query(c->r, "wait");
	else if ((fields[0].v.type && fields[1].v.type) || i->mode == MODE_ASSIGNED)
		http_error(c->r, 409, "%s", exclusive);
	else if (fields[0].v.type)
		subscribe_topics(i, c, &fields[0].v);
	else if (fields[1].v.type)
		subscribe_pattern(i, c, &fields[1].v);
	else
		http_error(
			c->r, 422, "A list (of Topics type) or a topic_pattern must be specified.");
}

void calls_unsubscribe(struct instance *i, struct http_request *r)
{
	group_unsubscribe(i);
	calls_done(r);
}

void calls_subscription(struct instance *i, struct http_request *r)
{
	size_t count = i->mode == MODE_NOTHING ? 0 : i->part_count;
	const struct consumer_part *p = i->parts;
	struct buf body = {0}, partitions = {0};

	buf_puts(&body, "{\"topics\":[");
	for (size_t n = 0; n < count; n++) {
		bool begins = !n || strcmp(p[n].topic, p[n - 1].topic) != 0;
		bool ends = n + 1 == count || strcmp(p[n].topic, p[n + 1].topic) != 0;

		if (begins) {
			buf_printf(&body, "%s\"%s\"", n ? "," : "", p[n].topic);
			buf_printf(&partitions, "%s{\"%s\":[", n ? "," : "", p[n].topic);
		}
		buf_printf(&partitions, "%s%" PRId32 "%s", begins ? "" : ",", p[n].partition,
			ends ? "]}" : "");
	}
	buf_puts(&body, "],\"partitions\":[");
	buf_span(&body, buf_as_span(&partitions));
	buf_puts(&body, "]}");
	buf_free(&partitions);
	http_reply(r, 200, TYPE_V2, &body);
}

void calls_assign(struct instance *i, const struct call *c)
{
	struct places places = {0};
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
	const struct place *bad = NULL;

	if (places_read(c, "partitions", false, &places)) {
		places_free(&places);
		return;
	}
	for (size_t n = 0; n < places.count && !bad; n++)
		if (places.list[n].partition < 0 ||
			!topics_is_name(
				(struct span){places.list[n].topic, strlen(places.list[n].topic)}))
			bad = &places.list[n];
	if (i->mode == MODE_TOPICS || i->mode == MODE_PATTERN)
		http_error(c->r, 409, "%s", exclusive);
	else if (bad)
		http_error(c->r, 422, "There can be no partition %s-%" PRId32, bad->topic,
			bad->partition);
	else if ((err = group_assign(i, &places)))
		error_kafka(c->r, c->k->compat, err, NULL);
	else
		calls_done(c->r);
	places_free(&places);
}

/* ---- positions ---- */

static void answer_not_held(struct http_request *r, const struct place *p)
{
	http_error(
		r, 404, "No current assignment for partition %s-%" PRId32, p->topic, p->partition);
}

/* The first place whose partition the instance does not have. */
static const struct place *not_held(const struct instance *i, const struct places *places)
{
	for (size_t n = 0; n < places->count; n++)
		if (i->mode == MODE_NOTHING ||
			!part_find(i, places->list[n].topic, places->list[n].partition))
			return &places->list[n];
	return NULL;
}

static bool has_negative(const struct places *places)
{
	for (size_t n = 0; n < places->count; n++)
		if (places->list[n].offset < 0)
			return true;
	return false;
}

void calls_seek(struct instance *i, const struct call *c)
{
	struct places places = {0};
	const struct place *missing;

	if (places_read(c, "offsets", true, &places)) {
		places_free(&places);
		return;
	}
	missing = not_held(i, &places);
	if (has_negative(&places)) {
		http_error(c->r, c->k->compat ? 500 : 422,
			"seek offset must not be a negative number");
	} else if (missing) {
		answer_not_held(c->r, missing);
	} else {
		for (size_t n = 0; n < places.count; n++)
			group_seek(i, part_find(i, places.list[n].topic, places.list[n].partition),
				places.list[n].offset);
		calls_done(c->r);
	}
	places_free(&places);
}

void calls_seek_to(struct instance *i, const struct call *c, int64_t offset)
{
	struct places places = {0};
	const struct place *missing;

	if (places_read(c, "partitions", false, &places)) {
		places_free(&places);
		return;
	}
	missing = not_held(i, &places);
	if (missing) {
		answer_not_held(c->r, missing);
	} else {
		for (size_t n = 0; n < places.count; n++)
			group_seek(i, part_find(i, places.list[n].topic, places.list[n].partition),
				offset);
		for (size_t n = 0; !places.count && n < i->part_count; n++)
			group_seek(i, &i->parts[n], offset);
		calls_done(c->r);
	}
	places_free(&places);
}

/* ---- commits ---- */

static void answer_commit(struct http_request *r, bool compat, rd_kafka_resp_err_t err,
	const rd_kafka_topic_partition_list_t *offsets)
{
	if (err == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
		err == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
		err == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS) {
		http_error(r, compat ? 500 : 409, "%s", kafka_why(err));
		return;
	}
	for (int n = 0; offsets && n < offsets->cnt; n++)
		if (offsets->elems[n].err) {
			http_error(r, error_status(offsets->elems[n].err, compat),
				"%s-%" PRId32 ": %s", offsets->elems[n].topic,
				offsets->elems[n].partition, kafka_why(offsets->elems[n].err));
			return;
		}
	if (err && err != RD_KAFKA_RESP_ERR__NO_OFFSET)
		error_kafka(r, compat, err, NULL);
	else
		calls_done(r);
}

/* Before the first assignment a commit would be one of no group, or of a past generation. */
static bool waits_to_join(const struct instance *i)
{
	return (i->mode == MODE_TOPICS || i->mode == MODE_PATTERN) && !i->joined;
}

static void begin_commit(
	struct instance *i, const struct call *c, const rd_kafka_topic_partition_list_t *list)
{
	rd_kafka_resp_err_t err;
	uint64_t number;
	struct wait *w;

	if (!khttp_kafka_answers(c->k, c->r))
		return;
	if (list && waits_to_join(i)) {
		w = wait_open(i, c->r, WAIT_COMMIT, i->all->now_ms + ASSIGNMENT_MS);
		if (w)
			w->places = rd_kafka_topic_partition_list_copy(list);
		return;
	}
	number = commit_send(i, list, &err);
	if (err) {
		answer_commit(c->r, c->k->compat, err, NULL);
	} else if (!number) {
		calls_done(c->r);
	} else {
		w = wait_open(i, c->r, WAIT_COMMIT, i->all->now_ms + COMMIT_WAIT_MS);
		if (w)
			w->commit = number;
	}
}

/* No body, or {}. */
static bool is_empty(const struct call *c)
{
	struct json j;

	json_init(&j, c->body.text);
	return !c->body.type ||
		(c->body.type == JSON_OBJECT && json_enter(&j, '{') == 0 && !json_next(&j, '}'));
}

void calls_commit(struct instance *i, const struct call *c)
{
	rd_kafka_topic_partition_list_t *list;
	struct places places = {0};
	bool unknown = false;

	if (is_empty(c)) {
		begin_commit(i, c, NULL);
		return;
	}
	if (places_read(c, "offsets", true, &places) == 0) {
		list = rd_kafka_topic_partition_list_new((int)places.count + 1);
		for (size_t n = 0; n < places.count; n++) {
			const struct place *p = &places.list[n];
			rd_kafka_topic_partition_t *at =
				rd_kafka_topic_partition_list_add(list, p->topic, p->partition);

			at->offset = p->offset;
			/* A broker ends the connection on which a name comes that is too long. */
			if (!topics_is_name((struct span){p->topic, strlen(p->topic)})) {
				at->err = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
				unknown = true;
			}
		}
		if (!places.count)
			calls_done(c->r);
		else if (has_negative(&places))
			http_error(c->r, c->k->compat ? 500 : 422, "Invalid negative offset");
		else if (unknown)
			answer_commit(c->r, c->k->compat, RD_KAFKA_RESP_ERR_NO_ERROR, list);
		else
			begin_commit(i, c, list);
		rd_kafka_topic_partition_list_destroy(list);
	}
	places_free(&places);
}

void calls_joined(struct instance *i)
{
	rd_kafka_resp_err_t err;

	for (struct wait *w = i->waits; w; w = w->next) {
		if (w->answered)
			continue;
		if (w->kind == WAIT_ASSIGNMENT) {
			wait_answered(w);
			calls_done(w->request);
		} else if (w->kind == WAIT_COMMIT && !w->commit) {
			w->commit = commit_send(i, w->places, &err);
			wait_until(w, i->all->now_ms + COMMIT_WAIT_MS);
			if (err) {
				wait_answered(w);
				answer_commit(w->request, i->all->k->compat, err, NULL);
			}
		}
	}
}

void calls_committed(struct instance *i, uint64_t number, rd_kafka_resp_err_t err,
	const rd_kafka_topic_partition_list_t *offsets)
{
	struct wait *w = i->waits;

	for (int n = 0; offsets && n < offsets->cnt; n++) {
		const rd_kafka_topic_partition_t *o = &offsets->elems[n];
		struct consumer_part *p = part_find(i, o->topic, o->partition);

		if (p)
			p->committed = err || o->err ? -1 : o->offset;
	}
	if (i->own_commit == number)
		i->own_commit = 0;
	while (w && (w->kind != WAIT_COMMIT || w->answered || w->commit != number))
		w = w->next;
	if (!w)
		return;
	wait_answered(w);
	answer_commit(w->request, i->all->k->compat, err, offsets);
}

/* ---- a request for an instance that is not there ---- */

static bool has_places(const struct call *c, const char *name, bool offsets)
{
	struct places places = {0};
	bool valid = places_read(c, name, offsets, &places) == 0;

	places_free(&places);
	return valid;
}

bool calls_valid(const struct consumer_call *c)
{
	struct body_field fields[2];
	struct poll_limits limits;

	switch (c->what) {
	case CONSUMER_SUBSCRIBE:
		return read_subscription(&c->call, fields);
	case CONSUMER_ASSIGN:
	case CONSUMER_SEEK_BEGINNING:
	case CONSUMER_SEEK_END:
		return has_places(&c->call, "partitions", false);
	case CONSUMER_SEEK:
		return has_places(&c->call, "offsets", true);
	case CONSUMER_COMMIT:
		return is_empty(&c->call) || has_places(&c->call, "offsets", true);
	case CONSUMER_POLL:
		return poll_read(c->call.r, &limits);
	default:
		return true;
	}
}
