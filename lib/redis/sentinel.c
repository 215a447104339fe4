/* SPDX-License-Identifier: ISC */
/* DESIGN
 * A sentinel's word is the address that it has named last. In a failover the sentinel that leads it
 * changes its word first, up to a second before the others, while the old primary still calls
 * itself one: so a word that was seen to change counts for more than any number of old ones. A
 * sentinel that was away, and comes back with the word it had, has changed nothing.
 *
 * Words are asked for, and the channel +switch-master only hurries the question, since a link that
 * looks well may be one on which nothing arrives.
 *
 * Files: sentinel.c the list, questions, answers and the loop; sentinel-words.c whose word
 * counts. */
#define _GNU_SOURCE
#include "redis/sentinel-parts.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"
#include "redis/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	ASK_MS = 500,
	ANSWER_MS = 3000, /* an answer takes so long at most */
	PEERS_MS = 10000, /* the list of sentinels is asked for so often */
};

enum tag { TAG_ID, TAG_PEERS, TAG_WORD };

/* ---- the list ---- */

static struct sentinel *add(struct sentinels *s, const char *host, const char *port)
{
	struct sentinel *e = mem_alloc(sizeof(*e));

	*e = (struct sentinel){.name = redis_at_name(host, port)};
	sentinel_at_set(&e->at, host, port);
	link_open(&e->ask, e->name, host, port, &s->login);
	link_open(&e->ear, e->name, host, port, &s->login);
	s->all[s->count++] = e;
	return e;
}

static void drop(struct sentinel *e)
{
	link_close(&e->ask);
	link_close(&e->ear);
	sentinel_at_free(&e->at);
	sentinel_at_free(&e->word);
	free(e->name);
	free(e->id);
	free(e);
}

/* Frees learned ones that are another one by a second address. */
static void remove_doubles(struct sentinels *s)
{
	int kept = 0;

	for (int i = 0; i < s->count; i++) {
		struct sentinel *e = s->all[i];
		bool doubled = false;

		for (int j = 0; e->learned && e->id && j < s->count; j++)
			doubled |= s->all[j] && s->all[j] != e && s->all[j]->id &&
				strcmp(s->all[j]->id, e->id) == 0 && (!s->all[j]->learned || j < i);
		if (doubled) {
			drop(e);
			s->all[i] = NULL;
		}
	}
	for (int i = 0; i < s->count; i++)
		if (s->all[i])
			s->all[kept++] = s->all[i];
	s->count = kept;
}

struct sentinels *sentinels_open(const struct redis_url *url, struct bytes_client *tls)
{
	struct sentinels *s = mem_alloc(sizeof(*s));

	*s = (struct sentinels){.master = url->master};
	s->login = (struct link_login){.what = "the sentinel",
		.user = url->sentinel_user,
		.password_file = url->sentinel_password_file,
		.client = msg_prog(),
		.tls = tls};
	for (int i = 0; i < url->count; i++)
		add(s, url->at[i].host, url->at[i].port);
	return s;
}

void sentinels_close(struct sentinels *s)
{
	if (!s)
		return;
	for (int i = 0; i < s->count; i++)
		drop(s->all[i]);
	sentinel_at_free(&s->primary);
	sentinel_at_free(&s->avoided);
	free(s);
}

/* ---- answers ---- */

static void refuse(struct sentinel *e, const char *fmt, const char *name, struct span text)
{
	e->verdict = REFUSES;
	e->why = (struct trouble){0};
	trouble_set(&e->why, EXIT_PERM, fmt, name, (int)(text.len < 200 ? text.len : 200), text.p);
}

static void on_word(struct sentinels *s, struct sentinel *e, const struct link_reply *reply)
{
	struct span host, port;
	struct redis_at word;

	e->asked = false;
	if (reply->value.type == RESP_ERROR) {
		if (redis_fault(reply->value.text) == REDIS_FAULT_AWAY)
			return;
		refuse(e,
			span_starts(reply->value.text, "ERR unknown command")
				? "redis at %s is no sentinel: %.*s"
				: "the sentinel at %s refuses to name the primary: %.*s",
			e->name, reply->value.text);
		return;
	}
	if (!sentinel_word_take(reply, &host, &port)) {
		refuse(e, "the sentinel at %s knows no primary of the name '%.*s'", e->name,
			(struct span){s->master, strlen(s->master)});
		return;
	}
	word = (struct redis_at){span_text(host), span_text(port)};
	if (e->word.host && !sentinel_at_is(&e->word, &word)) {
		e->changed = ++s->changes;
		sentinel_at_free(&s->avoided);
	}
	sentinel_at_free(&e->word);
	e->word = word;
	e->verdict = FINE;
	e->answered_ms = e->asked_ms;
	dial_reset(&e->ask.dial);
	sentinels_choose(s);
}

static bool is_known(const struct sentinels *s, const struct redis_at *at, struct span id)
{
	for (int i = 0; i < s->count; i++) {
		const struct sentinel *e = s->all[i];

		if (sentinel_at_is(&e->at, at) ||
			(e->id && id.len == strlen(e->id) && memcmp(e->id, id.p, id.len) == 0))
			return true;
	}
	return false;
}

static void learn(struct sentinels *s, const struct sentinel_peer *peer)
{
	struct redis_at at = {span_text(peer->host), span_text(peer->port)};

	if (!is_known(s, &at, peer->id)) {
		struct sentinel *e = add(s, at.host, at.port);

		e->learned = true;
		e->id = peer->id.len ? span_text(peer->id) : NULL;
	}
	sentinel_at_free(&at);
}

static void on_peers(struct sentinels *s, const struct link_reply *reply)
{
	struct resp c = reply->elements;
	struct sentinel_peer peer;

	if (reply->value.type != RESP_ARRAY)
		return;
	for (int64_t n = reply->value.n; n > 0 && sentinel_peer_take(&c, &peer); n--)
		if (peer.host.len && peer.port.len && s->count < SENTINELS_MAX)
			learn(s, &peer);
}

static void on_answers(struct sentinels *s, struct sentinel *e)
{
	struct link_reply reply;
	enum resp_type type;

	while ((type = link_reply(&e->ask, &reply)) != RESP_MORE)
		switch (reply.tag) {
		case TAG_WORD:
			on_word(s, e, &reply);
			break;
		case TAG_PEERS:
			on_peers(s, &reply);
			break;
		default:
			if (type == RESP_STRING && reply.value.text.len) {
				free(e->id);
				e->id = span_text(reply.value.text);
			}
		}
}

/* ---- questions ---- */

static void ask(struct sentinels *s, struct sentinel *e)
{
	if (e->ask.state != LINK_UP || e->asked || (!e->due && s->now_ms - e->asked_ms < ASK_MS))
		return;
	e->asked = true;
	e->due = false;
	e->asked_ms = s->now_ms;
	link_command(&e->ask, TAG_WORD, 3,
		(const char *const[]){"SENTINEL", "GET-MASTER-ADDR-BY-NAME", s->master});
	if (e->peers_ms && s->now_ms - e->peers_ms < PEERS_MS)
		return;
	e->peers_ms = s->now_ms;
	if (!e->id)
		link_command(&e->ask, TAG_ID, 2, (const char *const[]){"SENTINEL", "MYID"});
	link_command(
		&e->ask, TAG_PEERS, 3, (const char *const[]){"SENTINEL", "SENTINELS", s->master});
}

static void on_lost(struct sentinels *s, struct sentinel *e)
{
	e->why = (struct trouble){0};
	if (e->ask.trouble.status == EXIT_PERM)
		trouble_take(&e->why, &e->ask.trouble);
	else
		trouble_set(
			&e->why, EXIT_TEMP, "the sentinel at %s: %s", e->name, e->ask.trouble.text);
	e->verdict = e->ask.trouble.status == EXIT_PERM ? REFUSES : AWAY;
	e->asked = false;
	e->due = true;
	e->answered_ms = e->peers_ms = 0;
	link_redial(&e->ask, s->now_ms);
}

static void step_ask(struct sentinels *s, struct sentinel *e, short revents)
{
	if (e->ask.state == LINK_DOWN)
		link_dial(&e->ask, s->now_ms);
	if (link_step(&e->ask, revents, s->now_ms) == LINK_LOST)
		on_lost(s, e);
	on_answers(s, e);
	if (e->asked && s->now_ms - e->asked_ms >= ANSWER_MS) {
		link_drop(&e->ask, EXIT_TEMP, "no answer for %d s", ANSWER_MS / 1000);
		on_lost(s, e);
	}
	ask(s, e);
	link_flush(&e->ask);
}

/* ---- the channel ---- */

/* Whether the pushes that have come have a message among them. */
static bool take_pushes(struct link *l)
{
	struct resp *at = link_pushed(l);
	bool message = false;

	for (;;) {
		struct resp c = *at;
		struct resp_value head, what = {0};
		uint64_t left;

		if (resp_next(&c, &head) == RESP_ARRAY && head.n > 0) {
			left = (uint64_t)head.n - 1;
			if (resp_next(&c, &what) == RESP_MORE || resp_skip(&c, &left) == RESP_MORE)
				return message;
		}
		if (head.type == RESP_MORE)
			return message;
		if (c.why) {
			link_bad(l, c.why);
			return message;
		}
		message |= span_is(what.text, "message");
		*at = c;
	}
}

/* Returns whether something was said. The sentinel that leads a failover names the new primary when
 * that is promoted, which may be long before +switch-master. */
static bool step_ear(struct sentinels *s, struct sentinel *e, short revents)
{
	static const char *const words[] = {"SUBSCRIBE", "+switch-master", "+promoted-slave",
		"+failover-state-reconf-slaves", "+failover-end"};
	static const char *const ping[] = {"PING"};
	bool heard;

	if (e->ear.state == LINK_DOWN)
		link_dial(&e->ear, s->now_ms);
	switch (link_step(&e->ear, revents, s->now_ms)) {
	case LINK_CAME:
		link_words(link_begin(&e->ear), 5, words);
		dial_reset(&e->ear.dial);
		break;
	case LINK_LOST:
		link_redial(&e->ear, s->now_ms);
		return true;
	case LINK_SILENT:
		link_words(link_begin(&e->ear), 1, ping);
		break;
	case LINK_SAME:
		break;
	}
	heard = e->ear.state == LINK_UP && take_pushes(&e->ear);
	link_flush(&e->ear);
	return heard;
}

/* ---- the loop ---- */

void sentinels_ask(struct sentinels *s)
{
	for (int i = 0; i < s->count; i++)
		s->all[i]->due = true;
}

int sentinels_poll(struct sentinels *s, struct pollfd *p)
{
	for (int i = 0; i < s->count; i++) {
		const struct sentinel *e = s->all[i];

		p[2 * i] = (struct pollfd){.fd = link_fd(&e->ask), .events = link_events(&e->ask)};
		p[2 * i + 1] =
			(struct pollfd){.fd = link_fd(&e->ear), .events = link_events(&e->ear)};
	}
	s->polled = s->count;
	return 2 * s->count;
}

int sentinels_timeout_ms(const struct sentinels *s, int64_t now_ms)
{
	int timeout = -1;

	for (int i = 0; i < s->count; i++) {
		const struct sentinel *e = s->all[i];
		int64_t at = e->asked_ms + (e->asked ? ANSWER_MS : ASK_MS);

		if (e->ask.state == LINK_DOWN || (e->due && !e->asked && e->ask.state == LINK_UP))
			return 0;
		timeout = wake_least(timeout, link_timeout_ms(&e->ask, now_ms));
		timeout = wake_least(timeout, link_timeout_ms(&e->ear, now_ms));
		if (e->ask.state == LINK_UP)
			timeout = wake_least(timeout, at > now_ms ? (int)(at - now_ms) : 0);
	}
	return timeout;
}

static void listen_for_silence(struct sentinels *s)
{
	bool any = !s->primary.host;

	for (int i = 0; i < s->count; i++)
		any |= s->all[i]->verdict == FINE;
	if (any)
		s->silent_ms = 0;
	else if (!s->silent_ms)
		s->silent_ms = s->now_ms;
}

void sentinels_step(struct sentinels *s, const struct pollfd *p, int64_t now_ms)
{
	int count = s->count;
	bool heard = false;

	s->now_ms = now_ms;
	if (!s->began_ms)
		s->began_ms = now_ms;
	for (int i = 0; i < count; i++)
		heard |= step_ear(s, s->all[i], p && i < s->polled ? p[2 * i + 1].revents : 0);
	if (heard)
		sentinels_ask(s);
	for (int i = 0; i < count; i++)
		step_ask(s, s->all[i], p && i < s->polled ? p[2 * i].revents : 0);
	remove_doubles(s);
	listen_for_silence(s);
}

void sentinels_heard(struct sentinels *s, int64_t now_ms)
{
	for (int i = 0; i < s->count; i++) {
		link_heard(&s->all[i]->ask, now_ms);
		link_heard(&s->all[i]->ear, now_ms);
		s->all[i]->asked_ms = s->all[i]->asked ? now_ms : s->all[i]->asked_ms;
	}
	sentinels_ask(s);
}
