/* SPDX-License-Identifier: ISC */
#include "kread/place.h"

#include "base/msg.h"
#include "base/num.h"
#include "base/opt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Before 1990, and yet not the beginning of all. */
#define EARLY_MS INT64_C(631152000000)

static bool parse_word(const char *text, struct kread_place *p)
{
	static const struct {
		const char *word;
		bool is_end;
	} words[] = {{"beginning", false}, {"end", true}, {"earliest", false}, {"latest", true},
		{"oldest", false}, {"newest", true}, {"start", false}};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strcmp(text, words[i].word))
			continue;
		*p = (struct kread_place){words[i].is_end ? AT_LAST : AT_FIRST, 0};
		return true;
	}
	return false;
}

static int64_t parse_time(const char *option, const char *text)
{
	struct timespec now;
	int64_t ms;

	clock_gettime(CLOCK_REALTIME, &now);
	if (num_time_ms(text, now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000, &ms) || ms < 0)
		opt_bad("%s: '@%s' is no time: give @MS since the epoch, @2026-01-31T10:00:00Z or @-1h",
			option, text);
	if (ms && ms < EARLY_MS)
		msg_warn(
			"%s: '@%s' is a time before 1990: milliseconds since the epoch have 13 digits",
			option, text);
	return ms;
}

struct kread_place place_parse(const char *option, const char *text)
{
	struct kread_place p = {0};

	if (parse_word(text, &p))
		return p;
	/* kcat: s@MS is where to begin, e@MS where to end. */
	if (*text == '@' || !strncmp(text, *option == '-' && option[1] == 'o' ? "s@" : "e@", 2))
		return (struct kread_place){AT_TIME, parse_time(option, strchr(text, '@') + 1)};
	p.kind = *text == '-' ? AT_LAST : *text == '+' ? AT_FIRST : AT_OFFSET;
	if (num_i64(text + (p.kind != AT_OFFSET), &p.n) || p.n < 0)
		opt_bad("%s takes beginning, end, N, +N, -N or @TIME such as @-10m or @2026-01-31, not '%s'",
			option, text);
	return p;
}

bool place_is_before(struct kread_place until, struct kread_place from)
{
	if (until.kind != from.kind)
		return false;
	return until.kind == AT_LAST ? until.n > from.n : until.n < from.n;
}

int64_t place_offset(struct kread_place at, int64_t low, int64_t high, int64_t timed)
{
	switch (at.kind) {
	case AT_OFFSET:
		return at.n;
	case AT_FIRST:
		return at.n < high - low ? low + at.n : high;
	case AT_LAST:
		return at.n < high - low ? high - at.n : low;
	case AT_TIME:
		break;
	}
	return timed >= 0 ? timed : high;
}

void place_cross(
	struct place_crossed *c, const char *topic, int32_t partition, int64_t begin, int64_t end)
{
	int count = c->count;

	if (end >= begin)
		return;
	if (!count)
		*c = (struct place_crossed){topic, partition, begin, end, 0};
	c->count = count + 1;
}

void place_tell_crossed(const struct place_crossed *c)
{
	char more[32] = "";

	if (!c->count)
		return;
	if (c->count > 1)
		snprintf(more, sizeof(more), ", and of %d more", c->count - 1);
	msg_warn("nothing is read of topic '%s', partition %" PRId32
		 "%s: --until is offset %" PRId64 " there, before the first to be read, %" PRId64,
		c->topic, c->partition, more, c->end, c->begin);
}
