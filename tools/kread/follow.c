/* SPDX-License-Identifier: ISC */
#include "kread/follow.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	IDS_EVERY_MS = 10000,
	/* Where changes come faster than proofs, records still have to come: after so many
	 * repeats, for so long. */
	REPEATS_MAX = 3,
	HOLD_MS = 2000,
};

void follow_open(struct parts *r, const char *on_gap)
{
	if (on_gap && strcmp(on_gap, "go") && strcmp(on_gap, "stop"))
		opt_bad("--on-gap takes go or stop, not '%s'", on_gap);
	if (on_gap && !strcmp(on_gap, "stop"))
		r->gap_stops = "--on-gap stop";
	metrics_counter("gaps_total", "Places where records may be missing or come again.",
		METRICS_PIPELINE, &r->gaps);
	metrics_counter("lost_records_total", "Records that were deleted before they were read.",
		METRICS_PIPELINE, &r->lost);
}

/* Says it and counts it. Returns whether reading may go on. */
__attribute__((format(printf, 2, 3))) static bool gap(struct parts *r, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->gaps++;
	if (r->gap_stops)
		source_end(r->source, EXIT_PERM, "%s; this ends it: %s", text, r->gap_stops);
	else
		msg_error("%s", text);
	return !r->gap_stops;
}

void follow_anew(struct parts *r, const char *topic, int32_t partition, int64_t next)
{
	gap(r,
		"topic '%s', partition %" PRId32 ": deleted and made anew after position %" PRId64
		"; reading begins at the beginning",
		topic, partition, next);
}

/* ---- the proof ---- */

/* From now on librdkafka hands out the records from @offset on. Returns false when it cannot
 * now. */
static bool seek(struct parts *r, struct kread_part *p, int64_t offset)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_error_t *error;
	bool done;

	rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset = offset;
	error = rd_kafka_seek_partitions(r->kafka->rk, list, 0);
	done = !error && list->elems[0].err != RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
	rd_kafka_error_destroy(error);
	rd_kafka_topic_partition_list_destroy(list);
	p->sought = r->pulls;
	return done;
}

static void ask(struct parts *r, struct kread_part *p)
{
	p->proof = seek(r, p, p->tried.offset) ? KREAD_PROOF_ASKED : KREAD_PROOF_DUE;
}

static void begin_proof(struct kread_part *p)
{
	p->same = -1;
	p->other = INT64_MAX;
	p->tried = marks_at(&p->marks, marks_count(&p->marks) - 1);
	p->prove_again = p->end_seen = false;
}

static void prove(struct parts *r, struct kread_part *p)
{
	if (p->done || p->leaving || p->next < 0 || !marks_count(&p->marks))
		return;
	p->prove_again = p->proof == KREAD_PROOF_ASKED ||
		(p->proof == KREAD_PROOF_NONE && wake_now_ms() < p->hold_ms);
	if (p->prove_again)
		return;
	if (p->proof == KREAD_PROOF_NONE)
		begin_proof(p);
	ask(r, p);
}

void follow_prove(struct parts *r)
{
	for (struct kread_part *p = r->parts; p < r->parts + r->part_count; p++)
		prove(r, p);
}

/* The mark in the middle between those known to be the same and those known to be others. */
static bool find_mark(struct kread_part *p)
{
	size_t low = 0, high = marks_count(&p->marks);

	while (low < high && marks_at(&p->marks, low).offset <= p->same)
		low++;
	while (low < high && marks_at(&p->marks, high - 1).offset >= p->other)
		high--;
	if (low == high)
		return false;
	p->tried = marks_at(&p->marks, low + (high - low) / 2);
	return true;
}

/* ---- going back ---- */

/* Reading goes back to @next, -1: the beginning. What was emitted is of an assignment that has
 * ended. */
static void go_back(struct parts *r, struct kread_part *p, int64_t next)
{
	marks_cut(&p->marks, next < 0 ? 0 : next);
	parts_restart(r, p, next);
	p->proof = KREAD_PROOF_NONE;
	p->replayed = -1;
	/* The log may be of another topic now. If all of it is read anew it does not matter; else
	 * all has to be. */
	if (next <= 0) {
		p->id[0] = '\0';
		p->id_since = r->ids.asked;
	}
	r->ids_ms = 0;
}

void follow_back(struct parts *r, struct kread_part *p, int64_t next)
{
	msg_warn("topic '%s', partition %" PRId32
		 ": the sink has lost what it had from offset %" PRId64 " on; reading it again",
		p->topic, p->partition, next);
	seek(r, p, next);
	go_back(r, p, next);
	if (p->done)
		parts_pause(r, p, false);
	p->done = false;
}

/* A sink that keeps positions would take what comes now for what it has. */
static bool keeper_stops(struct parts *r, const struct kread_part *p)
{
	if (!r->source->server.keeps_positions)
		return false;
	source_end(r->source, EXIT_PERM,
		"topic '%s', partition %" PRId32
		": its log is not the one that was read up to %" PRId64
		": it was truncated, or the topic was made anew, and the sink keeps a position of the old one: delete that to begin at the beginning",
		p->topic, p->partition, p->next);
	return true;
}

/* The end of the log as librdkafka knows it, -1: not known. */
static int64_t end_of(const struct parts *r, const struct kread_part *p, int64_t *low)
{
	int64_t high;

	if (rd_kafka_get_watermark_offsets(r->kafka->rk, p->topic, p->partition, low, &high)) {
		*low = -1;
		return -1;
	}
	return high;
}

/* All marks are compared, or no further ones are there: p->same is the last record that is the
 * same. */
static void part_ways(struct parts *r, struct kread_part *p)
{
	char where[64] = "its beginning";

	if (keeper_stops(r, p))
		return;
	if (p->same >= 0)
		snprintf(where, sizeof(where), "%" PRId64, p->same + 1);
	if (!gap(r,
		    "topic '%s', partition %" PRId32
		    ": its log is not the one that was read up to %" PRId64
		    ": it was truncated, or the topic was made anew; reading goes back to %s",
		    p->topic, p->partition, p->next, where))
		return;
	/* librdkafka knows the partition: it has just handed out something of it. */
	seek(r, p, p->same >= 0 ? p->same + 1 : RD_KAFKA_OFFSET_BEGINNING);
	go_back(r, p, p->same >= 0 ? p->same + 1 : -1);
}

static void search_on(struct parts *r, struct kread_part *p)
{
	if (find_mark(p))
		ask(r, p);
	else
		part_ways(r, p);
}

/* The log has other records than were read: what is at its end or beyond cannot be compared. */
static void is_other(struct parts *r, struct kread_part *p, int64_t offset)
{
	int64_t low, end = end_of(r, p, &low);

	p->other = offset;
	if (end >= 0 && end < p->other)
		p->other = end;
	search_on(r, p);
}

/* Returns whether the record still has to be judged. */
static bool compare(
	struct parts *r, struct kread_part *p, int64_t offset, const rd_kafka_message_t *m)
{
	bool first = p->other == INT64_MAX;

	if (m && offset == p->tried.offset && marks_sum(m) == p->tried.sum) {
		if (!first) {
			p->same = offset;
			search_on(r, p);
			return false;
		}
	} else if (!first || offset <= p->tried.offset) {
		is_other(r, p, p->tried.offset);
		return false;
	}
	/* An end may be that of a fetch from the old position, of another log: it counts when it is
	 * seen twice. */
	if (!m && !p->end_seen) {
		p->end_seen = true;
		ask(r, p);
		return false;
	}
	/* It is the same, or it is gone and cannot be compared. */
	p->proof = KREAD_PROOF_NONE;
	p->replayed = offset == p->tried.offset ? offset : offset - 1;
	if (p->prove_again && p->repeats++ < REPEATS_MAX) {
		begin_proof(p);
		ask(r, p);
		return false;
	}
	if (p->prove_again)
		p->hold_ms = wake_now_ms() + HOLD_MS;
	p->repeats = 0;
	return offset != p->tried.offset;
}

/* ---- ids ---- */

/* Returns whether reading may begin at the beginning of the new topic. */
static bool is_anew(struct parts *r, const struct kread_part *p)
{
	return !keeper_stops(r, p) &&
		gap(r,
			"topic '%s', partition %" PRId32
			": its log is not the one that was read up to %" PRId64
			": the topic was made anew, it has another id; reading goes back to its beginning",
			p->topic, p->partition, p->next);
}

int64_t follow_begin(
	struct parts *r, struct kread_part *p, int64_t next, const void *metadata, size_t size)
{
	char id[MARKS_ID_SIZE];

	p->next = p->committed = p->stored = next;
	marks_parse(&p->marks, id, metadata, size, next);
	if (*id && *p->id && strcmp(id, p->id) && is_anew(r, p)) {
		marks_cut(&p->marks, 0);
		p->next = p->committed = p->stored = -1;
		return RD_KAFKA_OFFSET_BEGINNING;
	}
	if (!marks_count(&p->marks))
		return next;
	begin_proof(p);
	p->proof = KREAD_PROOF_ASKED;
	return p->tried.offset;
}

void follow_identify(const struct parts *r, struct kread_part *p)
{
	snprintf(p->id, sizeof(p->id), "%s", ids_of(&r->ids, p->topic));
}

static size_t add_name(const char **names, size_t count, const char *name)
{
	if (!count || strcmp(names[count - 1], name))
		names[count++] = name;
	return count;
}

/* Both lists are sorted by topic, or nearly: a name that is there twice does no harm. */
static void ask_ids(struct parts *r, const rd_kafka_topic_partition_list_t *more)
{
	size_t count = 0, size = r->part_count + (more ? (size_t)more->cnt : 0);
	const char **names;

	if (!ids_may_ask(&r->ids) || !size)
		return;
	names = mem_realloc(NULL, size * sizeof(*names));
	for (size_t i = 0; i < r->part_count; i++)
		count = add_name(names, count, r->parts[i].topic);
	for (int i = 0; more && i < more->cnt; i++)
		count = add_name(names, count, more->elems[i].topic);
	r->ids_changes = kafka_changes(r->kafka);
	ids_ask(&r->ids, r->kafka, names, count);
	r->ids_ms = wake_now_ms() + IDS_EVERY_MS;
	free(names);
}

static void compare_id(struct parts *r, struct kread_part *p)
{
	const char *id = ids_of(&r->ids, p->topic);
	char past[MARKS_ID_SIZE];

	/* A broker that lags behind names the id that the topic had. */
	if (!*id || p->leaving || !strcmp(id, p->id) || !strcmp(id, p->past_id))
		return;
	memcpy(past, p->id, sizeof(past));
	if (*p->id && p->next > 0) {
		/* If librdkafka does not know the partition now, it will get metadata. */
		if (!seek(r, p, RD_KAFKA_OFFSET_BEGINNING) || !is_anew(r, p))
			return;
		go_back(r, p, -1);
		if (p->done)
			parts_pause(r, p, false);
		p->done = false;
	} else if (r->ids.asked <= p->id_since) {
		return;
	}
	memcpy(p->past_id, past, sizeof(past));
	follow_identify(r, p);
}

void follow_ids(struct parts *r, const rd_kafka_topic_partition_list_t *more)
{
	if (ids_take(&r->ids)) {
		for (size_t i = 0; i < r->part_count; i++)
			compare_id(r, &r->parts[i]);
		/* The answer is metadata, too: if nothing else has come it is no reason for a
		 * proof. A question that failed has no answer: what has come then is. */
		if (r->ids.answered && r->changes == r->ids_changes &&
			kafka_changes(r->kafka) == r->ids_changes + 1)
			r->changes++;
	}
	if (wake_now_ms() >= r->ids_ms)
		ask_ids(r, more);
}

void follow_tick(struct parts *r)
{
	/* First: what it takes is no reason for proofs. */
	follow_ids(r, NULL);
	/* A log that ends at the position gives no message. */
	follow_changes(r, NULL);
	for (struct kread_part *p = r->parts; p < r->parts + r->part_count; p++)
		if (p->proof == KREAD_PROOF_DUE)
			ask(r, p);
		else if (p->proof == KREAD_PROOF_NONE && p->prove_again)
			prove(r, p);
}

bool follow_waits_for_ids(struct parts *r, const rd_kafka_topic_partition_list_t *more, bool *need)
{
	if (!r->ids.is_out && *need) {
		*need = false;
		ask_ids(r, more);
	}
	return r->ids.is_out;
}

/* ---- gaps ---- */

bool follow_lost(struct parts *r, const struct kread_part *p, int64_t from, int64_t to)
{
	r->lost += (uint64_t)(to - from);
	return gap(r,
		"%" PRId64 " %s of topic '%s', partition %" PRId32 " %s read: offsets %" PRId64
		" to %" PRId64,
		to - from, PLURAL(to - from, "record", "records"), p->topic, p->partition,
		PLURAL(to - from, "was deleted before it was", "were deleted before they were"),
		from, to - 1);
}

static bool forward(struct parts *r, const struct kread_part *p, int64_t offset)
{
	int64_t low;

	end_of(r, p, &low);
	if (low > offset)
		low = offset;
	/* Else they are marks of transactions, or were compacted away. */
	return low <= p->next || follow_lost(r, p, p->next, low);
}

/* librdkafka goes to the beginning when the position is beyond the end. */
static bool backward(struct parts *r, struct kread_part *p, int64_t offset, bool is_end)
{
	int64_t low, end = end_of(r, p, &low);

	/* An end that was told before the records that were read. */
	if (is_end && (end < 0 || end >= p->next))
		return false;
	if (marks_count(&p->marks)) {
		begin_proof(p);
		ask(r, p);
		return false;
	}
	if (keeper_stops(r, p) ||
		!gap(r,
			"topic '%s', partition %" PRId32 ": the position %" PRId64
			" is beyond the end, %" PRId64 "; reading begins again at %" PRId64,
			p->topic, p->partition, p->next, end, offset))
		return false;
	go_back(r, p, offset);
	return true;
}

bool follow_judge(
	struct parts *r, struct kread_part *p, int64_t offset, const rd_kafka_message_t *m)
{
	/* Records that come before librdkafka has sought are of another place. */
	if (p->proof == KREAD_PROOF_DUE ||
		(p->proof == KREAD_PROOF_ASKED && !compare(r, p, offset, m)))
		return false;
	if (p->next < 0 || offset == p->next)
		return true;
	if (offset > p->next)
		return forward(r, p, offset);
	/* Marks may have been thinned: what lies between the mark and the position comes again. */
	if (p->replayed >= 0 && offset > p->replayed) {
		p->replayed = m ? offset : p->replayed;
		return false;
	}
	return backward(r, p, offset, !m);
}
