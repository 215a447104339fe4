/* SPDX-License-Identifier: ISC */
/* The first exchange on a new connection. */
#include "redis/fault.h"
#include "redis/link-parts.h"

#include "base/msg.h"

#include <stdio.h>

enum step { STEP_AUTH, STEP_SELECT, STEP_NAME }; /* the commands' tags */

void link_begin_login(struct link *l)
{
	const struct link_login *by = l->login;
	char db[16];

	if (by->user)
		link_command(
			l, STEP_AUTH, 3, (const char *const[]){"AUTH", by->user, by->password});
	else if (by->password)
		link_command(l, STEP_AUTH, 2, (const char *const[]){"AUTH", by->password});
	snprintf(db, sizeof(db), "%d", by->db);
	if (by->db)
		link_command(l, STEP_SELECT, 2, (const char *const[]){"SELECT", db});
	link_command(l, STEP_NAME, 3, (const char *const[]){"CLIENT", "SETNAME", by->client});
	link_flush(l);
}

/* The name is of use to people alone: its refusal does not count, unless all would be refused. */
static bool counts(uint64_t step, enum redis_fault fault, struct span error)
{
	return step != STEP_NAME || fault == REDIS_FAULT_AWAY ||
		(fault == REDIS_FAULT_CONFIG && !span_starts(error, "NOPERM"));
}

static void on_error(struct link *l, uint64_t step, struct span error)
{
	enum redis_fault fault = redis_fault(error);
	int n = (int)(error.len < 200 ? error.len : 200);

	if (!counts(step, fault, error))
		return;
	if (fault == REDIS_FAULT_AWAY)
		link_lose(l, EXIT_TEMP, "%.*s", n, error.p);
	else if (span_starts(error, "NOAUTH"))
		link_lose(l, EXIT_PERM,
			"redis at %s wants a password: give it by --password-file, in the URL or in "
			"$REDISCLI_AUTH",
			l->name);
	else
		link_lose(l, EXIT_PERM, "redis at %s refuses the %s: %.*s", l->name,
			fault == REDIS_FAULT_COMMAND && step == STEP_SELECT ? "database number"
									    : "login",
			n, error.p);
}

void link_on_login(struct link *l)
{
	struct link_reply reply;
	enum resp_type type;

	while (l->state == LINK_LOGIN && l->tags.head != l->tags.tail) {
		type = link_reply(l, &reply);
		if (type == RESP_MORE)
			return;
		if (type == RESP_ERROR)
			on_error(l, reply.tag, reply.value.text);
	}
	if (l->state != LINK_LOGIN)
		return;
	l->state = LINK_UP;
	l->news = LINK_CAME;
	l->answers = true;
	l->heard_ms = l->silent_ms = l->empty_ms = l->alive_ms = l->now_ms;
}
