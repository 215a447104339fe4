/* SPDX-License-Identifier: ISC */
#include "kread/parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/metrics.h"
#include "base/opt.h"
#include "base/sorted.h"
#include "kread/follow.h"
#include "kread/refusal.h"

#include <inttypes.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the command line ---- */

/* One "3" or "3-5" of a list; moves *s behind it and its comma. */
static bool next_range(const char **s, int64_t *low, int64_t *high)
{
	char *end;

	if (**s < '0' || **s > '9')
		return false;
	*low = *high = strtol(*s, &end, 10);
	if (*end == '-') {
		if (end[1] < '0' || end[1] > '9')
			return false;
		*high = strtol(end + 1, &end, 10);
	}
	if ((*end && (*end != ',' || !end[1])) || *high < *low || *high > INT32_MAX)
		return false;
	*s = *end ? end + 1 : end;
	return true;
}

void parts_check_list(const char *text)
{
	int64_t low, high;

	for (const char *s = text; *s;)
		if (!next_range(&s, &low, &high))
			opt_bad("-p takes partitions such as 0,3-5, not '%s'", text);
}

static bool is_wanted(const struct parts *r, int32_t partition)
{
	int64_t low, high;

	if (!r->partitions)
		return true;
	for (const char *s = r->partitions; *s && next_range(&s, &low, &high);)
		if (partition >= low && partition <= high)
			return true;
	return false;
}

/* ---- the table ---- */

struct key {
	const char *topic;
	int32_t partition;
};

static int compare(const void *key, const void *part)
{
	const struct key *k = key;
	const struct kread_part *p = part;
	int c = strcmp(k->topic, p->topic);

	return c ? c : (k->partition > p->partition) - (k->partition < p->partition);
}

static size_t place_of(const struct parts *r, const struct key *k)
{
	return sorted_place(r->parts, r->part_count, sizeof(*r->parts), compare, k);
}

struct kread_part *parts_find(const struct parts *r, const char *topic, int32_t partition)
{
	struct key k = {topic, partition};
	size_t i = place_of(r, &k);

	return i < r->part_count && compare(&k, &r->parts[i]) == 0 ? &r->parts[i] : NULL;
}

static void open_account(const struct parts *r, struct kread_part *p)
{
	if (r->source->ledger)
		p->account = ledger_assign(r->source->ledger, p->topic, p->partition, NULL);
	if (r->source->replays)
		ledger_committed(r->source->ledger, p->account, 0);
}

struct kread_part *parts_add(struct parts *r, const char *topic, int32_t partition)
{
	size_t i = place_of(r, &(struct key){topic, partition});
	struct kread_part *p;

	r->parts = mem_realloc(r->parts, (r->part_count + 1) * sizeof(*p));
	p = &r->parts[i];
	memmove(p + 1, p, (r->part_count - i) * sizeof(*p));
	r->part_count++;
	r->last = NULL;
	*p = (struct kread_part){.topic = mem_dup(topic),
		.partition = partition,
		.begin = -1,
		.end = -1,
		.next = -1,
		.flushed_next = -1,
		.committed = -1,
		.stored = -1,
		.replayed = -1,
		.fresh = true};
	/* Names of topics need no escapes. */
	buf_printf(&p->head, "{\"topic\":\"%s\",\"partition\":%" PRId32 ",\"offset\":", topic,
		partition);
	open_account(r, p);
	return p;
}

void parts_restart(struct parts *r, struct kread_part *p, int64_t next)
{
	if (p->account)
		ledger_end(r->source->ledger, p->account);
	open_account(r, p);
	p->given = next < 0 ? RD_KAFKA_OFFSET_BEGINNING : next;
	p->begin = p->committed = -1;
	p->covered = 0;
	p->next = p->flushed_next = next;
	p->flushes = r->source->flushes;
	if (p->end >= 0) {
		p->end = -1;
		r->need_ends = true;
	}
}

void parts_remove(struct parts *r, struct kread_part *p)
{
	metrics_lag(p->topic, p->partition, -1);
	if (p->account)
		ledger_end(r->source->ledger, p->account);
	free(p->topic);
	marks_free(&p->marks);
	buf_free(&p->head);
	if (p->rkt)
		rd_kafka_topic_destroy(p->rkt);
	r->part_count--;
	r->last = NULL;
	memmove(p, p + 1, (size_t)(r->parts + r->part_count - p) * sizeof(*p));
}

void parts_done(struct parts *r, struct kread_part *p)
{
	if (p->done)
		return;
	p->done = true;
	parts_pause(r, p, true);
}

void parts_pause(struct parts *r, const struct kread_part *p, bool pause)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, p->topic, p->partition);
	if (pause)
		rd_kafka_pause_partitions(r->kafka->rk, list);
	else
		rd_kafka_resume_partitions(r->kafka->rk, list);
	rd_kafka_topic_partition_list_destroy(list);
}

void parts_eof(struct parts *r, const rd_kafka_message_t *m)
{
	struct kread_part *p = parts_find(r, rd_kafka_topic_name(m->rkt), m->partition);

	/* Records before the end that kread.c left out, for the same reasons, must be read
	 * again. */
	if (!p || p->done || p->leaving || source_phase(r->source) != SOURCE_READING)
		return;
	if (!follow_takes(r, p, m->offset, NULL))
		return;
	/* The last offsets may have no record: they are marks of transactions, or were compacted
	 * away. */
	if (m->offset > p->next) {
		parts_advance(r, p, m->offset);
		if (p->account)
			ledger_skip(p->account, p->next);
	}
	if (r->to_end || p->end >= 0)
		parts_done(r, p);
}

bool parts_all_done(const struct parts *r)
{
	if (!r->known || r->need_ends)
		return false;
	for (size_t i = 0; i < r->part_count; i++)
		if (!r->parts[i].done)
			return false;
	return true;
}

void parts_lag(const struct parts *r)
{
	for (struct kread_part *p = r->parts; p < r->parts + r->part_count; p++) {
		int64_t low, high;

		if (p->next >= 0 &&
			!rd_kafka_get_watermark_offsets(
				r->kafka->rk, p->topic, p->partition, &low, &high) &&
			high >= 0)
			metrics_lag(p->topic, p->partition, high > p->next ? high - p->next : 0);
	}
}

void parts_print_places(const struct parts *r)
{
	for (const struct kread_part *p = r->parts; p < r->parts + r->part_count; p++) {
		struct buf *b = &r->source->out.b;

		buf_span(b, buf_as_span(&p->head));
		buf_int(b, p->end > p->begin ? p->end : p->begin);
		buf_put(b, "}\n", 2);
	}
}

/* ---- ranges ---- */

/* Whether the brokers have answered the question that is out. false, too, when it is to be asked
 * again. */
static bool has_answer(struct parts *r, const char *what)
{
	struct listing *l = &r->questions.listing;

	if (!listing_take(l))
		return false;
	if (l->err) {
		if (l->err != r->questions.told)
			msg_info("cannot ask for %s: %s; trying again", what, kafka_why(l->err));
		r->questions.told = l->err;
		kafka_judge(r->kafka, l->err, kafka_why(l->err));
	}
	return !l->err;
}

/* Asks the leaders for the first offset of each fresh part at or after @time_ms; -1 and -2 stand
 * for the end and the beginning, as in the protocol. Returns false until *@answer is there; one
 * that is there stays. */
static bool ask_offsets(struct parts *r, int64_t time_ms, rd_kafka_topic_partition_list_t **answer)
{
	struct listing *l = &r->questions.listing;

	if (*answer)
		return true;
	if (!listing_is_out(l)) {
		rd_kafka_topic_partition_list_t *list =
			rd_kafka_topic_partition_list_new((int)r->part_count);

		for (struct kread_part *p = r->parts; p < r->parts + r->part_count; p++)
			if (p->fresh)
				rd_kafka_topic_partition_list_add(list, p->topic, p->partition)
					->offset = time_ms;
		listing_ask_offsets(l, list);
	}
	if (!has_answer(r, "offsets")) {
		if (!listing_is_out(l) && l->err)
			refusal_of_offsets(r->kafka, l, &r->questions.failure);
		return false;
	}
	r->questions.failure.since_ms = 0;
	*answer = rd_kafka_topic_partition_list_copy(l->offsets);
	return true;
}

static void forget_offsets(struct parts_questions *q)
{
	rd_kafka_topic_partition_list_t **all[] = {&q->low, &q->high, &q->from, &q->until};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		if (*all[i])
			rd_kafka_topic_partition_list_destroy(*all[i]);
		*all[i] = NULL;
	}
}

static void set_range(struct parts *r, struct kread_part *p, int64_t low, int64_t high,
	int64_t from_time, int64_t until_time)
{
	p->begin = offsets_find(&r->list, p->topic, p->partition);
	if (p->begin < 0)
		p->begin = place_offset(r->from, low, high, from_time);
	if (p->begin < low) {
		follow_lost(r, p, p->begin, low);
		p->begin = low;
	}
	if (p->begin > high)
		msg_warn("topic '%s', partition %" PRId32 ": offset %" PRId64
			 " is beyond the end, %" PRId64 "; records up to it are left out",
			p->topic, p->partition, p->begin, high);
	if (r->has_until)
		p->end = place_offset(r->until, low, high, until_time);
	else if (r->to_end)
		p->end = high;
	if (p->end > high)
		p->end = high;
	p->done = p->end >= 0 && p->begin >= p->end;
	/* Fetching beyond the end would be refused; records before `begin` are left out. */
	p->next = p->begin < high ? p->begin : high;
	p->fresh = false;
}

static void begin_part(struct parts *r, struct kread_part *p)
{
	p->rkt = rd_kafka_topic_new(r->kafka->rk, p->topic, NULL);
	if (rd_kafka_consume_start_queue(p->rkt, p->partition, p->next, r->messages))
		die(EXIT_TEMP, "topic '%s', partition %" PRId32 ": cannot start: %s", p->topic,
			p->partition, kafka_why(rd_kafka_last_error()));
}

/* Resolves and starts the fresh parts. Returns false until it is done. */
static bool begin_fresh(struct parts *r)
{
	struct parts_questions *q = &r->questions;
	struct place_crossed crossed = {0};

	if (!ask_offsets(r, RD_KAFKA_OFFSET_BEGINNING, &q->low) ||
		!ask_offsets(r, RD_KAFKA_OFFSET_END, &q->high) ||
		(r->from.kind == AT_TIME && !ask_offsets(r, r->from.n, &q->from)) ||
		(r->until.kind == AT_TIME && !ask_offsets(r, r->until.n, &q->until))) {
		/* After a failure all are asked anew: they belong together. */
		if (!listing_is_out(&q->listing))
			forget_offsets(q);
		return false;
	}
	for (int i = 0; i < q->low->cnt; i++) {
		struct kread_part *p =
			parts_find(r, q->low->elems[i].topic, q->low->elems[i].partition);

		set_range(r, p, q->low->elems[i].offset, q->high->elems[i].offset,
			q->from ? q->from->elems[i].offset : -1,
			q->until ? q->until->elems[i].offset : -1);
		if (!p->done && !r->places_alone)
			begin_part(r, p);
		/* A beginning beyond the end of the log was told. */
		if (r->has_until && p->begin <= q->high->elems[i].offset)
			place_cross(&crossed, p->topic, p->partition, p->begin, p->end);
	}
	place_tell_crossed(&crossed);
	forget_offsets(q);
	return true;
}

bool parts_find_ends(struct parts *r)
{
	rd_kafka_topic_partition_list_t **high = &r->questions.high;
	bool all = true;

	for (size_t i = 0; i < r->part_count; i++)
		r->parts[i].fresh = r->parts[i].end < 0;
	if (r->part_count == 0)
		return true;
	if (!ask_offsets(r, RD_KAFKA_OFFSET_END, high))
		return false;
	/* Meanwhile parts may have come and gone. */
	for (int i = 0; i < (*high)->cnt; i++) {
		struct kread_part *p =
			parts_find(r, (*high)->elems[i].topic, (*high)->elems[i].partition);

		if (!p || p->end >= 0)
			continue;
		p->end = (*high)->elems[i].offset;
		p->fresh = false;
		/* A position beyond the end, or one that is not proved: librdkafka will say
		 * more. */
		if (p->next == p->end && !p->proof)
			parts_done(r, p);
	}
	forget_offsets(&r->questions);
	for (size_t i = 0; i < r->part_count; i++)
		all = all && r->parts[i].end >= 0;
	return all;
}

/* ---- topics ---- */

static void add_topic(struct parts *r, const rd_kafka_metadata_topic_t *t)
{
	int64_t low, high;

	for (int i = 0; i < t->partition_cnt; i++)
		if (is_wanted(r, t->partitions[i].id) &&
			!parts_find(r, t->topic, t->partitions[i].id))
			parts_add(r, t->topic, t->partitions[i].id);
	if (!r->partitions || r->follow_new)
		return;
	for (const char *s = r->partitions; *s && next_range(&s, &low, &high);)
		if (high >= t->partition_cnt)
			die(EXIT_PERM, "topic '%s' has no partition %" PRId64 ": it has %d, from 0",
				t->topic, high, t->partition_cnt);
}

/* Ends with the name of a topic that may have been meant. Returns while the topics are not
 * known. */
static void end_without(struct parts *r, const char *name)
{
	struct listing *l = &r->questions.listing;
	const char *near;

	r->questions.misses_topic = true;
	if (!listing_is_out(l))
		listing_ask_topics(l);
	if (!has_answer(r, "topics"))
		return;
	near = listing_near(l, name);
	die(EXIT_PERM, "topic '%s' does not exist%s%s%s", name, near ? ": did you mean " : "",
		near ? near : "", near ? "?" : "");
}

/* A topic named as it is. Returns false until it is looked up. */
static bool look_up(struct parts *r, const char *name)
{
	struct listing *l = &r->questions.listing;
	const rd_kafka_metadata_t *md;
	rd_kafka_resp_err_t err;
	char text[512];

	if (r->questions.misses_topic) {
		end_without(r, name);
		return false;
	}
	if (!listing_is_out(l))
		listing_ask_topic(l, name);
	if (!has_answer(r, "a topic")) {
		if (l->err == RD_KAFKA_RESP_ERR__INVALID_ARG && !listing_is_out(l))
			die(EXIT_PERM, "'%s' cannot be a topic's name", name);
		return false;
	}
	md = l->metadata;
	err = md->topic_cnt == 1 ? md->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (!err && md->topics[0].partition_cnt > 0) {
		add_topic(r, &md->topics[0]);
		return true;
	}
	if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
		if (!r->follow_new)
			end_without(r, name);
		return r->follow_new;
	}
	if (err == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION)
		die(EXIT_PERM, "'%s' cannot be a topic's name", name);
	snprintf(text, sizeof(text), "topic '%s': %s", name, kafka_why(err));
	if (err)
		kafka_judge(r->kafka, err, text);
	return false;
}

/* Topics that match a regular expression. Returns false until they are looked up. */
static bool match(struct parts *r, const char *pattern)
{
	struct listing *l = &r->questions.listing;
	regex_t re;
	bool known;

	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB))
		die(EXIT_TEMP, "out of memory");
	if (!listing_is_out(l))
		listing_ask_topics(l);
	known = has_answer(r, "topics");
	for (int i = 0; known && i < l->metadata->topic_cnt; i++) {
		const rd_kafka_metadata_topic_t *t = &l->metadata->topics[i];

		if (!t->err && regexec(&re, t->topic, 0, NULL, 0) == 0)
			add_topic(r, t);
	}
	regfree(&re);
	return known;
}

bool parts_resolve(struct parts *r)
{
	int *known = &r->questions.topics_known;
	bool fresh = false;

	for (; *known < r->topic_count; ++*known)
		if (!(*r->topics[*known] == '^' ? match : look_up)(r, r->topics[*known]))
			return false;
	if (r->part_count == 0 && !r->follow_new)
		die(EXIT_PERM, "no topic matches '%s'", r->topics[0]);
	for (size_t i = 0; i < r->part_count; i++)
		fresh = fresh || r->parts[i].fresh;
	if (fresh && !begin_fresh(r))
		return false;
	*known = 0;
	/* Records of parts that turn up from now on are all new. */
	r->from = (struct kread_place){AT_FIRST, 0};
	return true;
}
