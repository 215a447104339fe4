/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "redis/map.h"

#include "base/msg.h"
#include "base/wake.h"
#include "redis/fault.h"
#include "redis/url.h"

#include <stdlib.h>
#include <string.h>

enum { ANSWER_MS = 3000 }; /* an answer takes so long at most */

enum tag { TAG_INFO, TAG_SLOTS };

void map_open(struct map *m, const struct link_login *login)
{
	*m = (struct map){.due = true};
	link_open(&m->link, "", "", "0", login);
}

void map_close(struct map *m)
{
	link_close(&m->link);
}

void map_to(struct map *m, const char *host, const char *port, int64_t now_ms)
{
	bool same = m->link.dial.port && strcmp(m->link.dial.host, host) == 0 &&
		strcmp(m->link.dial.port, port) == 0;
	char *name;

	m->due = true;
	if (same && m->link.state != LINK_DOWN)
		return;
	m->asked = false;
	if (same) {
		link_redial(&m->link, now_ms);
		return;
	}
	name = redis_at_name(host, port);
	if (m->link.state != LINK_DOWN)
		link_drop(&m->link, EXIT_TEMP, "another node is asked");
	link_to(&m->link, name, host, port);
	link_dial(&m->link, now_ms);
	free(name);
}

/* ---- answers ---- */

static enum map_news give_up(struct map *m, int status, struct span text)
{
	m->why = (struct trouble){0};
	trouble_set(&m->why, status,
		span_starts(text, "ERR This instance has cluster support disabled")
			? "redis at %s is no cluster: %.*s"
			: "redis at %s does not name its slots: %.*s",
		m->link.name, (int)(text.len < 200 ? text.len : 200), text.p);
	return status == EXIT_PERM ? MAP_REFUSED : MAP_ELSEWHERE;
}

static enum map_news on_slots(struct map *m)
{
	struct span text = m->reply.value.text;

	m->asked = false;
	if (m->reply.value.type == RESP_ERROR)
		return give_up(
			m, redis_fault(text) == REDIS_FAULT_AWAY ? EXIT_TEMP : EXIT_PERM, text);
	if (m->reply.value.type != RESP_ARRAY)
		return give_up(m, EXIT_TEMP, SPAN("the answer is no list"));
	if (!m->is_well)
		return give_up(m, EXIT_TEMP, SPAN("CLUSTERDOWN, its cluster_state is not ok"));
	m->answered_ms = m->asked_ms;
	dial_reset(&m->link.dial);
	return MAP_ANSWERED;
}

static enum map_news on_answers(struct map *m)
{
	struct span text;

	while (link_reply(&m->link, &m->reply) != RESP_MORE) {
		if (m->reply.tag == TAG_SLOTS)
			return on_slots(m);
		/* A user who may not ask this sees the servers' refusals alone. */
		text = m->reply.value.text;
		m->is_well = m->reply.value.type != RESP_STRING ||
			memmem(text.p, text.len, "cluster_state:ok", 16);
	}
	return MAP_SAME;
}

static enum map_news on_lost(struct map *m)
{
	m->asked = false;
	m->why = (struct trouble){0};
	if (m->link.trouble.status == EXIT_PERM)
		trouble_take(&m->why, &m->link.trouble);
	else
		trouble_set(
			&m->why, EXIT_TEMP, "redis at %s: %s", m->link.name, m->link.trouble.text);
	return m->why.status == EXIT_PERM ? MAP_REFUSED : MAP_ELSEWHERE;
}

/* ---- the loop ---- */

static void ask(struct map *m, int64_t interval_ms, int64_t now_ms)
{
	if (m->link.state != LINK_UP || m->asked || (!m->due && now_ms - m->asked_ms < interval_ms))
		return;
	m->asked = true;
	m->due = false;
	m->asked_ms = now_ms;
	link_command(&m->link, TAG_INFO, 2, (const char *const[]){"CLUSTER", "INFO"});
	link_command(&m->link, TAG_SLOTS, 2, (const char *const[]){"CLUSTER", "SLOTS"});
}

enum map_news map_step(struct map *m, short revents, int64_t interval_ms, int64_t now_ms)
{
	enum map_news news = MAP_SAME;
	bool lost = link_step(&m->link, revents, now_ms) == LINK_LOST;

	if (!lost)
		news = on_answers(m);
	if (m->asked && now_ms - m->asked_ms >= ANSWER_MS) {
		link_drop(&m->link, EXIT_TEMP, "no answer for %d s", ANSWER_MS / 1000);
		lost = true;
	}
	if (lost)
		return on_lost(m);
	ask(m, interval_ms, now_ms);
	link_flush(&m->link);
	return news;
}

int map_timeout_ms(const struct map *m, int64_t interval_ms, int64_t now_ms)
{
	int timeout = link_timeout_ms(&m->link, now_ms);
	int64_t at = m->asked_ms + (m->asked ? ANSWER_MS : interval_ms);

	if (m->link.state != LINK_UP)
		return timeout;
	if (m->due && !m->asked)
		return 0;
	return wake_least(timeout, at > now_ms ? (int)(at - now_ms) : 0);
}
