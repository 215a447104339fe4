/* SPDX-License-Identifier: ISC */
/* Topics: who leads a partition, who is in sync, what is in it. */
#define _GNU_SOURCE
#include "kcheck/parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/near.h"
#include "base/num.h"
#include "base/wake.h"

#include <stdio.h>
#include <stdlib.h>

/* From this version on a question makes no topic. */
enum { METADATA_MAKES_NONE = 4 };

/* ---- questions ---- */

bool views_metadata(struct views *v, const char *const *names, struct proto_metadata *m)
{
	struct talk *t = views_via(v);
	int16_t version;
	struct buf *b = t
		? talk_request(t, PROTO_METADATA, PROTO_METADATA_MIN, PROTO_METADATA_MAX, &version)
		: NULL;

	if (!b)
		return false;
	proto_put_metadata(b, version, version < METADATA_MAKES_NONE ? NULL : names);
	return views_ask(v, t) && proto_read_metadata(t->answer, version, m) == 0;
}

static int ask_min_isr(struct views *v, const char *topic)
{
	struct talk *t = views_via(v);
	struct span text, value;
	int16_t version, error;
	struct buf *b = t ? talk_request(t, PROTO_DESCRIBE_CONFIGS, QUERY_DESCRIBE_CONFIGS_MIN,
				    QUERY_DESCRIBE_CONFIGS_MAX, &version)
			  : NULL;
	char digits[24];
	int64_t n;

	if (!b)
		return -1;
	query_put_describe_configs(b, QUERY_RESOURCE_TOPIC, topic, "min.insync.replicas");
	if (!views_ask(v, t) || query_read_describe_configs(t->answer, &error, &text, &value) ||
		error || !value.p)
		return -1;
	snprintf(digits, sizeof(digits), "%.*s", (int)value.len, value.p);
	return num_i64(digits, &n) ? -1 : (int)n;
}

void views_offsets(struct views *v, int32_t broker, struct query_places *places)
{
	struct check_listener *l = check_broker(v->check, broker);
	struct check_address *a = l ? check_usable(l) : NULL;
	struct query_places got = {0};
	int16_t version;
	struct buf *b = a && places->count
		? talk_request(&a->talk, PROTO_LIST_OFFSETS, QUERY_LIST_OFFSETS_MIN,
			  QUERY_LIST_OFFSETS_MAX, &version)
		: NULL;

	if (!b)
		return;
	query_put_list_offsets(b, version, places);
	if (views_ask(v, &a->talk) && query_read_list_offsets(a->talk.answer, version, &got) == 0)
		for (size_t i = 0; i < got.count; i++)
			for (size_t k = 0; k < places->count; k++)
				if (got.list[i].partition == places->list[k].partition &&
					!got.list[i].error &&
					strcmp(got.list[i].topic, places->list[k].topic) == 0)
					places->list[k].offset = got.list[i].offset;
	query_places_free(&got);
}

/* One question to one leader about all partitions of the topic that it leads. The answers go to the
 * member of struct view_ends that stands at @member. */
static void ask_ends_of(
	struct views *v, struct view_topic *t, int32_t leader, int64_t time_ms, size_t member)
{
	struct query_places places = {0};
	size_t n = 0;

	for (int32_t i = 0; i < t->t.partition_count; i++)
		if (t->t.partitions[i].leader == leader)
			query_add_place(&places, (struct span){t->t.name, strlen(t->t.name)},
				t->t.partitions[i].id)
				->time_ms = time_ms;
	views_offsets(v, leader, &places);
	for (int32_t i = 0; i < t->t.partition_count; i++)
		if (t->t.partitions[i].leader == leader)
			memcpy((char *)&t->ends[i] + member, &places.list[n++].offset,
				sizeof(int64_t));
	query_places_free(&places);
}

static void ask_ends(struct views *v, struct view_topic *t)
{
	size_t size = (size_t)t->t.partition_count * sizeof(*t->ends);

	t->ends = mem_alloc(size + 1);
	memset(t->ends, -1, size);
	for (int32_t i = 0; i < t->t.partition_count; i++) {
		int32_t leader = t->t.partitions[i].leader;
		bool asked = leader < 0;

		for (int32_t k = 0; k < i; k++)
			asked = asked || t->t.partitions[k].leader == leader;
		if (asked)
			continue;
		ask_ends_of(v, t, leader, QUERY_BEGINNING, offsetof(struct view_ends, begin));
		ask_ends_of(v, t, leader, QUERY_END, offsetof(struct view_ends, end));
		if (v->asks_time)
			ask_ends_of(v, t, leader, v->time_ms, offsetof(struct view_ends, at));
	}
}

/* ---- verdicts ---- */

static void judge_partition(struct view_topic *t, const struct proto_partition *p)
{
	struct check_verdict *w = &t->verdict;

	if (p->leader < 0) {
		snprintf(w->text, sizeof(w->text),
			"topic '%s': partition %d has no leader: none of its replicas is there",
			t->t.name, p->id);
		snprintf(w->remedy, sizeof(w->remedy),
			"start the brokers that have it: see replicas");
		w->status = EXIT_TEMP;
	} else if (t->min_isr > p->isr_count) {
		snprintf(w->text, sizeof(w->text),
			"topic '%s': partition %d has %d of %d %s in sync, and min.insync.replicas is %d: "
			"what is written with acks=all is refused",
			t->t.name, p->id, p->isr_count, p->replica_count,
			PLURAL(p->replica_count, "replica", "replicas"), t->min_isr);
		snprintf(w->remedy, sizeof(w->remedy),
			t->min_isr > p->replica_count
				? "more replicas, or kafka-configs.sh --alter --topic %s --add-config "
				  "min.insync.replicas=1"
				: "start the brokers of topic %s that are away: see replicas",
			t->t.name);
		w->status = EXIT_TEMP;
	} else if (p->isr_count < p->replica_count) {
		snprintf(w->note, sizeof(w->note),
			"topic '%s': partition %d has %d of %d replicas in sync", t->t.name, p->id,
			p->isr_count, p->replica_count);
	}
}

static void judge_topic(const struct views *v, struct view_topic *t)
{
	const char *user = v->check->conf->as.login.user;
	struct check_verdict *w = &t->verdict;

	snprintf(w->text, sizeof(w->text), "good");
	switch (t->t.error) {
	case 0:
	case PROTO_LEADER_NOT_AVAILABLE:
		break;
	case PROTO_UNKNOWN_TOPIC:
		w->status = EXIT_TEMP;
		snprintf(w->text, sizeof(w->text), "topic '%s' does not exist in this cluster",
			t->t.name);
		snprintf(w->remedy, sizeof(w->remedy),
			"kafka-topics.sh --create --topic %s; kwrite --create makes it, too",
			t->t.name);
		return;
	case PROTO_TOPIC_DENIED:
		w->status = EXIT_PERM;
		snprintf(w->text, sizeof(w->text),
			"topic '%s': we may not see it: no ACL allows DESCRIBE", t->t.name);
		snprintf(w->remedy, sizeof(w->remedy),
			"kafka-acls.sh --add --allow-principal User:%.99s --operation Describe --topic %s",
			user ? user : "NAME", t->t.name);
		return;
	case PROTO_INVALID_TOPIC:
		w->status = EXIT_PERM;
		snprintf(w->text, sizeof(w->text), "'%s' cannot be a topic's name", t->t.name);
		return;
	default:
		w->status = EXIT_TEMP;
		snprintf(w->text, sizeof(w->text), "topic '%s': the broker answers with error %d",
			t->t.name, t->t.error);
		return;
	}
	for (int32_t i = 0; i < t->t.partition_count && !w->status; i++)
		judge_partition(t, &t->t.partitions[i]);
}

/* ---- all of it ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(
		((const struct view_topic *)a)->t.name, ((const struct view_topic *)b)->t.name);
}

static int by_id(const void *a, const void *b)
{
	return ((const struct proto_partition *)a)->id - ((const struct proto_partition *)b)->id;
}

static struct proto_topic *find(struct proto_metadata *m, const char *name)
{
	for (int32_t i = 0; i < m->topic_count; i++)
		if (strcmp(m->topics[i].name, name) == 0)
			return &m->topics[i];
	return NULL;
}

static void look(struct views *v, struct view_topic *t)
{
	if (!t->t.error || t->t.error == PROTO_LEADER_NOT_AVAILABLE) {
		qsort(t->t.partitions, (size_t)t->t.partition_count, sizeof(*t->t.partitions),
			by_id);
		t->min_isr = ask_min_isr(v, t->t.name);
		ask_ends(v, t);
	}
	judge_topic(v, t);
}

/* Names, for a topic that does not exist, the one that may have been meant. */
static void seek(struct views *v, struct view_topics *out)
{
	struct proto_metadata all = {0};
	bool is_asked = false;

	for (size_t i = 0; i < out->count; i++) {
		struct view_topic *t = &out->list[i];
		struct check_verdict *w = &t->verdict;
		size_t len = strlen(w->text);

		if (t->t.error != PROTO_UNKNOWN_TOPIC)
			continue;
		if (!is_asked)
			views_metadata(v, NULL, &all);
		is_asked = true;
		for (int32_t k = 0; k < all.topic_count; k++)
			if (near_word(t->t.name, all.topics[k].name)) {
				snprintf(w->text + len, sizeof(w->text) - len, ": did you mean %s?",
					all.topics[k].name);
				break;
			}
	}
	proto_metadata_free(&all);
}

static void not_told(const struct views *v, struct view_topics *out, const char *name)
{
	struct check_verdict *w = &out->list[out->count].verdict;
	bool is_late = wake_now_us() >= v->until_us;

	out->list[out->count].min_isr = -1;
	out->list[out->count++].t = (struct proto_topic){.name = (char *)(uintptr_t)name};
	w->status = is_late ? EXIT_TIMEOUT : views_status(v);
	snprintf(w->text, sizeof(w->text), "topic '%s': %s", name,
		is_late ? "the broker that was asked does not answer within --timeout"
			: "no broker can be asked");
}

void views_topics(struct views *v, const char *const *names, struct view_topics *out)
{
	bool told = views_metadata(v, names, &out->metadata);
	size_t n = 0;

	while (names && names[n])
		n++;
	if (!names)
		n = (size_t)out->metadata.topic_count;
	out->list = mem_alloc((n + 1) * sizeof(*out->list));
	memset(out->list, 0, (n + 1) * sizeof(*out->list));
	for (size_t i = 0; i < n; i++) {
		struct view_topic *t = &out->list[out->count];
		struct proto_topic *found =
			names ? find(&out->metadata, names[i]) : &out->metadata.topics[i];

		if (!told) {
			not_told(v, out, names[i]);
			continue;
		}
		t->min_isr = -1;
		t->t = found ? *found
			     : (struct proto_topic){.name = (char *)(uintptr_t)names[i],
				       .error = PROTO_UNKNOWN_TOPIC};
		out->count++;
		look(v, t);
	}
	seek(v, out);
	if (!names)
		qsort(out->list, out->count, sizeof(*out->list), by_name);
}

void views_topics_free(struct view_topics *topics)
{
	for (size_t i = 0; i < topics->count; i++)
		free(topics->list[i].ends);
	free(topics->list);
	proto_metadata_free(&topics->metadata);
	*topics = (struct view_topics){0};
}
