/* SPDX-License-Identifier: ISC */
/* DESIGN
 * The state is AWAY, UP or REFUSED; the link below has its own. A publisher's link that is up is asked for its
 * ROLE first, and the client is UP with the answer.
 *
 *	held_head <= held_sure <= held_tail	a publisher's integer replies, in the order of the commands
 *
 * link_reply puts them in at held_tail; ROLE's answer moves held_sure there; redis_next gives those below held_sure to the
 * caller. The link answers in order, so all commands sent before ROLE stand below held_tail when ROLE's answer comes.
 *
 * A lost link is not dialled again before the caller has taken all results. */
#define _GNU_SOURCE
#include "redis/client.h"

#include "base/mem.h"
#include "base/metrics.h"
#include "base/msg.h"
#include "base/wake.h"

#include <stdlib.h>

enum {
	CHECK_MS = 100, /* ROLE is asked for so long after the last, at the latest, … */
	CHECK_COMMANDS = 1024, /* … or after so many commands, or bytes */
	CHECK_BYTES = 256 << 10,
	ROLE_MS = 5000, /* for its first answer */
};

/* Tags of our own. */
#define TAG_ROLE UINT64_MAX
#define TAG_PING (UINT64_MAX - 1)

static struct bytes_client *open_tls(const struct tls_config *config)
{
	struct trouble why = {0};
	struct bytes_client *tls = tls_open(config, &why);

	if (!tls)
		die(EXIT_PERM, "%s", why.text);
	return tls;
}

void redis_open(struct redis *r, const struct redis_opts *o, enum redis_use use)
{
	*r = (struct redis){.use = use};
	redis_url_read(&r->url, o);
	if (r->url.kind != REDIS_SERVER)
		die(EXIT_PERM, "sentinels and clusters are not supported by this version");
	if (r->url.tls)
		r->tls = open_tls(&r->url.tls_config);
	r->login = (struct link_login){.what = "redis",
		.user = r->url.user,
		.password = r->url.password,
		.password_file = r->url.password_file,
		.client = msg_prog(),
		.db = r->url.db,
		.tls = r->tls};
	link_open(&r->link, r->url.name, r->url.at[0].host, r->url.at[0].port, &r->login);
	metrics_up("redis", false);
}

void redis_close(struct redis *r)
{
	link_close(&r->link);
	tls_free(r->tls);
	redis_url_free(&r->url);
	free(r->held);
	r->held = NULL;
}

/* ---- coming and going ---- */

static void came(struct redis *r)
{
	if (r->reported_away)
		msg_warn("redis at %s is there after %.1f s", r->url.name,
			(double)(r->now_ms - r->away_ms) / 1000);
	r->reported_away = r->reported_replica = false;
	r->state = REDIS_UP;
	r->news = REDIS_CAME;
	if (r->use != REDIS_SUBSCRIBER)
		dial_reset(&r->link.dial);
}

static void went(struct redis *r)
{
	if (r->state == REDIS_UP) {
		/* Messages come unasked, and may have waited; what a publisher reads are answers. */
		r->away_ms = r->use == REDIS_SUBSCRIBER ? r->link.alive_ms : r->link.heard_ms;
		r->news = REDIS_WENT;
	}
	r->state = REDIS_AWAY;
	r->is_useful = r->is_asked = r->has_answered = false;
	r->role_sent = false;
	r->behind = r->behind_bytes = 0;
}

/* The link is down: it is tried again later, or never. */
static void on_lost(struct redis *r)
{
	const struct trouble *why = &r->link.trouble;
	bool was_up = r->state == REDIS_UP;
	/* Without descriptors of our own it would wait for ever. */
	bool is_limit = msg_errno_is_limit(r->link.dial.error);

	went(r);
	if (why->status == EXIT_PERM || is_limit) {
		r->trouble = *why;
		r->state = REDIS_REFUSED;
		r->news = REDIS_FAILED;
		return;
	}
	if (!r->reported_away)
		msg_warn("%s redis at %s: %s; trying again", was_up ? "lost" : "cannot reach",
			r->url.name, why->text);
	r->reported_away = true;
}

void redis_lose(struct redis *r, struct span why)
{
	int n = (int)(why.len < 200 ? why.len : 200);

	dial_blame(&r->link.dial);
	link_drop(&r->link, EXIT_TEMP, "%.*s", n, why.p);
	on_lost(r);
}

/* ---- ROLE ---- */

static void put_role(struct redis *r)
{
	const char *const words[] = {r->role_unknown ? "PING" : "ROLE"};

	link_command(&r->link, TAG_ROLE, 1, words);
	r->role_sent = true;
	r->role_ms = r->now_ms;
	r->behind = r->behind_bytes = 0;
}

static void on_replica(struct redis *r)
{
	if (!r->reported_replica)
		msg_warn(
			"redis at %s is a replica: PUBLISH there does not reach the subscribers of its "
			"primary; trying again until it is one",
			r->url.name);
	r->reported_away = r->reported_replica = true;
	link_drop(&r->link, EXIT_TEMP, "it is a replica");
	on_lost(r);
}

static void on_role_error(struct redis *r, struct span error)
{
	enum redis_fault fault = redis_fault(error);
	int n = (int)(error.len < 200 ? error.len : 200);

	if (fault == REDIS_FAULT_AWAY) {
		redis_lose(r, error);
		return;
	}
	if (fault == REDIS_FAULT_COMMAND)
		link_drop(&r->link, EXIT_PERM, "redis at %s refuses ROLE: %.*s", r->url.name, n,
			error.p);
	else
		link_drop(&r->link, EXIT_PERM,
			"redis at %s: %.*s; allow it with ACL SETUSER … +role", r->url.name, n,
			error.p);
	on_lost(r);
}

static void on_role(struct redis *r, const struct link_reply *reply)
{
	struct resp elements = reply->elements;
	struct resp_value role = {0};

	r->role_sent = false;
	/* Some proxies and hosted servers have no ROLE: a PING takes its place. */
	if (reply->value.type == RESP_ERROR &&
		span_starts(reply->value.text, "ERR unknown command") && !r->role_unknown) {
		msg_warn("redis at %s does not know ROLE: a replica would not be noticed",
			r->url.name);
		r->role_unknown = true;
	} else if (reply->value.type == RESP_ERROR && !r->role_unknown) {
		on_role_error(r, reply->value.text);
		return;
	} else if (reply->value.type == RESP_ARRAY) {
		resp_next(&elements, &role);
		if (span_is(role.text, "sentinel")) {
			link_drop(&r->link, EXIT_PERM,
				"redis at %s is a sentinel: name the server itself", r->url.name);
			on_lost(r);
			return;
		}
		if (!span_is(role.text, "master")) {
			on_replica(r);
			return;
		}
	}
	r->held_sure = r->held_tail;
	if (r->state == REDIS_AWAY)
		came(r);
}

/* Milliseconds until a ROLE is to be sent, 0 now, -1 none. */
static int role_due_ms(const struct redis *r, int64_t now_ms)
{
	if (r->use != REDIS_PUBLISHER || r->state != REDIS_UP || r->role_sent || !r->behind)
		return -1;
	if (r->hurry || r->behind >= CHECK_COMMANDS || r->behind_bytes >= CHECK_BYTES ||
		now_ms - r->role_ms >= CHECK_MS)
		return 0;
	return (int)(r->role_ms + CHECK_MS - now_ms);
}

/* ---- replies ---- */

static void grow_held(struct redis *r)
{
	size_t n = r->held_cap, cap = n ? 2 * n : 64;
	struct redis_held *held = mem_alloc(cap * sizeof(*held));

	for (uint64_t i = r->held_head; i < r->held_tail; i++)
		held[i & (cap - 1)] = r->held[i & (n - 1)];
	free(r->held);
	r->held = held;
	r->held_cap = cap;
}

/* Returns true. */
static bool hold(struct redis *r, const struct link_reply *reply)
{
	if (r->held_tail - r->held_head == r->held_cap)
		grow_held(r);
	r->held[r->held_tail++ & (r->held_cap - 1)] =
		(struct redis_held){reply->tag, reply->value.n};
	return true;
}

/* An array would have to be copied. Its tag is given again when ROLE has answered. */
static bool holds_back(struct redis *r, enum resp_type type, const struct link_reply *reply)
{
	if (type == RESP_ERROR || type == RESP_STATUS)
		return false;
	hold(r, reply);
	return type != RESP_ARRAY;
}

static enum redis_got give_held(struct redis *r, struct link_reply *reply, enum redis_got got)
{
	const struct redis_held *h = &r->held[r->held_head++ & (r->held_cap - 1)];

	reply->tag = h->tag;
	reply->value = (struct resp_value){.type = RESP_INTEGER, .n = h->n};
	if (got == REDIS_AGAIN)
		r->held_sure = r->held_head;
	return got;
}

/* Of a link that is lost: the commands whose fate is not known. */
static enum redis_got next_again(struct redis *r, struct link_reply *reply)
{
	if (r->held_head < r->held_tail)
		return give_held(r, reply, REDIS_AGAIN);
	while (link_take_tag(&r->link, &reply->tag))
		if (reply->tag < TAG_PING)
			return REDIS_AGAIN;
	return REDIS_NONE;
}

enum redis_got redis_next(struct redis *r, struct link_reply *reply)
{
	bool holds = r->use == REDIS_PUBLISHER;

	while (r->held_head == r->held_sure) {
		enum resp_type type;

		if (r->link.state != LINK_UP) {
			if (r->link.state != LINK_DOWN)
				return REDIS_NONE;
			if (r->link.news == LINK_SAME)
				return next_again(r, reply);
		}
		do
			type = link_reply(&r->link, reply);
		while (holds && type == RESP_INTEGER && reply->tag < TAG_PING && hold(r, reply));
		if (type == RESP_MORE)
			return REDIS_NONE;
		if (reply->tag == TAG_ROLE)
			on_role(r, reply);
		else if (reply->tag != TAG_PING && !(holds && holds_back(r, type, reply)))
			return REDIS_REPLY;
	}
	return give_held(r, reply, REDIS_REPLY);
}

/* ---- commands ---- */

void redis_command(
	struct redis *r, struct span key, uint64_t tag, int argc, const char *const *argv)
{
	(void)key;
	link_command(&r->link, tag, argc, argv);
	r->behind++;
}

/* ---- the loop ---- */

static void on_silence(struct redis *r)
{
	static const char *const ping[] = {"PING"};

	if (r->use == REDIS_SUBSCRIBER) {
		link_words(link_begin(&r->link), 1, ping);
		r->is_asked = true;
	} else if (r->use == REDIS_COMMANDS)
		link_command(&r->link, TAG_PING, 1, ping);
	else if (!r->role_sent)
		put_role(r);
}

/* Dials, once the caller has taken what became of its commands. */
static void on_down(struct redis *r)
{
	if (r->state == REDIS_REFUSED || r->news != REDIS_SAME || r->held_head < r->held_tail ||
		link_has_tags(&r->link))
		return;
	if (r->link.trouble.status)
		link_redial(&r->link, r->now_ms);
	else
		link_dial(&r->link, r->now_ms);
}

/* Logged in: a publisher waits for the server to be a primary. */
static void on_first_role(struct redis *r)
{
	struct link_reply reply;

	if (link_reply(&r->link, &reply) != RESP_MORE)
		on_role(r, &reply);
	else if (r->now_ms - r->role_ms >= ROLE_MS)
		redis_lose(r, SPAN("no answer to ROLE"));
}

enum redis_news redis_step(struct redis *r, short revents, int64_t now_ms)
{
	enum redis_news news;

	r->now_ms = now_ms;
	if (!r->away_ms)
		r->away_ms = now_ms;
	if (r->link.state == LINK_DOWN && r->link.news == LINK_SAME)
		on_down(r);
	switch (link_step(&r->link, revents, now_ms)) {
	case LINK_CAME:
		if (r->use == REDIS_PUBLISHER)
			put_role(r);
		else
			came(r);
		break;
	case LINK_LOST:
		on_lost(r);
		break;
	case LINK_SILENT:
		on_silence(r);
		break;
	case LINK_SAME:
		break;
	}
	if (r->state == REDIS_AWAY && r->link.state == LINK_UP)
		on_first_role(r);
	r->reachable = r->state == REDIS_UP && r->link.answers;
	metrics_up("redis", r->reachable);
	news = r->news;
	r->news = REDIS_SAME;
	return news;
}

void redis_flush(struct redis *r, int64_t now_ms)
{
	r->now_ms = now_ms;
	if (role_due_ms(r, now_ms) == 0)
		put_role(r);
	link_flush(&r->link);
}

void redis_heard(struct redis *r, int64_t now_ms)
{
	link_heard(&r->link, now_ms);
}

int redis_fd(const struct redis *r)
{
	return link_fd(&r->link);
}

short redis_events(const struct redis *r)
{
	return link_events(&r->link);
}

int redis_timeout_ms(const struct redis *r, int64_t now_ms)
{
	int timeout = wake_least(link_timeout_ms(&r->link, now_ms), role_due_ms(r, now_ms));
	int64_t left = r->role_ms + ROLE_MS - now_ms;

	if (r->state == REDIS_REFUSED)
		return r->news == REDIS_SAME ? -1 : 0;
	if (r->news != REDIS_SAME || r->link.state == LINK_DOWN)
		return 0;
	if (r->state == REDIS_AWAY && r->link.state == LINK_UP)
		timeout = wake_least(timeout, left > 0 ? (int)left : 0);
	return timeout;
}
