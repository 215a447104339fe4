/* SPDX-License-Identifier: ISC */
#include "kwrite/old.h"

#include "base/mem.h"
#include "base/msg.h"

#include <stdlib.h>
#include <string.h>

enum { ASK_MS = 5000, EVERY_MS = 1000, LAST_MS = 6000 };

/* ---- options ---- */

void old_opts(struct old_opts *o)
{
	o->create = arg_str0(
		NULL, "create", "like", "create topics that do not exist; like those of --old");
	o->create->hdr.flag |= ARG_HASOPTVALUE;
	o->map = arg_str0(NULL, "map", "TOPIC",
		"keep a map of offsets, from the source's to those here, in a compacted topic");
	o->old = arg_str0(NULL, "old", "HOST:PORT[,...]",
		"the cluster that the records come from, for --create like and --map");
	o->old_config = arg_file0(NULL, "old-config", "FILE",
		"properties for --old, as -F (default those of this cluster)");
}

/* argtable wants a value that may be left away in the same word. */
int old_join(int argc, char **argv)
{
	static char joined[] = "--create=like";

	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "--create") == 0 && strcmp(argv[i + 1], "like") == 0) {
			argv[i] = joined;
			/* With the NULL at the end. */
			memmove(argv + i + 1, argv + i + 2, (size_t)(argc - i - 1) * sizeof(*argv));
			argc--;
		}
	return argc;
}

bool old_is_model(const struct old_opts *o)
{
	return o->create->count && *o->create->sval[0];
}

void old_check(const struct old_opts *o, bool raw)
{
	bool has_old = o->old->count || o->old_config->count;

	if (old_is_model(o) && strcmp(o->create->sval[0], "like") != 0)
		opt_bad("--create takes nothing, or like, not '%s'", o->create->sval[0]);
	if (old_is_model(o) && !has_old)
		opt_bad("--create like needs the cluster that the topics are in: --old HOST:PORT");
	if (old_is_model(o) && raw)
		opt_bad("--create like and --raw exclude each other: a payload has no topic");
	if (has_old && !old_is_model(o) && !o->map->count)
		opt_bad("--old is for --create like and --map");
}

/* ---- the client ---- */

int old_open(struct old *o, const struct old_opts *opts, const struct kafka_conf *conf,
	struct map *map, struct trouble *why)
{
	struct kafka_conf old;
	rd_kafka_queue_t *main;

	*o = (struct old){.map = map};
	if (!opts->old->count && !opts->old_config->count)
		return 0;
	if (kafka_conf_other(&old, conf, opt_text(opts->old, "--old"),
		    opt_file(opts->old_config, "--old-config"), why) ||
		kafka_start(&o->kafka, RD_KAFKA_PRODUCER, &old, why))
		return -1;
	main = rd_kafka_queue_get_main(o->kafka.rk);
	kafka_wake_on(&o->kafka, main);
	rd_kafka_queue_destroy(main);
	like_open(&o->like, &o->kafka);
	o->answers = rd_kafka_queue_new(o->kafka.rk);
	kafka_wake_on(&o->kafka, o->answers);
	o->is_on = true;
	return 0;
}

void old_close(struct old *o)
{
	if (!o->is_on)
		return;
	rd_kafka_queue_destroy(o->answers);
	if (like_close(&o->like))
		kafka_stop(&o->kafka);
}

/* ---- questions ---- */

static rd_kafka_AdminOptions_t *options(struct old *o, rd_kafka_admin_op_t op)
{
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(o->kafka.rk, op);
	char why[128];

	rd_kafka_AdminOptions_set_request_timeout(options, ASK_MS, why, sizeof(why));
	return options;
}

static void ask_groups(struct old *o)
{
	rd_kafka_AdminOptions_t *opts = options(o, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS);

	rd_kafka_ListConsumerGroups(o->kafka.rk, opts, o->answers);
	rd_kafka_AdminOptions_destroy(opts);
	o->is_out = true;
}

/* Of all topics: this process may not have seen a record of each partition. */
static void ask_positions(struct old *o, const char *group)
{
	rd_kafka_AdminOptions_t *opts = options(o, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
	rd_kafka_ListConsumerGroupOffsets_t *which =
		rd_kafka_ListConsumerGroupOffsets_new(group, NULL);

	rd_kafka_ListConsumerGroupOffsets(o->kafka.rk, &which, 1, opts, o->answers);
	rd_kafka_ListConsumerGroupOffsets_destroy(which);
	rd_kafka_AdminOptions_destroy(opts);
	o->is_out = true;
}

/* ---- answers ---- */

static void failed(struct old *o, rd_kafka_resp_err_t err, const char *why)
{
	if (!o->warned)
		msg_warn(
			"cannot ask the old cluster for the positions of its groups: %s; asking again",
			why ? why : kafka_why(err));
	o->warned = true;
}

static void forget_groups(struct old *o)
{
	for (size_t i = 0; i < o->count; i++)
		free(o->groups[i]);
	o->count = o->next = 0;
}

static void take_groups(struct old *o, rd_kafka_event_t *event)
{
	const rd_kafka_ListConsumerGroups_result_t *result =
		rd_kafka_event_ListConsumerGroups_result(event);
	const rd_kafka_ConsumerGroupListing_t **list;
	const rd_kafka_error_t **errors;
	size_t count = 0, bad = 0;

	forget_groups(o);
	list = rd_kafka_ListConsumerGroups_result_valid(result, &count);
	errors = rd_kafka_ListConsumerGroups_result_errors(result, &bad);
	if (bad)
		failed(o, rd_kafka_error_code(errors[0]), rd_kafka_error_string(errors[0]));
	o->groups = mem_realloc(o->groups, (count + 1) * sizeof(*o->groups));
	for (size_t i = 0; i < count; i++)
		o->groups[o->count++] = mem_dup(rd_kafka_ConsumerGroupListing_group_id(list[i]));
}

/* Whether the map has another position, or none. */
static bool is_new(struct old *o, const char *group, const rd_kafka_topic_partition_t *at)
{
	for (size_t i = 0; i < o->position_count; i++) {
		struct old_position *p = &o->positions[i];
		bool same = p->offset == at->offset;

		if (p->partition != at->partition || strcmp(p->topic, at->topic) != 0 ||
			strcmp(p->group, group) != 0)
			continue;
		p->offset = at->offset;
		return !same;
	}
	o->positions = mem_realloc(o->positions, (o->position_count + 1) * sizeof(*o->positions));
	o->positions[o->position_count++] = (struct old_position){
		mem_dup(group), mem_dup(at->topic), at->partition, at->offset};
	return true;
}

static void take_positions(struct old *o, rd_kafka_event_t *event)
{
	const rd_kafka_ListConsumerGroupOffsets_result_t *result =
		rd_kafka_event_ListConsumerGroupOffsets_result(event);
	size_t count = 0;
	const rd_kafka_group_result_t **groups =
		rd_kafka_ListConsumerGroupOffsets_result_groups(result, &count);
	const rd_kafka_error_t *error = count ? rd_kafka_group_result_error(groups[0]) : NULL;
	const rd_kafka_topic_partition_list_t *list =
		count && !error ? rd_kafka_group_result_partitions(groups[0]) : NULL;

	if (error)
		failed(o, rd_kafka_error_code(error), rd_kafka_error_string(error));
	for (int i = 0; list && i < list->cnt; i++) {
		const rd_kafka_topic_partition_t *p = &list->elems[i];
		const char *group = rd_kafka_group_result_name(groups[0]);

		if (!p->err && p->offset >= 0 && is_new(o, group, p))
			map_group(o->map, group, p->topic, p->partition, p->offset);
	}
}

static void take_answer(struct old *o, rd_kafka_event_t *event)
{
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);

	o->is_out = false;
	if (err)
		failed(o, err, NULL);
	else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LISTCONSUMERGROUPS_RESULT)
		take_groups(o, event);
	else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT)
		take_positions(o, event);
}

void old_serve(struct old *o, int64_t now_ms)
{
	rd_kafka_event_t *event;

	if (!o->is_on)
		return;
	kafka_woken(&o->kafka);
	rd_kafka_poll(o->kafka.rk, 0);
	while ((event = rd_kafka_queue_poll(o->answers, 0))) {
		take_answer(o, event);
		rd_kafka_event_destroy(event);
	}
	kafka_tick(&o->kafka);
	if (!o->map->name || o->is_out || !o->map->topic || !o->map->topic->rkt)
		return;
	if (o->next < o->count) {
		ask_positions(o, o->groups[o->next++]);
	} else if (now_ms >= o->ask_ms) {
		o->ask_ms = now_ms + EVERY_MS;
		ask_groups(o);
	}
}

bool old_is_done(struct old *o, int64_t now_ms)
{
	if (!o->is_on || !o->map->name || !o->map->topic || !o->map->topic->rkt)
		return true;
	if (!o->end_ms)
		o->end_ms = now_ms;
	if (now_ms - o->end_ms > LAST_MS)
		return true;
	if (o->is_out)
		return false;
	if (!o->is_last) {
		o->is_last = true;
		forget_groups(o);
		o->ask_ms = 0;
		return false;
	}
	return o->next == o->count && o->ask_ms;
}
