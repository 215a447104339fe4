/* SPDX-License-Identifier: ISC */
#include "kread/range.h"

#include "base/msg.h"

#include <regex.h>

void range_opts(struct range_opts *o)
{
	o->partitions = arg_str0("p", "partitions", "LIST", "only partitions such as 0,3-5");
	o->from = arg_str0(
		"o", "from", "FROM", "beginning, end, N, +N, -N or @TIME (default beginning)");
	o->until = arg_str0(NULL, "until", "TO", "stop before it: the forms of -o");
	o->to_end = arg_lit0("e", "to-end", "stop at the end as it stood at the start");
	o->offsets = arg_file0(NULL, "offsets", "FILE",
		"go on behind the records in FILE, or at the places that it lists");
	o->print_offsets = arg_lit0(NULL, "print-offsets",
		"print where the next reading would go on, for --offsets, in place of records");
	o->follow_new =
		arg_lit0(NULL, "follow-new", "read topics and partitions that appear later");
	o->topics = opt_many(NULL, NULL, "TOPIC|^REGEX", 0, "what to read");
}

/* librdkafka would refuse a group's without naming it. */
static void check_pattern(const char *pattern)
{
	regex_t re;
	int bad = regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB);
	char why[128];

	if (bad) {
		regerror(bad, &re, why, sizeof(why));
		die(EXIT_PERM, "'%s' is no regular expression: %s", pattern, why);
	}
	regfree(&re);
}

/* Without an operand the topics are those of the list. */
static void take_topics(struct parts *s, const struct range_opts *o)
{
	const char *file = opt_file(o->offsets, "--offsets");

	s->topics = o->topics->sval;
	s->topic_count = o->topics->count;
	if (file)
		offsets_load(&s->list, file);
	if (file && !s->topic_count)
		s->topic_count = offsets_topics(&s->list, &s->topics);
	if (file && !s->topic_count)
		opt_bad("--offsets: '%s' names no topic, and no TOPIC is given", file);
	if (!s->topic_count)
		opt_bad("what to read is missing: TOPIC or ^REGEX");
	for (int i = 0; i < s->topic_count; i++)
		if (!*s->topics[i])
			opt_bad("a topic's name cannot be empty");
		else if (*s->topics[i] == '^')
			check_pattern(s->topics[i]);
	if (s->topic_count > 1 && strcmp(s->topics[0], "consume") == 0)
		msg_warn("'consume' is the name of a topic: kread reads by itself: kread TOPIC");
}

void range_take(struct parts *s, const struct range_opts *o, const char *group, bool counted)
{
	if (group &&
		(o->partitions->count || o->from->count || o->until->count || o->offsets->count))
		opt_bad("-p, -o, --offsets and --until cannot be combined with -g: the group has its own positions");
	if (group && o->print_offsets->count)
		opt_bad("--print-offsets does not go with -g: kcheck -g GROUP prints a group's positions");
	take_topics(s, o);
	s->partitions = opt_text(o->partitions, "-p");
	if (s->partitions)
		parts_check_list(s->partitions);
	s->from = o->from->count ? place_parse("-o", o->from->sval[0]) : (struct kread_place){0};
	s->has_until = o->until->count;
	if (s->has_until)
		s->until = place_parse("--until", o->until->sval[0]);
	s->to_end = o->to_end->count;
	s->follow_new = o->follow_new->count;
	if (s->has_until && place_is_before(s->until, s->from))
		opt_bad("--until %s comes before -o %s: there is nothing between",
			o->until->sval[0], o->from->count ? o->from->sval[0] : "beginning");
	if (s->has_until && s->to_end)
		opt_bad("-e and --until exclude each other");
	if (s->follow_new && (s->has_until || s->to_end))
		opt_bad("--follow-new cannot be combined with -e or --until");
	s->places_alone = o->print_offsets->count;
	if (s->places_alone && (s->follow_new || counted))
		opt_bad("--print-offsets reads nothing: -c and --follow-new do not go with it");
}
