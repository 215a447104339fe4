/* SPDX-License-Identifier: ISC */
#include "kafka/silence.h"

#include "base/msg.h"
#include "base/wake.h"

#include <stdio.h>
#include <string.h>

/* Refusals that are further apart do not belong together. */
enum { SILENT_MS = 2000, APART_MS = 10000 };

static bool is_recent(int64_t then_ms, int64_t now_ms)
{
	return then_ms && now_ms - then_ms <= APART_MS;
}

static bool is_of(const struct silent *x, const char *topic, int32_t partition)
{
	return (partition < 0 || x->partition == partition) && strcmp(x->topic, topic) == 0;
}

/* Its place, or the one that was refused longest ago. */
static struct silent *place_of(struct silence *s, const char *topic, int32_t partition)
{
	struct silent *end = s->list + sizeof(s->list) / sizeof(*s->list), *oldest = s->list;

	for (struct silent *x = s->list; x < end; x++) {
		if (is_of(x, topic, partition))
			return x;
		if (x->last_ms < oldest->last_ms)
			oldest = x;
	}
	return oldest;
}

static bool is_gone(const char *why)
{
	return !strncmp(why, "Unknown topic", 13) || !strncmp(why, "topic does not exist", 20);
}

static void on_refusal(void *silence, const char *topic, int32_t partition, const char *why)
{
	struct silence *s = silence;
	struct silent *x = place_of(s, topic, partition);
	int64_t now_ms = wake_now_ms();
	bool is_new = !is_of(x, topic, partition);

	/* Of so many one is told already. */
	if ((is_gone(why) && !s->tells_gone) || (is_new && is_recent(x->last_ms, now_ms)))
		return;
	if (is_new || !is_recent(x->last_ms, now_ms))
		x->since_ms = now_ms;
	x->last_ms = now_ms;
	x->partition = partition;
	snprintf(x->topic, sizeof(x->topic), "%s", topic);
	snprintf(x->text, sizeof(x->text), "topic '%s', partition %d cannot be read: %s", topic,
		(int)partition, why);
	if (now_ms - x->since_ms < SILENT_MS)
		return;
	if (!is_recent(s->told_ms, now_ms))
		msg_warn("%s; trying again", x->text);
	s->told_ms = now_ms;
}

void silence_watch(struct silence *s, struct kafka *k)
{
	kafka_on_refusal(k, on_refusal, s);
	kafka_tell_refusals(k, true);
}

const char *silence_text(const struct silence *s, const char *topic, int32_t partition)
{
	const struct silent *end = s->list + sizeof(s->list) / sizeof(*s->list);
	int64_t now_ms = wake_now_ms();

	for (const struct silent *x = s->list; x < end; x++)
		if (is_of(x, topic, partition) && is_recent(x->last_ms, now_ms))
			return x->text;
	return NULL;
}
