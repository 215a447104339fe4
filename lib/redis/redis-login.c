/* SPDX-License-Identifier: ISC */
/* The first exchange on a new connection, and the verdict on ROLE. */
#include "redis/redis-parts.h"

#include "base/msg.h"
#include "base/metrics.h"

#include <stdio.h>

enum step { STEP_AUTH, STEP_SELECT, STEP_NAME, STEP_ROLE };

static void put_step(struct redis *r, enum step step, int argc, const char *const *argv)
{
	r->steps[r->step_count++] = (unsigned char)step;
	if (step == STEP_ROLE)
		redis_put_role(r);
	else
		redis_command(r, argc, argv);
}

void redis_begin_login(struct redis *r)
{
	char db[16];

	r->state = REDIS_HANDSHAKE;
	r->deadline_ms = r->now_ms + REDIS_CONNECT_MS;
	r->step_count = r->step_at = 0;
	r->at = r->skip = r->head = 0;
	buf_clear(&r->in);
	buf_clear(&r->out);
	if (r->user)
		put_step(r, STEP_AUTH, 3, (const char *const[]){"AUTH", r->user, r->password});
	else if (r->password)
		put_step(r, STEP_AUTH, 2, (const char *const[]){"AUTH", r->password});
	snprintf(db, sizeof(db), "%d", r->db);
	if (r->db)
		put_step(r, STEP_SELECT, 2, (const char *const[]){"SELECT", db});
	put_step(r, STEP_NAME, 3, (const char *const[]){"CLIENT", "SETNAME", r->client});
	if (r->publisher)
		put_step(r, STEP_ROLE, 0, NULL);
	redis_flush(r);
}

void redis_put_role(struct redis *r)
{
	redis_command(r, 1, (const char *const[]){r->role_unknown ? "PING" : "ROLE"});
}

/* Returns whether the handshake may go on after an error reply. */
static bool on_error(struct redis *r, enum step step, struct span error)
{
	int n = (int)(error.len < 200 ? error.len : 200);

	switch (redis_judge(error)) {
	case REDIS_FAULT_AWAY:
		redis_lose(r, error);
		return false;
	case REDIS_FAULT_CONFIG:
		if (span_starts(error, "NOAUTH"))
			redis_refuse(r,
				"redis at %s wants a password: give it by --password-file, in "
				"the URL or in $REDISCLI_AUTH",
				r->name);
		else if (step == STEP_ROLE)
			redis_refuse(r, "redis at %s: %.*s; allow it with ACL SETUSER … +role",
				r->name, n, error.p);
		else if (step == STEP_NAME && span_starts(error, "NOPERM"))
			return true;
		else
			redis_refuse(r, "redis at %s refuses the login: %.*s", r->name, n, error.p);
		return false;
	case REDIS_FAULT_COMMAND:
		break;
	}
	switch (step) {
	case STEP_NAME:
		return true;
	case STEP_ROLE:
		/* Some proxies and hosted servers have no ROLE. */
		if (!span_starts(error, "ERR unknown command"))
			break;
		if (!r->role_unknown)
			msg_warn("redis at %s does not know ROLE: a replica would not be noticed",
				r->name);
		r->role_unknown = true;
		return true;
	case STEP_AUTH:
	case STEP_SELECT:
		break;
	}
	redis_refuse(r, "redis at %s refuses %s: %.*s", r->name,
		step == STEP_AUTH	    ? "the login"
			: step == STEP_ROLE ? "ROLE"
					    : "the database number",
		n, error.p);
	return false;
}

bool redis_is_primary(struct redis *r, enum redis_kind kind, const struct redis_reply *reply)
{
	if (kind == REDIS_ERROR)
		return on_error(r, STEP_ROLE, reply->text);
	if (kind == REDIS_STATUS || span_is(reply->item[0], "master"))
		return true;
	if (span_is(reply->item[0], "sentinel")) {
		redis_refuse(r, "redis at %s is a sentinel: name the server itself", r->name);
		return false;
	}
	if (!r->said_replica)
		msg_warn(
			"redis at %s is a replica: PUBLISH there does not reach the subscribers of its "
			"primary; trying again until it is one",
			r->name);
	r->said = r->said_replica = true;
	redis_drop(r);
	return false;
}

void redis_on_login(struct redis *r)
{
	struct redis_reply reply;
	enum redis_kind kind;

	while (r->state == REDIS_HANDSHAKE && r->step_at < r->step_count) {
		enum step step = r->steps[r->step_at];

		kind = redis_next(r, &reply);
		if (kind == REDIS_MORE)
			return;
		r->step_at++;
		if (step == STEP_ROLE) {
			if (!redis_is_primary(r, kind, &reply))
				return;
		} else if (kind == REDIS_ERROR && !on_error(r, step, reply.text)) {
			return;
		}
	}
	if (r->state != REDIS_HANDSHAKE)
		return;
	if (r->said)
		msg_warn("redis at %s is there after %.1f s", r->name,
			(double)(r->now_ms - r->away_ms) / 1000);
	r->said = r->said_replica = false;
	r->state = REDIS_UP;
	r->news = REDIS_CAME;
	r->heard_ms = r->mute_ms = r->now_ms;
	metrics.up = 1;
}
